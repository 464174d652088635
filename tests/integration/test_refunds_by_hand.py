"""People who help themselves at the gateway, and people who are asked here: one refund stays one refund."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from payflow.core.errors import Conflict
from payflow.gateways.base import Outcome, RefundResult
from payflow.models.access import Workspace
from payflow.models.decision import Decision, DecisionAction, DecisionKind
from payflow.models.payment import Payment
from payflow.models.refund import Refund, RefundReason
from payflow.services.decision_desk import DecisionDesk
from payflow.services.refund_answers import REQUEST_MAY_LIVE_SECONDS, apply_refund_result
from payflow.store.unit_of_work import Transaction
from tests.house import ADA, ADMIN, OPERATOR, WORKSPACE, House

pytestmark = pytest.mark.usefixtures("sound_in_the_end")
GATEWAYS = ("paystack", "flutterwave", "stripe")
every_gateway = pytest.mark.parametrize("gateway", GATEWAYS)


def returned(house: House, order_id: str) -> int:
    """What the gateway has given back of an order's payment."""
    (attempt,) = house.attempts(order_id)
    found = house.control("GET", f"/sandbox/charges?reference={attempt.reference}")["by_reference"]
    return int(found[attempt.reference]["returned_minor"])


def by_hand(house: House, order_id: str, minor: int) -> None:
    """Somebody gives money back in the gateway's dashboard."""
    (attempt,) = house.attempts(order_id)
    house.fault("dashboard_refund", reference=attempt.reference, params={"amount": minor})
    house.clock.advance(10)
    house.control("GET", "/sandbox/refunds")  # it is through there


def told(house: House, gateway: str) -> None:
    """Every webhook arrives; Flutterwave sends none of refunds, so its list is read as reconciliation does."""
    for row in house.webhooks():
        house.receive(row, gateway)
    house.drain()
    if gateway == "flutterwave":
        attempt_ids = [one.attempt_id for one in house.rows(Refund)]
        house.container.refund_adoption.look(gateway, attempt_ids)
        house.drain()


def ask(house: House, order_id: str, minor: int = 50_000) -> Refund:
    """A customer asks for some of it back."""
    payment_id = house.payment_row(order_id).id
    house.container.refunds.request_refund(ADA, payment_id, amount_minor=minor, reason=RefundReason.OTHER)
    house.drain()
    return house.refunds(order_id)[-1]


def needs_approval(house: House) -> None:
    with house.container.engine.begin() as connection:
        policy = update(Workspace).where(Workspace.id == WORKSPACE)
        connection.execute(policy.values(refund_needs_approval=True))


def questions(house: House) -> list[tuple[str, str, bool]]:
    return [(one.kind, one.suggested_action, one.resolved_at is None) for one in house.rows(Decision)]


def decide(house: House, kind: DecisionKind, action: DecisionAction) -> None:
    (asked,) = [one for one in house.rows(Decision) if one.kind == kind]
    DecisionDesk(house.container.units).resolve(OPERATOR, asked.id, action)
    house.drain()


@every_gateway
@pytest.mark.parametrize("is_told", [True, False], ids=["told", "untold"])
def test_a_refund_the_balance_held_up_and_somebody_made_by_hand_goes_back_once(
    house: House, gateway: str, is_told: bool
) -> None:
    """The person who was asked makes it at the gateway itself. Told of it or not, ours counts as that one."""
    order_id = house.paid(gateway=gateway)
    house.fault("refund_no_balance", operation="refund", times=1)
    assert ask(house, order_id).needs_attention
    by_hand(house, order_id, 50_000)
    if is_told:
        told(house, gateway)
    for _ in range(4):
        house.later(3_700)
    assert returned(house, order_id) == 50_000
    (refund,) = house.refunds(order_id)
    assert (refund.source, refund.status, refund.amount_minor) == ("api", "completed", 50_000)
    assert house.payment_row(order_id).refunded_minor == 50_000
    assert (DecisionKind.REFUND_UNKNOWN, DecisionAction.ACCEPT, True) in questions(house)
    for kind in (DecisionKind.REFUND_UNKNOWN, DecisionKind.REFUND_NEEDS_ATTENTION):
        decide(house, kind, DecisionAction.IGNORE)


@every_gateway
@pytest.mark.parametrize("is_told", [True, False], ids=["told", "untold"])
def test_a_refund_that_waited_for_approval_and_was_made_by_hand_goes_back_once(
    house: House, gateway: str, is_told: bool
) -> None:
    """Approving it then, or having approved it before anybody looked, sends nothing more."""
    order_id = house.paid(gateway=gateway)
    needs_approval(house)
    refund = ask(house, order_id)
    by_hand(house, order_id, 50_000)
    if is_told:
        told(house, gateway)
        assert house.refunds(order_id)[0].approved_by == f"gateway:{gateway}"
    house.later(120)
    house.container.refunds.approve(ADMIN, refund.id)
    house.drain()
    house.later(60)
    assert returned(house, order_id) == 50_000
    (refund,) = house.refunds(order_id)
    assert (refund.source, refund.status, refund.approval) == ("api", "completed", "approved")
    decide(house, DecisionKind.REFUND_UNKNOWN, DecisionAction.ACCEPT)


def test_one_of_another_sum_made_by_hand_stands_beside_ours(house: House) -> None:
    """It is a refund of its own, and ours goes out when it is approved."""
    order_id = house.paid()
    needs_approval(house)
    refund = ask(house, order_id)
    by_hand(house, order_id, 20_000)
    told(house, "paystack")
    house.container.refunds.approve(ADMIN, refund.id)
    house.drain()
    house.later(60)
    found = sorted((one.source, one.status, one.amount_minor) for one in house.refunds(order_id))
    assert found == [("api", "completed", 50_000), ("gateway", "completed", 20_000)]
    assert returned(house, order_id) == 70_000
    assert questions(house) == []


def test_one_made_by_hand_beside_ours_can_still_be_meant_so(house: House) -> None:
    """The question's other answer gives the sum back once more, and no more than the sum."""
    order_id = house.paid()
    needs_approval(house)
    ask(house, order_id)
    by_hand(house, order_id, 50_000)
    told(house, "paystack")
    decide(house, DecisionKind.REFUND_UNKNOWN, DecisionAction.REFUND)
    house.later(60)
    assert returned(house, order_id) == 100_000
    assert [one.status for one in house.refunds(order_id)] == ["completed", "completed"]


def test_a_part_that_failed_is_given_back_as_that_part(house: House) -> None:
    """One press on a failed refund of 500.00 gives back 500.00, not all that the payment still holds."""
    order_id = house.paid()
    house.fault("refund_fails", operation="refund")
    ask(house, order_id)
    house.later(60)
    assert house.refunds(order_id)[0].status == "failed"
    decide(house, DecisionKind.REFUND_FAILED, DecisionAction.REFUND)
    house.later(60)
    assert [(one.status, one.amount_minor) for one in house.refunds(order_id)] == [
        ("failed", 50_000),
        ("completed", 50_000),
    ]
    assert returned(house, order_id) == 50_000


def test_one_press_on_an_open_refund_sends_that_one(house: House) -> None:
    """The balance was topped up: the refund that waits goes out now; there is no second one."""
    order_id = house.paid()
    house.fault("refund_no_balance", operation="refund", times=1)
    ask(house, order_id)
    decide(house, DecisionKind.REFUND_NEEDS_ATTENTION, DecisionAction.REFUND)
    house.later(60)
    assert [(one.status, one.amount_minor) for one in house.refunds(order_id)] == [("completed", 50_000)]
    assert returned(house, order_id) == 50_000


@pytest.mark.parametrize("gateway", ["paystack", "flutterwave"])
def test_one_press_on_an_unclear_refund_takes_the_one_made_by_hand(house: House, gateway: str) -> None:
    """Both requests were lost on their way; somebody made it by hand and then presses, as the runbook says."""
    order_id = house.paid(gateway=gateway)
    house.fault("error_500", operation="refund", times=2)
    ask(house, order_id)
    for _ in range(30):
        house.later(120)
    assert questions(house) == [(DecisionKind.REFUND_UNKNOWN, DecisionAction.REFUND, True)]
    by_hand(house, order_id, 50_000)
    decide(house, DecisionKind.REFUND_UNKNOWN, DecisionAction.REFUND)
    house.later(60)
    assert [(one.status, one.amount_minor) for one in house.refunds(order_id)] == [("completed", 50_000)]
    assert returned(house, order_id) == 50_000


def test_pressing_while_the_request_may_be_on_its_way_looks_before_it_sends(house: House) -> None:
    """Its answer was lost a moment ago: the list is asked, nothing is sent on the strength of a button."""
    order_id = house.paid()
    house.fault("refund_no_balance", operation="refund", times=1)
    ask(house, order_id)
    house.fault("timeout_after_effect", operation="refund", times=1)
    house.later(3_700)
    assert house.refunds(order_id)[0].submitted_at is not None
    decide(house, DecisionKind.REFUND_NEEDS_ATTENTION, DecisionAction.REFUND)
    house.later(REQUEST_MAY_LIVE_SECONDS + 60)
    assert [(one.status, one.amount_minor) for one in house.refunds(order_id)] == [("completed", 50_000)]
    assert returned(house, order_id) == 50_000


def test_a_surplus_whose_refund_failed_is_given_back_anew(house: House) -> None:
    """The order's own money stays where it is."""
    order_id, reference = house.initiated()
    house.fault("wrong_amount", reference=reference, params={"delta": 50_000})
    house.fault("refund_fails", operation="refund")
    house.pay(reference)
    house.ask(reference)
    house.drain()
    house.later(60)
    assert [(one.source, one.status) for one in house.refunds(order_id)] == [("surplus", "failed")]
    decide(house, DecisionKind.REFUND_FAILED, DecisionAction.REFUND)
    house.later(60)
    found = [(one.source, one.status, one.amount_minor) for one in house.refunds(order_id)]
    assert found == [("surplus", "failed", 50_000), ("surplus", "completed", 50_000)]
    assert (returned(house, order_id), house.payment_row(order_id).refunded_minor) == (50_000, 0)


@pytest.mark.parametrize("gateway", ["paystack", "stripe"])
def test_a_cancelled_bookings_refund_that_failed_is_made_anew_for_that_booking(house: House, gateway: str) -> None:
    """One booking was cancelled, one goes: the other stays confirmed, and no second refund is made for the first."""
    order_id = house.paid(gateway=gateway)
    house.fault("refund_fails", operation="refund", times=1)
    booking_id = house.order_row(order_id).items[0].booking_id
    house.container.bookings.cancel(ADA, booking_id)
    house.drain()
    house.later(60)
    decide(house, DecisionKind.REFUND_FAILED, DecisionAction.REFUND)
    house.later(60)
    found = [(one.status, one.source, one.reason, one.booking_id) for one in house.refunds(order_id)]
    assert found == [(status, "policy", "booking_cancelled", booking_id) for status in ("failed", "completed")]
    statuses = {item.booking_id: item.booking.status for item in house.order_row(order_id).items}
    assert statuses.pop(booking_id) == "cancelled"
    assert list(statuses.values()) == ["confirmed"]


def test_a_booking_cancelled_again_after_its_refund_failed_goes_back_once(house: House) -> None:
    """The customer asked once more meanwhile: the decision finds that one and makes no other."""
    order_id = house.paid()
    house.fault("refund_fails", operation="refund", times=1)
    booking_id = house.order_row(order_id).items[0].booking_id
    for _ in range(2):
        house.container.bookings.cancel(ADA, booking_id)
        house.drain()
        house.later(60)
    with pytest.raises(Conflict) as caught:
        decide(house, DecisionKind.REFUND_FAILED, DecisionAction.REFUND)
    assert caught.value.code == "refund_exists"
    decide(house, DecisionKind.REFUND_FAILED, DecisionAction.IGNORE)
    assert [one.status for one in house.refunds(order_id)] == ["failed", "completed"]


def test_a_failed_refund_made_after_all_when_the_money_went_back_otherwise_is_a_persons(house: House) -> None:
    """Nothing is left to book it on: the row stays, a person is told once, and the gateway's word is dealt with."""
    order_id = house.paid()
    house.fault("refund_fails", operation="refund", times=1)
    ask(house, order_id, 300_000)
    house.later(60)
    decide(house, DecisionKind.REFUND_FAILED, DecisionAction.REFUND)
    house.later(60)
    failed, made = house.refunds(order_id)
    assert (failed.status, made.status) == ("failed", "completed")
    after_all = RefundResult(Outcome.SUCCEEDED, gateway_refund_id=failed.gateway_refund_id, refund_id=failed.id)

    def hear(tx: Transaction) -> None:
        tx.lock_order(order_id)
        tx.lock(Payment, failed.payment_id)
        apply_refund_result(tx, tx.lock(Refund, failed.id), after_all, seen_due=None)

    for _ in range(2):
        house.container.units.run(hear)
    assert [one.status for one in house.refunds(order_id)] == ["failed", "completed"]
    assert (DecisionKind.REFUND_UNKNOWN, DecisionAction.IGNORE, True) in questions(house)
    decide(house, DecisionKind.REFUND_UNKNOWN, DecisionAction.IGNORE)


def test_a_rejected_refund_of_a_cancelled_booking_is_a_question(house: House) -> None:
    """Somebody must say what becomes of that money; a customer's own request that was refused is over."""
    order_id = house.paid()
    needs_approval(house)
    house.container.refunds.reject(ADMIN, ask(house, order_id).id)
    assert questions(house) == []
    house.container.bookings.cancel(ADA, house.order_row(order_id).items[0].booking_id)
    house.container.refunds.reject(ADMIN, house.refunds(order_id)[-1].id)
    assert questions(house) == [(DecisionKind.REFUND_FAILED, DecisionAction.REFUND, True)]
    decide(house, DecisionKind.REFUND_FAILED, DecisionAction.REFUND)
    house.later(60)
    assert [one.status for one in house.refunds(order_id)] == ["failed", "failed", "completed"]


def test_extend_asks_again_about_a_refund(house: House) -> None:
    """The balance was topped up: the refund goes out now."""
    order_id = house.paid()
    house.fault("refund_no_balance", operation="refund", times=1)
    ask(house, order_id)
    decide(house, DecisionKind.REFUND_NEEDS_ATTENTION, DecisionAction.EXTEND)
    house.later(60)
    assert [one.status for one in house.refunds(order_id)] == ["completed"]


def test_too_little_cannot_be_accepted_and_goes_back_after_it_was_let_be(house: House) -> None:
    """Accepting closes nothing; ignoring leaves the money in reach, and the first answer on record."""
    order_id, reference = house.initiated()
    house.fault("wrong_amount", reference=reference, params={"delta": -50_000})
    house.pay(reference)
    house.ask(reference)
    with pytest.raises(Conflict) as caught:
        decide(house, DecisionKind.UNDERPAID, DecisionAction.ACCEPT)
    assert caught.value.code == "not_applicable"
    assert questions(house) == [(DecisionKind.UNDERPAID, DecisionAction.REFUND, True)]
    decide(house, DecisionKind.UNDERPAID, DecisionAction.IGNORE)
    house.later(3_700)
    decide(house, DecisionKind.UNDERPAID, DecisionAction.REFUND)
    house.later(60)
    assert [(one.source, one.status) for one in house.refunds(order_id)] == [("surplus", "completed")]
    (asked,) = house.rows(Decision)
    assert (asked.action, ": ignore)" in asked.detail) == ("refund", True)


def test_late_money_whose_refund_failed_can_be_taken_for_the_order(house: House) -> None:
    """The customer would rather have the booking: the slot is still free."""
    order_id, reference = house.initiated()
    house.container.orders.cancel(ADA, order_id)
    house.fault("refund_fails", operation="refund", times=1)
    house.pay(reference)
    house.ask(reference)
    house.later(60)
    decide(house, DecisionKind.REFUND_FAILED, DecisionAction.ACCEPT)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_too_little_given_back_by_hand_is_a_refund_and_answers_the_question(house: House) -> None:
    """It stands outside the payment's own sums."""
    order_id, reference = house.initiated()
    house.fault("wrong_amount", reference=reference, params={"delta": -50_000})
    house.pay(reference)
    house.ask(reference)
    by_hand(house, order_id, house.attempts(order_id)[0].captured_minor)
    told(house, "paystack")
    assert [(one.source, one.status) for one in house.refunds(order_id)] == [("surplus", "completed")]
    assert house.payment_row(order_id).refunded_minor == 0
    assert questions(house) == [(DecisionKind.UNDERPAID, DecisionAction.REFUND, False)]


def test_a_booking_that_gets_nothing_back_is_cancelled_at_once(house: House) -> None:
    """One that was free, and all of them where the policy gives nothing."""
    order_id = house.paid(ADA, free := house.booking(amount=0), house.booking())
    house.container.bookings.cancel(ADA, free)
    with house.container.engine.begin() as connection:
        connection.execute(update(Workspace).where(Workspace.id == WORKSPACE).values(refund_percent_bps=0))
    for item in house.order_row(order_id).items:
        house.container.bookings.cancel(ADA, item.booking_id)
    house.drain()
    assert house.statuses(order_id) == ("completed", "success", {"cancelled"})
    assert house.refunds(order_id) == []


def test_all_bookings_cancelled_give_all_back(house: House) -> None:
    """What rounding leaves is one booking's."""
    with house.container.engine.begin() as connection:
        connection.execute(update(Workspace).where(Workspace.id == WORKSPACE).values(tax_bps=750))
    bookings = [house.booking(amount=minor) for minor in (33_333, 33_333, 33_334)]
    order_id = house.paid(ADA, *bookings)
    for booking_id in bookings:
        house.container.bookings.cancel(ADA, booking_id)
    house.drain()
    house.later(60)
    assert house.statuses(order_id) == ("refunded", "refunded", {"cancelled"})
