"""Paystack's words: every status of a transaction and of a refund, channels, errors. Values only.

Source: Paystack API reference and docs (Transactions, Refunds, Errors) unless a line says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from payflow.core.errors import GatewayRejected
from payflow.gateways.base import Outcome
from payflow.gateways.calls import ErrorWords

PAYMENT_OUTCOMES: Mapping[str, Outcome] = MappingProxyType(
    {
        "success": Outcome.SUCCEEDED,
        "failed": Outcome.FAILED,
        "abandoned": Outcome.PENDING,  # not completed yet: the first status; may still succeed
        "ongoing": Outcome.PENDING,
        "pending": Outcome.PENDING,
        "processing": Outcome.PENDING,
        "queued": Outcome.PENDING,
        "reversed": Outcome.REVERSED,
        "reversal-pending": Outcome.REVERSED,  # shown after any refund, a partial one too
    }
)
"""Every transaction status (Paystack docs, Verify payments; `reversal-pending` from the refund table there)."""

REFUND_OUTCOMES: Mapping[str, Outcome] = MappingProxyType(
    {
        "pending": Outcome.PENDING,
        "processing": Outcome.PENDING,
        "needs-attention": Outcome.PENDING,  # waits for the customer's bank details
        "failed": Outcome.FAILED,
        "processed": Outcome.SUCCEEDED,
    }
)
"""Every refund status (Paystack docs, Refunds)."""

CHANNELS = frozenset({"card", "bank", "ussd", "qr", "eft", "mobile_money", "bank_transfer"})
"""Paystack API, Initialize transaction, `channels`."""

_ERRORS: tuple[tuple[str, str], ...] = (
    ("duplicate transaction reference", "duplicate_reference"),
    ("transaction reference not found", "transaction_not_found"),
    ("cannot exceed original transaction amount", "refund_exceeds_amount"),
    ("transaction has been fully reversed", "already_refunded"),
    ("insufficient balance", "insufficient_balance"),
    ("please wait a few minutes", "rate_limited"),
)
"""Sentences that must be told apart, since older answers carry no `code` (Paystack docs, Errors)."""

_TRY_LATER_SECONDS = MappingProxyType({"insufficient_balance": 3_600, "rate_limited": 180})


def read_error(_status: int, body: Mapping[str, Any]) -> ErrorWords:
    """Paystack docs, Errors: `{status: false, message, type, code, meta}`; older answers have only the message."""
    said, gateway_code = body.get("message"), body.get("code")
    message = said if isinstance(said, str) else None
    code = next((code for words, code in _ERRORS if words in (message or "").lower()), None)
    if code is None and gateway_code in dict(_ERRORS).values():
        code = gateway_code
    return ErrorWords(
        gateway_code=gateway_code if isinstance(gateway_code, str) else None,
        message=message,
        code=code,
        is_try_later=code in _TRY_LATER_SECONDS,
        retry_after_seconds=_TRY_LATER_SECONDS.get(code or ""),
        needs_person=code == "insufficient_balance",
    )


def is_not_found(error: GatewayRejected) -> bool:
    """Seen as 400 and as 404, with the code, the sentence or "Entity not found" of the published schema."""
    return error.code == "transaction_not_found" or (error.http_status == 404 and "not found" in error.detail.lower())
