"""What may leave a gateway's answer: card data, secrets and personal data are taken out, the rest stays readable.

Used before a body becomes `raw`, a log field, an error text or a record. No I/O; never the wire itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from payflow import logs

HIDDEN = "[redacted]"

_HIDDEN_KEYS = frozenset(
    {
        "authorization", "card", "cards", "bin", "iin", "pan", "number", "last4", "first6digits", "last4digits",
        "exp", "expmonth", "expyear", "expiry", "cvv", "cvv2", "cvc", "pin", "otp", "fingerprint",
        "accountnumber", "accountname", "iban", "firstname", "lastname", "fullname", "customername", "address",
        "ip", "deviceip", "deviceid",
    }
)  # fmt: skip
_HIDDEN_PARTS = (
    "secret", "password", "passwd", "token", "signature", "authorizationcode", "apikey", "email", "phone", "ipaddress",
    "cardnumber",
)  # fmt: skip
_PERSON_KEYS = frozenset(
    {"customer", "customerdetails", "billingdetails", "shipping", "shippingdetails", "owner", "payer"}
)
_PERSON_KEPT = frozenset({"id", "customercode", "riskaction"})
_EMAIL = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")
_LONGEST = 500
_DEEPEST = 20


def redact(value: Any) -> Any:
    """A copy of parsed JSON that is safe to store and to log: plain JSON types only, decimals as text."""
    return _redact(value, person=False, depth=0)


def redact_object(value: Mapping[str, Any]) -> dict[str, Any]:
    """`redact` for what is known to be an object."""
    cleaned: dict[str, Any] = redact(value)
    return cleaned


def redact_text(text: str, *, limit: int = _LONGEST, secrets: tuple[str, ...] = ()) -> str:
    """A text without the given secrets, keys, card-shaped numbers, e-mail addresses and unprintable characters."""
    for secret in secrets:
        text = text.replace(secret, "[masked]")
    text = _EMAIL.sub("[email]", logs.mask(text[: limit * 4]))
    # NUL and lone surrogates are legal in JSON but not in PostgreSQL text.
    text = text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= limit else f"{text[:limit]}…"


def _redact(value: Any, *, person: bool, depth: int) -> Any:
    if depth > _DEEPEST:
        return HIDDEN
    if isinstance(value, Mapping):
        return {redact_text(str(key), limit=100): _member(str(key), item, person, depth) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact(item, person=person, depth=depth + 1) for item in value]
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, int) or value is None:
        return value
    return redact_text(str(value))


def _member(key: str, item: Any, person: bool, depth: int) -> Any:
    word = re.sub(r"[^a-z0-9]", "", key.lower())
    hidden = (
        word in _HIDDEN_KEYS or any(part in word for part in _HIDDEN_PARTS) or (person and word not in _PERSON_KEPT)
    )
    if hidden:
        return item if item is None or isinstance(item, bool) or item in ({}, [], "") else HIDDEN
    return _redact(item, person=word in _PERSON_KEYS, depth=depth + 1)
