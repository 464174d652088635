"""Explaining an order: where it stands, what is next, and when."""

from __future__ import annotations

from datetime import datetime

import pytest

from payflow.core.errors import Conflict
from payflow.core.states import OrderStatus
from payflow.models.decision import Decision, DecisionAction
from payflow.models.refund import RefundReason
from payflow.services import explain
from payflow.services.decision_desk import DecisionDesk
from tests.house import ADA, ADMIN, BEN, OPERATOR, House
from tests.integration.test_explain import record, story
from tests.rows import NOW, a_payment, an_attempt, an_order


def steps(house: House, order_id: str) -> list[tuple[str, datetime | None]]:
    """What is next. Nothing is due in the past, and something is always said, over the API too."""
    told = story(house, order_id)
    assert told.next
    assert [one["what"] for one in told.as_json()["next"]] == [one.what for one in told.next]
    assert not [one for one in told.next if one.due_at is not None and one.due_at < house.clock.now()]
    return [(one.what, one.due_at) for one in told.next]


def when(house: House, order_id: str, words: str) -> datetime | None:
    """When the one step that says so is due."""
    (due_at,) = [due_at for what, due_at in steps(house, order_id) if words in what]
    return due_at


def questions(house: House, order_id: str) -> list[Decision]:
    return [row for row in house.rows(Decision) if row.order_id == order_id and row.resolved_at is None]


def close_questions(house: House, order_id: str) -> None:
    """Somebody looks at all that is asked, and has nothing done."""
    for row in questions(house, order_id):
        DecisionDesk(house.container.units).resolve(OPERATOR, row.id, DecisionAction.IGNORE)
    house.drain()


def come_back(house: House, order_id: str) -> None:
    """A refund the gateway had called done fails after all, and its webhook says so."""
    house.later(6)
    house.clock.advance(60)
    house.control("GET", "/sandbox/refunds")
    for told in house.webhooks():
        house.receive(told)
    house.drain()


def test_an_order_whose_gateway_is_down_at_expiry_says_when_it_is_asked_again(house: House) -> None:
    """Ten minutes late and thirty hours late alike; a person who was asked meanwhile is told first."""
    order_id, _ = house.initiated()
    house.fault("error_500", gateway="paystack", times=None, params={"status": 500})
    for _ in range(20):
        house.later(120)
    assert when(house, order_id, "has not answered; paystack is asked again") == house.order_row(order_id).due_at
    for _ in range(30):
        house.later(3_600)
    assert when(house, order_id, "has not answered; paystack is asked again") == house.order_row(order_id).due_at
    assert steps(house, order_id)[0][0].startswith("A person decides: paystack has not said for a day")
    assert not [what for what, _ in steps(house, order_id) if "expires unless" in what]


def test_money_that_does_not_fit_holds_the_order_until_it_is_decided(house: House) -> None:
    """Before its expiry and after it; no time is told, for it depends on a person."""
    order_id, reference = house.initiated()
    house.fault("wrong_amount", reference=reference, params={"delta": -100})
    house.pay(reference)
    house.ask(reference)
    for _ in range(3):
        assert when(house, order_id, "held until the question is answered") is None
        assert not [what for what, _ in steps(house, order_id) if "expires unless" in what]
        house.later(1_000)


def test_a_failed_order_may_be_paid_until_it_expires_and_not_after(house: House) -> None:
    """As initiating answers: a new try before, `order_expired` afterwards."""
    order_id, reference = house.initiated()
    house.pay(reference, "decline")
    house.ask(reference)
    assert when(house, order_id, "may try again until then") == house.order_row(order_id).expires_at
    house.later(7_200)
    with pytest.raises(Conflict, match="time to pay is over"):
        house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    assert when(house, order_id, "its time to pay is over") is None
    assert "try again" not in story(house, order_id).why + " ".join(what for what, _ in steps(house, order_id))


def test_a_dispute_waits_for_the_bank_whoever_has_looked_at_it(house: House) -> None:
    """Also when its question was answered; a refund asked for before waits with it."""
    order_id = house.paid()
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADMIN, payment.id, amount_minor=50_000, reason=RefundReason.OTHER)
    house.fault("dispute", reference=house.attempts(order_id)[0].reference)
    for told in house.webhooks():
        house.receive(told)
    house.step("webhooks.process")
    house.drain()
    close_questions(house, order_id)
    assert steps(house, order_id) == [
        ("The refund of NGN 500.00 is held until the dispute ends.", None),
        ("The bank gives its verdict on the dispute over NGN 3,000.00; paystack tells it.", None),
    ]


def test_a_lost_slot_is_told_with_what_was_taken_and_where_the_money_goes(house: House) -> None:
    """Its bookings will never be confirmed, and nobody is told to wait for that."""
    start = house.clock.now()
    first, second = (house.booking(one, resource_id="room-x", starts_at=start) for one in (ADA, BEN))
    _, early = house.initiated(ADA, first)
    order_id, late = house.initiated(BEN, second)
    for reference in (early, late):
        house.pay(reference)
        house.ask(reference)
    told = story(house, order_id).why
    assert "its bookings will not be confirmed. The slot was taken" in told
    assert "room-x from 2026-01-15T12:00:00.000Z to 2026-01-15T13:00:00.000Z" in told
    assert "the money is being given back" in told
    assert when(house, order_id, "asked about the refund of NGN 1,500.00") is not None
    house.later(60)
    assert steps(house, order_id) == [("Nothing more: its money was given back.", None)]


def test_a_lost_page_is_told_the_same_way_in_both_places(house: House) -> None:
    """There may be one, or not; the call that finds out has its time."""
    order_id = house.order()
    house.fault("timeout_after_effect", gateway="paystack", operation="initialize", times=1, params={"seconds": 1})
    reference = house.container.payments.initiate_payment(ADA, order_id, gateway="paystack").reference
    house.drain()
    assert f"for a page got no clear answer ({reference}); there may be one." in story(house, order_id).why
    assert when(house, order_id, f"called again for {reference}: for its page, or for what became of it") is not None


def test_a_whole_refund_that_came_back_says_that_no_booking_is_left(house: House) -> None:
    """Money here, slots free: the person who is asked learns both."""
    order_id = house.paid()
    house.fault("refund_fails_after_success", reference=house.attempts(order_id)[0].reference, params={"seconds": 30})
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADMIN, payment.id, amount_minor=None, reason=RefundReason.OTHER)
    house.drain()
    come_back(house, order_id)
    told = story(house, order_id).why
    assert "is paid. Bookings confirmed: 0; released again: 2." in told
    assert "A refund of NGN 3,000.00 was done and came back" in told
    (asked,) = questions(house, order_id)
    assert "2 of the order's bookings were released with it: their slots are free." in asked.detail
    close_questions(house, order_id)
    assert steps(house, order_id) == [("Nothing more: it is paid and every step on it has been taken.", None)]


def test_one_booking_of_two_given_back_is_counted(house: House) -> None:
    """One is confirmed, one was released."""
    order_id = house.paid()
    house.container.bookings.cancel(ADA, house.order_row(order_id).items[0].booking_id)
    house.drain()
    house.later(10)
    assert "is paid. Bookings confirmed: 1; released again: 1." in story(house, order_id).why


def test_a_booking_that_moved_away_before_the_payment_is_not_counted(house: House) -> None:
    """It is on another order and was never this one's to confirm."""
    booking, other = house.booking(ADA), house.booking(ADA)
    order_id = house.order(ADA, booking, other)
    house.order(ADA, other)
    reference = house.container.payments.initiate_payment(ADA, order_id, gateway="paystack").reference
    house.drain()
    house.pay(reference)
    house.ask(reference)
    assert "is paid and its bookings are confirmed." in story(house, order_id).why


def test_being_paid_is_told_of_the_current_try(house: House) -> None:
    """Not of the newest: a second transaction on one reference is a row of its own, made later."""
    payment = a_payment(order := an_order(), status="processing")
    current, newest = an_attempt(payment, status="initiated"), an_attempt(payment, status="abandoned")
    payment.current_attempt_id = current.id
    told = explain.why(record("processing", order=order, payment=payment, attempts=(current, newest)))
    assert f"is being paid: {explain.attempt_words(current)}" in told


@pytest.mark.parametrize("status", list(OrderStatus))
def test_something_is_always_said_about_what_is_next(house: House, status: OrderStatus) -> None:
    """Where nothing more happens, that and why."""
    told = explain._next(record(status.value), NOW)
    assert told
    assert all(one.what.startswith("Nothing more: ") == one.is_end for one in told)
    ends = {OrderStatus.PAID, OrderStatus.COMPLETED, OrderStatus.REFUNDED, OrderStatus.EXPIRED, OrderStatus.CANCELLED}
    assert told[0].is_end is (status in ends)


def test_a_step_nobody_takes_is_called_overdue(house: House) -> None:
    """A worker is down: the time is past, and it is said that it is."""
    order_id, _ = house.initiated()
    house.clock.advance(60)
    (late,) = [one for one in story(house, order_id).next if "asked about" in one.what]
    assert late.what.endswith("It is due; no worker has finished it yet.")
