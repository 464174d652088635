"""What a letter says must be true when it goes out: read again from the record just before it is sent.

Hours may lie between an event and its letter while a mail server is down. A try that failed was perhaps followed by one
that was paid; a letter about the first would only frighten. What became untrue is withdrawn; the event that took its
place has a letter of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payflow.channels.languages import ENGLISH
from payflow.core.events import EventType
from payflow.core.states import OrderStatus, PaymentStatus, RefundStatus
from payflow.models.access import Workspace
from payflow.models.notification import Notification
from payflow.models.order import Order
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment
from payflow.models.refund import Refund
from payflow.store.repositories import Repositories


@dataclass(frozen=True, slots=True)
class Draft:
    """A letter that is owed, with the facts as they stand now. `facts` is None if it is true no longer."""

    notification_id: str
    recipient: str
    event_type: str
    facts: Mapping[str, Any] | None
    held_until: datetime
    """The end of the claim on it: from then on another worker may have it in hand."""
    language: str = ENGLISH
    from_name: str | None = None
    reply_to: str | None = None


STANDS: Mapping[str, tuple[type[Any], Callable[[Any], bool]]] = {
    EventType.PAYMENT_FAILED: (Payment, lambda payment: payment.status == PaymentStatus.FAILED),
    EventType.ORDER_EXPIRED: (Order, lambda order: order.status == OrderStatus.EXPIRED),
    EventType.REFUND_COMPLETED: (Refund, lambda refund: refund.status == RefundStatus.COMPLETED),
}
"""Events that the record may overtake: the row they are about, and whether they still hold of it. All others stay true:
money that came in came in, whatever becomes of it."""


def drafts(rows: Repositories, owed: Sequence[Notification], *, held_until: datetime) -> list[Draft]:
    """Letters as they would be written now, in the order of `owed`; they are claimed until `held_until`."""
    if not owed:
        return []
    events = {event.id: event for event in rows.many(OutboxEvent, sorted({one.event_id for one in owed}))}
    orders = {row.id: row for row in rows.many(Order, sorted({one.order_id for one in owed if one.order_id}))}
    sellers = {row.id: row for row in rows.many(Workspace, sorted({one.workspace_id for one in events.values()}))}
    found = []
    for one in owed:
        event = events[one.event_id]
        order, seller = orders.get(event.order_id or ""), sellers.get(event.workspace_id)
        found.append(
            Draft(
                one.id,
                one.recipient,
                event.type,
                _facts(event, order) if _stands(rows, event) else None,
                held_until,
                one.locale or ENGLISH,
                seller.mail_from_name if seller else None,
                seller.mail_reply_to if seller else None,
            )
        )
    return found


def _stands(rows: Repositories, event: OutboxEvent) -> bool:
    if event.type not in STANDS:
        return True
    model, holds = STANDS[event.type]
    row = rows.find(model, event.subject_id)
    return row is not None and holds(row)


def _facts(event: OutboxEvent, order: Order | None) -> Mapping[str, Any]:
    """What the event told; whether its order was kept is asked of the order itself."""
    if order is None or event.type != EventType.PAYMENT_COMPLETED:
        return event.payload
    return {**event.payload, "order_status": order.status}
