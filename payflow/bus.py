"""EventBus: publishing an event is writing a row in the transaction that makes it true. Floor 3.

Who hears it: every event's subscribers run as the task `notifications.fan_out` once the row is committed, and again
for as long as the row is due. Nothing here sends anything.
"""

from __future__ import annotations

from typing import Any, Protocol

from payflow.core.act import Act
from payflow.core.events import Event, EventType, timestamp
from payflow.models.access import User, Workspace
from payflow.models.outbox import OutboxEvent

CUSTOMER_EVENTS: frozenset[EventType] = frozenset(EventType) - {
    EventType.BOOKING_CONFIRMED,
    EventType.PAYMENT_EXCESS,
    EventType.DISPUTE_OPENED,
}
"""Events the customer gets an in-app message for. (A confirmed order says more than each of its bookings,
and a dispute is the operators' business: they find it among the decisions.)"""

EMAIL_EVENTS: frozenset[EventType] = frozenset(
    {
        EventType.PAYMENT_COMPLETED,
        EventType.PAYMENT_FAILED,
        EventType.REFUND_REQUESTED,
        EventType.REFUND_COMPLETED,
        EventType.ORDER_EXPIRED,
        EventType.BOOKING_CANCELLED,
    }
)
"""Events worth a letter: something ended, or money is on its way back."""

KEPT_IN_APP: frozenset[EventType] = frozenset(
    {EventType.PAYMENT_COMPLETED, EventType.REFUND_COMPLETED, EventType.REFUND_FAILED}
)
"""Events nobody can switch off in the app: their money came in, went back, or did not."""


class RowAdder(Protocol):
    """The part of a transaction that publishing needs."""

    def add(self, row: Any, /) -> None: ...


def publish(into: RowAdder, event: Event, act: Act, *, user: User | None, workspace: Workspace | None) -> OutboxEvent:
    """Write the event with the contract's common fields; it is due at once."""
    payload = {
        "user_id": event.user_id,
        "user_email": user.email if user else "",
        "user_name": user.name if user else "",
        "workspace_id": event.workspace_id,
        "workspace_name": workspace.name if workspace else "",
        "timestamp": timestamp(event.at),
        **event.data,
    }
    row = OutboxEvent(
        type=event.type.value,
        dedupe_key=event.dedupe_key,
        subject_id=event.subject_id,
        order_id=event.order_id,
        user_id=event.user_id,
        workspace_id=event.workspace_id,
        payload=payload,
        created_at=act.at,
        due_at=act.at,
        tries=0,
        correlation_id=act.correlation_id,
    )
    into.add(row)
    return row
