"""Reconciliation at every gateway: each kind of difference is staged at the sandbox, found once, and repaired or put
before a person; what did not answer is told as incomplete. No gateway is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from payflow.core.errors import Conflict, NotFound
from payflow.core.gateways import NAMES
from payflow.models.access import Workspace
from payflow.models.decision import Decision, DecisionAction
from payflow.models.reconciliation import Difference, ReconciliationSlice
from payflow.models.refund import RefundReason
from payflow.sandbox.records import Charge
from payflow.sandbox.records import Refund as RefundThere
from payflow.services.decision_desk import DecisionDesk
from payflow.services.payment import attempt_ref
from tests.house import ADA, ADMIN, OPERATOR, WORKSPACE, House
from tests.soundness import assert_sound

pytestmark = pytest.mark.parametrize("gateway", NAMES)
DAY = 86_400


def compare(house: House, gateway: str, *, days: int = 1) -> str:
    """A run over the days up to now, taken by workers at once; its id."""
    until = house.clock.now() + timedelta(seconds=1)
    since = until - timedelta(days=days)
    run_id = house.container.reconciliation.open(since=since, until=until, gateways=[gateway], actor="user:u-op")
    house.drain()
    return run_id


def reconcile(house: House, gateway: str, *, days: int = 1) -> str:
    """A run over the days up to now, taken by workers, its repairs looked at; the run's id."""
    run_id = compare(house, gateway, days=days)
    house.later(121)
    assert all(one.finished_at for one in slices(house, run_id))
    return run_id


def slices(house: House, run_id: str) -> list[ReconciliationSlice]:
    with house.container.units.reading() as rows:
        return rows.slices_of(run_id)


def differences(house: House) -> list[tuple[str, str | None]]:
    """(kind, how it was settled) of every difference on record."""
    return [(row.kind, row.settled_by) for row in house.rows(Difference)]


def questions(house: House) -> list[Decision]:
    """What is before a person because of a reconciliation."""
    return [row for row in house.rows(Decision) if row.kind == "reconciliation" and row.resolved_at is None]


def is_quiet(house: House, gateway: str, *, days: int = 1) -> bool:
    """Whether one more run changes nothing but its own rows."""
    before = [(row.kind, row.created_at, row.settled_at, row.decided_at) for row in house.rows(Difference)]
    asked = len(house.rows(Decision))
    with capture_logs() as lines:
        reconcile(house, gateway, days=days)
    after = [(row.kind, row.created_at, row.settled_at, row.decided_at) for row in house.rows(Difference)]
    loud = [line for line in lines if line["action"].startswith("reconciliation.") and line["log_level"] != "info"]
    return before == after and asked == len(house.rows(Decision)) and loud == []


def charge(house: House, reference: str) -> Charge:
    """The gateway's own record."""
    found = house.sandbox.rooms.party.state.find_charge(reference)
    assert found is not None
    return found


def refunds_there(house: House, order_id: str) -> list[RefundThere]:
    """The gateway's own records, oldest first."""
    record = charge(house, house.attempts(order_id)[0].reference)
    return house.sandbox.rooms.party.state.refunds_of(record.id)


def refund(house: House, order_id: str, amount_minor: int) -> None:
    """A refund that is sent at once."""
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADMIN, payment.id, amount_minor=amount_minor, reason=RefundReason.OTHER)
    house.drain()
    house.later(60)


def refund_that_waits(house: House, order_id: str, amount_minor: int) -> None:
    """A refund somebody must approve before it is sent."""
    with house.container.engine.begin() as connection:
        connection.execute(update(Workspace).where(Workspace.id == WORKSPACE).values(refund_needs_approval=True))
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=amount_minor, reason=RefundReason.OTHER)
    house.drain()


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


def test_a_refund_made_in_the_dashboard_is_adopted(house: House, gateway: str) -> None:
    """Recorded as a refund of its payment, once; the gateway's books and ours say the same."""
    order_id = house.paid(gateway=gateway)
    house.fault("dashboard_refund", reference=house.attempts(order_id)[0].reference)
    house.later(60)
    assert house.refunds(order_id) == []
    reconcile(house, gateway)
    assert [(row.source, row.status) for row in house.refunds(order_id)] == [("gateway", "completed")]
    assert house.order_row(order_id).status == "refunded"
    assert differences(house) == [("refund_unknown_here", "repair")]
    assert questions(house) == []
    assert is_quiet(house, gateway)
    assert len(house.refunds(order_id)) == 1
    assert_sound(house)


def test_money_of_nobody_is_put_before_operators(house: House, gateway: str) -> None:
    """It fits no order: it stands open by itself with an error in the log, until an operator closes it for good."""
    reference = house.pay_nobody(gateway)
    with capture_logs() as lines:
        reconcile(house, gateway)
    assert differences(house) == [("unknown_here", None)]
    (row,) = house.rows(Difference)
    assert (row.order_id, row.amount_minor, row.reference) == (None, 500_000, reference)
    told = [line for line in lines if line["action"] == "reconciliation.needs_person"]
    assert [(line["log_level"], line["kind"]) for line in told] == [("error", "unknown_here")]
    assert is_quiet(house, gateway)
    with pytest.raises(NotFound):
        house.container.reconciliation.close(ADMIN, row.id, note="mine")
    house.container.reconciliation.close(OPERATOR, row.id, note="the shop's invoice")
    assert differences(house) == [("unknown_here", "user:u-op")]
    assert is_quiet(house, gateway)
    charge(house, reference).charged_minor += 100  # no longer what was looked into
    charge(house, reference).requested_minor += 100
    reconcile(house, gateway)
    assert differences(house) == [("unknown_here", None)]


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


def test_a_refund_the_gateway_does_not_have_is_put_before_a_person(house: House, gateway: str) -> None:
    """Listed neither by time nor with its payment."""
    order_id = house.paid(gateway=gateway)
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADMIN, payment.id, amount_minor=20_000, reason=RefundReason.OTHER)
    house.drain()
    house.later(60)
    reference = house.attempts(order_id)[0].reference
    house.fault("not_listed", reference=reference, operation="list_refunds", times=None)
    reconcile(house, gateway)
    assert differences(house) == [("refund_unknown_there", None)]
    assert [row.order_id for row in questions(house)] == [order_id]
    assert is_quiet(house, gateway)
    house.control("DELETE", "/sandbox/faults")
    reconcile(house, gateway)
    assert differences(house) == [("refund_unknown_there", "gone")]


def test_a_refund_that_went_back_unsent_explains_nothing(house: House, gateway: str) -> None:
    """A chargeback while a refund waits for approval: what was not sent is not why it went back."""
    order_id = house.paid(gateway=gateway)
    refund_that_waits(house, order_id, 20_000)
    charge(house, house.attempts(order_id)[0].reference).charged_back = True
    told = house.container.gateways[gateway].verify(attempt_ref(house.attempts(order_id)[0])).outcome.value
    reconcile(house, gateway)
    assert differences(house) == ([("reversed_there", None)] if told == "reversed" else [])


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_refund_of_another_amount_is_put_before_a_person(house: House, gateway: str, is_listed: bool) -> None:
    """Listed by time, or with its payment only: both amounts stand in the question, nothing is booked; right again, it
    is gone."""
    order_id = house.paid(gateway=gateway)
    refund(house, order_id, 50_000)
    (there,) = refunds_there(house, order_id)
    there.amount_minor = 250_000
    if not is_listed:
        there.created_at += timedelta(hours=2)
    run_id = reconcile(house, gateway)
    assert slices(house, run_id)[0].asked == (0 if is_listed else 1)
    assert differences(house) == [("refund_amount_differs", None)]
    (asked,) = questions(house)
    assert (asked.order_id, asked.amount_minor) == (order_id, 250_000)
    assert "a refund of NGN 500.00 here is one of NGN 2,500.00" in asked.detail
    assert house.payment_row(order_id).refunded_minor == 50_000
    assert is_quiet(house, gateway)
    there.amount_minor = 50_000
    reconcile(house, gateway)
    assert differences(house) == [("refund_amount_differs", "gone")]
    assert questions(house) == []
    assert_sound(house)


def test_a_refund_that_waits_hides_none_of_the_dashboard(house: House, gateway: str) -> None:
    """A refund that was never sent cannot be the one that is listed: that is recorded besides."""
    order_id = house.paid(gateway=gateway)
    refund_that_waits(house, order_id, 50_000)
    house.fault("dashboard_refund", reference=house.attempts(order_id)[0].reference, params={"amount": 20_000})
    house.later(60)
    reconcile(house, gateway)
    assert differences(house) == [("refund_unknown_here", "repair")]
    recorded = [(row.source, row.amount_minor, row.status) for row in house.refunds(order_id)]
    assert sorted(recorded) == [("api", 50_000, "pending"), ("gateway", 20_000, "completed")]
    assert is_quiet(house, gateway)


def test_a_refund_whose_answer_was_lost_excuses_one_of_its_amount(house: House, gateway: str) -> None:
    """It may be the one that is listed, so nobody is asked anew; what is open about that stays open, and what is listed
    besides of the same amount is told."""
    order_id = house.paid(gateway=gateway)
    refund(house, order_id, 250_000)
    reference = house.attempts(order_id)[0].reference
    house.fault("dashboard_refund", reference=reference, params={"amount": 50_000})
    house.later(60)
    foreign = refunds_there(house, order_id)[-1]
    foreign.amount_minor = 60_000  # more than is left here: it cannot be recorded
    reconcile(house, gateway)
    assert differences(house) == [("refund_unknown_here", None)]
    foreign.amount_minor = 10_000
    house.fault("error_500", operation="refund", times=None, params={"status": 500})
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADMIN, payment.id, amount_minor=10_000, reason=RefundReason.OTHER)
    house.drain()
    lost = house.refunds(order_id)[-1]
    assert (lost.submitted_at is not None, lost.gateway_refund_id, lost.status) == (True, None, "processing")
    (one,) = slices(house, compare(house, gateway))
    assert one.is_complete
    assert differences(house) == [("refund_unknown_here", None)]
    for _ in range(2):
        house.fault("dashboard_refund", reference=reference, params={"amount": 10_000})
    compare(house, gateway)
    assert [kind for kind, _ in differences(house)] == ["refund_unknown_here"] * 2, "three, and one is excused"


def test_money_of_nobody_that_went_back_is_nobodys_question(house: House, gateway: str) -> None:
    """Only where the refunds that are listed give back all of it; a part of it given back, the rest is a question."""
    reference = house.pay_nobody(gateway)
    house.fault("dashboard_refund", reference=reference, params={"amount": 100})
    house.later(60)
    reconcile(house, gateway)
    assert sorted(differences(house)) == [("refund_unknown_here", None), ("unknown_here", None)]
    house.fault("dashboard_refund", reference=reference, params={"amount": 499_900})
    house.later(60)
    reconcile(house, gateway)
    told = [row for row in house.rows(Difference) if row.kind == "refund_unknown_here"]
    is_proven = all(row.money for row in told)  # a list that names no currency does not tell how much went back
    assert len(told) == 2
    assert ("unknown_here", "gone" if is_proven else None) in differences(house)


def test_a_refund_that_failed_after_success_is_reversed(house: House, gateway: str) -> None:
    """Completed here, failed there, the webhook lost: the books follow, and the money is a question of its own."""
    order_id = house.paid(gateway=gateway)
    payment = house.payment_row(order_id)
    reference = house.attempts(order_id)[0].reference
    house.fault("refund_fails_after_success", reference=reference, params={"seconds": 7_200})
    house.container.refunds.request_refund(ADMIN, payment.id, amount_minor=None, reason=RefundReason.OTHER)
    house.drain()
    house.later(60)
    assert [row.status for row in house.refunds(order_id)] == ["completed"]
    house.later(7_300)
    reconcile(house, gateway)
    assert differences(house) == [("refund_status_differs", "repair")]
    assert [row.status for row in house.refunds(order_id)] == ["failed"]
    assert [row.kind for row in house.rows(Decision)] == ["refund_failed"]
    assert is_quiet(house, gateway)
    assert_sound(house)


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
