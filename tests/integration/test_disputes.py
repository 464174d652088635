"""Disputes: recorded once however their events come, on the ledger when lost, and nothing is given back besides."""

from __future__ import annotations

from itertools import permutations

import pytest
from sqlalchemy import update

from payflow.core.errors import Conflict
from payflow.models.access import Workspace
from payflow.models.decision import Decision, DecisionAction
from payflow.models.dispute import Dispute
from payflow.models.ledger import LedgerPosting
from payflow.models.refund import RefundReason
from payflow.services.decision_desk import DecisionDesk
from tests.house import ADA, OPERATOR, House

pytestmark = pytest.mark.usefixtures("sound_in_the_end")
AMOUNT = 1_500_000


def disputed(house: House, gateway: str, end: str | None) -> tuple[str, list[dict[str, object]]]:
    """A paid order with a dispute, perhaps ended; the webhooks that tell of it, not yet carried in."""
    order_id = house.paid(ADA, house.booking(amount=AMOUNT), gateway=gateway)
    reference = house.attempts(order_id)[0].reference
    told = {row["id"] for row in house.webhooks()}
    house.fault("dispute", reference=reference)
    if end is not None:
        house.fault("dispute_resolve", reference=reference, params={"won": end == "won"})
    return order_id, [row for row in house.webhooks() if row["id"] not in told and "dispute" in str(row["event"])]


@pytest.mark.parametrize("gateway", ["paystack", "stripe"])
@pytest.mark.parametrize("end", ["won", "lost"])
def test_a_disputes_events_end_the_same_in_every_order(house: House, gateway: str, end: str) -> None:
    """Opened and ended, in both orders and twice each: one dispute in its end state, one posting when lost."""
    orders = []
    for order in permutations(range(2)):
        order_id, events = disputed(house, gateway, end)
        assert len(events) >= 2
        for position in (*order, *order):
            house.receive(events[position], gateway)
            house.drain()
        orders.append(order_id)
    for order_id in orders:
        (dispute,) = [row for row in house.rows(Dispute) if row.order_id == order_id]
        assert (dispute.status, dispute.amount_minor) == (end, AMOUNT)
        lost = [row for row in house.rows(LedgerPosting) if row.kind == "dispute" and row.order_id == order_id]
        assert [row.amount_minor for row in lost] == ([AMOUNT] if end == "lost" else [])
        assert house.order_row(order_id).status == "completed"
    asked = [row for row in house.rows(Decision) if row.kind == "dispute_opened"]
    assert len(asked) == 2
    assert all(row.resolved_at for row in asked)


@pytest.mark.parametrize("gateway", ["paystack", "stripe"])
def test_nothing_is_given_back_while_a_dispute_is_open(house: House, gateway: str) -> None:
    """The API refuses a refund; one already waiting is held back until the dispute is won."""
    order_id, events = disputed(house, gateway, None)
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=100_000, reason=RefundReason.OTHER)
    house.receive(events[0], gateway)
    house.drain()
    house.later(60)
    assert house.control("GET", "/sandbox/refunds")["refunds"] == []
    with pytest.raises(Conflict) as caught:
        house.container.refunds.request_refund(ADA, payment.id, amount_minor=100_000, reason=RefundReason.OTHER)
    assert caught.value.code == "disputed"

    house.fault("dispute_resolve", reference=house.attempts(order_id)[0].reference, params={"won": True})
    for row in house.webhooks():
        if "dispute" in str(row["event"]):
            house.receive(row, gateway)
    house.drain()
    house.later(6 * 3_600)
    house.later(60)
    house.later(60)
    assert [refund.status for refund in house.refunds(order_id)] == ["completed"]


@pytest.mark.parametrize("needs_approval", [False, True])
def test_a_refund_that_waits_when_the_dispute_is_lost_has_failed(house: House, *, needs_approval: bool) -> None:
    """The bank has taken the money: it is not sent, a person is told, and the desk gives nothing back either."""
    order_id, (opened, *_) = disputed(house, "paystack", None)
    payment = house.payment_row(order_id)
    with house.container.engine.begin() as connection:
        connection.execute(update(Workspace).values(refund_needs_approval=needs_approval))
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=100_000, reason=RefundReason.OTHER)
    house.receive(opened)
    house.drain()
    desk = DecisionDesk(house.container.units)
    (asked,) = house.rows(Decision)
    with pytest.raises(Conflict, match="disputes"):
        desk.resolve(OPERATOR, asked.id, DecisionAction.REFUND)
    house.fault("dispute_resolve", reference=house.attempts(order_id)[0].reference, params={"won": False})
    for row in house.webhooks():
        if "dispute" in str(row["event"]):
            house.receive(row)
    house.drain()
    (refund,) = house.refunds(order_id)
    assert (refund.status, refund.due_at) == ("failed", None)
    (asked,) = [one for one in house.rows(Decision) if one.resolved_at is None]
    assert (asked.kind, asked.subject_id) == ("refund_failed", refund.id)
    desk.resolve(OPERATOR, asked.id, DecisionAction.IGNORE)
    with pytest.raises(Conflict):
        house.container.refunds.approve(OPERATOR, refund.id)


@pytest.mark.parametrize("gateway", ["paystack", "stripe"])
@pytest.mark.parametrize("is_through", [True, False])
def test_a_chargeback_beside_a_refund_already_sent_is_booked_beside_it(
    house: House, gateway: str, *, is_through: bool
) -> None:
    """Through or still on its way when the bank takes the rest: each is on the books once, and nothing more leaves."""
    order_id = house.paid(ADA, house.booking(amount=AMOUNT), gateway=gateway)
    payment, reference = house.payment_row(order_id), house.attempts(order_id)[0].reference
    if not is_through:
        house.fault("refund_slow", reference=reference, params={"seconds": 600})
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=100_000, reason=RefundReason.OTHER)
    house.drain()
    house.later(60)
    assert [row.status for row in house.refunds(order_id)] == ["completed" if is_through else "processing"]
    house.fault("dispute", reference=reference, params={"amount": AMOUNT - 100_000})
    house.fault("dispute_resolve", reference=reference, params={"won": False})
    for row in house.webhooks():
        if "dispute" in str(row["event"]):
            house.receive(row, gateway)
    house.drain()
    for _ in range(3):
        house.later(600)
    went = [(row.kind, row.amount_minor) for row in house.rows(LedgerPosting) if row.kind in ("refund", "dispute")]
    assert sorted(went) == [("dispute", AMOUNT - 100_000), ("refund", 100_000)]
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert [row.status for row in house.refunds(order_id)] == ["completed"]
    with pytest.raises(Conflict):
        house.container.refunds.request_refund(ADA, payment.id, amount_minor=1_000, reason=RefundReason.OTHER)
