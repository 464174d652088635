"""Money for an order that had failed: in time it is the order's, late it is for the workspace's policy to say."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from payflow.models.access import Workspace
from payflow.models.decision import Decision
from payflow.models.outbox import OutboxEvent
from tests.house import ADA, BEN, House

pytestmark = pytest.mark.usefixtures("sound_in_the_end")
OVER = 1_801


def policy(house: House, late_payment: str) -> None:
    with house.container.engine.begin() as connection:
        connection.execute(update(Workspace).values(late_payment=late_payment))


def declined(house: House, *bookings: str) -> tuple[str, str]:
    """An order whose only try was declined: (order id, reference)."""
    order_id, reference = house.initiated(ADA, *bookings)
    house.pay(reference, "decline")
    house.ask(reference)
    assert house.order_row(order_id).status == "failed"
    return order_id, reference


def paid_after_all(house: House, reference: str) -> None:
    """The customer pays the page that had declined, and comes back."""
    house.pay(reference)
    house.ask(reference)


def path(house: House, order_id: str) -> list[str]:
    """The statuses an order has had since it was made."""
    with house.container.units.reading() as rows:
        return [move.to_status for move in rows.history_of(order_id)]


def told(house: House, order_id: str) -> list[str]:
    """How its end was told to the world."""
    ends = ("ORDER_EXPIRED", "PAYMENT_COMPLETED")
    rows = sorted(house.rows(OutboxEvent), key=lambda row: row.id)
    return [row.type for row in rows if row.order_id == order_id and row.type in ends]


@pytest.mark.parametrize("late_payment", ["accept", "refund", "decide"])
def test_money_in_time_completes_a_failed_order_whatever_the_policy(house: House, late_payment: str) -> None:
    """Its time to pay is not over: nothing about it is late."""
    order_id, reference = declined(house)
    policy(house, late_payment)
    paid_after_all(house, reference)
    assert path(house, order_id) == ["processing", "failed", "paid", "completed"]
    assert told(house, order_id) == ["PAYMENT_COMPLETED"]


def test_late_money_is_accepted_for_a_failed_order_whose_slots_are_free(house: House) -> None:
    """It expires first, on record and told, and is then completed after all."""
    order_id, reference = declined(house)
    house.later(OVER)
    paid_after_all(house, reference)
    assert path(house, order_id) == ["processing", "failed", "expired", "paid", "completed"]
    assert told(house, order_id) == ["ORDER_EXPIRED", "PAYMENT_COMPLETED"]
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_late_money_for_a_failed_order_goes_back_once_where_the_policy_says_so(house: House) -> None:
    """Paid, expired, given back whole."""
    order_id, reference = declined(house)
    policy(house, "refund")
    house.later(OVER)
    paid_after_all(house, reference)
    house.later(30)
    assert path(house, order_id) == ["processing", "failed", "expired", "refunded"]
    assert [(row.amount_minor, row.status) for row in house.refunds(order_id)] == [(300_000, "completed")]
    assert house.statuses(order_id) == ("refunded", "refunded", {"pending"})


def test_late_money_for_a_failed_order_waits_for_a_person_where_the_policy_says_so(house: House) -> None:
    """One open question, and nothing goes back before it is answered."""
    order_id, reference = declined(house)
    policy(house, "decide")
    house.later(OVER)
    paid_after_all(house, reference)
    house.later(30)
    assert house.statuses(order_id) == ("expired", "success", {"pending"})
    assert house.refunds(order_id) == []
    assert [(row.kind, row.resolved_at) for row in house.rows(Decision)] == [("late_payment", None)]


def test_late_money_for_a_failed_order_goes_back_when_its_slot_was_sold(house: House) -> None:
    """The slot is looked at before the order is paid, so nobody is told of bookings that are not to be had."""
    slot = house.clock.now()
    order_id, reference = declined(house, house.booking(resource_id="the-room", starts_at=slot))
    house.later(OVER)
    house.paid(BEN, house.booking(BEN, resource_id="the-room", starts_at=slot))
    paid_after_all(house, reference)
    house.later(30)
    assert path(house, order_id) == ["processing", "failed", "expired", "refunded"]
    assert [row.status for row in house.refunds(order_id)] == ["completed"]
    assert [row.kind for row in house.rows(Decision)] == ["late_payment"]
