"""Everything on record about one order, read in a fixed number of queries. Floor 4.

What it means is services/explain.py's, how it is told services/chronicle.py's, how the demo page shows it web/demo's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select

from payflow.core.errors import NotFound
from payflow.models.act import HumanAct
from payflow.models.base import Transition, ids_of
from payflow.models.decision import Decision
from payflow.models.dispute import Dispute
from payflow.models.gateway_call import GatewayCall
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.order import Order
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund
from payflow.models.webhook_endpoint import WebhookDelivery, WebhookTry
from payflow.models.webhook_event import WebhookEvent
from payflow.store.repositories import Repositories


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order with all that hangs on it; every list oldest first."""

    order: Order
    """With its bookings."""
    payment: Payment | None
    attempts: Sequence[PaymentAttempt]
    refunds: Sequence[Refund]
    disputes: Sequence[Dispute]
    decisions: Sequence[Decision]
    transitions: Sequence[Transition]
    """The order's own, and all of its bookings' (which may have been on other orders before)."""
    calls: Sequence[GatewayCall]
    webhooks: Sequence[WebhookEvent]
    events: Sequence[OutboxEvent]
    messages: Sequence[Notification]
    deliveries: Sequence[WebhookDelivery]
    delivery_tries: Sequence[WebhookTry]
    acts: Sequence[HumanAct]
    """What people did to any of it by hand."""
    postings: Sequence[LedgerPosting]


def order_id_of(rows: Repositories, name: str) -> str:
    """An order's id by its id or its number; NotFound if there is none."""
    try:
        named = Order.id == str(UUID(name))
    except ValueError:
        named = Order.order_number == name.strip().upper()
    found: str | None = rows.session.scalar(select(Order.id).where(named))
    if found is None:
        raise NotFound(f"There is no order {name}.")
    return found


def read_order(rows: Repositories, order_id: str) -> OrderRecord | None:
    """All of it, or None if there is no such order. Who may see it is the caller's business."""
    order = rows.order(order_id)
    if order is None:
        return None
    payment = rows.payment_of(order.id)
    attempts = rows.attempts_of(payment.id) if payment else []
    refunds = rows.refunds_of(payment.id) if payment else []
    bookings = [item.booking_id for item in order.items]
    ours = or_(Transition.order_id == order.id, Transition.entity_id.in_(bookings))
    webhooks = _all(rows, WebhookEvent, _speaks_of(attempts, refunds))
    deliveries = _all(rows, WebhookDelivery, WebhookDelivery.order_id == order.id)
    by_hand = or_(HumanAct.order_id == order.id, HumanAct.entity_id.in_(ids_of(webhooks)))
    return OrderRecord(
        order=order,
        payment=payment,
        attempts=attempts,
        refunds=refunds,
        disputes=_all(rows, Dispute, Dispute.order_id == order.id),
        decisions=_all(rows, Decision, Decision.order_id == order.id),
        transitions=_all(rows, Transition, ours),
        calls=_all(rows, GatewayCall, GatewayCall.order_id == order.id),
        webhooks=webhooks,
        events=_all(rows, OutboxEvent, OutboxEvent.order_id == order.id),
        messages=_all(rows, Notification, Notification.order_id == order.id),
        deliveries=deliveries,
        delivery_tries=_all(rows, WebhookTry, WebhookTry.delivery_id.in_(ids_of(deliveries))),
        acts=_all(rows, HumanAct, by_hand),
        postings=_all(rows, LedgerPosting, LedgerPosting.order_id == order.id),
    )


def _all(rows: Repositories, model: type[Any], belongs: ColumnElement[bool]) -> list[Any]:
    """In the order of their ids, which is that of their making."""
    return list(rows.session.scalars(select(model).where(belongs).order_by(model.id)))


def _speaks_of(attempts: Sequence[PaymentAttempt], refunds: Sequence[Refund]) -> ColumnElement[bool]:
    """Webhooks about these tries, by reference, session or transaction, or about these refunds."""
    names = _known(name for attempt in attempts for name in (attempt.reference, attempt.session_id))
    said = or_(
        WebhookEvent.reference.in_(names),
        WebhookEvent.transaction_id.in_(_known(attempt.gateway_transaction_id for attempt in attempts)),
        WebhookEvent.gateway_refund_id.in_(_known(refund.gateway_refund_id for refund in refunds)),
    )
    return said & WebhookEvent.gateway.in_({attempt.gateway for attempt in attempts})


def _known(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value})
