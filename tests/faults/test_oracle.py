"""The campaign's oracle on the books of a house: what it calls settled is settled."""

from __future__ import annotations

from typing import Any, cast

import pytest

from payflow.store.unit_of_work import Transaction
from tests.faults.campaign.oracle import Books, _unsettled_rows
from tests.house import House
from tests.live import Live
from tests.rows import NOW, a_decision


@pytest.mark.parametrize(("answer", "is_told"), [({"resolved_at": NOW, "action": "ignore"}, True), ({}, False)])
def test_paid_order_that_is_owed_its_confirmation_is_told(house: House, answer: dict[str, Any], is_told: bool) -> None:
    """An open question may hold it up; one that was answered, whatever it was about, settles nothing."""
    order_id, reference = house.initiated()
    house.pay(reference)
    house.container.payments.request_check(reference, caller=None)
    house.step("payments.verify:paystack")
    order = house.order_row(order_id)
    assert (order.status, order.due_at) == ("paid", house.clock.now())

    def ask(tx: Transaction) -> None:
        tx.add(a_decision(order, kind="dispute_opened", **answer))

    house.container.units.run(ask)
    told = list(_unsettled_rows(Books(cast("Live", house))))
    assert (f"paid order {order_id} is owed a step" in told) is is_told
