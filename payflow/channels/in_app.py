"""What messages say, chosen from the facts on record and told in the reader's language. An in-app row is its own
delivery.

English stands here; the other languages' sentences stand in `languages/`. Sentences name facts: `{amount}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payflow.channels import formats
from payflow.channels.languages import ENGLISH, say
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
_AMOUNTS = ("amount", "total_amount", "excess_amount")
_MOMENTS = ("timestamp", "expires_at", "starts_at")


@dataclass(frozen=True, slots=True)
class Text:
    """A short message."""

    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Body:
    """One way to say it. `needs`: a fact that must be there; `order_status`: what the order must be."""

    sentence: str
    needs: str | None = None
    order_status: str | None = None

    def fits(self, data: Mapping[str, Any]) -> bool:
        return (self.needs is None or bool(data.get(self.needs))) and (
            self.order_status is None or data.get("order_status") == self.order_status
        )


BODIES: Mapping[str, tuple[Body, ...]] = {
    "ORDER_CREATED": (
        Body("Order {order_number} over {total_amount} waits for your payment until {expires_at}.", needs="expires_at"),
        Body("Order {order_number} over {total_amount} waits for your payment."),
    ),
    "PAYMENT_INITIATED": (Body("You can now pay {amount} for order {order_number}."),),
    "PAYMENT_COMPLETED": (
        Body(
            "We received {amount} for order {order_number}, but it came too late: the order had expired already. "
            "We are looking after your money.",
            order_status="expired",
        ),
        Body(
            "We received {amount} for order {order_number}, but it came too late: the order had been cancelled already."
            " We are looking after your money.",
            order_status="cancelled",
        ),
        Body(
            "We received {amount} for order {order_number}. Your bookings are confirmed.",
            order_status="completed",
        ),
        Body(
            "We received {amount} for order {order_number}. It has been given back since.",
            order_status="refunded",
        ),
        Body("We received {amount} for order {order_number}. Your bookings are being confirmed."),
    ),
    "PAYMENT_FAILED": (
        Body("The payment for order {order_number} did not go through. Nothing was taken; you can try again."),
    ),
    "REFUND_REQUESTED": (Body("A refund of {amount} for order {order_number} was requested."),),
    "REFUND_COMPLETED": (Body("{amount} for order {order_number} has been given back."),),
    "REFUND_FAILED": (
        Body("The refund of {amount} for order {order_number} did not go through; we are looking into it."),
    ),
    "ORDER_EXPIRED": (Body("Order {order_number} was not paid in time."),),
    "ORDER_CANCELLED": (Body("Order {order_number} was cancelled."),),
    "BOOKING_CONFIRMED": (
        Body("Your booking of {resource_id} on {starts_at} is confirmed.", needs="starts_at"),
        Body("Your booking of {resource_id} is confirmed."),
    ),
    "BOOKING_CANCELLED": (
        Body("Your booking of {resource_id} on {starts_at} is cancelled.", needs="starts_at"),
        Body("Your booking of {resource_id} is cancelled."),
    ),
    "DISPUTE_OPENED": (Body("The payment for order {order_number} is disputed by your bank."),),
    "PAYMENT_EXCESS": (Body("{excess_amount} came in too much for order {order_number}; we are giving it back."),),
}
"""Per event, the first that fits is told. The last asks for nothing more than the event itself."""


class Facts(Mapping[str, str]):
    """An event's payload as people read it in a language. Raises KeyError for a fact that is not there."""

    def __init__(self, data: Mapping[str, Any], language: str) -> None:
        self._data, self._language = data, language

    def __getitem__(self, name: str) -> str:
        value = self._data[name]
        if value is None:
            raise KeyError(name)
        if name in _AMOUNTS:
            return formats.amount(Money(value, self._data["currency"]), self._language)
        if name in _MOMENTS:
            return formats.moment(datetime.fromisoformat(value), self._language)
        return str(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)


def render(event_type: str, data: Mapping[str, Any], language: str = ENGLISH) -> Text:
    """The message for an event's payload; `language` is a recognised tag.

    Raises KeyError for one without a text or without its facts.
    """
    title, body = TITLES[event_type], next(body for body in BODIES[event_type] if body.fits(data))
    return Text(say(title, language), say(body.sentence, language).format_map(Facts(data, language)))


def sentences() -> set[str]:
    """Every English sentence of this file: what a language must have a translation of."""
    return set(TITLES.values()) | {body.sentence for bodies in BODIES.values() for body in bodies}
