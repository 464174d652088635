"""Orders of events found by reading: each once went wrong, or would have."""

from __future__ import annotations

from payflow.models.refund import RefundReason
from tests.house import ADA, House


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
