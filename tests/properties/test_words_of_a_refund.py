"""Refunds of one payment: whatever comes in whatever order, up to five events, the money goes back once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from payflow.core.errors import Conflict, InvalidInput
from payflow.models.decision import Decision
from payflow.models.order import Order
from payflow.models.refund import Refund, RefundReason
from tests.house import ADA, House
from tests.properties.words import Letter, Node, ends_of, hear, number_of_words, states_after, wait
from tests.soundness import assert_same_money, audit

LENGTH = 5
PART, BY_HAND = 100_000, 50_000


@dataclass(frozen=True)
class Facts:
    """What has really happened, in minor units."""

    accepted: int = 0
    """Refunds that were accepted."""
    by_hand: int = 0
    """Given back in the gateway's dashboard."""


def ask_back(amount: int | None) -> Letter[Facts]:
    """The customer asks for so much, or for all that is left."""

    def letter(house: House, facts: Facts) -> Facts:
        (order,) = house.rows(Order)
        payment = house.payment_row(order.id)
        left = payment.refundable_minor
        ask = house.container.refunds.request_refund
        try:
            ask(ADA, payment.id, amount_minor=amount, reason=RefundReason.OTHER)
        except (Conflict, InvalidInput):
            return facts
        return replace(facts, accepted=facts.accepted + (left if amount is None else amount))

    return letter


def send(house: House, facts: Facts) -> Facts:
    """A worker sends what waits for it."""
    house.step("refunds.submit:paystack")
    return facts


def bank(house: House, facts: Facts) -> Facts:
    """The gateway is done with the refunds it has."""
    house.clock.advance(2)
    return facts


def ask(house: House, facts: Facts) -> Facts:
    """The gateway is asked about every refund it has, due or not."""
    house.container.refund_calls.verify("paystack", [one.id for one in house.rows(Refund)])
    return facts


def webhook(house: House, facts: Facts) -> Facts:
    """The newest of the gateway's refund webhooks comes, once more or for the first time."""
    told = [row for row in house.webhooks() if str(row["event"]).startswith("refund.")]
    if told:
        house.receive(told[-1])
        house.step("webhooks.process")
    return facts


def by_hand(house: House, facts: Facts) -> Facts:
    """Somebody gives money back in the gateway's dashboard."""
    (charge,) = house.control("GET", "/sandbox/charges")["by_reference"].items()
    plan = {"fault": "dashboard_refund", "reference": charge[0], "params": {"amount": BY_HAND}}
    answer = house.sandbox.app.test_client().post("/sandbox/faults", json=plan)
    return replace(facts, by_hand=facts.by_hand + BY_HAND) if answer.status_code == 201 else facts


LETTERS: dict[str, Letter[Facts]] = {
    "ask for a part": ask_back(PART),
    "ask for the rest": ask_back(None),
    "send": send,
    "bank": bank,
    "ask": ask,
    "webhook": webhook,
}
MORE: dict[str, Letter[Facts]] = {"by hand": by_hand}


def test_every_order_of_up_to_five_events_of_a_refund_ends_right(small_house: House) -> None:
    """All 9,330 words of one to five of six events: what was accepted goes back, all of it, and once."""
    assert number_of_words(len(LETTERS), LENGTH) == 9_330
    for node, refunds in _ends(small_house, LETTERS):
        assert {one.status for one in refunds} <= {"completed"}, node.word
        assert sum(one.amount_minor for one in refunds) == node.facts.accepted, (node.word, node.facts)
        assert_same_money(small_house)


@pytest.mark.slow
@pytest.mark.skipif("PROPERTIES_EXAMPLES" not in os.environ, reason="takes minutes: make properties")
def test_every_order_of_up_to_five_events_with_refunds_by_hand_ends_right(small_house: House) -> None:
    """All 19,607 words with refunds made at the gateway besides: adopted, or a person is told what does not fit.

    What was accepted goes back once, unless the gateway refuses it since the money is gone; a person is told that, too.
    """
    assert number_of_words(len(LETTERS | MORE), LENGTH) == 19_607
    for node, refunds in _ends(small_house, LETTERS | MORE):
        asked = {(one.kind, one.subject_id) for one in small_house.rows(Decision)}
        failed = [one for one in refunds if one.status == "failed"]
        assert {("refund_failed", one.id) for one in failed} <= asked, f"{node.word}: nobody was told of a failure"
        back = sum(one.amount_minor for one in refunds if one.status == "completed")
        does_not_fit = any(kind == "refund_unknown" for kind, _ in asked)
        if not does_not_fit:
            assert_same_money(small_house)
            unmade = sum(one.amount_minor for one in failed)
            assert back == node.facts.accepted + node.facts.by_hand - unmade, (node.word, node.facts)
        assert node.facts.by_hand or not (failed or does_not_fit), f"{node.word}: nothing stood in its way"


def _ends(house: House, letters: dict[str, Letter[Facts]]) -> Iterator[tuple[Node[Facts], list[Refund]]]:
    """How all words end, the house as it is then; what holds for each of them is looked at here."""
    order_id = house.paid()
    nodes = states_after(house, letters, Facts(), LENGTH)
    for node in ends_of(house, nodes, wait(10), wait(30), hear, wait(700)):
        node.kept.put_back(house)
        assert audit(house, slo_seconds=60) == [], node.word
        refunds, order = house.refunds(order_id), house.order_row(order_id)
        assert {one.status for one in refunds} <= {"completed", "failed"}, node.word
        back = sum(one.amount_minor for one in refunds if one.status == "completed")
        assert order.status == ("refunded" if back == order.total_minor else "completed"), node.word
        yield node, refunds
