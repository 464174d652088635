"""In-app texts: every event has one, it tells the facts on record, and amounts read as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from payflow import bus
from payflow.channels import in_app
from payflow.core.act import Act
from payflow.core.events import EventType
from payflow.models.outbox import OutboxEvent
from tests.rows import NOW, a_booking, a_payment, a_refund, an_attempt, an_order

ACT = Act(NOW)


def payload(kind: EventType) -> dict[str, Any]:
    """What the rows themselves publish for an event of this kind."""
    order = an_order(a_booking(amount_minor=150_000))
    payment = a_payment(order)
    refund = a_refund(payment, an_attempt(payment), amount_minor=50_000)
    if kind.startswith("ORDER"):
        event = order.event(kind, ACT)
    elif kind.startswith("BOOKING"):
        event = a_booking().event(kind, ACT, order_id=order.id)
    elif kind.startswith("REFUND"):
        event = refund.event(kind, ACT, order=order)
    else:
        event = payment.event(kind, ACT, order=order, reference="PF-1", booking_ids=[], excess_amount=700)
    kept: list[OutboxEvent] = []

    class Rows:
        def add(self, row: OutboxEvent) -> None:
            kept.append(row)

    bus.publish(Rows(), event, ACT, user=None, workspace=None)
    return dict(kept[0].payload)


@pytest.mark.parametrize("kind", EventType)
def test_every_event_has_a_text_made_of_its_own_payload(kind: EventType) -> None:
    """No kind is forgotten, no text asks for a fact its event does not carry, no placeholder is left."""
    text = in_app.render(kind, payload(kind))
    assert text.title
    assert text.body
    assert not any(odd in text.title + text.body for odd in ("{", "}", "None", "[", "<"))
    assert text.body[0].isupper()
    assert text.body.rstrip().endswith(".")


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("ORDER_CREATED", "Order created"),
        ("PAYMENT_INITIATED", "Payment processing"),
        ("PAYMENT_COMPLETED", "Payment successful"),
        ("PAYMENT_FAILED", "Payment failed"),
        ("REFUND_REQUESTED", "Refund requested"),
        ("REFUND_COMPLETED", "Refund completed"),
    ],
)
def test_titles_of_the_contract_stand(kind: str, title: str) -> None:
    """The six titles other programs may look for."""
    assert in_app.TITLES[kind] == title


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_late_money_is_told_truthfully(status: str) -> None:
    """Paid too late: no promise of a confirmed booking."""
    late = payload(EventType.PAYMENT_COMPLETED) | {"order_status": status}
    body = in_app.render("PAYMENT_COMPLETED", late).body
    assert "too late" in body
    assert "being confirmed" not in body


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [(150_000, "NGN", "NGN\u00a01,500.00"), (1_500, "JPY", "¥1,500"), (5, "KWD", "KWD\u00a00.005")],
)
def test_amounts_are_written_with_the_currencys_decimals(amount: int, currency: str, shown: str) -> None:
    """Two, none and three."""
    facts = payload(EventType.REFUND_COMPLETED) | {"amount": amount, "currency": currency}
    assert shown in in_app.render("REFUND_COMPLETED", facts).body


@pytest.mark.parametrize("kind", EventType)
def test_payload_without_its_facts_is_refused(kind: EventType) -> None:
    """Half a message is none: the caller parks the event instead."""
    with pytest.raises(KeyError):
        in_app.render(kind, {})


def test_unknown_event_has_no_text() -> None:
    """A word nobody knows is not guessed."""
    with pytest.raises(KeyError):
        in_app.render("NONSENSE", {})
