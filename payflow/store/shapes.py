"""Which columns a read brings, under the API's field names. Floor 4; no conditions, no pages here."""

from __future__ import annotations

from typing import Any, TypeAlias

from sqlalchemy import Select, select

from payflow.core.states import LIVE_ATTEMPT
from payflow.models.booking import Booking
from payflow.models.order import Order
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund

Row = dict[str, Any]
AnySelect: TypeAlias = Select[*tuple[Any, ...]]
"""A select whatever its columns are."""


def booking_columns() -> AnySelect:
    return select(
        Booking.id,
        Booking.user_id,
        Booking.workspace_id,
        Booking.resource_id,
        Booking.starts_at,
        Booking.ends_at,
        Booking.amount_minor.label("amount"),
        Booking.currency,
        Booking.status,
        Booking.created_at,
        Booking.updated_at,
    )


def order_columns() -> AnySelect:
    return select(
        Order.id,
        Order.order_number,
        Order.status,
        Order.user_id,
        Order.workspace_id,
        Order.currency,
        Order.subtotal_minor.label("subtotal"),
        Order.discount_minor.label("discount"),
        Order.tax_minor.label("tax"),
        Order.total_minor.label("total"),
        Order.booking_count,
        Order.payment_method,
        Order.payment_reference,
        Order.created_at,
        Order.updated_at,
        Order.expires_at,
        Order.paid_at,
        Order.completed_at,
    )


def payment_columns() -> AnySelect:
    return (
        select(
            Payment.id,
            Payment.order_id,
            Order.order_number,
            Payment.user_id,
            Payment.workspace_id,
            Payment.status,
            Payment.amount_minor.label("amount"),
            Payment.currency,
            Payment.gateway,
            Payment.payment_method,
            Payment.retry_count,
            Payment.refunded_minor.label("refunded_amount"),
            (Payment.captured_minor - Payment.refund_reserved_minor).label("refundable_amount"),
            Payment.error,
            Payment.created_at,
            Payment.updated_at,
            Payment.paid_at,
            PaymentAttempt.reference,
            PaymentAttempt.authorization_url,
            PaymentAttempt.gateway_transaction_id,
            PaymentAttempt.status.label("attempt_status"),
        )
        .join(Order, Order.id == Payment.order_id)
        .outerjoin(PaymentAttempt, PaymentAttempt.id == Payment.current_attempt_id)
    )


ATTEMPT_COLUMNS = (
    PaymentAttempt.reference,
    PaymentAttempt.gateway,
    PaymentAttempt.status,
    PaymentAttempt.amount_minor.label("amount"),
    PaymentAttempt.currency,
    PaymentAttempt.payment_method,
    PaymentAttempt.error,
    PaymentAttempt.created_at,
    PaymentAttempt.updated_at,
    PaymentAttempt.application,
    PaymentAttempt.captured_minor.label("captured_amount"),
    PaymentAttempt.gateway_transaction_id,
    PaymentAttempt.due_at.label("next_check_at"),
    PaymentAttempt.gateway_response,
)


def present_payment(row: Row) -> Row:
    """A page at the gateway is only offered while its try can still be paid: an old link invites to pay twice."""
    if row.pop("attempt_status") not in LIVE_ATTEMPT:
        row["authorization_url"] = None
    return row


def refund_columns() -> AnySelect:
    return select(
        Refund.id,
        Refund.payment_id,
        Refund.order_id,
        Refund.booking_id,
        Refund.user_id,
        Refund.workspace_id,
        Refund.status,
        Refund.needs_attention,
        Refund.approval,
        Refund.amount_minor.label("amount"),
        Refund.currency,
        Refund.gateway,
        Refund.reason,
        Refund.reason_description,
        Refund.source,
        Refund.gateway_refund_id,
        Refund.requested_by,
        Refund.created_at,
        Refund.updated_at,
        Refund.completed_at,
        Refund.error,
    )
