"""Stories that Hypothesis found, cut down to what they need: each showed something nobody had thought of."""

from __future__ import annotations

from collections.abc import Callable

from payflow.models.decision import Decision
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


def test_refunds_by_hand_beside_ours_that_do_not_fit_are_put_before_a_person(
    a_machine: Callable[[], MoneyMachine],
) -> None:
    """All the money is on its way back when somebody gives a part back in the dashboard, too: the gateway refuses ours.

    A person is told of both: of the refund nobody here asked for, and of ours, which failed.
    """
    state = a_machine()
    state.policy(late="accept", excess="refund")
    state.order(rooms=1, shares_a_slot=False, gateway="paystack", goes_to="known", dies=False)
    state.refund(which=0, share=None, dies=False)
    state.at_the_gateway(which=0, act="dashboard_refund", is_part=True)
    state.webhook(which=0, times=1, is_forged=False)
    state.house.drain()
    state.books_are_sound()
    assert [one.status for one in state.house.rows(Refund)] == ["failed"]
    asked = {one.kind for one in state.house.rows(Decision) if one.resolved_at is None}
    assert asked == {"refund_unknown", "refund_failed"}
    state.teardown()
