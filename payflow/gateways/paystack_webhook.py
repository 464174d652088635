"""Paystack's webhooks: the signature on the raw bytes, then what an event points at. A hint, never believed.

Source: Paystack docs, Webhooks and Supported events. There is no event id, so the hash of the body is the key. Only
successful charges are told, so everything else is found out by asking.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from payflow.core.errors import InvalidInput
from payflow.core.money import Money
from payflow.core.states import DisputeStatus
from payflow.gateways.answers import parse_object, text_id
from payflow.gateways.base import DisputeHint, HintKind, SignatureInvalid, UnreadableWebhook, WebhookHint
from payflow.gateways.redaction import redact_object, redact_text

_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_REFERENCE = re.compile(r"[A-Za-z0-9.=-]+")
_TOLD_REFERENCE = re.compile(r"[A-Za-z0-9._=-]+")
"""Paystack's own references hold underscores (Paystack docs, Webhooks, refund samples), though it refuses ours."""


def read_webhook(keys: tuple[bytes, ...], headers: Mapping[str, str], body: bytes) -> WebhookHint:
    """`x-paystack-signature` is the lowercase hex HMAC-SHA512 of the raw body under the secret key.

    Raises SignatureInvalid, then UnreadableWebhook.
    """
    given = next((value for name, value in headers.items() if name.lower() == "x-paystack-signature"), "")
    if not _SIGNATURE.fullmatch(given):
        raise SignatureInvalid("The signature is missing or is no lowercase hex HMAC-SHA512.")
    expected = [hmac.new(key, body, hashlib.sha512).hexdigest() for key in keys]
    if not any([hmac.compare_digest(one, given) for one in expected]):  # noqa: C419 - every key is tried, whichever fits
        raise SignatureInvalid
    try:
        event = parse_object(body)
    except ValueError as error:
        raise UnreadableWebhook(f"The webhook holds {error}.") from None
    kind, data = event.get("event"), event.get("data")
    if not isinstance(kind, str) or not isinstance(data, dict):
        raise UnreadableWebhook("The webhook lacks `event` or `data`.")
    hint = WebhookHint(
        kind=HintKind.OTHER,
        event_type=redact_text(kind, limit=100),
        event_key=hashlib.sha256(body).hexdigest(),
        raw=redact_object(event),
    )
    return _hint(kind, data, hint)


def known_reference(value: Any) -> str | None:
    """A reference Paystack could have taken: alphanumerics and - . = (Paystack API, Initialize transaction)."""
    text = text_id(value) if isinstance(value, str) else None
    return text if text and _REFERENCE.fullmatch(text) and text.strip(".") else None


def _told_reference(value: Any) -> str | None:
    text = text_id(value) if isinstance(value, str) else None
    return text if text and _TOLD_REFERENCE.fullmatch(text) and text.strip(".") else None


def _dispute(data: Mapping[str, Any]) -> DisputeHint | None:
    """A chargeback (Paystack docs, Disputes): `resolved` ends it, and `declined` says that our evidence was heard."""
    dispute_id = text_id(data.get("id"))
    if dispute_id is None:
        return None
    status = DisputeStatus.OPEN
    if data.get("status") == "resolved":
        status = DisputeStatus.WON if data.get("resolution") == "declined" else DisputeStatus.LOST
    amount, currency = data.get("refund_amount"), data.get("currency")
    money = None
    if type(amount) is int and amount > 0 and isinstance(currency, str):
        with contextlib.suppress(InvalidInput):  # a currency nobody knows: the amount stays unknown too
            money = Money(amount, currency)
    return DisputeHint(
        gateway_dispute_id=dispute_id,
        status=status,
        amount=money,
        reason=redact_text(str(data.get("category") or ""), limit=100),
    )


def _hint(event_type: str, data: Mapping[str, Any], hint: WebhookHint) -> WebhookHint:
    """What an event points at (Paystack docs, Supported events); one that is not about payments stays OTHER."""
    if event_type.startswith("charge.dispute."):
        transaction = data.get("transaction")
        about = transaction if isinstance(transaction, dict) else {}
        return replace(
            hint,
            kind=HintKind.DISPUTE,
            reference=_told_reference(about.get("reference") or data.get("transaction_reference")),
            transaction_id=text_id(about.get("id")),
            dispute=_dispute(data),
        )
    if event_type.startswith("refund."):
        return replace(
            hint,
            kind=HintKind.REFUND,
            reference=_told_reference(data.get("transaction_reference")),
            gateway_refund_id=text_id(data.get("id")),
        )
    if event_type.startswith("charge."):
        return replace(
            hint,
            kind=HintKind.PAYMENT,
            reference=_told_reference(data.get("reference")),
            transaction_id=text_id(data.get("id")),
        )
    return hint
