"""How Flutterwave v3 writes transactions, refunds and errors: its tables and readers. Pure; no HTTP here.

Source: Flutterwave v3 docs and API reference unless a line says otherwise. A reader raises ValueError with what is odd.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from types import MappingProxyType
from typing import Any

from payflow.core.errors import InvalidInput
from payflow.core.money import Money, exponent
from payflow.gateways.answers import moment, parse_object, text_id
from payflow.gateways.base import Outcome, RefundResult, Verification
from payflow.gateways.calls import ErrorWords
from payflow.gateways.redaction import redact_object, redact_text

CURRENCIES = frozenset(
    {
        "NGN", "USD", "EUR", "GBP", "GHS", "KES", "ZAR", "UGX", "RWF", "TZS", "ZMW", "MWK", "XAF", "XOF", "EGP", "GNF",
        "MAD", "CAD", "CLP", "COP",
    }
)  # fmt: skip
"""Flutterwave support, "Currencies accepted", without withdrawn codes, and the Currency enum of its PHP library."""

PAYMENT_OPTIONS = frozenset(
    {
        "card", "ussd", "account", "banktransfer", "mpesa", "mobilemoneyghana", "mobilemoneyfranco",
        "mobilemoneyuganda", "mobilemoneyrwanda", "mobilemoneyzambia",
    }
)  # fmt: skip
"""The default list of Flutterwave's PHP library (CheckoutHelper)."""

MINIMUM_REFUND: Mapping[str, Money] = MappingProxyType({"NGN": Money(100_00, "NGN"), "KES": Money(10_00, "KES")})
"""The least a refund may be (docs, Refunds); no least payment is published."""

PAYMENT_OUTCOMES: Mapping[str, Outcome] = MappingProxyType(
    {
        "successful": Outcome.SUCCEEDED,
        "pending": Outcome.PENDING,
        "failed": Outcome.FAILED,  # the customer may try again on the same page
    }
)
"""Every transaction status (Flutterwave docs, Transaction verification); a redirect's words are not among them."""

REFUND_OUTCOMES: Mapping[str, Outcome] = MappingProxyType(
    {
        "completed": Outcome.SUCCEEDED,
        "complete": Outcome.SUCCEEDED,
        "successful": Outcome.SUCCEEDED,
        "completed-bank-transfer": Outcome.SUCCEEDED,
        "completed-momo": Outcome.SUCCEEDED,
        "completed-mpgs": Outcome.SUCCEEDED,
        "completed-offline": Outcome.SUCCEEDED,
        "completed-preauth": Outcome.SUCCEEDED,
        "pending-momo": Outcome.PENDING,
        "processing": Outcome.PENDING,
        "failed": Outcome.FAILED,
    }
)
"""Every refund status (docs, Refunds; `successful`, `failed`: reference, Fetch multiple refunded transactions)."""

PLAIN_SUCCESS = frozenset({"completed", "complete", "successful"})
"""One edition of the docs calls `completed` done, another "initiated and pending disbursement": when the refund is
created it means the latter, and afterwards the disbursement's own state may contradict it."""

_ERRORS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("no transaction was found",), "transaction_not_found"),
    (("duplicate", "ref"), "duplicate_reference"),
    (("insufficient", "balance"), "insufficient_balance"),
    (("already", "refunded"), "already_refunded"),
    (("fully", "refunded"), "already_refunded"),
    (("refund", "exceed"), "refund_exceeds_amount"),
)
"""Words that tell refusals apart: there are no codes, and only the first sentence is published."""

_TRY_LATER_SECONDS = MappingProxyType({"insufficient_balance": 3_600})
_NOTE = re.compile(r"payflow refund ([A-Za-z0-9-]+)")
_AMOUNT = re.compile(r"[0-9]{1,30}(\.[0-9]{1,10})?")


def refund_note(refund_id: str) -> str:
    """What goes into `comments`, and comes back as `comment`: our own id in words."""
    return f"payflow refund {refund_id}"


def read_transaction(data: Mapping[str, Any]) -> Verification:
    """One transaction, as every call answers it.

    `charged_amount` holds the fees the customer bears, so it is more than `amount`, which is what the payment is worth
    to the order (Transaction verification); were it ever less, no more than that has come.
    """
    reference, status, currency = data.get("tx_ref"), data.get("status"), data.get("currency")
    transaction_id = text_id(data.get("id"))
    if not isinstance(reference, str) or not isinstance(status, str) or not isinstance(currency, str):
        raise ValueError("The answer lacks tx_ref, status or currency.")  # noqa: TRY004 - one class for every odd answer
    if transaction_id is None:
        raise ValueError("The answer lacks the transaction's id.")
    worth = _money(data.get("amount"), currency)
    if data.get("charged_amount") is not None:
        worth = min(worth, _money(data["charged_amount"], currency))
    said, method, fee = data.get("processor_response"), data.get("payment_type"), decimal(data.get("app_fee"))
    return Verification(
        outcome=PAYMENT_OUTCOMES.get(status, Outcome.UNKNOWN),
        reference=reference,
        amount=worth,
        transaction_id=transaction_id,
        fee_minor=None if fee is None else int(fee.scaleb(exponent(currency)).to_integral_value(ROUND_CEILING)),
        payment_method=method if isinstance(method, str) else None,
        paid_at=moment(data.get("created_at")),
        message=redact_text(said, limit=200) if isinstance(said, str) else None,
        raw=redact_object(data),
    )


def read_refund(data: Mapping[str, Any], currency: str | None) -> RefundResult:
    """One refund; its currency is the transaction's, since refunds carry none. Without it the amount stays unread."""
    status, refund_id = data.get("status"), text_id(data.get("id"))
    if not isinstance(status, str) or refund_id is None:
        raise ValueError("The answer lacks the refund's id or status.")
    disbursed = _disbursement(data)
    note = data.get("comment") or data.get("comments")
    ours = _NOTE.search(note) if isinstance(note, str) else None
    words = f"Flutterwave says {status}" + (f", disbursement {disbursed}." if disbursed else ".")
    return RefundResult(
        outcome=_refund_outcome(status, disbursed),
        gateway_refund_id=refund_id,
        amount=None if currency is None else _money(data.get("amount_refunded"), currency),
        refund_id=ours.group(1) if ours else None,
        message=redact_text(words, limit=200) if status in REFUND_OUTCOMES else None,
        raw=redact_object(data),
    )


def _refund_outcome(status: str, disbursed: str | None) -> Outcome:
    outcome = REFUND_OUTCOMES.get(status, Outcome.UNKNOWN)
    if disbursed == "failed":
        # Against a word that names how the money arrived it is a contradiction: on that, nobody may give back again.
        is_told_done = outcome is Outcome.SUCCEEDED and status not in PLAIN_SUCCESS
        return Outcome.UNKNOWN if is_told_done else Outcome.FAILED
    if disbursed == "pending" and status in PLAIN_SUCCESS:
        return Outcome.PENDING
    return outcome


def _disbursement(data: Mapping[str, Any]) -> str | None:
    """`meta.disburse_status`; `meta` is an object when a refund is created and JSON in a string afterwards."""
    meta = data.get("meta")
    if isinstance(meta, str):
        try:
            meta = parse_object(meta.encode())
        except ValueError:
            return None
    status = meta.get("disburse_status") if isinstance(meta, dict) else None
    return status if isinstance(status, str) and status else None


def _money(value: Any, currency: str) -> Money:
    number = decimal(value)
    if number is None:
        raise ValueError("The answer holds an amount that is no number.")
    try:
        return Money.from_major(number, currency)
    except InvalidInput:
        raise ValueError("The answer holds an unknown currency or a broken amount.") from None


def decimal(value: Any) -> Decimal | None:
    """A non-negative amount in major units, sent as 1000, 1000.5 or "1000.50"; None for anything else."""
    if isinstance(value, str):
        return Decimal(value) if _AMOUNT.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return Decimal(value) if value >= 0 else None


def page_info(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """`meta.page_info` of a list; empty where it is missing."""
    meta = body.get("meta")
    info = meta.get("page_info") if isinstance(meta, dict) else None
    return info if isinstance(info, dict) else {}


def read_error(_status: int, body: Mapping[str, Any]) -> ErrorWords:
    """Common errors: `{status: "error", message, data: null}`; its 500 has `error_id` and `code`, and no status."""
    said, gateway_code = body.get("message"), body.get("code")
    message = said if isinstance(said, str) else None
    heard = (message or "").lower()
    code = next((code for words, code in _ERRORS if all(word in heard for word in words)), None)
    return ErrorWords(
        gateway_code=gateway_code if isinstance(gateway_code, str) else None,
        message=message,
        code=code,
        is_try_later=code in _TRY_LATER_SECONDS,
        retry_after_seconds=_TRY_LATER_SECONDS.get(code or ""),
        needs_person=code == "insufficient_balance",
    )
