"""In-app texts, chosen from the facts on record. The row itself is the delivery."""

from __future__ import annotations

from collections.abc import Mapping
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


def _amount(data: Mapping[str, Any], key: str) -> str:
    return str(Money(data[key], data["currency"]))


def render(event_type: str, data: Mapping[str, Any]) -> Text:
    """The message for an event's payload. Raises KeyError for an event without a text."""
    title = TITLES[event_type]
    number = data.get("order_number", "")
    match event_type:
        case "ORDER_CREATED":
            body = f"Order {number} over {_amount(data, 'total_amount')} waits for your payment."
        case "PAYMENT_INITIATED":
            body = f"You can now pay {_amount(data, 'amount')} for order {number}."
        case "PAYMENT_COMPLETED" if data.get("order_status") in ("expired", "cancelled"):
            body = (
                f"We received {_amount(data, 'amount')} for order {number}, but it came too late: the order was "
                f"{data['order_status']} already. We are looking after your money."
            )
        case "PAYMENT_COMPLETED":
            body = f"We received {_amount(data, 'amount')} for order {number}. Your bookings are being confirmed."
        case "PAYMENT_FAILED":
            body = f"The payment for order {number} did not go through. Nothing was taken; you can try again."
        case "REFUND_REQUESTED":
            body = f"A refund of {_amount(data, 'amount')} for order {number} is on its way."
        case "REFUND_COMPLETED":
            body = f"{_amount(data, 'amount')} for order {number} has been given back."
        case "REFUND_FAILED":
            body = f"The refund of {_amount(data, 'amount')} for order {number} did not go through; we are looking into it."
        case "ORDER_EXPIRED":
            body = f"Order {number} was not paid in time. Nothing was taken."
        case "ORDER_CANCELLED":
            body = f"Order {number} was cancelled."
        case "BOOKING_CONFIRMED":
            body = f"Your booking of {data.get('resource_id', '')} is confirmed."
        case "BOOKING_CANCELLED":
            body = f"Your booking of {data.get('resource_id', '')} is cancelled."
        case "PAYMENT_EXCESS":
            body = f"{_amount({**data, 'amount': data['excess_amount']}, 'amount')} came in too much for order {number}."
        case _:
            body = f"News about order {number}."
    return Text(title, body)
