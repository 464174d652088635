"""Stripe's words: every status of a payment and of a refund, reasons, methods, errors. Values only.

Source: Stripe API reference (Checkout Sessions, PaymentIntents, Refunds, Errors) unless a line says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from payflow.gateways.base import Outcome
from payflow.gateways.calls import ErrorWords
from payflow.gateways.redaction import redact_text

PAYMENT_OUTCOMES: Mapping[tuple[str, str], Outcome] = MappingProxyType(
    {
        ("open", "unpaid"): Outcome.PENDING,  # a declined card leaves it so: the customer may try another
        ("open", "paid"): Outcome.SUCCEEDED,
        ("open", "no_payment_required"): Outcome.UNKNOWN,
        ("complete", "unpaid"): Outcome.PENDING,  # a delayed method: DELAYED_OUTCOMES has the last word
        ("complete", "paid"): Outcome.SUCCEEDED,
        ("complete", "no_payment_required"): Outcome.UNKNOWN,
        ("expired", "unpaid"): Outcome.FAILED,
        ("expired", "paid"): Outcome.SUCCEEDED,
        ("expired", "no_payment_required"): Outcome.UNKNOWN,
    }
)
"""Every (status, payment_status) of a session. Money said to be there is always seen; that none was needed is never an
answer to what we ask. A refund or a dispute changes neither word, so nothing here is ever un-paid."""

DELAYED_OUTCOMES: Mapping[str, Outcome] = MappingProxyType(
    {
        "requires_payment_method": Outcome.FAILED,  # async_payment_failed, and the page is closed already
        "canceled": Outcome.FAILED,
        "requires_confirmation": Outcome.PENDING,
        "requires_action": Outcome.PENDING,
        "requires_capture": Outcome.PENDING,
        "processing": Outcome.PENDING,
        "succeeded": Outcome.PENDING,  # the session will say `paid` and how much
    }
)
"""Every status of a payment intent, for a session that is complete and unpaid."""

INTENT_OUTCOMES: Mapping[str, Outcome] = MappingProxyType(
    {
        "requires_payment_method": Outcome.PENDING,
        "requires_confirmation": Outcome.PENDING,
        "requires_action": Outcome.PENDING,
        "requires_capture": Outcome.PENDING,
        "processing": Outcome.PENDING,
        "canceled": Outcome.FAILED,
        "succeeded": Outcome.SUCCEEDED,
    }
)
"""Every status of a payment intent by itself, as a list of them shows it."""

REFUND_OUTCOMES: Mapping[str, Outcome] = MappingProxyType(
    {
        "pending": Outcome.PENDING,
        "requires_action": Outcome.PENDING,  # the customer must say where the money shall go
        "succeeded": Outcome.SUCCEEDED,  # may become `failed` later, when the bank sends it back
        "failed": Outcome.FAILED,
        "canceled": Outcome.FAILED,
    }
)
"""Every refund status."""

METHODS = frozenset(
    {
        "acss_debit", "affirm", "afterpay_clearpay", "alipay", "au_becs_debit", "bacs_debit", "bancontact", "blik",
        "boleto", "card", "cashapp", "customer_balance", "eps", "fpx", "giropay", "grabpay", "ideal", "klarna",
        "konbini", "link", "oxxo", "p24", "paynow", "paypal", "pix", "promptpay", "sepa_debit", "sofort",
        "us_bank_account", "wechat_pay", "zip",
    }
)  # fmt: skip
"""Stripe API, Create a Checkout Session, `payment_method_types`; without a wish the account's own settings decide."""

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "duplicate": "duplicate",
        "fraudulent": "fraudulent",  # Stripe blocks card and address afterwards
        "customer_request": "requested_by_customer",
        "requested_by_customer": "requested_by_customer",
    }
)
"""Our reasons that Stripe has a word for; the others are not sent."""

_CODES: Mapping[str, str] = MappingProxyType(
    {
        "amount_too_large": "amount_too_large",
        "amount_too_small": "amount_too_small",
        "balance_insufficient": "insufficient_balance",
        "charge_already_refunded": "already_refunded",
        "charge_disputed": "charge_disputed",
        "idempotency_error": "idempotency_error",
        "rate_limit": "rate_limited",
        "resource_missing": "transaction_not_found",
    }
)
_TRY_LATER = frozenset({"idempotency_key_in_use", "lock_timeout", "balance_insufficient", "rate_limit"})
_NEEDS_PERSON = frozenset({"idempotency_error", "insufficient_balance"})
_BALANCE_SECONDS = 3_600


def reason(session: Mapping[str, Any], intent: Mapping[str, Any]) -> str | None:
    """The last decline, or that the page closed."""
    failed = intent.get("last_payment_error")
    said = failed.get("message") if isinstance(failed, dict) else None
    if isinstance(said, str):
        return redact_text(said, limit=200)
    return "The page expired before it was paid." if session.get("status") == "expired" else None


def read_error(status: int, body: Mapping[str, Any]) -> ErrorWords:
    """Stripe API, Errors: `{error: {type, code, message, …}}`; the code is left out where the type says it all.

    A 409 is another request at work on the same thing (the official library repeats all of them).
    """
    found = body.get("error")
    error: Mapping[str, Any] = found if isinstance(found, dict) else {}
    kind, given, said = (error.get(name) for name in ("type", "code", "message"))
    word = given if isinstance(given, str) else kind if isinstance(kind, str) else None
    message = said if isinstance(said, str) else None
    code = _CODES.get(word or "")
    if code is None and kind == "idempotency_error" and status != 409:
        code = "idempotency_error"
    if code is None and "greater than unrefunded amount" in (message or ""):
        code = "refund_exceeds_amount"
    return ErrorWords(
        gateway_code=word,
        message=message,
        code=code,
        is_try_later=status == 409 or word in _TRY_LATER,
        retry_after_seconds=_BALANCE_SECONDS if code == "insufficient_balance" else None,
        needs_person=code in _NEEDS_PERSON,
    )
