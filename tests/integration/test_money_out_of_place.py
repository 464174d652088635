"""Money that is not what was asked for, told by a gateway in any way it can be: on record, before a person, and theirs
to give back or ask about again."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import requests

from payflow.core.errors import AnswerNotUnderstood, PayflowError
from payflow.core.gateways import NAMES
from payflow.core.money import Money
from payflow.gateways.base import InitiateRequest, Outcome, Verification
from payflow.models.decision import Decision, DecisionAction
from payflow.models.ledger import LedgerPosting
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund
from payflow.services.decision_desk import DecisionDesk
from payflow.services.gateway_calls import TRIES_UNTOLD, _ask, _claim_questions
from tests.house import ADA, ADMIN, House
from tests.soundness import audit


def told(house: House, attempt: PaymentAttempt, answer: Verification | PayflowError) -> None:
    """The gateway answers this about a try."""
    (now,) = [row for row in house.rows(PaymentAttempt) if row.id == attempt.id]
    store = house.container.gateway_calls._store_answer
    house.container.units.run(partial(store, attempt_id=now.id, answer=answer, seen_due=now.due_at))


def paid(attempt: PaymentAttempt, transaction_id: str = "771", **more: object) -> Verification:
    """The gateway's word that a try is paid."""
    plain = Verification(Outcome.SUCCEEDED, attempt.reference, amount=attempt.amount, transaction_id=transaction_id)
    return replace(plain, **more)  # type: ignore[arg-type]  # the names are the caller's


def questions(house: House) -> list[tuple[str, str]]:
    """What is open before people: kind and suggestion."""
    return [(row.kind, row.suggested_action) for row in house.rows(Decision) if row.resolved_at is None]


def decide(house: House, kind: str, action: DecisionAction) -> None:
    """A person answers the open question of a kind."""
    (decision,) = [row for row in house.rows(Decision) if row.kind == kind and row.resolved_at is None]
    DecisionDesk(house.container.units).resolve(ADMIN, decision.id, action)


def money(house: House, order_id: str) -> list[tuple[str, int, str | None]]:
    """The order's tries: status, what came in, in which currency."""
    return [(one.status, one.captured_minor, one.captured_currency) for one in house.attempts(order_id)]


def test_a_second_payment_told_while_the_first_is_stored_is_looked_at(house: House) -> None:
    """A page paid twice, the second between a worker's question and its record: it is found without reconciliation."""
    order_id, reference = house.initiated(gateway="flutterwave")
    (attempt,) = house.attempts(order_id)
    request = InitiateRequest(
        reference=reference, amount=attempt.amount, customer_email="ada@example.com", customer_name="Ada",
        callback_url="https://shop.example/back", description="Asked for twice",
    )  # fmt: skip
    another_link = house.container.gateways["flutterwave"].initiate(request).authorization_url
    requests.post(f"{attempt.authorization_url}/success", allow_redirects=False, timeout=5)
    house.clock.advance(6)
    claimed, (question,) = house.container.units.run(partial(_claim_questions, gateway="flutterwave", ids=None))
    first = _ask(house.container.gateways["flutterwave"], question)
    house.clock.advance(1)
    requests.post(f"{another_link}/success", allow_redirects=False, timeout=5)
    for row in house.webhooks():
        house.receive(row, "flutterwave")
    house.step("webhooks.process")
    store = partial(house.container.gateway_calls._store_answer, attempt_id=question.attempt_id, answer=first)
    house.container.units.run(partial(store, seen_due=claimed[question.attempt_id]))
    house.later(20)
    house.later(60)
    assert house.charges(reference) == 2
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert sorted(one.application or "" for one in house.attempts(order_id)) == ["applied", "surplus"]
    assert [(one.source, one.status) for one in house.refunds(order_id)] == [("surplus", "completed")]
    assert audit(house) == []


def test_too_little_then_the_whole_on_one_page_pays_the_order(house: House) -> None:
    """The first sum is before a person; the second, of the right amount, is the order's."""
    order_id, _ = house.initiated(gateway="flutterwave")
    (attempt,) = house.attempts(order_id)
    short = paid(attempt, "1", amount=Money(attempt.amount_minor - 500, "NGN"))
    told(house, attempt, short)
    assert questions(house) == [("underpaid", "refund")]
    told(house, attempt, replace(short, extra_successes=(paid(attempt, "2"),)))
    house.drain()
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert sorted(money(house, order_id)) == [
        ("mismatched", attempt.amount_minor - 500, "NGN"),
        ("succeeded", attempt.amount_minor, "NGN"),
    ]


def test_the_same_money_told_twice_of_a_try_before_a_person_counts_once(house: House) -> None:
    """Too little came, and a later answer about the same transaction says it was enough: a person has it already."""
    order_id, _ = house.initiated()
    (attempt,) = house.attempts(order_id)
    told(house, attempt, paid(attempt, amount=Money(attempt.amount_minor - 500, "NGN")))
    told(house, attempt, paid(attempt))
    assert money(house, order_id) == [("mismatched", attempt.amount_minor - 500, "NGN")]
    assert [row.kind for row in house.rows(LedgerPosting)] == ["unapplied"]


def test_a_second_transaction_in_another_currency_goes_back_as_itself(house: House) -> None:
    """The answer `refund` gives back the foreign sum of the second transaction, and leaves the order its money."""
    order_id = house.paid(gateway="flutterwave")
    (attempt,) = house.attempts(order_id)
    own = paid(attempt, str(attempt.gateway_transaction_id))
    told(house, attempt, replace(own, extra_successes=(paid(attempt, "88", amount=Money(4_200, "GHS")),)))
    assert questions(house) == [("wrong_currency", "refund")]
    assert min(money(house, order_id)) == ("mismatched", 4_200, "GHS")
    decide(house, "wrong_currency", DecisionAction.REFUND)
    (refund,) = house.rows(Refund)
    assert (refund.amount_minor, refund.currency, refund.source) == (4_200, "GHS", "surplus")
    assert house.payment_row(order_id).refund_reserved_minor == 0


@pytest.mark.usefixtures("sound_in_the_end")
@pytest.mark.parametrize("gateway", NAMES)
def test_an_answer_about_another_reference_is_no_answer(house: House, gateway: str) -> None:
    """Again and again: a person is told after ten, not after a day, and it is asked on; the next answer counts."""
    order_id, reference = house.initiated(gateway=gateway)
    house.pay(reference)
    house.fault("wrong_reference", operation="verify", times=None)
    (attempt,) = house.attempts(order_id)
    while attempt.tries < TRIES_UNTOLD:
        assert (house.statuses(order_id)[0], questions(house)) == ("processing", [])
        house.later(120)
        (attempt,) = house.attempts(order_id)
    assert questions(house) == [("poll_plan_exhausted", "extend")]
    house.control("DELETE", "/sandbox/faults")
    house.later(600)
    assert house.statuses(order_id)[0] == "completed"
    assert questions(house) == []


def test_answers_that_cannot_be_understood_are_told_after_ten(house: House) -> None:
    """Not after a day, as silence is; the first that can be understood closes the question."""
    order_id, _ = house.initiated()
    (attempt,) = house.attempts(order_id)
    for _ in range(TRIES_UNTOLD - 1):
        told(house, attempt, AnswerNotUnderstood("No status in it.", gateway="paystack"))
    assert questions(house) == []
    told(house, attempt, AnswerNotUnderstood("No status in it.", gateway="paystack"))
    assert questions(house) == [("poll_plan_exhausted", "extend")]
    told(house, attempt, paid(attempt))
    assert questions(house) == []


@pytest.mark.usefixtures("sound_in_the_end")
def test_an_order_does_not_expire_on_an_answer_about_another_reference(house: House) -> None:
    order_id, reference = house.initiated()
    house.clock.advance(1_801)
    house.pay(reference)
    house.fault("wrong_reference", operation="verify")
    house.step("orders.expire")
    assert house.statuses(order_id)[0] == "processing"
    house.later(10)
    assert house.statuses(order_id)[0] == "completed"


@pytest.mark.usefixtures("sound_in_the_end")
def test_money_that_went_back_before_we_asked_is_on_record_and_what_is_left_can_go_back(house: House) -> None:
    """A dashboard refund of a part precedes our first question; the books hold all of it until that refund is told."""
    order_id, reference = house.initiated()
    house.pay(reference)
    house.fault("dashboard_refund", reference=reference, params={"amount": 1_000})
    house.ask(reference)
    (attempt,) = house.attempts(order_id)
    assert money(house, order_id) == [("mismatched", attempt.amount_minor, "NGN")]
    assert attempt.gateway_transaction_id
    for row in house.webhooks():
        house.receive(row)
    house.drain()
    house.later(120)
    assert [(one.source, one.amount_minor) for one in house.refunds(order_id)] == [("surplus", 1_000)]
    decide(house, "refund_unknown", DecisionAction.REFUND)
    house.later(10)
    house.later(120)
    assert sorted((one.status, one.amount_minor) for one in house.refunds(order_id)) == [
        ("completed", 1_000),
        ("completed", attempt.amount_minor - 1_000),
    ]


def test_live_money_in_test_mode_is_on_record_and_can_go_back(house: House) -> None:
    order_id, _ = house.initiated()
    (attempt,) = house.attempts(order_id)
    told(house, attempt, paid(attempt, is_test=False))
    assert questions(house) == [("mode_mismatch", "refund")]
    assert money(house, order_id) == [("mismatched", attempt.amount_minor, "NGN")]
    decide(house, "mode_mismatch", DecisionAction.REFUND)
    assert [one.amount_minor for one in house.refunds(order_id)] == [attempt.amount_minor]


def test_a_success_without_its_sum_can_be_asked_about_again(house: House) -> None:
    """Nothing is on record of it, so `extend` asks anew; what is told then counts."""
    order_id, reference = house.initiated()
    (attempt,) = house.attempts(order_id)
    told(house, attempt, paid(attempt, amount=None))
    assert questions(house) == [("underpaid", "extend")]
    house.pay(reference)
    decide(house, "underpaid", DecisionAction.EXTEND)
    house.drain()
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_what_is_told_again_without_its_sum_is_asked_again(house: House) -> None:
    """A webhook has it asked by itself, under the question that stands; after `extend` the question comes back."""
    order_id, _ = house.initiated()
    (attempt,) = house.attempts(order_id)
    told(house, attempt, paid(attempt, amount=None))
    told(house, attempt, paid(attempt, amount=None))
    assert len(house.rows(Decision)) == 1
    decide(house, "underpaid", DecisionAction.EXTEND)
    told(house, attempt, paid(attempt, amount=None))
    assert questions(house) == [("underpaid", "extend")]
    told(house, attempt, paid(attempt))
    house.drain()
    assert questions(house) == []
    assert house.statuses(order_id)[0] == "completed"


def test_money_on_record_without_a_number_is_that_of_the_webhook_that_comes_later(house: House) -> None:
    """`complete_payment` was told of it and knows no transaction: the gateway's word about it is no second payment."""
    order_id, reference = house.initiated()
    (attempt,) = house.attempts(order_id)
    house.pay(reference)
    house.container.payments.complete_payment(attempt.id, attempt.amount, actor="gateway:paystack")
    for row in house.webhooks():
        house.receive(row)
    house.drain()
    house.later(60)
    assert money(house, order_id) == [("succeeded", attempt.amount_minor, "NGN")]
    assert house.attempts(order_id)[0].gateway_transaction_id
    assert house.refunds(order_id) == []
    assert audit(house) == []


def test_a_further_success_of_nothing_keeps_no_payment_off_the_books(house: House) -> None:
    order_id, _ = house.initiated(gateway="flutterwave")
    (attempt,) = house.attempts(order_id)
    told(house, attempt, paid(attempt, "1", extra_successes=(paid(attempt, "2", amount=Money(0, "NGN")),)))
    house.drain()
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert money(house, order_id) == [("succeeded", attempt.amount_minor, "NGN")]


def test_a_success_of_nothing_beside_a_payment_is_a_question(house: House) -> None:
    """An older page of an order that is paid brings a success over 0: nothing to give back, a person looks."""
    order_id, reference = house.initiated()
    (first,) = house.attempts(order_id)
    house.pay(reference, "decline")
    house.ask(reference)
    again = house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    house.drain()
    house.pay(again.reference)
    house.ask(again.reference)
    told(house, first, paid(first, amount=Money(0, "NGN")))
    assert questions(house) == [("underpaid", "extend")]
    assert sorted(money(house, order_id)) == [("mismatched", 0, None), ("succeeded", first.amount_minor, "NGN")]
    assert audit(house) == []
