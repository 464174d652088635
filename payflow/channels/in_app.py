"""In-app texts, chosen from the facts on record. The row itself is the delivery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from payflow.core.money import Money

TITLES: Mapping[str, str] = {
    "ORDER_CREATED": "Order created",
    "PAYMENT_INITIATED": "Payment processing",
    "PAYMENT_COMPLETED": "Payment successful",
    "PAYMENT_FAILED": "Payment failed",
    "REFUND_REQUESTED": "Refund requested",
    "REFUND_COMPLETED": "Refund completed",
    "REFUND_FAILED": "Refund failed",
    "ORDER_EXPIRED": "Order expired",
    "ORDER_CANCELLED": "Order cancelled",
    "BOOKING_CONFIRMED": "Booking confirmed",
    "BOOKING_CANCELLED": "Booking cancelled",
    "DISPUTE_OPENED": "Payment disputed",
    "PAYMENT_EXCESS": "Paid too much",
}


@dataclass(frozen=True, slots=True)
class Text:
    """A short message."""

    title: str
    body: str


def _amount(data: Mapping[str, Any], key: str = "amount") -> str:
    return str(Money(data[key], data["currency"]))


def _payment_completed(data: Mapping[str, Any]) -> str:
    number, status = data["order_number"], data.get("order_status")
    if status in ("expired", "cancelled"):
        return (
            f"We received {_amount(data)} for order {number}, but it came too late: the order was {status} already. "
            "We are looking after your money."
        )
    return f"We received {_amount(data)} for order {number}. Your bookings are being confirmed."


BODIES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "ORDER_CREATED": lambda data: (
        f"Order {data['order_number']} over {_amount(data, 'total_amount')} waits for your payment."
    ),
    "PAYMENT_INITIATED": lambda data: f"You can now pay {_amount(data)} for order {data['order_number']}.",
    "PAYMENT_COMPLETED": _payment_completed,
    "PAYMENT_FAILED": lambda data: (
        f"The payment for order {data['order_number']} did not go through. Nothing was taken; you can try again."
    ),
    "REFUND_REQUESTED": lambda data: f"A refund of {_amount(data)} for order {data['order_number']} was requested.",
    "REFUND_COMPLETED": lambda data: f"{_amount(data)} for order {data['order_number']} has been given back.",
    "REFUND_FAILED": lambda data: (
        f"The refund of {_amount(data)} for order {data['order_number']} did not go through; we are looking into it."
    ),
    "ORDER_EXPIRED": lambda data: f"Order {data['order_number']} was not paid in time.",
    "ORDER_CANCELLED": lambda data: f"Order {data['order_number']} was cancelled.",
    "BOOKING_CONFIRMED": lambda data: f"Your booking of {data['resource_id']} is confirmed.",
    "BOOKING_CANCELLED": lambda data: f"Your booking of {data['resource_id']} is cancelled.",
    "DISPUTE_OPENED": lambda data: f"The payment for order {data['order_number']} is disputed by your bank.",
    "PAYMENT_EXCESS": lambda data: (
        f"{_amount(data, 'excess_amount')} came in too much for order {data['order_number']}; we are giving it back."
    ),
}


def render(event_type: str, data: Mapping[str, Any]) -> Text:
    """The message for an event's payload. Raises KeyError for one without a text or without its facts."""
    return Text(TITLES[event_type], BODIES[event_type](data))
