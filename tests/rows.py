"""Rows made by hand, sane unless a test wants them wrong: for tests of what the database and the models refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from payflow.core.identifiers import attempt_reference, new_id, order_number
from payflow.models.booking import Booking
from payflow.models.decision import Decision
from payflow.models.dispute import Dispute
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.order import Order, OrderBooking
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.reconciliation import Difference, ReconciliationSlice
from payflow.models.refund import Refund
from payflow.models.webhook_event import WebhookEvent

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
TIMES = {"created_at": NOW, "updated_at": NOW}
OWNER = {"user_id": "u-ada", "workspace_id": "w-harbour"}
MONEY = {"amount_minor": 1_000, "currency": "NGN"}


def a_booking(*, from_hour: int = 0, to_hour: int = 1, **given: Any) -> Booking:
    """A pending booking of room-1; hours count from a fixed midnight."""
    midnight = datetime(2026, 2, 1, tzinfo=UTC)
    start, end = midnight + timedelta(hours=from_hour), midnight + timedelta(hours=to_hour)
    fields = {"id": new_id(), **OWNER, "resource_id": "room-1", "starts_at": start, "ends_at": end, **MONEY, **TIMES}
    return Booking(**(fields | {"status": "pending", "moves": 0} | given))


def an_order(*bookings: Booking, **given: Any) -> Order:
    """A pending order over some bookings, or over nothing at 10.00."""
    total = sum(booking.amount_minor for booking in bookings) or 1_000
    fields = {
        "id": new_id(), "order_number": order_number(NOW), **OWNER, "currency": "NGN", "subtotal_minor": total,
        "discount_minor": 0, "tax_minor": 0, "total_minor": total, "booking_count": len(bookings), "status": "pending",
        "expires_at": NOW + timedelta(minutes=30), "moves": 0, "tries": 0, **TIMES,
    }  # fmt: skip
    order = Order(**(fields | given))
    order.items = [OrderBooking(booking_id=one.id, price_minor=one.amount_minor, active=True) for one in bookings]
    return order


def a_payment(order: Order, **given: Any) -> Payment:
    """A pending payment of an order."""
    fields = {
        "id": new_id(), "order_id": order.id, **OWNER, "amount_minor": order.total_minor, "currency": order.currency,
        "status": "pending", "gateway": "paystack", "retry_count": 0, "captured_minor": 0, "refund_reserved_minor": 0,
        "refunded_minor": 0, "moves": 0, **TIMES,
    }  # fmt: skip
    return Payment(**(fields | given))


def an_attempt(payment: Payment, **given: Any) -> PaymentAttempt:
    """A fresh try of a payment."""
    fields = {
        "id": new_id(), "payment_id": payment.id, "order_id": payment.order_id, "gateway": "paystack",
        "reference": attempt_reference(), "amount_minor": payment.amount_minor, "currency": payment.currency,
        "status": "created", "captured_minor": 0, "refund_reserved_minor": 0, "poll_step": 0, "moves": 0, "tries": 0,
        **TIMES,
    }  # fmt: skip
    return PaymentAttempt(**(fields | given))


def a_refund(payment: Payment, attempt: PaymentAttempt, **given: Any) -> Refund:
    """A pending refund of 1.00."""
    fields = {
        "id": new_id(), "payment_id": payment.id, "order_id": payment.order_id, "attempt_id": attempt.id, **OWNER,
        "requested_by": "user:u-ada", "gateway": "paystack", "amount_minor": 100, "currency": "NGN",
        "status": "pending", "needs_attention": False, "reason": "other", "reason_description": "", "source": "api",
        "approval": "not_needed", "poll_step": 0, "moves": 0, "tries": 0, **TIMES,
    }  # fmt: skip
    return Refund(**(fields | given))


def a_dispute(payment: Payment, **given: Any) -> Dispute:
    """An open dispute over a payment."""
    fields = {
        "id": new_id(), "payment_id": payment.id, "order_id": payment.order_id, "gateway": "paystack",
        "gateway_dispute_id": new_id(), "status": "open", "reason": "", "moves": 0, **MONEY, **TIMES,
    }  # fmt: skip
    return Dispute(**(fields | given))


def a_posting(**given: Any) -> LedgerPosting:
    """A capture of 10.00."""
    fields = {
        "id": new_id(), "kind": "capture", "subject_id": new_id(), "part": 0, "order_id": new_id(),
        "debit_account": "gateway:paystack", "credit_account": "workspace:w-harbour", **MONEY, "created_at": NOW,
    }  # fmt: skip
    return LedgerPosting(**(fields | given))


def an_event(**given: Any) -> OutboxEvent:
    """An event whose messages are written."""
    fields = {
        "id": new_id(), "type": "ORDER_CREATED", "dedupe_key": new_id(), "subject_id": new_id(), "order_id": None,
        **OWNER, "payload": {}, "created_at": NOW, "fanned_out_at": NOW, "tries": 0,
    }  # fmt: skip
    return OutboxEvent(**(fields | given))


def a_notification(event: OutboxEvent, **given: Any) -> Notification:
    """An in-app message about an event."""
    fields = {
        "id": new_id(), "event_id": event.id, "event": event.type, "channel": "in_app", "recipient": "u-ada",
        "title": "Order created", "body": "…", "created_at": NOW, "sent_at": NOW, "tries": 0,
    }  # fmt: skip
    return Notification(**(fields | given))


def a_webhook(**given: Any) -> WebhookEvent:
    """A handled inbox row."""
    fields = {
        "id": new_id(), "gateway": "paystack", "event_key": new_id(), "event_type": "charge.success",
        "kind": "payment", "body": {}, "created_at": NOW, "outcome": "ignored", "handled_at": NOW, "tries": 0,
    }  # fmt: skip
    return WebhookEvent(**(fields | given))


def a_decision(order: Order | None, **given: Any) -> Decision:
    """An open question about an order, or about what fits none."""
    fields = {
        "id": new_id(), "kind": "late_payment", "subject_id": new_id(), "order_id": order.id if order else None,
        "workspace_id": order.workspace_id if order else None, "detail": "…", "suggested_action": "refund", **MONEY,
        "created_at": NOW,
    }  # fmt: skip
    return Decision(**(fields | given))


def a_difference(part: ReconciliationSlice, **given: Any) -> Difference:
    """Money of nobody that a slice has seen, before a person."""
    fields = {
        "id": new_id(), "created_at": NOW, "gateway": "stripe", "kind": "unknown_here", "subject": new_id(), "at": NOW,
        "here": "unknown", "there": "succeeded", "run_id": part.run_id, "slice_id": part.id, "last_seen_at": NOW,
        "decided_at": NOW + timedelta(minutes=1), **MONEY,
    }  # fmt: skip
    return Difference(**(fields | given))
