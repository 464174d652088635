"""The books of both sides, read apart from each other: what the gateway did with money, and what payflow says it did.

`assert_never_more` holds at every instant, in the middle of any trouble; `assert_settled` when the trouble is over and
time has passed. Neither believes payflow's own sums: they are made here from the gateway's records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from payflow.core.states import MONEY_ORDER, OPEN_REFUND
from payflow.models.decision import Decision, DecisionKind
from payflow.models.dispute import Dispute
from payflow.models.order import Order
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund
from tests.house import House


@dataclass
class There:
    """One reference at its gateway, in minor units of what was charged."""

    charges: int = 0
    taken: int = 0
    asked_back: int = 0
    """Refunds our program asked for that have not failed."""
    given_back: int = 0
    """Refunds that are done and stay done."""
    ever_given_back: int = 0
    """Refunds that were done at some time; a bank may send one back."""


@dataclass
class Story:
    """One order as its customer knows it."""

    total: int
    refunds: dict[str, int] = field(default_factory=dict)
    """What was accepted: refund id → minor units."""


class Books:
    """Both sides at one moment."""

    def __init__(self, house: House) -> None:
        self.there = _read_gateway(house)
        with house.container.units.reading() as rows:
            self.orders: dict[str, Order] = {one.id: one for one in rows.all_of(Order)}
            self.attempts: list[PaymentAttempt] = rows.all_of(PaymentAttempt)
            self.refunds: dict[str, Refund] = {one.id: one for one in rows.all_of(Refund)}
            self.decisions: list[Decision] = rows.all_of(Decision)
            self.disputes: list[Dispute] = rows.all_of(Dispute)

    def of(self, attempt: PaymentAttempt) -> There:
        """What its gateway did for a try; a second payment of one page is counted with the first."""
        return self.there.get(attempt.reference.split(".")[0], There())

    def refunds_of(self, attempt: PaymentAttempt) -> list[Refund]:
        return [one for one in self.refunds.values() if one.attempt_id == attempt.id]

    def is_with_a_person(self, kind: DecisionKind, *subjects: str) -> bool:
        return any(one.kind == kind and one.subject_id in subjects for one in self.decisions)

    def assert_never_more(self) -> None:
        """Nothing counts that is not there, nothing is sent that was not written down first, nothing is for free."""
        for reference, there in self.there.items():
            assert there.charges <= 1, f"{reference} was charged {there.charges} times"
            assert there.asked_back <= there.taken, f"{reference}: more went back than came"
        for attempt in self.attempts:
            there, refunds = self.of(attempt), self.refunds_of(attempt)
            assert attempt.captured_minor <= there.taken, f"{attempt.reference}: money counts that is not there"
            sent = sum(one.amount_minor for one in refunds if one.submitted_at and one.status != "failed")
            assert there.asked_back <= sent, f"{attempt.reference}: {there.asked_back} was sent back for {sent}"
            done = sum(one.amount_minor for one in refunds if one.status == "completed")
            assert done <= there.ever_given_back, f"{attempt.reference}: {done} counts as back, it is not"
        for order in self.orders.values():
            if order.status in MONEY_ORDER:
                paying = [one for one in self.attempts if one.order_id == order.id and one.application == "applied"]
                assert [self.of(one).taken >= order.total_minor for one in paying] == [True], order.id

    def assert_settled(self, stories: Mapping[str, Story]) -> None:
        """All money that was taken is known, all that was to go back is back, or a person has the question."""
        for attempt in self.attempts:
            there = self.of(attempt)
            if there.charges:
                assert attempt.status in ("succeeded", "mismatched"), f"lost: {attempt.reference} is {attempt.status}"
            done = sum(one.amount_minor for one in self.refunds_of(attempt) if one.status == "completed")
            if not self.is_with_a_person(DecisionKind.REFUND_UNKNOWN, attempt.id):
                assert done == there.given_back, f"{attempt.reference}: {done} back here, {there.given_back} there"
        for order_id, story in stories.items():
            self._assert_told(order_id, story)
            self._assert_kept(self.orders[order_id])

    def _assert_told(self, order_id: str, story: Story) -> None:
        """A refund that was accepted is there, in the amount accepted, and has come to an end or says why not."""
        assert self.orders[order_id].total_minor == story.total
        for refund_id, amount in story.refunds.items():
            refund = self.refunds[refund_id]
            assert refund.amount_minor == amount
            if refund.status == "failed":
                assert self.is_with_a_person(DecisionKind.REFUND_FAILED, refund_id), f"{refund_id} failed unseen"
            if refund.status in OPEN_REFUND:
                is_disputed = any(one.payment_id == refund.payment_id for one in self.disputes)
                assert refund.needs_attention or is_disputed or refund.gateway_refund_id, f"{refund_id} does not move"

    def _assert_kept(self, order: Order) -> None:
        """What the merchant keeps of an order is its price if it was sold, nothing if not, and questions besides."""
        tries = [one for one in self.attempts if one.order_id == order.id]
        ids = {one.id for one in tries}
        refunds = [one for one in self.refunds.values() if one.attempt_id in ids]
        asked = {one.subject_id for one in self.decisions if one.order_id == order.id}
        if asked & (ids | {order.id} | {one.id for one in refunds}) or any(
            one.status in OPEN_REFUND for one in refunds
        ):
            return  # a person decides, or the bank takes its time: I15 and I28 watch over that
        kept = sum(self.of(one).taken - self.of(one).given_back for one in tries if "." not in one.reference)
        own = sum(one.amount_minor for one in refunds if not one.is_surplus and one.status == "completed")
        sold = order.total_minor - own if order.status in MONEY_ORDER else 0
        assert kept == sold, f"order {order.id} is {order.status}: {kept} is kept, {sold} was sold"


def _read_gateway(house: House) -> dict[str, There]:
    found: dict[str, There] = defaultdict(There)
    for reference, sums in house.control("GET", "/sandbox/charges")["by_reference"].items():
        found[reference].charges, found[reference].taken = sums["charges"], sums["taken_minor"]
        found[reference].given_back = sums["returned_minor"]
    refunds: list[dict[str, Any]] = house.control("GET", "/sandbox/refunds")["refunds"]
    for refund in refunds:
        there = found[refund["reference"]]
        if refund["processed_at"] is not None:
            there.ever_given_back += refund["amount_minor"]
        if refund["source"] == "api" and refund["status"] != "failed":
            there.asked_back += refund["amount_minor"]
    return dict(found)
