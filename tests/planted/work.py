"""Plants: history, work that is owed, and calls that have no end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete
from sqlalchemy.orm import Session

from payflow.models.base import Base, Transition
from payflow.models.notification import Notification
from payflow.models.order import Order
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.reconciliation import ReconciliationSlice
from payflow.models.refund import Refund
from payflow.models.webhook_endpoint import WebhookDelivery
from payflow.models.webhook_event import WebhookEvent
from tests.planted.shelf import (
    NOBODY,
    PLANTS,
    Plant,
    decide,
    excuses,
    plants,
    put,
    refund_of,
)
from tests.planted.world import World
from tests.rows import NOW, a_difference


@plants("I16")
def a_status_without_history(world: World, session: Session) -> str:
    return put(session, Order, world.fresh, status="processing", moves=1)


@plants("I17")
def an_illegal_move(world: World, session: Session) -> str:
    first = next(one for one in world.history if one.entity_id == world.paid and one.sequence == 1)
    return put(session, Transition, first.id, from_status="pending", to_status="completed")


def owed_row(world: World, model: type[Base]) -> str:
    """One on which a step can be owed."""
    if model is Order:
        return world.open
    rows: dict[Any, Any] = {
        PaymentAttempt: world.attempts[world.open],
        Refund: world.refunds[world.paid],
        OutboxEvent: world.events[0],
        Notification: world.letters[0],
        WebhookEvent: world.webhooks[0],
        WebhookDelivery: world.deliveries[0],
        ReconciliationSlice: world.slices[0],
    }
    return str(rows[model].id)


UNFINISHED: dict[type[Base], dict[str, Any]] = {
    PaymentAttempt: {},
    Refund: {"status": "pending", "completed_at": None},
    Order: {},
    OutboxEvent: {"fanned_out_at": None},
    Notification: {"sent_at": None},
    WebhookEvent: {"handled_at": None},
    WebhookDelivery: {"delivered_at": None},
    ReconciliationSlice: {"finished_at": None, "is_complete": False},
}
"""How a row of each kind looks before its work is done."""


def each_kind_of_work(*but_not: type[Base]) -> Callable[[Plant], Plant]:
    def keep(plant: Plant) -> Plant:
        for model in UNFINISHED:
            if model not in but_not:
                invariant = "I19" if "overdue" in plant.__name__ else "I18"
                PLANTS.append(
                    pytest.param(invariant, plant, (model,), id=f"{invariant}-{plant.__name__}-{model.__name__}")
                )
        return plant

    return keep


def each_way_out(plant: Plant) -> Plant:
    for model in UNFINISHED:
        excuses("I18", model, "due_at")(plant)
    for model in (OutboxEvent, Notification, WebhookEvent, WebhookDelivery):
        excuses("I18", model, "parked_at")(plant)
    excuses("I18", Notification, "withdrawn_at")(plant)
    return plant


@each_way_out
def work_that_somebody_has(world: World, session: Session, model: type[Base], since: str) -> str:
    """It is owed, or was given up in sight."""
    values = UNFINISHED[model] | {"due_at": None} | {since: world.house.clock.now()}
    return put(session, model, owed_row(world, model), **values)


def a_webhook_given_up(world: World, session: Session) -> str:
    """It fits nothing here, and is tried no more."""
    now = world.house.clock.now()
    return put(
        session, WebhookEvent, world.webhooks[0].id, handled_at=None, due_at=None, parked_at=now, outcome="unmatched"
    )


@plants("I18")
def a_webhook_that_fits_nothing_and_nobody_is_asked(world: World, session: Session) -> str:
    decide(session, None, "unmatched_webhook", NOBODY)
    return a_webhook_given_up(world, session)


@excuses("I18", None)
@excuses("I18", "extend")
def a_webhook_that_fits_nothing_and_its_question(world: World, session: Session, action: str | None) -> str:
    row_id = a_webhook_given_up(world, session)
    decide(session, None, "unmatched_webhook", row_id, action)
    return row_id


@plants("I18", None, "underpaid", None)
@plants("I18", None, "reconciliation", "ignore")
@excuses("I18", None, "reconciliation", None)
@excuses("I18", "user:u-op", "reconciliation", "ignore")
def a_difference_and_a_question(
    world: World, session: Session, settled_by: str | None, kind: str, action: str | None
) -> str:
    row = a_difference(world.slices[0], settled_at=settled_by and NOW, settled_by=settled_by)
    session.add(row)
    session.flush()
    decide(session, None, kind, row.id, action)
    return row.id


@excuses("I18")
def a_refund_that_waits_for_approval(world: World, session: Session) -> str:
    return refund_of(world, session, world.paid, approval="waiting")


@excuses("I18")
def a_paid_order_to_be_confirmed(world: World, session: Session) -> str:
    return put(session, Order, world.excess, status="paid", due_at=world.house.clock.now())


@each_kind_of_work()
def work_nobody_owes(world: World, session: Session, model: type[Base]) -> str:
    return put(session, model, owed_row(world, model), due_at=None, **UNFINISHED[model])


@each_kind_of_work()
def work_nobody_lives_to_see(world: World, session: Session, model: type[Base]) -> str:
    due_at = world.house.clock.now() + timedelta(days=31)
    return put(session, model, owed_row(world, model), due_at=due_at, **UNFINISHED[model])


@each_kind_of_work(WebhookDelivery)
def work_long_overdue(world: World, session: Session, model: type[Base]) -> str:
    late = timedelta(days=3) if model is ReconciliationSlice else timedelta(seconds=61)
    return put(session, model, owed_row(world, model), due_at=world.house.clock.now() - late, **UNFINISHED[model])


@plants("I19")
def a_question_about_a_paid_try_overdue(world: World, session: Session) -> str:
    late = world.house.clock.now() - timedelta(seconds=61)
    return put(session, PaymentAttempt, world.attempts[world.paid].id, due_at=late)


@excuses("I19", WebhookDelivery)
@excuses("I19", ReconciliationSlice)
def work_that_waits_its_turn(world: World, session: Session, model: type[Base]) -> str:
    a_day_ago = world.house.clock.now() - timedelta(days=1)
    return put(session, model, owed_row(world, model), due_at=a_day_ago, **UNFINISHED[model])


@excuses("I18")
def an_order_that_may_be_paid_for_months(world: World, session: Session) -> str:
    deadline = world.house.clock.now() + timedelta(days=90)
    return put(session, Order, world.open, due_at=deadline, expires_at=deadline)


def forgotten(world: World, session: Session) -> str:
    """Paid, and no step is owed."""
    return put(session, Order, world.excess, status="paid", due_at=None)


@plants("I18", "dispute_opened", None)
@plants("I18", "dispute_opened", "ignore")
@plants("I18", "slot_taken", "refund")
@excuses("I18", "slot_taken", None)
@excuses("I18", "slot_taken", "ignore")
def a_paid_order_and_a_question(world: World, session: Session, kind: str, action: str | None) -> str:
    decide(session, world.excess, kind, world.excess, action)
    return forgotten(world, session)


@excuses("I18")
def a_paid_order_whose_money_is_on_its_way_back(world: World, session: Session) -> str:
    payment = world.payments[world.excess]
    put(session, Payment, payment.id, refund_reserved_minor=payment.captured_minor)
    decide(session, world.excess, "slot_taken", world.excess, "refund")
    return forgotten(world, session)


@plants("I18", "surplus", None)
@plants("I18", "policy", "refund")
@excuses("I18", "policy", None)
@excuses("I18", "policy", "ignore")
def a_paid_order_whose_refund_failed(world: World, session: Session, source: str, action: str | None) -> str:
    session.execute(delete(Refund).where(Refund.id == world.refunds[world.excess].id))
    failed = refund_of(world, session, world.excess, source=source, status="failed")
    decide(session, world.excess, "refund_failed", failed, action)
    return forgotten(world, session)


def a_call(world: World, session: Session, model: type[Base], called: timedelta, lease: Any, **given: Any) -> str:
    """A call to a gateway, made some time ago; its lease ended at some time, or there is none."""
    now = world.house.clock.now()
    fields: dict[str, Any] = {"called_at": now - called} if model is PaymentAttempt else {"submitted_at": now - called}
    status = "created" if model is PaymentAttempt else "pending"
    row_id = owed_row(world, model)
    return put(session, model, row_id, status=status, claimed_until=lease and now - lease, **fields, **given)


@plants("I25", PaymentAttempt)
@plants("I25", Refund)
def a_call_without_an_end(world: World, session: Session, model: type[Base]) -> str:
    return a_call(world, session, model, timedelta(hours=1), timedelta(hours=1))


@plants("I25", PaymentAttempt, {})
@plants("I25", Refund, {})
@excuses("I25", PaymentAttempt, {"error": "not now"})
@excuses("I25", Refund, {"error": "not now"})
@excuses("I25", Refund, {"needs_attention": True})
def a_call_without_an_end_or_a_lease(world: World, session: Session, model: type[Base], given: dict[str, Any]) -> str:
    in_three_days = world.house.clock.now() + timedelta(days=3)
    return a_call(world, session, model, timedelta(hours=1), None, due_at=in_three_days, **given)


@excuses("I25", PaymentAttempt)
@excuses("I25", Refund)
def a_call_that_is_looked_after_soon(world: World, session: Session, model: type[Base]) -> str:
    soon = world.house.clock.now() + timedelta(minutes=9)
    return a_call(world, session, model, timedelta(hours=1), None, due_at=soon)


@excuses("I25", PaymentAttempt, timedelta(seconds=50))
@excuses("I25", PaymentAttempt, None)
@excuses("I25", Refund, timedelta(seconds=50))
@excuses("I25", Refund, None)
def a_call_of_just_now(world: World, session: Session, model: type[Base], lease: timedelta | None) -> str:
    in_three_days = world.house.clock.now() + timedelta(days=3)
    return a_call(world, session, model, timedelta(seconds=59), lease, due_at=in_three_days)
