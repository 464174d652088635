"""Many at once, with real threads on the real database: whoever comes second finds the work done."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from payflow.core.errors import Conflict, InvalidInput, PayflowError
from payflow.gateways.base import AttemptRef
from payflow.models.access import User
from payflow.models.base import Transition
from payflow.models.booking import Booking
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.order import Order, OrderBooking
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import RefundReason
from payflow.models.webhook_event import WebhookEvent
from payflow.services.access import Caller
from payflow.store.unit_of_work import Transaction
from tests.house import ADA, ADMIN, BEN, SECRET, WORKSPACE, House

pytestmark = pytest.mark.usefixtures("sound_in_the_end")


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run every call in a thread of its own, all let go at the same moment; results, or the payflow errors raised."""
    barrier = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        barrier.wait(20)
        try:
            return call()
        except PayflowError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def many(times: int, call: Callable[[], Any]) -> list[Any]:
    """The same call, so many times at once."""
    return at_once(*[call] * times)


def charge_success(reference: str) -> tuple[dict[str, str], bytes]:
    """A webhook as Paystack signs it."""
    body = json.dumps({"event": "charge.success", "data": {"reference": reference}}).encode()
    return {"x-paystack-signature": hmac.new(SECRET.encode(), body, hashlib.sha512).hexdigest()}, body


def moves(house: House, entity: str, to_status: str) -> int:
    """How many history rows say so."""
    return sum((row.entity, row.to_status) == (entity, to_status) for row in house.rows(Transition))


def assert_paid_once(house: House, order_id: str) -> None:
    """One success, one confirmation per booking, one capture, each message once."""
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert moves(house, "payment", "success") == moves(house, "attempt", "succeeded") == 1
    assert moves(house, "booking", "confirmed") == len(house.order_row(order_id).items)
    assert [row.kind for row in house.rows(LedgerPosting)].count("capture") == 1
    told = Counter((row.event_id, row.recipient, row.channel) for row in house.rows(Notification))
    assert set(told.values()) == {1}
    events = Counter(row.type for row in house.rows(OutboxEvent))
    assert events["PAYMENT_COMPLETED"] == 1
    assert len(house.letters()) == 1


def test_twenty_clicks_on_pay_make_one_charge(house: House) -> None:
    """20 initiations and several workers at once: one live try, one initialize call, one charge."""
    order_id = house.order()
    opened = many(20, partial(house.container.payments.initiate_payment, ADA, order_id))
    assert len({one.reference for one in opened}) == 1
    assert sum(one.is_new for one in opened) == 1
    assert len(house.attempts(order_id)) == 1

    many(8, partial(house.container.gateway_calls.initiate, "paystack"))
    assert house.calls("initialize") == 1
    house.pay(opened[0].reference)
    house.ask(opened[0].reference)
    assert house.charges(opened[0].reference) == 1
    assert_paid_once(house, order_id)


def test_one_webhook_in_ten_parallel_deliveries_has_one_effect(house: House) -> None:
    """10 receipts of one body at once: one inbox row, one posting, one message per recipient and channel."""
    order_id, reference = house.initiated()
    house.pay(reference)
    received = many(10, partial(house.container.webhooks.receive, "paystack", *charge_success(reference)))
    assert sorted(received) == [False] * 9 + [True]
    assert len(house.rows(WebhookEvent)) == 1

    owed = many(6, house.container.webhooks.process)
    assert sum(len(one.attempts) for one in owed) == 1, "the event was handed out to more than one chain"
    house.drain()
    assert_paid_once(house, order_id)


def test_webhook_callback_and_poll_at_the_same_moment_settle_once(house: House) -> None:
    """16 threads, each one of the three ways the news can come, through to the messages: one of everything."""
    order_id, reference = house.initiated()
    house.pay(reference)
    attempt_id = house.attempts(order_id)[0].id
    house.clock.advance(6)
    services = house.container

    def webhook() -> None:
        services.webhooks.receive("paystack", *charge_success(reference))
        for ids in services.webhooks.process().attempts.values():
            services.gateway_calls.verify("paystack", [one for one, _ in ids])
        services.bookings.confirm([order_id])
        services.notifications.fan_out([order_id])

    def callback() -> None:
        services.payments.request_check(reference, caller=None)
        services.gateway_calls.verify("paystack", [attempt_id])
        services.bookings.confirm([order_id])
        services.notifications.fan_out([order_id])

    def poll() -> None:
        services.gateway_calls.verify("paystack")
        services.bookings.confirm()
        services.notifications.deliver(services.notifications.fan_out())

    assert at_once(*[webhook, callback, poll, poll] * 4) == [None] * 16
    house.drain()
    assert_paid_once(house, order_id)


def test_sixteen_late_writers_of_one_answer_settle_once(house: House) -> None:
    """Workers whose lease ran out while they waited all come back with the same answer: the first one counts."""
    order_id, reference = house.initiated()
    house.pay(reference)
    attempt = house.attempts(order_id)[0]
    answer = house.container.gateways["paystack"].verify(AttemptRef(reference=reference, amount=attempt.amount))
    store = partial(
        house.container.gateway_calls._store_answer, attempt_id=attempt.id, answer=answer, seen_due=attempt.due_at
    )
    assert many(16, partial(house.container.units.run, store)) == [None] * 16
    many(8, partial(house.container.bookings.confirm, [order_id]))
    house.drain()
    assert_paid_once(house, order_id)


def test_ten_refunds_of_sixty_percent_at_once_accept_one(house: House) -> None:
    """The reservation is made under the payment's lock: one is accepted, nine are told what is left."""
    order_id = house.paid()
    payment_id = house.payment_row(order_id).id
    ask = partial(
        house.container.refunds.request_refund, ADA, payment_id, amount_minor=180_000, reason=RefundReason.OTHER
    )
    answers = many(10, ask)
    assert sum(isinstance(one, str) for one in answers) == 1
    assert sum(isinstance(one, InvalidInput) and one.code == "amount_too_large" for one in answers) == 9

    many(6, partial(house.container.refund_calls.submit, "paystack"))
    house.later(30)
    assert house.calls("refund") == 1
    assert house.payment_row(order_id).refunded_minor == 180_000


def test_two_orders_for_one_booking_at_once_leave_it_on_one(house: House) -> None:
    """Whoever is second gets the booking or a conflict, never a share; an order left empty is cancelled."""
    for _ in range(4):
        booking_id = house.booking()
        answers = at_once(*[partial(house.container.payments.create_order, ADA, [booking_id])] * 3)
        made = [one for one in answers if isinstance(one, str)]
        assert made
        assert all(isinstance(one, Conflict) for one in answers if not isinstance(one, str))
        active = [row for row in items(house, [booking_id]) if row.active]
        assert len(active) == 1
        assert sorted(house.order_row(one).status for one in made) == ["cancelled"] * (len(made) - 1) + ["pending"]


def items(house: House, booking_ids: Sequence[str]) -> list[OrderBooking]:
    """The order rows of some bookings."""
    orders = [house.order_row(row.id) for row in house.rows(Order)]
    return [item for order in orders for item in order.items if item.booking_id in booking_ids]


def test_crossing_orders_over_shared_bookings_do_not_lock_each_other_up(house: House) -> None:
    """Two orders naming the same bookings in opposite order finish: rows are locked in id order."""
    one, two = house.booking(), house.booking()
    house.order(ADA, one)
    house.order(ADA, two)
    answers = at_once(
        partial(house.container.payments.create_order, ADA, [one, two]),
        partial(house.container.payments.create_order, ADA, [two, one]),
    )
    assert any(isinstance(answer, str) for answer in answers)
    assert sum(row.active for row in items(house, [one, two])) == 2


def test_two_payers_of_one_slot_at_once_end_with_one_booking(house: House) -> None:
    """Two paid orders over one slot, confirmed at the same moment: one is completed, the other's money goes back."""
    slot = house.clock.now()
    orders = []
    for owner in (ADA, BEN):
        order_id, reference = house.initiated(owner, house.booking(owner, resource_id="desk", starts_at=slot))
        house.pay(reference)
        orders.append(order_id)
    house.clock.advance(6)
    house.step("payments.verify:paystack")
    at_once(*[partial(house.container.bookings.confirm, [order_id]) for order_id in orders])
    house.drain()
    house.later(30)
    assert sorted(house.statuses(order_id)[0] for order_id in orders) == ["completed", "refunded"]
    assert sum(row.status == "confirmed" for row in house.rows(Booking)) == 1


def test_two_sweepers_and_their_workers_at_once_do_each_step_once(house: House) -> None:
    """Four whole workers drain the same backlog side by side: one page, one settlement and one letter per order."""
    orders = [house.order() for _ in range(5)]
    references = [house.container.payments.initiate_payment(ADA, order_id).reference for order_id in orders]
    assert many(2, house.container.sweeps.ring_due)
    many(4, house.drain)
    assert house.calls("initialize") == 5
    for reference in references:
        house.pay(reference)
    house.clock.advance(6)
    many(4, house.drain)
    house.drain()
    assert {house.statuses(order_id)[0] for order_id in orders} == {"completed"}
    assert len(house.letters()) == 5
    assert moves(house, "payment", "success") == 5


@pytest.mark.parametrize("is_known_paid", [True, False])
def test_cancel_against_pay_ends_consistent(house: House, is_known_paid: bool) -> None:
    """Cancelled at the moment its money is found: completed and the cancel refused, or cancelled and the money back."""
    orders = []
    for _ in range(4):
        order_id, reference = house.initiated()
        if is_known_paid:
            house.pay(reference)
        attempt_id = house.attempts(order_id)[0].id
        cancelled, *_ = at_once(
            partial(house.container.orders.cancel, ADA, order_id),
            partial(house.container.gateway_calls.verify, "paystack", [attempt_id]),
            partial(house.container.bookings.confirm, [order_id]),
        )
        if not is_known_paid:
            house.pay(reference)
        orders.append((order_id, cancelled))
    house.later(10)
    house.later(10)
    for order_id, cancelled in orders:
        assert house.order_row(order_id).status == ("refunded" if cancelled is None else "completed")


def test_cancel_while_the_page_is_being_opened_ends_consistent(house: House) -> None:
    """The page arrives for an order cancelled meanwhile: no live try is left, and a payment there goes back."""
    for _ in range(4):
        order_id = house.order()
        reference = house.container.payments.initiate_payment(ADA, order_id).reference
        at_once(
            partial(house.container.gateway_calls.initiate, "paystack"),
            partial(house.container.orders.cancel, ADA, order_id),
        )
        house.drain()
        assert house.order_row(order_id).status == "cancelled"
        assert not any(attempt.is_live for attempt in house.attempts(order_id))
        if house.control("GET", f"/sandbox/charges?reference={reference}")["charges"]:
            house.pay(reference)
            house.ask(reference)
            house.later(30)
            assert house.order_row(order_id).status == "refunded"


def test_expiry_against_pay_never_loses_the_money(house: House) -> None:
    """At the deadline, several expiries and polls at once: the order is completed."""
    order_id, reference = house.initiated()
    house.clock.advance(1_801)
    house.pay(reference)
    expire, verify = house.container.expiry.expire, partial(house.container.gateway_calls.verify, "paystack")
    at_once(expire, verify, expire, verify, partial(expire, [order_id]), partial(expire, [order_id]))
    house.drain()
    assert_paid_once(house, order_id)


def test_approve_and_reject_at_once_have_one_outcome(house: House) -> None:
    """A waiting refund is approved or rejected, not both; the money agrees."""
    order_id = house.paid()

    def ask_for_approval(tx: Transaction) -> None:
        tx.upsert_workspace(WORKSPACE, name="", at=tx.act.at).refund_needs_approval = True

    house.container.units.run(ask_for_approval)
    refunds, payment_id = house.container.refunds, house.payment_row(order_id).id
    for _ in range(3):
        refund_id = refunds.request_refund(ADA, payment_id, amount_minor=1_000, reason=RefundReason.OTHER)
        answers = at_once(*[partial(refunds.approve, ADMIN, refund_id), partial(refunds.reject, ADMIN, refund_id)] * 2)
        assert sum(isinstance(one, Conflict) for one in answers) == 2
        assert sum(one is None for one in answers) == 2
    house.drain()
    house.later(30)
    done = [row for row in house.refunds(order_id) if row.approval == "approved"]
    assert [row.status for row in done] == ["completed"] * len(done)
    assert house.payment_row(order_id).refund_reserved_minor == 1_000 * len(done)


def test_refund_answer_stored_by_eight_late_writers_completes_once(house: House) -> None:
    """A refund is completed once, however many say so at the same moment."""
    order_id = house.paid()
    refund_id = house.container.refunds.request_refund(
        ADA, house.payment_row(order_id).id, amount_minor=None, reason=RefundReason.OTHER
    )
    house.drain()
    house.clock.advance(2)  # the gateway is done, nobody has asked yet
    many(8, partial(house.container.payments.complete_refund, refund_id, actor="system"))
    house.drain()
    assert moves(house, "refund", "completed") == 1
    assert [row.kind for row in house.rows(LedgerPosting)].count("refund") == 1
    assert house.statuses(order_id) == ("refunded", "refunded", {"cancelled"})


def test_first_bookings_of_a_new_customer_at_once_make_one_user(house: House) -> None:
    """Ten first bookings in a new workspace: ten bookings, one user, one workspace, no error."""
    cleo = Caller(user_id="u-cleo", email="cleo@example.com", name="Cleo")
    made = at_once(*[partial(house.booking, cleo, workspace_id="w-new", resource_id=f"r{one}") for one in range(10)])
    assert len({one for one in made if isinstance(one, str)}) == 10
    assert [row.id for row in house.rows(User)] == ["u-cleo"]


def test_read_modify_write_under_threads_loses_nothing(house: House) -> None:
    """8 threads read a row, think and write it back 6 times each: every one of the 48 steps is in the sum."""
    order_id, _ = house.initiated()
    payment_id = house.payment_row(order_id).id

    def add_one(tx: Transaction) -> None:
        payment = tx.lock(Payment, payment_id)
        payment.retry_count = payment.retry_count + 1

    def six() -> None:
        for _ in range(6):
            house.container.units.run(add_one)

    many(8, six)
    assert house.payment_row(order_id).retry_count == 48


def test_write_without_a_lock_is_refused_rather_than_lost(house: House) -> None:
    """A step that forgot to lock is caught by the row's version: what was reported done is in the sum."""
    order_id, _ = house.initiated()
    attempt_id = house.attempts(order_id)[0].id

    def add_one(tx: Transaction) -> None:
        attempt = tx.get(PaymentAttempt, attempt_id)
        attempt.poll_step = attempt.poll_step + 1

    answers = many(6, partial(house.container.units.run, add_one))
    assert house.attempts(order_id)[0].poll_step == sum(one is None for one in answers)
