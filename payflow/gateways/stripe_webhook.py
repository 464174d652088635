"""Stripe's webhooks: the signature on time and raw bytes, then what an event points at. A hint, never believed.

Source: Stripe docs, Webhooks ("Verify webhook signatures manually", "Event delivery behaviors"), and the API's Event.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from payflow.core.errors import InvalidInput
from payflow.core.states import DisputeStatus
from payflow.gateways.answers import parse_object, text_id
from payflow.gateways.base import DisputeHint, HintKind, SignatureInvalid, UnreadableWebhook, WebhookHint
from payflow.gateways.redaction import redact_object, redact_text
from payflow.gateways.stripe_amounts import from_wire

TOLERANCE_SECONDS = 300
"""How far a signature's time may lie from ours, before or after. The official library accepts any time to come; a
signature made for the future could be kept and played back at leisure, so it is refused here."""

_TIME = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_REFERENCE = re.compile(r"[A-Za-z0-9._=-]{1,200}")
_MOST_SIGNATURES = 20
_REFUND_EVENTS = ("charge.refunded", "charge.refund.updated")


def read_webhook(keys: tuple[bytes, ...], headers: Mapping[str, str], body: bytes, *, now: datetime) -> WebhookHint:
    """`Stripe-Signature: t=…,v1=…`: a v1 is the lowercase hex HMAC-SHA256 of `{t}.{raw body}` under an endpoint secret.

    Several v1 stand there while a secret is rolled; one fitting one of `keys` is enough. v0 is no proof.
    Raises SignatureInvalid, then UnreadableWebhook.
    """
    given = next((value for name, value in headers.items() if name.lower() == "stripe-signature"), "")
    told_at, signatures = _parts(given)
    expected = [hmac.new(key, told_at.encode() + b"." + body, hashlib.sha256).hexdigest() for key in keys]
    if not any([hmac.compare_digest(one, other) for one in expected for other in signatures]):  # noqa: C419 - all tried
        raise SignatureInvalid
    if abs(int(now.timestamp()) - int(told_at)) > TOLERANCE_SECONDS:
        raise SignatureInvalid("The signature's time is too far from ours.")
    try:
        event = parse_object(body)
    except ValueError as error:
        raise UnreadableWebhook(f"The webhook holds {error}.") from None
    kind, key = event.get("type"), text_id(event.get("id"))
    if not isinstance(kind, str) or key is None:
        raise UnreadableWebhook("The webhook lacks `id` or `type`.")
    hint = WebhookHint(
        kind=HintKind.OTHER,
        event_type=redact_text(kind, limit=100),
        event_key=key,
        raw=redact_object(event),
    )
    data = event.get("data")
    about = data.get("object") if isinstance(data, dict) else None
    # An event without its object (a thin one) points at nothing.
    return _hint(kind, about, hint) if isinstance(about, dict) else hint


def known_reference(value: Any) -> str | None:
    """A reference that can be sent as `client_reference_id` (200 characters) and in a header."""
    return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else None


def intent_id(value: Any) -> str | None:
    """The id of a payment intent, which comes as null, as text, or as the whole object when expanded."""
    return text_id(value.get("id") if isinstance(value, dict) else value)


def told_reference(about: Mapping[str, Any]) -> str | None:
    """Our reference out of an object we made: `client_reference_id` of a session, else our metadata."""
    metadata = about.get("metadata")
    return known_reference(about.get("client_reference_id")) or known_reference(
        metadata.get("reference") if isinstance(metadata, dict) else None
    )


def _parts(header: str) -> tuple[str, list[str]]:
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value for name, _, value in pairs if name == "v1" and _SIGNATURE.fullmatch(value)]
    if len(times) != 1 or not _TIME.fullmatch(times[0]):
        raise SignatureInvalid("The signature is missing or names no single time.")
    if not 0 < len(signatures) <= _MOST_SIGNATURES:
        raise SignatureInvalid("The signature holds no lowercase hex v1.")
    return times[0], signatures


_DISPUTE_ENDS = {
    "won": DisputeStatus.WON,
    "warning_closed": DisputeStatus.WON,
    "prevented": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
}
"""Stripe API, The Dispute object: every other status is still open."""


def _dispute(about: Mapping[str, Any]) -> DisputeHint | None:
    dispute_id = text_id(about.get("id"))
    if dispute_id is None:
        return None
    amount, currency = about.get("amount"), about.get("currency")
    money = None
    if type(amount) is int and amount > 0 and isinstance(currency, str):
        with contextlib.suppress(InvalidInput):  # a currency nobody knows: the amount stays unknown too
            money = from_wire(amount, currency.upper())
    return DisputeHint(
        gateway_dispute_id=dispute_id,
        status=_DISPUTE_ENDS.get(str(about.get("status")), DisputeStatus.OPEN),
        amount=money,
        reason=redact_text(str(about.get("reason") or ""), limit=100),
    )


def _hint(event_type: str, about: Mapping[str, Any], hint: WebhookHint) -> WebhookHint:
    """What an event points at (Stripe API, Types of events).

    The event id is the key, and Stripe may tell one fact in two events (or in a session's, an intent's and a charge's):
    each only makes a question due, and the answer changes a state once.
    """
    if event_type.startswith("checkout.session."):
        return replace(
            hint,
            kind=HintKind.PAYMENT,
            reference=told_reference(about) or known_reference(about.get("id")),  # a try is found by session, too
            transaction_id=intent_id(about.get("payment_intent")),
        )
    if event_type.startswith("payment_intent."):
        return replace(
            hint, kind=HintKind.PAYMENT, reference=told_reference(about), transaction_id=text_id(about.get("id"))
        )
    if event_type.startswith("charge.dispute."):
        return replace(
            hint,
            kind=HintKind.DISPUTE,
            transaction_id=intent_id(about.get("payment_intent")),
            dispute=_dispute(about),
        )
    if event_type.startswith("refund.") or event_type in _REFUND_EVENTS:
        is_refund = event_type != "charge.refunded"  # that one is about the charge
        return replace(
            hint,
            kind=HintKind.REFUND,
            reference=told_reference(about),
            transaction_id=intent_id(about.get("payment_intent")),
            gateway_refund_id=text_id(about.get("id")) if is_refund else None,
        )
    return hint
