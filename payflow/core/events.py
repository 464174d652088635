"""The facts payflow publishes. Names and fields are the contract: other programs read them.

An event is built inside the transaction that makes it true and stored there as an outbox row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    ORDER_CREATED = "ORDER_CREATED"
    PAYMENT_INITIATED = "PAYMENT_INITIATED"
    PAYMENT_COMPLETED = "PAYMENT_COMPLETED"
    PAYMENT_FAILED = "PAYMENT_FAILED"
    REFUND_REQUESTED = "REFUND_REQUESTED"
    REFUND_COMPLETED = "REFUND_COMPLETED"
    REFUND_FAILED = "REFUND_FAILED"
    ORDER_EXPIRED = "ORDER_EXPIRED"
    ORDER_CANCELLED = "ORDER_CANCELLED"
    BOOKING_CONFIRMED = "BOOKING_CONFIRMED"
    BOOKING_CANCELLED = "BOOKING_CANCELLED"
    DISPUTE_OPENED = "DISPUTE_OPENED"
    PAYMENT_EXCESS = "PAYMENT_EXCESS"


def outside_name(kind: str) -> str:
    """A type's name in outbound webhooks: `payment.completed`."""
    return kind.lower().replace("_", ".", 1)


TYPE_BY_OUTSIDE_NAME = {outside_name(kind): kind for kind in EventType}


@dataclass(frozen=True, slots=True)
class Event:
    """A fact about one order.

    `data` is JSON with the contract's fields for the type; `dedupe_key` makes the fact unique for ever
    (e.g. `payment:ID:v7`), so the same step run twice publishes once.
    """

    type: EventType
    subject_id: str
    """The id of the row the fact is about (order, payment, refund or booking)."""
    order_id: str | None
    user_id: str
    workspace_id: str
    at: datetime
    dedupe_key: str
    data: dict[str, Any] = field(default_factory=dict)


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and a `Z`."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
