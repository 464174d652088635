"""A chargeback: whatever comes in whatever order, up to five events, it is on record once, nothing given besides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from payflow.core.errors import Conflict
from payflow.models.decision import Decision
from payflow.models.dispute import Dispute
from payflow.models.ledger import LedgerPosting
from payflow.models.order import Order
from payflow.models.refund import RefundReason
from tests.house import ADA, House
from tests.properties.words import Letter, ends_of, hear, number_of_words, states_after, wait
from tests.soundness import audit

LENGTH = 5
PART = 100_000


@dataclass(frozen=True)
class Facts:
    """What has really happened."""

    dispute: str = ""
    """open, won, lost; none at first."""
    is_asked_back: bool = False
    """A refund was accepted."""
    sent: str = ""
    """How the refund ends if it was sent: completed, or failed where the bank had taken the money already."""


def at_the_bank(goes_to: str) -> Letter[Facts]:
    """The customer's bank opens a chargeback, or ends the one it has opened."""

    def letter(house: House, facts: Facts) -> Facts:
        if facts.dispute != ("" if goes_to == "open" else "open"):
            return facts
        (reference,) = house.control("GET", "/sandbox/charges")["by_reference"]
        if goes_to == "open":
            house.fault("dispute", reference=reference)
        else:
            house.fault("dispute_resolve", reference=reference, params={"won": goes_to == "won"})
        return replace(facts, dispute=goes_to)

    return letter


def webhook(position: int) -> Letter[Facts]:
    """The first of the gateway's dispute webhooks comes, or the last."""

    def letter(house: House, facts: Facts) -> Facts:
        told: list[dict[str, Any]] = [row for row in house.webhooks() if "dispute" in str(row["event"])]
        if told:
            house.receive(told[position])
            house.step("webhooks.process")
        return facts

    return letter


def ask_back(house: House, facts: Facts) -> Facts:
    (order,) = house.rows(Order)
    if facts.is_asked_back:
        return facts
    ask = house.container.refunds.request_refund
    try:
        ask(ADA, house.payment_row(order.id).id, amount_minor=PART, reason=RefundReason.OTHER)
    except Conflict:
        return facts
    return replace(facts, is_asked_back=True)


def work(house: House, facts: Facts) -> Facts:
    """Everything that is due is done; a refund that waits is sent, unless the bank holds the money."""
    is_held = any(one.status in ("open", "lost") for one in house.rows(Dispute))
    house.drain()
    if not facts.is_asked_back or facts.sent or is_held:
        return facts
    return replace(facts, sent="failed" if facts.dispute == "lost" else "completed")


LETTERS: dict[str, Letter[Facts]] = {
    "opened": at_the_bank("open"),
    "won": at_the_bank("won"),
    "lost": at_the_bank("lost"),
    "first webhook": webhook(0),
    "last webhook": webhook(-1),
    "ask for money back": ask_back,
    "work": work,
}


def test_every_order_of_up_to_five_events_of_a_dispute_ends_right(small_house: House) -> None:
    """All 19,607 words of one to five of seven events: one dispute in its end state, booked when lost; a refund leaves
    only while nobody knows that the bank holds the money, or when it holds it no more."""
    assert number_of_words(len(LETTERS), LENGTH) == 19_607
    order_id = small_house.paid()
    nodes = states_after(small_house, LETTERS, Facts(), LENGTH)
    for node in ends_of(small_house, nodes, hear, wait(30), wait(6 * 3_600), wait(30)):
        node.kept.put_back(small_house)
        facts, rows = node.facts, small_house.rows
        assert audit(small_house, slo_seconds=60) == [], node.word
        assert [one.status for one in rows(Dispute)] == [facts.dispute] * bool(facts.dispute), node.word
        posted = [one.amount_minor for one in rows(LedgerPosting) if one.kind == "dispute"]
        assert posted == [small_house.order_row(order_id).total_minor] * (facts.dispute == "lost"), node.word
        asked = [one.resolved_at is None for one in rows(Decision) if one.kind == "dispute_opened"]
        assert asked == [facts.dispute == "open"] * bool(facts.dispute), node.word
        ends = facts.sent or {"open": "pending", "lost": "failed"}.get(facts.dispute, "completed")
        refunds = [one.status for one in small_house.refunds(order_id)]
        assert refunds == [ends] * facts.is_asked_back, (node.word, facts)
        there = small_house.control("GET", "/sandbox/refunds")["refunds"]
        assert [one["amount_minor"] for one in there] == [PART] * refunds.count("completed"), node.word
