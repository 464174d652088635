"""Reconciliation of refunds at every gateway: each kind of difference is staged at the sandbox, found once, and
repaired or put before a person. No gateway is named."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from payflow.core.gateways import NAMES
from payflow.models.access import Workspace
from payflow.models.decision import Decision
from payflow.models.reconciliation import Difference
from payflow.models.refund import RefundReason
from payflow.sandbox.records import Refund as RefundThere
from payflow.services.payment import attempt_ref
from tests.comparing import charge, compare, differences, is_quiet, questions, reconcile, slices
from tests.house import ADA, ADMIN, WORKSPACE, House
from tests.soundness import assert_sound

pytestmark = pytest.mark.parametrize("gateway", NAMES)


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
