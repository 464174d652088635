"""`complete_refund`, the contract's door: what went back another way is not counted a second time."""

from __future__ import annotations

import pytest

from payflow.core.errors import Conflict
from payflow.models.decision import Decision, DecisionAction
from payflow.models.dispute import Dispute
from payflow.models.refund import Refund, RefundReason
from payflow.services.decision_desk import DecisionDesk
from tests.house import ADA, ADMIN, OPERATOR, House

pytestmark = pytest.mark.usefixtures("sound_in_the_end")
EXCESS = 5_000


def refund_that_fails(house: House, order_id: str, amount_minor: int) -> str:
    """A refund the gateway calls failed; its id."""
    house.fault("refund_fails", reference=house.attempts(order_id)[0].reference)
    payment_id = house.payment_row(order_id).id
    refund_id = house.container.refunds.request_refund(
        ADMIN, payment_id, amount_minor=amount_minor, reason=RefundReason.OTHER
    )
    house.drain()
    house.later(60)
    assert [row.status for row in house.refunds(order_id)] == ["failed"]
    return refund_id


def money(house: House, order_id: str) -> list[tuple[str, int]]:
    """What is on record as given back, or on its way: (status, amount in minor units)."""
    return [(row.status, row.amount_minor) for row in house.refunds(order_id) if row.status != "failed"]


def refused(house: House, refund_id: str) -> str:
    """The door's answer, told twice, and the same both times."""
    codes = set()
    for _ in range(2):
        with pytest.raises(Conflict) as caught:
            house.container.payments.complete_refund(refund_id, actor="gateway:paystack")
        codes.add(caught.value.code)
    (code,) = codes
    return code


def test_a_refund_that_had_failed_is_completed_while_its_money_is_here(house: House) -> None:
    """The gateway made it after all: it counts, once."""
    order_id = house.paid()
    refund_id = refund_that_fails(house, order_id, 100_000)
    (there,) = house.sandbox.rooms.party.state.refunds.values()
    there.status = type(there.status).PROCESSED
    for _ in range(2):
        house.container.payments.complete_refund(refund_id, actor="gateway:paystack")
    assert money(house, order_id) == [("completed", 100_000)]


def test_a_refund_of_surplus_that_had_failed_is_not_completed_beside_the_one_that_replaced_it(house: House) -> None:
    """The surplus went back by the second refund: the first would take it from the order's own money."""
    order_id, reference = house.initiated()
    house.fault("wrong_amount", reference=reference, params={"delta": EXCESS})
    house.fault("refund_fails", reference=reference)
    house.pay(reference)
    house.ask(reference)
    house.later(60)
    (failed,) = house.refunds(order_id)
    assert (failed.source, failed.status, failed.amount_minor) == ("surplus", "failed", EXCESS)
    asked = next(row for row in house.rows(Decision) if row.kind == "refund_failed")
    DecisionDesk(house.container.units).resolve(OPERATOR, asked.id, DecisionAction.REFUND)
    house.drain()
    house.later(60)
    assert refused(house, failed.id) == "went_back_otherwise"
    assert money(house, order_id) == [("completed", EXCESS)]
    assert house.payment_row(order_id).refundable_minor == 300_000
    assert house.attempts(order_id)[0].refund_reserved_minor == EXCESS


def test_a_refund_that_had_failed_is_not_completed_beside_one_made_by_hand(house: House) -> None:
    """The same money was given back in the gateway's dashboard, and that is on record."""
    order_id = house.paid()
    refund_id = refund_that_fails(house, order_id, 300_000)
    house.fault("dashboard_refund", reference=house.attempts(order_id)[0].reference)
    house.later(60)
    house.container.refund_adoption.look("paystack", [house.attempts(order_id)[0].id])
    house.drain()
    assert refused(house, refund_id) == "went_back_otherwise"
    assert money(house, order_id) == [("completed", 300_000)]


def test_a_refund_that_had_failed_is_not_completed_beside_a_chargeback(house: House) -> None:
    """The bank has taken the money: a refund that was never sent did not take it as well."""
    order_id = house.paid()
    reference = house.attempts(order_id)[0].reference
    payment_id = house.payment_row(order_id).id
    refund_id = house.container.refunds.request_refund(ADA, payment_id, amount_minor=100_000, reason=RefundReason.OTHER)
    house.fault("dispute", reference=reference)
    house.fault("dispute_resolve", reference=reference, params={"won": False})
    for row in house.webhooks():
        if "dispute" in str(row["event"]):
            house.receive(row)
    house.step("webhooks.process")
    house.drain()
    assert [(row.status, row.amount_minor) for row in house.rows(Dispute)] == [("lost", 300_000)]
    assert [row.status for row in house.rows(Refund)] == ["failed"]
    assert refused(house, refund_id) == "went_back_otherwise"
    assert money(house, order_id) == []
    assert house.payment_row(order_id).refunded_minor == 0
