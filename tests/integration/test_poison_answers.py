"""Answers of gateways that cannot be stored as they are: they stop nobody else, are asked for again, and are told."""

from __future__ import annotations

from sqlalchemy import update

from payflow.core.errors import PayflowError
from payflow.models.decision import Decision
from payflow.models.payment import PaymentAttempt
from payflow.services.gateway_calls import TRIES_UNTOLD
from payflow.services.ledger import post_capture
from payflow.services.side_by_side import SideBySide
from tests.house import WORKSPACE, House


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


def test_a_bug_in_one_call_leaves_the_answers_beside_it() -> None:
    """Whatever breaks in an adapter stands for its own question only."""
    first, second = SideBySide(threads=2).run("paystack", lambda n: 6 // n, [0, 2])
    assert isinstance(first, PayflowError)
    assert "ZeroDivisionError" in first.detail
    assert second == 3
