"""Stories that Hypothesis found, cut down to what they need: each showed something nobody had thought of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from payflow.models.decision import Decision
from payflow.models.order import Order
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund
from tests.properties.machine import MoneyMachine


def test_an_order_cancelled_while_its_page_was_lost_ends_cancelled(a_machine: Callable[[], MoneyMachine]) -> None:
    """Stripe opened a page and its address was lost; the order is cancelled before the page is asked for again.

    Nobody has the address, so nothing can be paid there, and nothing stays open here (docs/decisions/0008).
    """
    state = a_machine()
    state.policy(late="accept", excess="refund")
    state.bad_answers(fault=("truncated_json", {}), times=3)
    state.order(rooms=1, shares_a_slot=False, gateway="stripe", goes_to="page", dies=False)
    assert [one.status for one in state.house.rows(PaymentAttempt)] == ["unknown"]
    state.cancel(which=0, is_whole=True)
    state.books_are_sound()
    state.teardown()


@pytest.mark.parametrize("is_part", [True, False])
def test_a_refund_by_hand_beside_ours_is_recorded_when_the_gateway_has_refused_ours(
    a_machine: Callable[[], MoneyMachine], is_part: bool
) -> None:
    """All the money is to go back when somebody gives it (or a part) back in the dashboard, too: ours is refused there.

    While ours was open, theirs did not fit, or might have been ours; once ours has failed it is looked at again.
    """
    state = a_machine()
    state.policy(late="accept", excess="refund")
    state.order(rooms=1, shares_a_slot=False, gateway="paystack", goes_to="known", dies=False)
    state.refund(which=0, share=None, dies=False)
    state.at_the_gateway(which=0, act="dashboard_refund", is_part=is_part)
    state.webhook(which=0, times=1, is_forged=False)
    state.house.drain()
    state.house.later(30)
    state.books_are_sound()
    found = {(one.source, one.status) for one in state.house.rows(Refund)}
    asked = [one.kind for one in state.house.rows(Decision)]
    if is_part:
        assert (found, asked) == ({("api", "failed"), ("gateway", "completed")}, ["refund_failed"])
    else:  # the same sum, and ours was not sent yet: theirs is ours
        assert (found, asked) == ({("api", "completed")}, ["refund_unknown"])
    (order,) = state.house.rows(Order)
    assert order.status == ("completed" if is_part else "refunded")
    state.teardown()


def test_a_refund_by_hand_that_does_not_fit_for_hours_is_put_before_a_person(
    a_machine: Callable[[], MoneyMachine],
) -> None:
    """Ours cannot be sent for a day; theirs does not fit, is looked at for hours, then a person is asked."""
    state = a_machine()
    state.policy(late="accept", excess="refund")
    state.order(rooms=1, shares_a_slot=False, gateway="paystack", goes_to="known", dies=False)
    state.house.fault("rate_limit", operation="refund", times=None)
    state.refund(which=0, share=None, dies=False)
    state.at_the_gateway(which=0, act="dashboard_refund", is_part=True)
    state.webhook(which=0, times=1, is_forged=False)
    state.house.drain()
    assert state.house.rows(Decision) == []
    for _ in range(24):
        state.house.later(3_600)
    assert {one.kind for one in state.house.rows(Decision)} == {"refund_unknown", "refund_needs_attention"}
    assert state.house.container.sweeps.due() == []
    state.teardown()
