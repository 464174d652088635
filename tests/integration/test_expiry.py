"""Expiry asks first: every page that a customer may have paid is asked about before its order ends, or it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from payflow.container import build
from payflow.gateways.calls import TransportOptions
from payflow.models.decision import Decision, DecisionAction
from payflow.services.decision_desk import DecisionDesk
from tests.house import ADA, OPERATOR, House

pytestmark = pytest.mark.usefixtures("sound_in_the_end")
HOUR = 3_600
OVER = 1_801
SHORT_PLAN = pytest.mark.parametrize("house", [{"PAYFLOW_POLL_PLAN_PAYSTACK": "1,2,3"}], indirect=True)


@contextmanager
def switched_off(house: House, gateway: str) -> Iterator[None]:
    """Inside, the house runs as after a restart with settings that leave this gateway out."""
    on = house.container
    left = {name: given for name, given in on.settings.gateways.items() if name != gateway}
    transport = TransportOptions(sleep=lambda _seconds: None)
    settings = replace(on.settings, gateways=left)
    house.container = build(settings, clock=house.clock, bells=house.bells, transport=transport)
    try:
        yield
    finally:
        house.container.engine.dispose()
        house.container = on


def hours(house: House, count: int) -> None:
    for _ in range(count):
        house.later(HOUR)


def path(house: House, order_id: str) -> list[str]:
    """The statuses an order has had since it was made."""
    with house.container.units.reading() as rows:
        return [move.to_status for move in rows.history_of(order_id)]


def questions(house: House) -> list[tuple[str, str | None, str | None]]:
    return [(row.kind, row.action, row.resolved_by) for row in house.rows(Decision)]


def extended(house: House) -> tuple[str, str]:
    """An order whose page was given up at the end of its plan, and that a person wants asked about again, but nobody
    has yet: (order id, reference)."""
    order_id, reference = house.initiated()
    for _ in range(6):
        house.later(5)
    (asked,) = house.rows(Decision)
    DecisionDesk(house.container.units).resolve(OPERATOR, asked.id, DecisionAction.EXTEND)
    assert [attempt.status for attempt in house.attempts(order_id)] == ["abandoned"]
    return order_id, reference


# -- a gateway that is switched off -------------------------------------------------------------------------------


def test_an_order_does_not_expire_while_its_gateway_is_switched_off(house: House) -> None:
    """Nobody can ask, so it waits with growing pauses; paid there meanwhile, it is paid here once it is on again."""
    order_id, reference = house.initiated()
    house.pay(reference)
    with switched_off(house, "paystack"):
        house.later(OVER)
        order = house.order_row(order_id)
        assert (order.status, order.tries) == ("processing", 1)
        assert order.due_at is not None
        assert order.due_at > house.clock.now()
        hours(house, 2)
        assert house.order_row(order_id).tries > 1
    house.later(HOUR)
    assert path(house, order_id) == ["processing", "paid", "completed"]


def test_a_gateway_switched_off_for_a_day_is_put_before_a_person_who_may_end_the_order(house: House) -> None:
    """Told once, in words that fit; cancelled by hand, the order is over and its slots are free."""
    order_id, _ = house.initiated()
    with switched_off(house, "paystack"):
        hours(house, 24)
        assert questions(house) == []
        hours(house, 3)
        assert questions(house) == [("poll_plan_exhausted", None, None)]
        assert "paystack is switched off" in house.rows(Decision)[0].detail
        house.container.orders.cancel(OPERATOR, order_id)
        assert house.statuses(order_id) == ("cancelled", "cancelled", {"pending"})
        house.order(ADA, *(item.booking_id for item in house.order_row(order_id).items))


def test_the_question_about_a_gateway_switched_off_closes_when_it_answers(house: House) -> None:
    """Switched on again it says that nobody paid: the order expires, and nobody has anything left to decide."""
    order_id, _ = house.initiated()
    with switched_off(house, "paystack"):
        hours(house, 27)
    house.later(HOUR)
    assert questions(house) == [("poll_plan_exhausted", "ignore", "gateway:paystack")]
    assert house.order_row(order_id).status == "expired"


def test_an_order_whose_gateway_was_never_called_expires_though_it_is_switched_off(house: House) -> None:
    """There is no page that anybody could have paid."""
    order_id = house.order()
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    with switched_off(house, "paystack"):
        house.later(OVER)
        assert house.order_row(order_id).status == "expired"


# -- a page that is not the live one any more ---------------------------------------------------------------------


@SHORT_PLAN
def test_a_page_that_was_given_up_and_extended_is_asked_about_before_its_order_expires(house: House) -> None:
    """The customer has paid it and nobody has looked since: paid there is paid here."""
    order_id, reference = extended(house)
    house.pay(reference)
    house.clock.advance(OVER)
    house.step("orders.expire")
    house.drain()
    assert path(house, order_id) == ["processing", "paid", "completed"]


@SHORT_PLAN
def test_an_order_does_not_expire_while_nobody_can_ask_about_a_page_that_was_given_up(house: House) -> None:
    """Its gateway is down, so not yet; after a day a person is told, and its answer ends the question."""
    order_id, reference = extended(house)
    house.pay(reference)
    house.fault("error_500", gateway="paystack", times=None, params={"status": 500})
    hours(house, 23)
    assert house.order_row(order_id).status == "processing"
    assert questions(house) == [("poll_plan_exhausted", "extend", OPERATOR.actor)]
    hours(house, 3)
    assert questions(house) == [("poll_plan_exhausted", None, None)]
    house.control("DELETE", "/sandbox/faults")
    house.later(HOUR)
    assert path(house, order_id) == ["processing", "paid", "completed"]
    assert questions(house) == [("poll_plan_exhausted", "ignore", "gateway:paystack")]


def test_a_declined_page_is_asked_about_again_before_its_order_expires(house: House) -> None:
    """Declined, tried anew elsewhere, and then paid on the first page after all."""
    order_id, reference = house.initiated()
    house.pay(reference, "decline")
    house.ask(reference)
    house.container.payments.initiate_payment(ADA, order_id, gateway="flutterwave")
    house.drain()
    house.pay(reference)
    house.clock.advance(OVER)
    house.step("orders.expire")
    house.drain()
    assert path(house, order_id) == ["processing", "failed", "processing", "paid", "completed"]


def test_a_page_that_is_paid_counts_though_another_cannot_be_asked_about(house: House) -> None:
    """The first page's gateway is down at the deadline; the money on the second is there, and the order is paid."""
    order_id, reference = house.initiated()
    house.pay(reference, "decline")
    house.ask(reference)
    second = house.container.payments.initiate_payment(ADA, order_id, gateway="flutterwave")
    house.drain()
    house.pay(second.reference)
    house.fault("error_500", gateway="paystack", times=None, params={"status": 500})
    house.clock.advance(OVER)
    house.step("orders.expire")
    assert house.order_row(order_id).status == "paid"
    assert "bookings.confirm" in house.container.sweeps.due()


def test_a_page_that_nobody_was_given_does_not_hold_its_order_up(house: House) -> None:
    """Its gateway was silent from the first call on, so another stood in: what nobody can pay is no reason to wait."""
    house.fault("error_500", gateway="paystack", times=None, params={"status": 500})
    order_id = house.order()
    house.container.payments.initiate_payment(ADA, order_id, gateway="auto")
    house.drain()
    assert [(one.gateway, one.status) for one in house.attempts(order_id)] == [
        ("paystack", "abandoned"),
        ("flutterwave", "initiated"),
    ]
    house.later(OVER)
    assert house.order_row(order_id).status == "expired"
