"""Answers of gateways that cannot be stored as they are: they stop nobody else, are asked for again, and are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from payflow.core.errors import GatewayUnavailable, PayflowError
from payflow.gateways.base import Outcome, Verification
from payflow.models.decision import Decision, DecisionAction
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import RefundReason
from payflow.services.decision_desk import DecisionDesk
from payflow.services.gateway_calls import TRIES_UNTOLD
from payflow.services.ledger import post_capture
from payflow.services.side_by_side import SideBySide
from tests.dying import Killed
from tests.house import ADA, ADMIN, WORKSPACE, House


def questions(house: House) -> list[tuple[str, str]]:
    """What is open before people: kind and suggestion."""
    return [(row.kind, row.suggested_action) for row in house.rows(Decision) if row.resolved_at is None]


def poisoned(house: House) -> str:
    """An order paid at the gateway with a transaction that stands on another order's try already."""
    other = house.attempts(house.paid())[0]
    order_id, reference = house.initiated()
    house.pay(reference)
    charge = house.sandbox.rooms.party.state.find_charge(reference, "paystack")
    assert charge is not None
    change = update(PaymentAttempt).where(PaymentAttempt.id == other.id).values(gateway_transaction_id=str(charge.id))
    house.container.units.run(lambda tx: tx.session.execute(change))
    return order_id


def test_a_transaction_of_another_try_is_put_before_a_person_and_stops_no_neighbour(house: House) -> None:
    """One order's money names a transaction we have elsewhere: a question; the next order is paid in the same batch."""
    order_id = poisoned(house)
    neighbour, reference = house.initiated()
    house.pay(reference)
    house.later(20)
    assert house.statuses(neighbour)[0] == "completed"
    assert house.statuses(order_id)[0] == "processing"
    assert questions(house) == [("reference_mismatch", "extend")]


def test_a_transaction_of_another_try_does_not_stop_the_expiry_of_others(house: House) -> None:
    order_id = poisoned(house)
    neighbour, _ = house.initiated()
    house.clock.advance(1_801)
    house.step("orders.expire")
    assert house.statuses(neighbour)[0] == "expired"
    assert house.statuses(order_id)[0] == "processing"


def test_an_answer_the_database_refuses_waits_longer_each_time_and_is_told_in_the_end(house: House) -> None:
    """Its money stands in the books already: nothing is stored of it, and after some time a person is told."""
    order_id, reference = house.initiated()
    house.pay(reference)
    (attempt,) = house.attempts(order_id)
    house.container.units.run(lambda tx: post_capture(tx, attempt, workspace_id=WORKSPACE))
    house.later(6)
    assert [(one.status, one.tries) for one in house.attempts(order_id)] == [("initiated", 1)]
    while house.attempts(order_id)[0].tries < TRIES_UNTOLD:
        assert questions(house) == []
        house.step("payments.verify:paystack")
        house.clock.advance(600)
    assert questions(house) == [("poll_plan_exhausted", "extend")]


class _OddError(Exception):
    """Of no kind that anybody has heard of."""


MISTAKES = pytest.mark.parametrize("mistake", [AttributeError, RecursionError, _OddError])


@contextmanager
def broken_for(house: House, reference: str, mistake: type[Exception]) -> Iterator[None]:
    """Inside, Paystack's adapter has a mistake that shows in the answers about one try; the call takes effect."""
    gateways: Any = house.container.gateways
    real = gateways["paystack"]

    class Broken:
        def __getattr__(self, name: str) -> Any:
            method: Callable[..., Any] = getattr(real, name)

            def call(about: Any, *more: Any) -> Any:
                answer = method(about, *more)
                if getattr(about, "attempt", about).reference == reference:
                    raise mistake(name)
                return answer

            return call if name in ("verify", "refund", "list_refunds") else method

    gateways["paystack"] = Broken()
    try:
        yield
    finally:
        gateways["paystack"] = real


@MISTAKES
def test_a_mistake_in_one_answer_of_five_leaves_four_and_is_asked_about_again(
    house: House, mistake: type[Exception]
) -> None:
    """Whatever breaks in an adapter says nothing about the payment: logged for a person, asked again, paid."""
    orders = dict([house.initiated() for _ in range(5)])
    for reference in orders.values():
        house.pay(reference)
    poor, *others = orders
    with broken_for(house, orders[poor], mistake):
        with capture_logs() as lines:
            house.later(6)
        assert [house.statuses(one)[0] for one in others] == ["completed"] * 4
        assert house.statuses(poor)[:2] == ("processing", "processing")
        assert [(one.status, one.tries) for one in house.attempts(poor)] == [("initiated", 1)]
        told = [line for line in lines if line["action"] == "call.failed"]
        assert [(line["log_level"], line["error"]) for line in told] == [("error", mistake.__name__)]
    house.later(60)
    assert house.statuses(poor)[0] == "completed"


@MISTAKES
def test_a_mistake_in_one_refund_of_five_leaves_four_and_gives_back_once(
    house: House, mistake: type[Exception]
) -> None:
    """Its request may have arrived, so it is no failure: the list is read with growing waits; a day later somebody is
    told, and once the mistake is mended its end is found."""
    orders = [house.paid() for _ in range(5)]
    for order_id in orders:
        payment_id = house.payment_row(order_id).id
        house.container.refunds.request_refund(ADA, payment_id, amount_minor=50_000, reason=RefundReason.OTHER)
    poor, *others = orders
    with broken_for(house, house.attempts(poor)[0].reference, mistake):
        house.drain()
        house.later(60)
        assert [house.refunds(one)[0].status for one in others] == ["completed"] * 4
        (refund,) = house.refunds(poor)
        assert (refund.status, refund.claimed_until, refund.gateway_refund_id) == ("processing", None, None)
        assert refund.tries >= 1
        assert questions(house) == []
        for _ in range(25):
            house.later(3_700)
        assert questions(house) == [("refund_needs_attention", "refund")]
    house.later(3_700)
    assert [(one.status, one.amount_minor) for one in house.refunds(poor)] == [("completed", 50_000)]
    assert house.calls("refund") == 5
    assert questions(house) == []


@pytest.mark.parametrize("items", [[0], [0, 2]], ids=["alone", "beside another"])
def test_a_death_in_a_call_is_no_answer(items: list[int]) -> None:
    """A worker that is told to end does so: nothing is stored in its place."""

    def die(item: int) -> int:
        if item == 0:
            raise Killed
        return item

    with pytest.raises(Killed):
        SideBySide(threads=2).run("paystack", die, items)


def test_a_bug_in_one_call_leaves_the_answers_beside_it() -> None:
    """Whatever breaks in an adapter stands for its own question only."""
    first, second = SideBySide(threads=2).run("paystack", lambda n: 6 // n, [0, 2])
    assert isinstance(first, PayflowError)
    assert "ZeroDivisionError" in first.detail
    assert second == 3


PENDING, SILENT = "pending", GatewayUnavailable("Not now.", gateway="paystack")


def told(house: House, order_id: str, answer: Verification | PayflowError | str) -> None:
    """The gateway answers this about an order's only try; a word is short for an outcome and no more."""
    (attempt,) = house.attempts(order_id)
    said = Verification(Outcome(answer), attempt.reference) if isinstance(answer, str) else answer
    store = partial(house.container.gateway_calls._store_answer, attempt_id=attempt.id, answer=said)
    house.container.units.run(partial(store, seen_due=attempt.due_at))


def told_until_the_plan_ends(house: House, order_id: str) -> None:
    while (due_at := house.attempts(order_id)[0].due_at) is not None:
        house.clock.advance(max(0.0, (due_at - house.clock.now()).total_seconds()))
        told(house, order_id, PENDING)


def extend(house: House) -> None:
    """A person has the gateway asked again."""
    (decision,) = [row for row in house.rows(Decision) if row.resolved_at is None]
    DecisionDesk(house.container.units).resolve(ADMIN, decision.id, DecisionAction.EXTEND)


def test_a_question_about_money_is_not_answered_by_a_word_that_tells_no_end(house: House) -> None:
    """Paid, but not how much; then the gateway is silent for a moment, then undecided: a person still has it."""
    order_id, _ = house.initiated()
    told(house, order_id, "succeeded")
    told(house, order_id, SILENT)
    told(house, order_id, PENDING)
    assert questions(house) == [("underpaid", "extend")]


@pytest.mark.parametrize("house", [{"PAYFLOW_POLL_PLAN_PAYSTACK": "5,10,20,40"}], indirect=True)
def test_money_of_which_no_more_is_told_after_extend_is_a_question_again(house: House) -> None:
    order_id, _ = house.initiated()
    told(house, order_id, "succeeded")
    extend(house)
    told_until_the_plan_ends(house, order_id)
    assert questions(house) == [("underpaid", "extend")]


@pytest.mark.parametrize("house", [{"PAYFLOW_POLL_PLAN_PAYSTACK": "5,10,20,40"}], indirect=True)
def test_a_plan_that_ended_is_not_answered_by_a_word_that_tells_no_end(house: House) -> None:
    """Nobody asks any more unless told to: its order neither expires nor is paid before a person has said so."""
    order_id, _ = house.initiated()
    told_until_the_plan_ends(house, order_id)
    told(house, order_id, SILENT)
    told(house, order_id, PENDING)
    assert questions(house) == [("poll_plan_exhausted", "extend")]
    house.clock.advance(1_801)
    house.step("orders.expire")
    assert house.statuses(order_id)[0] == "processing"
