"""Every pair of states of every table, through the real rows on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from payflow.core import states
from payflow.core.act import Act
from payflow.core.errors import ForbiddenMove
from payflow.core.states import MOVES, check_move, may_move
from payflow.models import Base
from payflow.models.base import Transition
from tests.rows import NOW, a_booking, a_dispute, a_payment, a_refund, an_attempt, an_order

ENUMS: dict[str, type[StrEnum]] = {
    "booking": states.BookingStatus,
    "order": states.OrderStatus,
    "payment": states.PaymentStatus,
    "attempt": states.AttemptStatus,
    "refund": states.RefundStatus,
    "dispute": states.DisputeStatus,
}
PAIRS = [(entity, a, b) for entity, words in ENUMS.items() for a in words for b in words]
ACT = Act(NOW, "user:u-ada", "corr-1")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = create_engine("sqlite://")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A transaction that is rolled back; the states' other columns are not this file's business."""
    with engine.connect() as connection, Session(bind=connection, expire_on_commit=False) as opened:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
        yield opened
        opened.rollback()


def a_row(entity: str, status: str) -> Any:
    order = an_order(status=status if entity == "order" else "pending")
    payment = a_payment(order, status=status if entity == "payment" else "pending")
    attempt = an_attempt(payment, status=status if entity == "attempt" else "created")
    return {
        "booking": lambda: a_booking(status=status),
        "order": lambda: order,
        "payment": lambda: payment,
        "attempt": lambda: attempt,
        "refund": lambda: a_refund(payment, attempt, status=status),
        "dispute": lambda: a_dispute(payment, status=status),
    }[entity]()


def history(session: Session, row: Any) -> list[Transition]:
    return session.query(Transition).filter_by(entity_id=row.id).order_by(Transition.sequence).all()


def test_tables_are_whole() -> None:
    """Every state of every entity has a row of its own and leads only to states of the same entity, never to itself."""
    assert MOVES.keys() == ENUMS.keys()
    for entity, words in ENUMS.items():
        assert MOVES[entity].keys() == set(words)
        for status, goals in MOVES[entity].items():
            assert goals <= set(words) - {status}


@pytest.mark.parametrize(("entity", "a", "b"), PAIRS, ids=[f"{entity}-{a}-{b}" for entity, a, b in PAIRS])
def test_move_between_two_states_does_what_the_table_says(
    session: Session, entity: str, a: StrEnum, b: StrEnum
) -> None:
    """Allowed: moved, with one history row. Repeated: nothing. Forbidden: an error that names both states."""
    row = a_row(entity, a.value)
    session.add(row)
    session.flush()
    if b in MOVES[entity][a]:
        assert row.move_to(b, ACT, why="because") is True
        session.flush()
        (told,) = history(session, row)
        assert (row.status, row.moves, row.updated_at) == (b.value, 1, NOW)
        assert (told.entity, told.sequence, told.from_status, told.to_status) == (entity, 1, a.value, b.value)
        assert (told.why, told.actor, told.correlation_id, told.at) == ("because", "user:u-ada", "corr-1", NOW)
        assert told.order_id == row.history_order_id()
        return
    if a is b:
        assert row.move_to(b, ACT, why="again") is False
    else:
        with pytest.raises(ForbiddenMove) as caught:
            row.move_to(b, ACT, why="no")
        assert (caught.value.from_status, caught.value.to_status, caught.value.entity_id) == (a.value, b.value, row.id)
    session.flush()
    assert (row.status, row.moves, history(session, row)) == (a.value, 0, [])
    assert may_move(entity, a, b) is False


def test_history_is_numbered_without_a_gap(session: Session) -> None:
    """Moves, repeats and refusals mixed: the history holds the moves only, numbered 1, 2, 3 …"""
    order = an_order()
    session.add(order)
    path = ["processing", "processing", "failed", "completed", "processing", "paid", "pending", "completed", "refunded"]
    for number, word in enumerate(path):
        act = Act(NOW + timedelta(seconds=number))
        try:
            order.move_to(states.OrderStatus(word), act, why=word)
        except ForbiddenMove:
            assert word in ("completed", "pending")
    session.flush()
    rows = history(session, order)
    assert [row.sequence for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.to_status for row in rows] == ["processing", "failed", "processing", "paid", "completed", "refunded"]
    assert all(after.from_status == before.to_status for before, after in pairwise(rows))
    assert order.moves == 6


def test_move_of_a_row_without_a_transaction_is_refused() -> None:
    """No history could be written, so nothing moves."""
    order = an_order()
    with pytest.raises(RuntimeError):
        order.move_to(states.OrderStatus.PROCESSING, ACT, why="lost")
    assert order.status == "pending"


def test_long_reasons_are_cut_to_their_column(session: Session) -> None:
    """A gateway's long sentence or an actor's long name cannot make a move fail."""
    booking = a_booking()
    session.add(booking)
    booking.move_to(states.BookingStatus.CANCELLED, Act(NOW, "u" * 500), why="w" * 5_000)
    session.flush()
    (told,) = history(session, booking)
    assert (len(told.why), len(told.actor)) == (255, 128)


@pytest.mark.parametrize("entity", ENUMS)
def test_every_state_can_be_reached(entity: str) -> None:
    """No state stands in the table without a way in, but for the first one."""
    first = next(iter(ENUMS[entity]))
    reached, frontier = {first.value}, [first.value]
    while frontier:
        for goal in MOVES[entity][frontier.pop()]:
            if str(goal) not in reached:
                reached.add(str(goal))
                frontier.append(str(goal))
    assert reached == {word.value for word in ENUMS[entity]}


def test_check_move_of_an_unknown_state_is_an_error_not_a_guess() -> None:
    """A word nobody knows is a bug, and says so."""
    with pytest.raises(KeyError):
        check_move("order", "1", "frobnicated", "paid")
