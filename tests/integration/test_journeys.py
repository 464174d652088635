"""An order's ways through the house, step by step, on a real database and over HTTP to the sandbox gateway."""

from __future__ import annotations

import pytest

from payflow.core.errors import Conflict, InvalidInput
from payflow.models.access import Workspace
from payflow.models.decision import Decision
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.outbox import OutboxEvent
from payflow.models.refund import RefundReason
from payflow.services.payment import attempt_ref
from tests.house import ADA, ADMIN, House


def policy(house: House, **values: object) -> None:
    """Set the workspace's policy columns."""

    def step(tx: object) -> None:
        workspace = tx.get(Workspace, "w-harbour")  # type: ignore[attr-defined]  # a Transaction
        for name, value in values.items():
            setattr(workspace, name, value)

    house.container.units.run(step)


def messages(house: House, order_id: str) -> list[tuple[str, str]]:
    """(channel, title) of an order's messages."""
    return sorted((row.channel, row.title) for row in house.rows(Notification) if row.order_id == order_id)


def test_an_order_paid_becomes_completed_with_everything_on_record(house: House) -> None:
    """Paid once: order completed, bookings confirmed, one capture in the ledger, each message once."""
    order_id = house.paid()

    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    captures = [row for row in house.rows(LedgerPosting) if row.kind == "capture"]
    assert [(row.amount_minor, row.currency) for row in captures] == [(300_000, "NGN")]
    assert messages(house, order_id) == [
        ("email", "Payment successful"),
        ("in_app", "Order created"),
        ("in_app", "Payment processing"),
        ("in_app", "Payment successful"),
    ]
    assert [letter["to"] for letter in house.letters()] == [["ada@example.com"]]
    payment = house.payment_row(order_id)
    assert house.charges(house.attempts(order_id)[0].reference) == 1
    assert house.order_row(order_id).payment_reference == house.attempts(order_id)[0].reference
    assert payment.paid_at is not None


def test_events_carry_the_contracts_fields(house: House) -> None:
    """PAYMENT_COMPLETED holds every field other programs read."""
    house.paid()
    event = next(row for row in house.rows(OutboxEvent) if row.type == "PAYMENT_COMPLETED")
    needed = {
        "user_id", "user_email", "user_name", "workspace_id", "workspace_name", "order_id", "order_number", "timestamp",
        "payment_id", "amount", "currency", "payment_method", "gateway_reference", "booking_ids", "error",
    }  # fmt: skip
    assert needed <= set(event.payload)


def test_a_declined_payment_may_be_tried_again_with_a_new_reference(house: House) -> None:
    """Decline → failed; the next try has its own reference and is charged once."""
    order_id, reference = house.initiated()
    house.pay(reference, "decline")
    house.ask(reference)
    assert house.statuses(order_id) == ("failed", "failed", {"pending"})

    again = house.container.payments.initiate_payment(ADA, order_id)
    house.drain()
    assert again.reference != reference
    house.pay(again.reference)
    house.ask(again.reference)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert house.payment_row(order_id).retry_count == 1
    assert (house.charges(reference), house.charges(again.reference)) == (0, 1)


def test_initiating_again_returns_the_live_try(house: House) -> None:
    """While a try is live, initiating is the same try: one initialize call at the gateway."""
    order_id, reference = house.initiated()
    again = house.container.payments.initiate_payment(ADA, order_id)
    house.drain()
    assert (again.reference, again.is_new) == (reference, False)
    assert house.calls("initialize") == 1


def test_a_paid_order_cannot_be_paid_again(house: House) -> None:
    """409 already_paid, nothing written."""
    order_id = house.paid()
    with pytest.raises(Conflict) as caught:
        house.container.payments.initiate_payment(ADA, order_id)
    assert caught.value.code == "already_paid"
    assert len(house.attempts(order_id)) == 1


def test_the_poll_finds_a_payment_nobody_told_about(house: House) -> None:
    """No webhook, no redirect: the first due poll settles it."""
    order_id, reference = house.initiated()
    house.pay(reference)
    house.later(6)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_an_unpaid_order_expires_after_asking_and_frees_its_bookings(house: House) -> None:
    """At its deadline the gateway is asked first; then expired, payment cancelled, bookings free for another order."""
    order_id, _ = house.initiated()
    asked = house.calls("verify")
    house.later(1_801)
    assert house.statuses(order_id) == ("expired", "cancelled", {"pending"})
    assert house.calls("verify") > asked
    bookings = [item.booking_id for item in house.order_row(order_id).items]
    newer = house.order(ADA, *bookings)
    assert house.order_row(newer).booking_count == 2


def test_paid_at_the_gateway_is_paid_here_even_at_the_deadline(house: House) -> None:
    """Expiry asks first: money that is there completes the order instead of expiring it."""
    order_id, reference = house.initiated()
    house.pay(reference)
    house.clock.advance(1_801)
    house.step("orders.expire")
    house.drain()
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


@pytest.mark.parametrize("way", ["expires", "is cancelled"])
def test_a_page_is_ended_with_its_order_where_the_gateway_can(house: House, way: str) -> None:
    """Stripe ends its session: nobody can pay for an order that is over, so nothing has to be given back."""
    order_id, reference = house.initiated(gateway="stripe")
    if way == "expires":
        house.later(1_801)
    else:
        house.container.orders.cancel(ADA, order_id)
        house.later(60)
    assert house.order_row(order_id).status == ("expired" if way == "expires" else "cancelled")
    assert house.calls("expire") == 1
    house.pay(reference)
    house.later(3_600)
    assert (house.charges(reference), house.attempts(order_id)[0].status) == (0, "failed")
    assert house.calls("expire") == 1, "a page that is ended is left alone"


def test_an_order_expires_whoever_tells_of_its_ended_page_first(house: House) -> None:
    """The process that ended the page dies before it says so, and the page's own webhook comes: expired, not failed."""
    order_id, _ = house.initiated(gateway="stripe")
    house.clock.advance(1_801)
    house.container.gateways["stripe"].end_page(attempt_ref(house.attempts(order_id)[0]))
    told = next(one for one in house.webhooks() if one["event"] == "checkout.session.expired")
    house.receive(told, "stripe")
    house.step("webhooks.process")
    house.step("payments.verify:stripe")
    assert house.attempts(order_id)[0].status == "failed"
    house.drain()
    assert house.statuses(order_id) == ("expired", "cancelled", {"pending"})


def test_a_page_that_came_to_its_end_meanwhile_is_asked_about_again(house: House) -> None:
    """The customer has paid by a slow method: the session cannot be ended; the money comes late and is kept."""
    order_id, reference = house.initiated(gateway="stripe")
    house.fault("late_success", reference=reference, params={"after_seconds": 2_400})
    house.pay(reference)
    house.later(1_801)
    assert house.order_row(order_id).status == "expired"
    assert house.calls("expire") >= 1
    house.later(3_600)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_an_order_does_not_expire_while_its_page_cannot_be_ended(house: House) -> None:
    """The gateway fails at ending the page: not yet; the order ends once it can."""
    order_id, _ = house.initiated(gateway="stripe")
    house.fault("error_500", operation="expire", times=1)
    house.clock.advance(1_801)
    house.step("orders.expire")
    assert house.order_row(order_id).status == "processing"
    house.later(60)
    assert house.order_row(order_id).status == "expired"


def test_an_order_does_not_expire_while_its_gateway_is_down(house: House) -> None:
    """No answer, not yet: the order keeps waiting and ends right once the gateway answers."""
    order_id, reference = house.initiated()
    house.pay(reference)
    house.fault("error_500", operation="verify", times=12)
    house.clock.advance(1_801)
    house.step("orders.expire")
    assert house.order_row(order_id).status == "processing"
    house.control("DELETE", "/sandbox/faults")
    house.later(1_200)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_late_money_is_accepted_while_the_slots_are_free(house: House) -> None:
    """Paid after expiry with the slots still free: the order is completed after all."""
    order_id, reference = house.initiated()
    house.later(1_801)
    house.pay(reference)
    house.ask(reference)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_late_money_goes_back_when_the_slot_was_sold(house: House) -> None:
    """Paid after expiry, slot sold to Ben: payment success on record, no double booking, one refund, the truth told."""
    slot = house.clock.now()
    first = house.booking(resource_id="the-room", starts_at=slot)
    order_id, reference = house.initiated(ADA, first)
    house.later(1_801)
    from tests.house import BEN

    house.paid(BEN, house.booking(BEN, resource_id="the-room", starts_at=slot))
    house.pay(reference)
    house.ask(reference)
    assert house.order_row(order_id).status == "expired"
    assert house.payment_row(order_id).status == "success"
    house.later(30)
    assert house.statuses(order_id)[:2] == ("refunded", "refunded")
    assert [row.amount_minor for row in house.refunds(order_id)] == [150_000]
    told = next(
        row for row in house.rows(Notification) if row.order_id == order_id and row.event == "PAYMENT_COMPLETED"
    )
    assert "too late" in told.body


def test_money_after_a_cancellation_goes_back_once(house: House) -> None:
    """Cancelled while the page was open, then paid: refunded once."""
    order_id, reference = house.initiated()
    house.container.orders.cancel(ADA, order_id)
    house.pay(reference)
    house.ask(reference)
    house.later(30)
    assert house.order_row(order_id).status == "refunded"
    assert [row.status for row in house.refunds(order_id)] == ["completed"]


def test_a_slot_lost_before_confirmation_gives_the_money_back(house: House) -> None:
    """Two orders over one slot, both paid: one confirmed, the other refunded whole; never both confirmed."""
    slot = house.clock.now()
    one = house.initiated(ADA, house.booking(resource_id="desk", starts_at=slot))
    two = house.initiated(ADA, house.booking(resource_id="desk", starts_at=slot))
    for _, reference in (one, two):
        house.pay(reference)
        house.ask(reference)
    house.later(30)
    ends = sorted(house.statuses(order_id)[0] for order_id, _ in (one, two))
    assert ends == ["completed", "refunded"]
    assert {row.kind for row in house.rows(Decision)} == {"slot_taken"}


@pytest.mark.parametrize(
    ("fault", "params"), [("wrong_amount", {"delta": -1}), ("wrong_currency", {"currency": "GHS"})]
)
def test_money_that_does_not_fit_is_never_success(house: House, fault: str, params: dict[str, object]) -> None:
    """Too little, or another currency: on record, not applied, one open question to a person."""
    order_id, reference = house.initiated()
    house.fault(fault, reference=reference, params=params)
    house.pay(reference)
    house.ask(reference)
    assert house.statuses(order_id) == ("processing", "processing", {"pending"})
    assert [row.status for row in house.attempts(order_id)] == ["mismatched"]
    assert [row.kind for row in house.rows(LedgerPosting)] == ["unapplied"]
    assert len(house.rows(Decision)) == 1
    house.later(2_000)
    assert house.order_row(order_id).status == "processing", "an order with an open question does not expire"


def test_refunds_in_part_then_in_whole(house: House) -> None:
    """Part: payment stays success; whole: payment and order refunded, bookings released, ledger level."""
    order_id = house.paid()
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=100_000, reason=RefundReason.OTHER)
    house.drain()
    house.later(10)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert house.payment_row(order_id).refunded_minor == 100_000

    house.container.refunds.request_refund(ADA, payment.id, amount_minor=None, reason=RefundReason.OTHER)
    house.drain()
    house.later(10)
    assert house.statuses(order_id) == ("refunded", "refunded", {"cancelled"})
    level = sum(
        row.amount_minor * (1 if row.debit_account == "gateway:paystack" else -1)
        for row in house.rows(LedgerPosting)
        if row.kind in ("capture", "refund")
    )
    assert level == 0


def test_a_refund_never_exceeds_what_is_left(house: House) -> None:
    """A pending refund lowers what may be asked; the rest is refused naming /amount."""
    payment = house.payment_row(house.paid())
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=200_000, reason=RefundReason.OTHER)
    with pytest.raises(InvalidInput) as caught:
        house.container.refunds.request_refund(ADA, payment.id, amount_minor=200_000, reason=RefundReason.OTHER)
    assert caught.value.pointer == "/amount"


def test_a_refund_waits_for_approval_where_the_policy_asks(house: House) -> None:
    """Nothing is sent before an administrator approves; a rejected one gives its reservation back."""
    order_id = house.paid()
    policy(house, refund_needs_approval=True)
    payment = house.payment_row(order_id)
    refund_id = house.container.refunds.request_refund(ADA, payment.id, amount_minor=1_000, reason=RefundReason.OTHER)
    house.later(60)
    assert house.calls("refund") == 0
    house.container.refunds.approve(ADMIN, refund_id)
    house.drain()
    house.later(10)
    assert house.payment_row(order_id).refunded_minor == 1_000

    second = house.container.refunds.request_refund(ADA, payment.id, amount_minor=2_000, reason=RefundReason.OTHER)
    house.container.refunds.reject(ADMIN, second, note="outside the window")
    assert house.payment_row(order_id).refund_reserved_minor == 1_000
    assert [row.status for row in house.refunds(order_id)] == ["completed", "failed"]


def test_a_refund_whose_answer_was_lost_is_adopted_not_repeated(house: House) -> None:
    """Time-out after the refund was made: found by listing, one refund at the gateway."""
    order_id = house.paid()
    payment = house.payment_row(order_id)
    house.fault("timeout_after_effect", operation="refund", params={"seconds": 0, "then": "close"})
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=None, reason=RefundReason.OTHER)
    house.drain()
    house.later(60)
    assert house.statuses(order_id)[0] == "refunded"
    assert house.calls("refund") == 1


def test_a_cancelled_paid_booking_asks_its_share_back_and_is_released_afterwards(house: House) -> None:
    """Booking and refund move together: confirmed until the money is back, then cancelled; the other booking stays."""
    order_id = house.paid()
    booking_id = house.order_row(order_id).items[0].booking_id
    house.container.bookings.cancel(ADA, booking_id)
    assert house.statuses(order_id)[2] == {"confirmed"}
    house.drain()
    house.later(10)
    order = house.order_row(order_id)
    assert sorted(item.booking.status for item in order.items) == ["cancelled", "confirmed"]
    assert house.payment_row(order_id).refunded_minor == 150_000


def test_bookings_move_off_an_older_pending_order(house: House) -> None:
    """The newer order has them; the older one is priced anew, or cancelled when nothing is left."""
    one, two = house.booking(), house.booking()
    older = house.order(ADA, one, two)
    newer = house.order(ADA, one)
    assert house.order_row(older).total_minor == 150_000
    assert house.order_row(older).booking_count == 1
    newest = house.order(ADA, one, two)
    assert (house.order_row(older).status, house.order_row(newer).status) == ("cancelled", "cancelled")
    assert house.order_row(newest).booking_count == 2


def test_late_money_does_not_bring_back_a_booking_that_was_taken_off(house: House) -> None:
    """It was priced without it: accepted late, the order confirms what was paid for, and the other stays as it is."""
    one, two = house.booking(), house.booking()
    older = house.order(ADA, one, two)
    policy(house, late_payment="accept")
    house.container.orders.cancel(ADA, house.order(ADA, two))
    opened = house.container.payments.initiate_payment(ADA, older, gateway="paystack")
    house.drain()
    house.fault("late_success", reference=opened.reference, params={"after_seconds": 2_400})
    house.pay(opened.reference)
    house.later(2_000)
    assert house.order_row(older).status == "expired"
    for _ in range(3):
        house.later(1_000)
    order = house.order_row(older)
    assert (order.status, house.payment_row(older).captured_minor) == ("completed", 150_000)
    assert {item.booking_id: item.booking.status for item in order.items} == {one: "confirmed"}


def test_a_booking_on_an_order_being_paid_is_refused(house: House) -> None:
    """409, and the order being paid keeps it."""
    booking = house.booking()
    house.initiated(ADA, booking)
    with pytest.raises(Conflict) as caught:
        house.order(ADA, booking)
    assert (caught.value.code, caught.value.pointer) == ("booking_on_order_being_paid", "/booking_ids/0")


def test_tax_is_added_per_order_by_the_workspaces_rate(house: House) -> None:
    """7.5 % of 3,000.01 rounds half up."""
    one = house.booking(amount=300_001)
    policy(house, tax_bps=750)
    order = house.order_row(house.order(ADA, one))
    assert (order.subtotal_minor, order.tax_minor, order.total_minor) == (300_001, 22_500, 322_501)
