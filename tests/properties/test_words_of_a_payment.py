"""One payment: whatever comes in whatever order, up to five events, ends as the facts alone say."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import pytest

from payflow.core.errors import Conflict
from payflow.models.order import Order
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import RefundReason
from tests.house import ADA, House
from tests.properties.words import Letter, ends_of, number_of_words, states_after, wait
from tests.soundness import assert_same_money, audit

LENGTH = 5


@dataclass(frozen=True)
class Facts:
    """What has really happened, whoever knows of it."""

    paid: frozenset[int] = frozenset()
    """Which pages were paid, by number."""
    declined: frozenset[int] = frozenset()
    """Pages on which the bank said no last."""
    closed: str = ""
    """expired or cancelled, before any money was known."""
    is_refunded: bool = False
    """A refund of everything was asked for and accepted."""


def tries(house: House) -> list[PaymentAttempt]:
    return house.rows(PaymentAttempt)


def the_order(house: House) -> Order:
    (order,) = house.rows(Order)
    return order


def page(number: int, outcome: str) -> Letter[Facts]:
    """The customer pays, or is declined, on the first page (0) or on the newest one (-1)."""

    def letter(house: House, facts: Facts) -> Facts:
        which = number % len(tries(house))
        house.pay(tries(house)[which].reference, outcome)
        if outcome == "success":
            return replace(facts, paid=facts.paid | {which}, declined=facts.declined - {which})
        return facts if which in facts.paid else replace(facts, declined=facts.declined | {which})

    return letter


def webhook(house: House, facts: Facts) -> Facts:
    """The gateway says that the first page was paid, whether it was or not; the inbox keeps it."""
    made_up = {"reference": tries(house)[0].reference, "event": "charge_paid", "signature": "valid"}
    (row,) = house.control("POST", "/sandbox/webhooks", made_up)["webhooks"]
    house.receive(row)
    house.step("webhooks.process")
    house.step("payments.verify:paystack")
    return facts


def browser(house: House, facts: Facts) -> Facts:
    """The browser comes back from the newest page: a question is due."""
    house.container.payments.request_check(tries(house)[-1].reference, caller=None)
    house.step("payments.verify:paystack")
    return facts


def poll(house: House, facts: Facts) -> Facts:
    """The gateway is asked about every page."""
    house.container.gateway_calls.verify("paystack", [one.id for one in tries(house)])
    return facts


def expire(house: House, facts: Facts) -> Facts:
    """The order's time is over, and somebody looks."""
    house.clock.advance(max(0.0, (the_order(house).expires_at - house.clock.now()).total_seconds()))
    house.step("orders.expire")
    is_expired = the_order(house).status == "expired"
    if is_expired and not facts.closed:
        assert len(tries(house)) - 1 not in facts.paid, "expired although its live page was paid"
    return replace(facts, closed="expired") if is_expired else facts


def again(house: House, facts: Facts) -> Facts:
    """The customer tries again."""
    try:
        house.container.payments.initiate_payment(ADA, the_order(house).id, gateway="paystack")
    except Conflict:
        return facts
    house.step("payments.initiate:paystack")
    return facts


def cancel(house: House, facts: Facts) -> Facts:
    try:
        house.container.orders.cancel(ADA, the_order(house).id)
    except Conflict:
        return facts
    return replace(facts, closed="cancelled")


def refund(house: House, facts: Facts) -> Facts:
    payment_id = house.payment_row(the_order(house).id).id
    try:
        house.container.refunds.request_refund(ADA, payment_id, amount_minor=None, reason=RefundReason.OTHER)
    except Conflict:
        return facts
    return replace(facts, is_refunded=True)


def work(house: House, facts: Facts) -> Facts:
    """Everything that is due is done."""
    house.drain()
    return facts


LETTERS: dict[str, Letter[Facts]] = {
    "pay": page(0, "success"),
    "decline": page(-1, "decline"),
    "webhook": webhook,
    "browser": browser,
    "poll": poll,
    "expire": expire,
    "refund": refund,
}
MORE: dict[str, Letter[Facts]] = {"pay newest": page(-1, "success"), "again": again, "cancel": cancel, "work": work}


def right_end(facts: Facts, pages: int) -> str:
    """The order's status in the end, from the facts alone."""
    if facts.paid:
        return "refunded" if facts.is_refunded or facts.closed == "cancelled" else "completed"
    if facts.closed:
        return facts.closed
    return "failed" if pages - 1 in facts.declined else "expired"


def test_every_order_of_up_to_five_events_of_a_payment_ends_right(small_house: House) -> None:
    """All 19,607 words of one to five of seven events: the end follows from what happened, not from who told when."""
    assert number_of_words(len(LETTERS), LENGTH) == 19_607
    _all_end_right(small_house, LETTERS)


@pytest.mark.slow
@pytest.mark.skipif("PROPERTIES_EXAMPLES" not in os.environ, reason="takes minutes: make properties")
def test_every_order_of_up_to_five_events_of_several_tries_ends_right(small_house: House) -> None:
    """All 177,155 words with another try, its payment, a cancellation and the workers' turn besides."""
    assert number_of_words(len(LETTERS | MORE), LENGTH) == 177_155
    _all_end_right(small_house, LETTERS | MORE)


def _all_end_right(house: House, letters: dict[str, Letter[Facts]]) -> None:
    order_id, _ = house.initiated()
    nodes = states_after(house, letters, Facts(), LENGTH)
    for node in ends_of(house, nodes, wait(40), wait(1_900)):
        node.kept.put_back(house)
        assert audit(house, slo_seconds=60) == [], node.word
        assert_same_money(house)
        order, payment = house.order_row(order_id), house.payment_row(order_id)
        assert order.status == right_end(node.facts, len(tries(house))), (node.word, node.facts)
        assert payment.status == {"completed": "success", "expired": "cancelled"}.get(order.status, order.status)
        came = sum(one.captured_minor for one in tries(house))
        back = sum(one.amount_minor for one in house.refunds(order_id) if one.status == "completed")
        assert came - back == (order.total_minor if order.status == "completed" else 0), node.word
