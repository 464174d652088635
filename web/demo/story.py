"""An order's record as the demo page and the headless demo read it. Shape only; the record is store/timeline.py's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from payflow.core.events import timestamp
from payflow.core.states import OPEN_REFUND, OrderStatus
from payflow.models.base import Transition
from payflow.models.booking import Booking
from payflow.models.decision import Decision
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.order import Order
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund
from payflow.models.webhook_event import WebhookEvent
from payflow.store.timeline import OrderRecord

Json = dict[str, Any]


def order_story(record: OrderRecord, *, now: datetime) -> Json:
    """Amounts in minor units, times RFC 3339. `moving`: something is owed that should be done within seconds."""
    order = record.order
    return {
        "now": timestamp(now),
        "workspace_id": order.workspace_id,
        "moving": _is_moving(record),
        "order": _order(order),
        "payment": _payment(record.payment) if record.payment else None,
        "attempts": [_attempt(attempt) for attempt in record.attempts],
        "bookings": [_booking(item.booking, is_active=item.active) for item in order.items],
        "refunds": [_refund(refund) for refund in record.refunds],
        "ledger": [_posting(row) for row in record.postings],
        "transitions": [_transition(row) for row in record.transitions],
        "events": [_event(row) for row in record.events],
        "messages": [_message(row) for row in record.messages],
        "webhooks": [_webhook(row) for row in record.webhooks],
        "decisions": [_decision(row) for row in record.decisions],
    }


def _is_moving(record: OrderRecord) -> bool:
    return (
        record.order.status in (OrderStatus.PROCESSING, OrderStatus.PAID)
        or any(refund.status in OPEN_REFUND for refund in record.refunds)
        or any(event.due_at is not None for event in record.events)
        or any(message.due_at is not None for message in record.messages)
    )


def _at(moment: datetime | None) -> str | None:
    return timestamp(moment) if moment else None


def _order(order: Order) -> Json:
    return {
        "id": order.id,
        "order_number": order.order_number,
        "status": order.status,
        "currency": order.currency,
        "subtotal": order.subtotal_minor,
        "discount": order.discount_minor,
        "tax": order.tax_minor,
        "total": order.total_minor,
        "payment_method": order.payment_method,
        "payment_reference": order.payment_reference,
        "created_at": _at(order.created_at),
        "expires_at": _at(order.expires_at),
        "paid_at": _at(order.paid_at),
        "completed_at": _at(order.completed_at),
    }


def _payment(payment: Payment) -> Json:
    return {
        "id": payment.id,
        "status": payment.status,
        "amount": payment.amount_minor,
        "currency": payment.currency,
        "gateway": payment.gateway,
        "retry_count": payment.retry_count,
        "captured_amount": payment.captured_minor,
        "refunded_amount": payment.refunded_minor,
        "refundable_amount": payment.refundable_minor,
        "error": payment.error,
        "paid_at": _at(payment.paid_at),
    }


def _attempt(attempt: PaymentAttempt) -> Json:
    return {
        "id": attempt.id,
        "reference": attempt.reference,
        "gateway": attempt.gateway,
        "status": attempt.status,
        "authorization_url": attempt.authorization_url if attempt.is_live else None,
        "gateway_transaction_id": attempt.gateway_transaction_id,
        "questions": attempt.poll_step,
        "next_question_at": _at(attempt.due_at),
        "error": attempt.error,
        "created_at": _at(attempt.created_at),
    }


def _booking(booking: Booking, *, is_active: bool) -> Json:
    return {
        "id": booking.id,
        "resource_id": booking.resource_id,
        "starts_at": _at(booking.starts_at),
        "ends_at": _at(booking.ends_at),
        "amount": booking.amount_minor,
        "currency": booking.currency,
        "status": booking.status,
        "on_this_order": is_active,
    }


def _refund(refund: Refund) -> Json:
    return {
        "id": refund.id,
        "status": refund.status,
        "needs_attention": refund.needs_attention,
        "approval": refund.approval,
        "amount": refund.amount_minor,
        "currency": refund.currency,
        "reason": refund.reason,
        "source": refund.source,
        "error": refund.error,
        "created_at": _at(refund.created_at),
        "completed_at": _at(refund.completed_at),
    }


def _posting(posting: LedgerPosting) -> Json:
    return {
        "id": posting.id,
        "kind": posting.kind,
        "debit_account": posting.debit_account,
        "credit_account": posting.credit_account,
        "amount": posting.amount_minor,
        "currency": posting.currency,
        "at": _at(posting.created_at),
    }


def _transition(row: Transition) -> Json:
    return {
        "id": row.id,
        "entity": row.entity,
        "entity_id": row.entity_id,
        "from": row.from_status,
        "to": row.to_status,
        "why": row.why,
        "actor": row.actor,
        "at": _at(row.at),
    }


def _event(event: OutboxEvent) -> Json:
    return {
        "id": event.id,
        "type": event.type,
        "at": _at(event.created_at),
        "fanned_out_at": _at(event.fanned_out_at),
        "parked_at": _at(event.parked_at),
    }


def _message(row: Notification) -> Json:
    return {
        "id": row.id,
        "event": row.event,
        "event_id": row.event_id,
        "channel": row.channel,
        "recipient": row.recipient,
        "title": row.title,
        "body": row.body,
        "created_at": _at(row.created_at),
        "sent_at": _at(row.sent_at),
        "parked_at": _at(row.parked_at),
        "withdrawn_at": _at(row.withdrawn_at),
        "error": row.error,
    }


def _webhook(event: WebhookEvent) -> Json:
    return {
        "id": event.id,
        "gateway": event.gateway,
        "event_type": event.event_type,
        "outcome": event.outcome,
        "received_at": _at(event.created_at),
        "handled_at": _at(event.handled_at),
    }


def _decision(row: Decision) -> Json:
    return {
        "id": row.id,
        "kind": row.kind,
        "detail": row.detail,
        "suggested_action": row.suggested_action,
        "resolved_at": _at(row.resolved_at),
        "at": _at(row.created_at),
    }
