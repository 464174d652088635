"""Flutterwave's webhooks: who sent it, then what it points at. A hint, never believed.

Source: Flutterwave docs, Webhooks, and the refund callback of Transaction refund. Two signatures are in use: the older
`verif-hash` is the secret hash itself and does not bind the body; the newer `flutterwave-signature` is an HMAC of it.
Neither carries a time, so a copy can be sent again: the hash of the body is the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from payflow.core.errors import ConfigurationError
from payflow.gateways.answers import parse_object, text_id
from payflow.gateways.base import HintKind, SignatureInvalid, UnreadableWebhook, WebhookHint
from payflow.gateways.redaction import redact_object, redact_text

STATIC, SIGNED = "static:", "hmac:"
"""Before a secret hash: take it by that scheme only. Without either, both are taken."""

_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOLD_REFERENCE = re.compile(r"[A-Za-z0-9._=-]{1,100}")
"""Other programs of the same account may choose freer references than ours."""


@dataclass(frozen=True, slots=True)
class WebhookKeys:
    """The secret hashes of each scheme; several while one is being changed."""

    static: tuple[bytes, ...]
    signed: tuple[bytes, ...]

    @classmethod
    def read(cls, secrets: tuple[str, ...]) -> WebhookKeys:
        """From the configured words. Raises ConfigurationError for none or an empty one: anybody could send with it."""
        bare = [secret.removeprefix(STATIC).removeprefix(SIGNED) for secret in secrets]
        if not bare or not all(word.strip() for word in bare):
            raise ConfigurationError("Flutterwave's secret hash proves where a webhook comes from: it cannot be empty.")
        pairs = list(zip(secrets, bare, strict=True))
        return cls(
            static=tuple(word.encode() for secret, word in pairs if not secret.startswith(SIGNED)),
            signed=tuple(word.encode() for secret, word in pairs if not secret.startswith(STATIC)),
        )


def read_webhook(keys: WebhookKeys, headers: Mapping[str, str], body: bytes) -> WebhookHint:
    """Check the signature on the raw bytes, then parse. Raises SignatureInvalid, then UnreadableWebhook.

    Where both headers come, the one that binds the body decides.
    """
    given = {name.lower(): value for name, value in headers.items()}
    if "flutterwave-signature" in given:
        _check(given["flutterwave-signature"], [_hmac(key, body) for key in keys.signed])
    elif "verif-hash" in given:
        _check(given["verif-hash"], list(keys.static))
    else:
        raise SignatureInvalid("The webhook carries neither flutterwave-signature nor verif-hash.")
    try:
        event = parse_object(body)
    except ValueError as error:
        raise UnreadableWebhook(f"The webhook holds {error}.") from None
    hint = WebhookHint(
        kind=HintKind.OTHER,
        event_type=_event_type(event),
        event_key=hashlib.sha256(body).hexdigest(),
        raw=redact_object(event),
    )
    return _hint(event, hint)


def known_reference(value: Any) -> str | None:
    """A reference we could have made. Flutterwave publishes no alphabet for `tx_ref`; its samples use this one."""
    return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else None


def _hmac(key: bytes, body: bytes) -> bytes:
    return base64.b64encode(hmac.new(key, body, hashlib.sha256).digest())


def _check(given: str, expected: list[bytes]) -> None:
    told = given.encode("utf-8", "replace")
    if not any([hmac.compare_digest(one, told) for one in expected]):  # noqa: C419 - every key is tried, whichever fits
        raise SignatureInvalid


def _event_type(event: Mapping[str, Any]) -> str:
    """`event` of the envelope, or `event.type` of the older flat bodies; refund callbacks carry neither."""
    named = next((event[key] for key in ("event", "event.type") if isinstance(event.get(key), str)), None)
    return redact_text(named or ("refund" if _is_flat_refund(event) else "unnamed"), limit=64)


def _is_flat_refund(event: Mapping[str, Any]) -> bool:
    """Refund callbacks have no envelope and PascalCase names (Flutterwave docs, Transaction refund)."""
    return "TransactionId" in event and "AmountRefunded" in event


def _hint(event: Mapping[str, Any], hint: WebhookHint) -> WebhookHint:
    """What an event points at; `charge.completed` comes for failures too, so its outcome is never read here."""
    if _is_flat_refund(event):
        return _refund(event, hint)
    kind, data = event.get("event"), event.get("data")
    if not isinstance(kind, str) or not kind.startswith(("charge.", "refund.")):
        return hint
    if not isinstance(data, dict):
        raise UnreadableWebhook("The webhook lacks `data`.")
    if kind.startswith("refund."):
        return _refund(data, hint)
    return replace(
        hint,
        kind=HintKind.PAYMENT,
        reference=_told_reference(data.get("tx_ref")),
        transaction_id=text_id(data.get("id")),
    )


def _refund(data: Mapping[str, Any], hint: WebhookHint) -> WebhookHint:
    owners = (data.get(name) for name in ("TransactionId", "transaction_id", "tx_id"))
    return replace(
        hint,
        kind=HintKind.REFUND,
        reference=_told_reference(data.get("tx_ref")),
        transaction_id=next((owner for owner in map(text_id, owners) if owner), None),
        gateway_refund_id=text_id(data.get("id")),
    )


def _told_reference(value: Any) -> str | None:
    return value if isinstance(value, str) and _TOLD_REFERENCE.fullmatch(value) and value.strip(".") else None
