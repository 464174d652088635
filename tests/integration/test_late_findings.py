"""Orders of events found by reading: each once went wrong, or would have."""

from __future__ import annotations

from datetime import timedelta

import pytest

from payflow.models.decision import Decision, DecisionAction
from payflow.models.refund import RefundReason
from payflow.services.decision_desk import DecisionDesk
from tests.house import ADA, ADMIN, OPERATOR, House

HOUR = 3_600
SHORT_PLAN = pytest.mark.parametrize("house", [{"PAYFLOW_POLL_PLAN_PAYSTACK": "1,2,3"}], indirect=True)


def questions(house: House) -> list[tuple[str, str | None, str | None]]:
    """What people were asked: kind, answer, by whom."""
    return [(row.kind, row.action, row.resolved_by) for row in house.rows(Decision)]


def silent(house: House) -> None:
    """The gateway is down until the fault is taken away."""
    house.fault("error_500", gateway="paystack", times=None, params={"status": 500})


def hours(house: House, count: int) -> None:
    for _ in range(count):
        house.later(HOUR)


def answer(house: House, action: DecisionAction) -> None:
    """An operator answers the question that is open."""
    (asked,) = [row for row in house.rows(Decision) if row.resolved_at is None]
    DecisionDesk(house.container.units).resolve(OPERATOR, asked.id, action)


def test_a_gateway_silent_for_a_day_is_put_before_a_person_once_and_asked_on(house: House) -> None:
    """Nobody is asked before; afterwards one question, and the order is still looked at."""
    order_id, _ = house.initiated()
    silent(house)
    hours(house, 24)
    assert questions(house) == []
    hours(house, 6)
    assert questions(house) == [("poll_plan_exhausted", None, None)]
    assert [row.suggested_action for row in house.rows(Decision)] == ["extend"]
    order = house.order_row(order_id)
    assert order.status == "processing"
    assert order.due_at is not None
    assert order.due_at > house.clock.now()


def test_the_question_about_a_silent_gateway_closes_itself_when_it_answers(house: House) -> None:
    """It answers that nobody paid: the question is closed by its word and the order expires at last."""
    order_id, _ = house.initiated()
    silent(house)
    hours(house, 26)
    house.control("DELETE", "/sandbox/faults")
    house.later(HOUR)
    assert questions(house) == [("poll_plan_exhausted", "ignore", "gateway:paystack")]
    assert house.order_row(order_id).status == "expired"


def test_money_ends_the_question_about_a_silent_gateway(house: House) -> None:
    """Paid while nobody could ask: taken for its order, and nobody has anything left to decide."""
    order_id, reference = house.initiated()
    house.pay(reference)
    silent(house)
    hours(house, 26)
    house.control("DELETE", "/sandbox/faults")
    house.later(HOUR)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert questions(house) == [("poll_plan_exhausted", "ignore", "gateway:paystack")]


def test_a_silent_gateway_that_was_extended_is_asked_about_again_a_day_later(house: House) -> None:
    """The answer holds for a day; then the same question is open again and says who answered it."""
    house.initiated()
    silent(house)
    hours(house, 25)
    answer(house, DecisionAction.EXTEND)
    hours(house, 23)
    assert questions(house) == [("poll_plan_exhausted", "extend", OPERATOR.actor)]
    hours(house, 2)
    assert questions(house) == [("poll_plan_exhausted", None, None)]
    assert f"answered before by {OPERATOR.actor}" in house.rows(Decision)[0].detail


def test_a_page_that_was_never_opened_can_be_extended_too(house: House) -> None:
    """The gateway was silent from the first call on: `extend` calls it again at once."""
    order_id = house.order()
    silent(house)
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    house.drain()
    hours(house, 26)
    assert questions(house) == [("poll_plan_exhausted", None, None)]
    answer(house, DecisionAction.EXTEND)
    assert [attempt.due_at for attempt in house.attempts(order_id) if attempt.is_live] == [house.clock.now()]


@SHORT_PLAN
@pytest.mark.parametrize("outcome", ["success", "decline"])
def test_an_exhausted_plan_is_no_question_any_more_once_the_end_is_known(house: House, outcome: str) -> None:
    """Late money, or a late refusal, settles the try: the question about it is closed by the gateway's word."""
    _, reference = house.initiated()
    for _ in range(6):
        house.later(5)
    assert questions(house) == [("poll_plan_exhausted", None, None)]
    house.pay(reference, outcome)
    house.ask(reference)
    assert questions(house) == [("poll_plan_exhausted", "ignore", "gateway:paystack")]


@SHORT_PLAN
def test_a_plan_that_ends_again_after_it_was_extended_is_put_before_a_person_again(house: House) -> None:
    """Nobody may believe that it is still being asked."""
    house.initiated()
    for _ in range(6):
        house.later(5)
    answer(house, DecisionAction.EXTEND)
    house.drain()
    for _ in range(6):
        house.later(5)
    assert questions(house) == [("poll_plan_exhausted", None, None)]
    assert house.rows(Decision)[0].created_at > house.clock.now() - timedelta(seconds=30)


def test_a_refund_nobody_answers_about_for_a_day_is_put_before_a_person(house: House) -> None:
    """Counted from the first silence, not from the request; closed by itself once the refund is through."""
    order_id = house.paid()
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADMIN, payment.id, amount_minor=1_000, reason=RefundReason.OTHER)
    house.drain()
    silent(house)
    hours(house, 24)
    assert questions(house) == []
    hours(house, 2)
    assert questions(house) == [("refund_needs_attention", None, None)]
    house.control("DELETE", "/sandbox/faults")
    hours(house, 2)
    assert [(row.status, row.needs_attention, row.unanswered_since) for row in house.refunds(order_id)] == [
        ("completed", False, None)
    ]
    assert questions(house) == [("refund_needs_attention", "ignore", "gateway:paystack")]


def test_a_booking_given_back_before_confirmation_is_not_confirmed(house: House) -> None:
    """Paid, one booking cancelled and refunded before the confirmation ran: it is released, the other is confirmed."""
    order_id, reference = house.initiated()
    house.pay(reference)
    house.container.payments.request_check(reference, caller=None)
    house.step("payments.verify:paystack")
    assert house.order_row(order_id).status == "paid"
    booking_id = house.order_row(order_id).items[0].booking_id
    house.container.bookings.cancel(ADA, booking_id)
    house.step("refunds.submit:paystack")
    house.clock.advance(10)
    house.step("refunds.verify:paystack")
    assert [refund.status for refund in house.refunds(order_id)] == ["completed"]
    house.drain()
    order = house.order_row(order_id)
    by_id = {item.booking_id: item.booking.status for item in order.items}
    assert by_id.pop(booking_id) == "cancelled"
    assert set(by_id.values()) == {"confirmed"}
    assert order.status == "completed"


def test_a_whole_refund_that_comes_back_leaves_the_order_completed_and_asks_a_person(house: House) -> None:
    """Refunded whole, then the gateway takes its word back: payment success again, order as before, a decision."""
    order_id = house.paid()
    reference = house.attempts(order_id)[0].reference
    house.fault("refund_fails_after_success", reference=reference, params={"seconds": 30})
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=None, reason=RefundReason.OTHER)
    house.drain()
    house.later(6)
    assert house.statuses(order_id)[:2] == ("refunded", "refunded")
    house.clock.advance(60)
    house.control("GET", "/sandbox/refunds")
    for row in house.webhooks():
        house.receive(row)
    house.drain()
    assert house.statuses(order_id)[:2] == ("completed", "success")
    assert house.container.sweeps.due() == []
    with house.container.units.reading() as rows:
        assert rows.has_open_decision(order_id)


def test_worker_steps_carry_the_orders_correlation_id(house: House) -> None:
    """What a request began is found under its id in every later step's history."""
    from payflow import logs

    with logs.bound(correlation_id="req-77"):
        order_id = house.order()
        reference = house.container.payments.initiate_payment(ADA, order_id).reference
    house.drain()
    house.pay(reference)
    house.ask(reference)
    with house.container.units.reading() as rows:
        moves = [*rows.history_of(order_id), *rows.history_of(house.payment_row(order_id).id)]
    assert {move.correlation_id for move in moves} == {"req-77"}


def test_money_partly_given_back_before_we_asked_is_put_before_a_person(house: House) -> None:
    """A dashboard refund precedes our first question: never called failed, the order waits, one open decision."""
    order_id, reference = house.initiated()
    house.pay(reference)
    house.fault("dashboard_refund", reference=reference, params={"amount": 1_000})
    house.ask(reference)
    assert house.statuses(order_id)[:2] == ("processing", "processing")
    assert [attempt.status for attempt in house.attempts(order_id)] == ["mismatched"]
    with house.container.units.reading() as rows:
        assert rows.has_open_decision(order_id)
    house.later(2_000)
    assert house.order_row(order_id).status == "processing"
