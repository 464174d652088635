"""The shelves of plants, and what plants are made of.

A plant breaks one branch of a rule in an open transaction and names the row that must be found. An excuse is odd and in
order: what must not be found, though it lies close by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from payflow.models.base import Base
from payflow.models.decision import Decision
from payflow.models.order import Order, OrderBooking
from tests.planted.world import World
from tests.rows import NOW, a_decision, a_refund

Plant = Callable[..., str]


NOBODY = "01a00000-0000-7000-8000-000000000000"
"""An id of nothing."""


PLANTS: list[Any] = []


EXCUSES: list[Any] = []
"""Odd but in order: what must not be found, though it lies close by."""


def _kept_in(shelf: list[Any], invariant: str, given: tuple[Any, ...]) -> Callable[[Plant], Plant]:
    def keep(plant: Plant) -> Plant:
        name = "-".join([invariant, plant.__name__, *(str(getattr(one, "__name__", one)) for one in given)])
        shelf.append(pytest.param(invariant, plant, given, id=name))
        return plant

    return keep


def plants(invariant: str, *given: Any) -> Callable[[Plant], Plant]:
    return _kept_in(PLANTS, invariant, given)


def excuses(invariant: str, *given: Any) -> Callable[[Plant], Plant]:
    return _kept_in(EXCUSES, invariant, given)


def put(session: Session, model: type[Base], row_id: str, **values: Any) -> str:
    """A bare UPDATE."""
    row: Any = model
    session.execute(update(row).where(row.id == row_id).values(**values).execution_options(synchronize_session=False))
    return row_id


def booking_of(world: World, order_id: str, *, active: bool = True) -> str:
    return next(item.booking_id for item in world.items if item.order_id == order_id and item.active == active)


def take_off(session: Session, order_id: str, *booking_ids: str) -> str:
    """Make an order's bookings (some, or all) inactive, its count with them."""
    row = OrderBooking
    which = (row.order_id == order_id, *([row.booking_id.in_(booking_ids)] if booking_ids else []))
    session.execute(update(row).where(*which).values(active=False).execution_options(synchronize_session=False))
    left = session.query(row).filter(row.order_id == order_id, row.active).count()
    return put(session, Order, order_id, booking_count=left)


def decide(session: Session, order_id: str | None, kind: str, subject_id: str, action: str | None = None) -> None:
    """A question about an order, or about what fits none; open or answered."""
    answer = {"resolved_at": NOW, "resolved_by": "user:u-op", "action": action} if action else {}
    order = session.get_one(Order, order_id) if order_id else None
    session.add(a_decision(order, kind=kind, subject_id=subject_id, **answer))
    session.flush()


def answer(world: World, session: Session, order_id: str, action: str) -> None:
    """Answer the question a person has about an order."""
    put(session, Decision, world.decisions[order_id].id, resolved_at=NOW, resolved_by="user:u-op", action=action)


def refund_of(world: World, session: Session, order_id: str, **given: Any) -> str:
    refund = a_refund(world.payments[order_id], world.attempts[order_id], **given)
    session.add(refund)
    session.flush()
    return refund.id
