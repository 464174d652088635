"""Reconciliation at every gateway: each kind of difference is staged at the sandbox, found once, and repaired or put
before a person; what did not answer is told as incomplete. No gateway is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from payflow.core.errors import Conflict, Forbidden, NotFound
from payflow.core.gateways import NAMES
from payflow.models.decision import DecisionAction
from payflow.models.reconciliation import Difference
from payflow.models.refund import RefundReason
from payflow.services.decision_desk import DecisionDesk
from payflow.services.payment import attempt_ref
from tests.comparing import charge, differences, is_quiet, questions, reconcile, slices
from tests.house import ADMIN, OPERATOR, House
from tests.soundness import assert_sound

pytestmark = pytest.mark.parametrize("gateway", NAMES)
DAY = 86_400


def test_when_all_agree_there_is_nothing(house: House, gateway: str) -> None:
    """Paid, refunded in part, open and declined orders: compared, and no difference; the run says what it looked at."""
    for _ in range(2):
        house.paid(gateway=gateway)
    order_id = house.paid(gateway=gateway)
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADMIN, payment.id, amount_minor=20_000, reason=RefundReason.OTHER)
    house.drain()
    house.later(60)
    house.initiated(gateway=gateway)
    _, declined = house.initiated(gateway=gateway)
    house.pay(declined, "decline")
    house.ask(declined)
    run_id = reconcile(house, gateway)
    assert differences(house) == []
    (one,) = slices(house, run_id)
    assert (one.is_complete, one.refunds_listed, one.asked, one.error) == (True, 1, 0, None)
    assert one.payments_listed >= 4
    assert_sound(house)


@pytest.mark.parametrize("house", [{f"PAYFLOW_POLL_PLAN_{name.upper()}": "5,5" for name in NAMES}], indirect=True)
def test_money_nobody_told_us_of_is_applied(house: House, gateway: str) -> None:
    """Webhooks lost, browser gone, plan exhausted: the list shows it, the question finds it, the order is paid."""
    order_id, reference = house.initiated(gateway=gateway)
    for _ in range(4):
        house.later(10)
    assert house.attempts(order_id)[0].due_at is None
    house.pay(reference)
    house.later(DAY // 2)
    assert house.payment_row(order_id).captured_minor == 0
    reconcile(house, gateway)
    assert house.payment_row(order_id).status in ("success", "refunded")
    assert differences(house) == [("paid_there", "repair")]
    assert questions(house) == []
    assert is_quiet(house, gateway)
    assert house.charges(reference) == 1
    assert_sound(house)


def test_money_of_nobody_is_put_before_operators(house: House, gateway: str) -> None:
    """It fits no order: a question with its money and an error in the log, until an operator closes it for good."""
    reference = house.pay_nobody(gateway)
    with capture_logs() as lines:
        reconcile(house, gateway)
    assert differences(house) == [("unknown_here", None)]
    (row,) = house.rows(Difference)
    assert (row.order_id, row.amount_minor, row.reference) == (None, 500_000, reference)
    (asked,) = questions(house)
    assert (asked.subject_id, asked.order_id, asked.workspace_id) == (row.id, None, None)
    assert (asked.amount_minor, asked.currency, asked.suggested_action) == (500_000, "NGN", "ignore")
    assert reference in asked.detail
    told = [line for line in lines if line["action"] == "reconciliation.needs_person"]
    assert [(line["log_level"], line["kind"]) for line in told] == [("error", "unknown_here")]
    assert is_quiet(house, gateway)
    with pytest.raises(NotFound):
        house.container.reconciliation.close(ADMIN, row.id, note="mine")
    house.container.reconciliation.close(OPERATOR, row.id, note="the shop's invoice")
    assert differences(house) == [("unknown_here", "user:u-op")]
    assert questions(house) == []
    assert is_quiet(house, gateway)
    charge(house, reference).charged_minor += 100  # no longer what was looked into
    charge(house, reference).requested_minor += 100
    reconcile(house, gateway)
    assert differences(house) == [("unknown_here", None)]
    (again,) = questions(house)
    assert (again.id, again.amount_minor, again.note) == (asked.id, 500_100, None)
    assert again.created_at > asked.created_at


def test_the_question_about_money_of_nobody_is_answered_by_operators(house: House, gateway: str) -> None:
    """`ignore` settles the difference with what was found out; nothing else can be done with it from here."""
    house.pay_nobody(gateway)
    reconcile(house, gateway)
    (asked,) = questions(house)
    desk = DecisionDesk(house.container.units)
    with pytest.raises(Forbidden):
        desk.resolve(ADMIN, asked.id, DecisionAction.IGNORE)
    for action in (DecisionAction.ACCEPT, DecisionAction.REFUND, DecisionAction.EXTEND):
        with pytest.raises(Conflict) as refused:
            desk.resolve(OPERATOR, asked.id, action)
        assert refused.value.code == "not_applicable"
    assert [one.id for one in questions(house)] == [asked.id]
    desk.resolve(OPERATOR, asked.id, DecisionAction.IGNORE, note="the shop's invoice")
    (row,) = house.rows(Difference)
    assert (row.settled_by, row.note, questions(house)) == ("user:u-op", "the shop's invoice", [])
    assert is_quiet(house, gateway)


def test_money_the_gateway_does_not_know_is_put_before_a_person(house: House, gateway: str) -> None:
    """Asked for by name as well before anybody is told; gone by itself when the gateway shows it again."""
    order_id = house.paid(gateway=gateway)
    reference = house.attempts(order_id)[0].reference
    house.fault("not_listed", reference=reference, times=None)
    run_id = reconcile(house, gateway)
    assert differences(house) == []
    assert slices(house, run_id)[0].asked == 1
    house.fault("not_found_on_verify", reference=reference, times=None)
    reconcile(house, gateway)
    assert differences(house) == [("unknown_there", None)]
    (asked,) = questions(house)
    assert asked.order_id == order_id
    assert is_quiet(house, gateway)
    house.control("DELETE", "/sandbox/faults")
    reconcile(house, gateway)
    assert differences(house) == [("unknown_there", "gone")]
    assert questions(house) == []
    assert_sound(house)


def test_another_amount_is_put_before_a_person(house: House, gateway: str) -> None:
    """Nothing is booked on the strength of a list: both amounts stand in the question."""
    order_id = house.paid(gateway=gateway)
    record = charge(house, house.attempts(order_id)[0].reference)
    record.charged_minor -= 10_000
    record.requested_minor -= 10_000
    reconcile(house, gateway)
    assert differences(house) == [("amount_differs", None)]
    (asked,) = questions(house)
    assert (asked.order_id, asked.amount_minor) == (order_id, 290_000)
    assert "NGN 2,900.00, we count NGN 3,000.00" in asked.detail
    assert house.payment_row(order_id).captured_minor == 300_000
    assert is_quiet(house, gateway)
    desk = DecisionDesk(house.container.units)
    with pytest.raises(Conflict):
        desk.resolve(OPERATOR, asked.id, DecisionAction.REFUND)
    desk.resolve(OPERATOR, asked.id, DecisionAction.IGNORE, note="a fee we did not know")
    assert differences(house) == [("amount_differs", "user:u-op")]
    assert is_quiet(house, gateway)


def test_another_currency_is_put_before_a_person(house: House, gateway: str) -> None:
    """The same number in other money is not the same money."""
    order_id = house.paid(gateway=gateway)
    charge(house, house.attempts(order_id)[0].reference).currency = "USD"
    reconcile(house, gateway)
    assert differences(house) == [("amount_differs", None)]
    assert "USD 3,000.00, we count NGN 3,000.00" in questions(house)[0].detail
    assert is_quiet(house, gateway)


def test_a_payment_that_is_none_there_is_put_before_a_person(house: House, gateway: str) -> None:
    """Captured here and failed there: told, never un-paid."""
    order_id = house.paid(gateway=gateway)
    record = charge(house, house.attempts(order_id)[0].reference)
    record.status = type(record.status).FAILED
    reconcile(house, gateway)
    assert differences(house) == [("not_paid_there", None)]
    assert len(questions(house)) == 1
    assert house.payment_row(order_id).status == "success"
    assert is_quiet(house, gateway)


def test_a_payment_that_went_back_unexplained_is_put_before_a_person(house: House, gateway: str) -> None:
    """A chargeback nobody told us of, where the gateway's list shows it; where it does not, there is nothing to see."""
    order_id = house.paid(gateway=gateway)
    record = charge(house, house.attempts(order_id)[0].reference)
    record.charged_back = True
    told = house.container.gateways[gateway].verify(attempt_ref(house.attempts(order_id)[0])).outcome.value
    reconcile(house, gateway)
    assert differences(house) == ([("reversed_there", None)] if told == "reversed" else [])
    assert house.payment_row(order_id).status == "success"
    assert is_quiet(house, gateway)


def test_a_second_payment_of_one_page_is_found(house: House, gateway: str) -> None:
    """Where a page can be paid twice the second payment is surplus and goes back; elsewhere there is none."""
    order_id = house.paid(gateway=gateway)
    reference = house.attempts(order_id)[0].reference
    party = house.sandbox.rooms.party
    record = charge(house, reference)
    if not record.one_per_try:
        assert is_quiet(house, gateway)
        return
    party.state.save(replace(record, id=party.state.next_id("charge")))
    reconcile(house, gateway)
    assert differences(house) == [("paid_there", "repair")]
    house.later(60)
    assert [(row.source, row.status) for row in house.refunds(order_id)] == [("surplus", "completed")]
    assert is_quiet(house, gateway)


def test_a_gateway_that_does_not_answer_makes_the_run_incomplete(house: House, gateway: str) -> None:
    """Never "no differences": tried again for hours, then told as incomplete, with an error a person sees."""
    house.pay_nobody(gateway)
    house.fault("error_500", gateway=gateway, times=None, params={"status": 500})
    until = house.clock.now() + timedelta(seconds=1)
    service = house.container.reconciliation
    run_id = service.open(since=until - timedelta(days=1), until=until, gateways=[gateway], actor="user:u-op")
    house.drain()
    (one,) = slices(house, run_id)
    assert (one.finished_at, one.is_complete, bool(one.error)) == (None, False, True)
    with capture_logs() as lines:
        for _ in range(14):
            house.later(3_700)
    (one,) = slices(house, run_id)
    assert one.finished_at is not None
    assert (one.is_complete, bool(one.error), differences(house)) == (False, True, [])
    assert [line["log_level"] for line in lines if line["action"] == "reconciliation.incomplete"] == ["error"]
    house.control("DELETE", "/sandbox/faults")
    house.later(60)
    reconcile(house, gateway, days=2)
    assert differences(house) == [("unknown_here", None)]


def test_a_gateway_that_comes_back_lets_the_slice_go_on(house: House, gateway: str) -> None:
    """What was read before the trouble is not read again; the run ends complete."""
    house.paid(gateway=gateway)
    house.fault("rate_limit", gateway=gateway, operation="list_transactions", times=5, params={"retry_after": 1})
    until = house.clock.now() + timedelta(seconds=1)
    service = house.container.reconciliation
    run_id = service.open(since=until - timedelta(days=1), until=until, gateways=[gateway], actor="user:u-op")
    for _ in range(6):
        house.later(300)
    (one,) = slices(house, run_id)
    assert (one.is_complete, one.error, differences(house)) == (True, None, [])
    assert house.calls("list_refunds") == 1
