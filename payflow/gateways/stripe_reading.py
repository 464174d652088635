"""How Stripe writes sessions, payment intents and refunds. Pure; no HTTP here.

Source: Stripe API reference (Checkout Sessions, PaymentIntents, Refunds) unless a line says otherwise. A reader gives
the status in Stripe's own words and what it means with the rest; it raises ValueError with what is odd.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from payflow.core.errors import InvalidInput
from payflow.core.money import Money
from payflow.gateways.answers import text_id, whole_number
from payflow.gateways.base import Outcome, RefundResult, Verification
from payflow.gateways.redaction import redact_object, redact_text
from payflow.gateways.stripe_amounts import from_wire
from payflow.gateways.stripe_webhook import intent_id, told_reference
from payflow.gateways.stripe_words import DELAYED_OUTCOMES, INTENT_OUTCOMES, PAYMENT_OUTCOMES, REFUND_OUTCOMES, reason

REFUND_KEY = re.compile(r"[A-Za-z0-9._-]{1,200}")
"""A refund's id of ours: its idempotency key, and in its metadata."""


def read_session(session: Mapping[str, Any]) -> tuple[str, Verification]:
    """A session with its payment intent inside. An empty `reference`: it carries none, so it is not ours."""
    inside = session.get("payment_intent")
    intent: Mapping[str, Any] = inside if isinstance(inside, dict) else {}
    status, outcome = _session_outcome(session, intent)
    methods = session.get("payment_method_types")
    return status, Verification(
        outcome=outcome,
        reference=told_reference(session) or "",
        amount=_paid(session, intent, is_needed=outcome is Outcome.SUCCEEDED),
        transaction_id=intent_id(inside),
        payment_method=text_id(methods[0]) if isinstance(methods, list) and len(methods) == 1 else None,
        is_test=_is_test(session),
        message=reason(session, intent),
        raw=redact_object(session),
    )


def read_intent(intent: Mapping[str, Any]) -> tuple[str, Verification]:
    """A payment by its intent alone: `amount_received` is what came."""
    status = str(intent.get("status"))
    return status, Verification(
        outcome=INTENT_OUTCOMES.get(status, Outcome.UNKNOWN),
        reference=told_reference(intent) or "",
        amount=_money(intent.get("amount_received"), intent.get("currency")),
        transaction_id=text_id(intent.get("id")),
        is_test=_is_test(intent),
        raw=redact_object(intent),
    )


def read_refund(data: Mapping[str, Any]) -> tuple[str, RefundResult]:
    """A refund; our own id stands in its metadata."""
    refund_id, status, metadata = text_id(data.get("id")), data.get("status"), data.get("metadata")
    if refund_id is None:
        raise ValueError("The answer lacks the refund's id.")
    status = status if isinstance(status, str) else "null"  # nullable in the published schema
    why = next((data[name] for name in ("failure_reason", "pending_reason") if data.get(name)), None)
    ours = metadata.get("refund_id") if isinstance(metadata, dict) else None
    return status, RefundResult(
        outcome=REFUND_OUTCOMES.get(status, Outcome.UNKNOWN),
        gateway_refund_id=refund_id,
        amount=_money(data.get("amount"), data.get("currency")),
        refund_id=ours if isinstance(ours, str) and REFUND_KEY.fullmatch(ours) else None,
        needs_attention=status == "requires_action",
        message=redact_text(f"Stripe says {status}{f': {why}' if isinstance(why, str) else ''}.", limit=200),
        raw=redact_object(data),
    )


def _session_outcome(session: Mapping[str, Any], intent: Mapping[str, Any]) -> tuple[str, Outcome]:
    status, payment_status = session.get("status"), session.get("payment_status")
    if not isinstance(status, str) or not isinstance(payment_status, str):
        raise ValueError("The answer lacks status or payment_status.")  # noqa: TRY004 - one class for every odd answer
    delayed = intent.get("status")
    if (status, payment_status) == ("complete", "unpaid") and isinstance(delayed, str):
        return f"{status}/{payment_status}/{delayed}", DELAYED_OUTCOMES.get(delayed, Outcome.UNKNOWN)
    return f"{status}/{payment_status}", PAYMENT_OUTCOMES.get((status, payment_status), Outcome.UNKNOWN)


def _paid(session: Mapping[str, Any], intent: Mapping[str, Any], *, is_needed: bool) -> Money | None:
    """`amount_total`, or what the payment intent really received where that is less in the same currency.

    Both stay in the currency we asked for even when the customer was shown another (Stripe changelog 2025-03-31,
    presentment details).
    """
    asked, currency = session.get("amount_total"), session.get("currency")
    if asked is None or currency is None:
        if is_needed:
            raise ValueError("The answer lacks the amount or the currency.")
        return None
    money = _money(asked, currency)
    if intent.get("status") == "succeeded" and intent.get("currency") == currency:
        return min(money, _money(intent.get("amount_received"), currency))
    return money


def _is_test(data: Mapping[str, Any]) -> bool | None:
    livemode = data.get("livemode")
    return not livemode if isinstance(livemode, bool) else None


def _money(value: Any, currency: Any) -> Money:
    wire = whole_number(value)
    if wire is None or not isinstance(currency, str):
        raise ValueError("The answer holds an amount that is no whole number of a currency.")
    try:
        return from_wire(wire, currency)
    except InvalidInput as error:
        raise ValueError(f"The answer makes no sense: {error.detail}") from None
