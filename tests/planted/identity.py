"""Plants: whose webhook, page, refund, try or key it is, and what a closed order keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from payflow.models.access import IdempotencyKey
from payflow.models.base import Base
from payflow.models.booking import Booking
from payflow.models.order import Order, OrderBooking
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund
from payflow.models.webhook_event import WebhookEvent
from tests.house import OTHER_WORKSPACE
from tests.planted.shelf import (
    NOBODY,
    booking_of,
    excuses,
    plants,
    put,
)
from tests.planted.world import World
from tests.rows import a_refund


@plants("I22")
def another_gateways_webhook(world: World, session: Session) -> str:
    row = next(one for one in world.webhooks if one.outcome == "matched")
    return put(session, WebhookEvent, row.id, gateway="stripe")


@plants("I23")
def a_page_nobody_asked_for(world: World, session: Session) -> str:
    return put(session, PaymentAttempt, world.attempts[world.open].id, called_at=None)


@plants("I24")
def one_gateway_refund_counted_twice(world: World, session: Session) -> str:
    refund, payment = world.refunds[world.refunded], world.payments[world.refunded]
    attempt = world.attempts[world.refunded]
    session.add(a_refund(payment, attempt, status="failed", gateway_refund_id=refund.gateway_refund_id))
    return refund.id


@plants("I27", Booking, {"user_id": "u-ben"})
@plants("I27", Booking, {"workspace_id": OTHER_WORKSPACE})
@plants("I27", Booking, {"currency": "USD"})
@plants("I27", Payment, {"user_id": "u-ben"})
@plants("I27", Payment, {"workspace_id": OTHER_WORKSPACE})
@plants("I27", Payment, {"currency": "USD"})
@plants("I27", Payment, {"amount_minor": 1})
@plants("I27", PaymentAttempt, {"order_id": "fresh"})
@plants("I27", PaymentAttempt, {"currency": "USD"})
@plants("I27", PaymentAttempt, {"amount_minor": 1})
@plants("I27", Refund, {"order_id": "fresh"})
@plants("I27", Refund, {"user_id": "u-ben"})
@plants("I27", Refund, {"workspace_id": OTHER_WORKSPACE})
def something_of_somebody_elses(world: World, session: Session, model: type[Base], other: dict[str, Any]) -> str:
    if "order_id" in other:
        other = {"order_id": world.fresh}
    if model is Booking:
        put(session, Booking, booking_of(world, world.fresh), **other)
        return world.fresh
    rows: dict[Any, Any] = {Payment: world.payments, PaymentAttempt: world.attempts, Refund: world.refunds}
    return put(session, model, rows[model][world.refunded].id, **other)


@plants("I27", True)
@plants("I27", False)
def another_payments_try(world: World, session: Session, is_there: bool) -> str:
    """Or one that is not there at all."""
    other = world.attempts[world.open].id if is_there else NOBODY
    return put(session, Payment, world.payments[world.paid].id, current_attempt_id=other)


@plants("I28")
def refunded_only_by_name(world: World, session: Session) -> str:
    return put(session, Order, world.refunded, status="completed")


def a_key(world: World, session: Session, *, made: timedelta, ends: timedelta, **given: Any) -> str:
    """An idempotency key that was made some time ago and is locked until some time ahead."""
    now = world.house.clock.now()
    fields = {"scope": "s", "key": "k", "fingerprint": "f", "created_at": now - made, "locked_until": now + ends}
    session.add(IdempotencyKey(**fields, **given))
    return "s k"


@plants("I29", 0, 1)
@plants("I29", 4.1, -4.1)
@excuses("I29", 2, -2)
def a_key_without_an_answer(world: World, session: Session, made: float, ends: float) -> str:
    """Locked for a day to come; forgotten; let go by a request that came to nothing, and free for the next (days)."""
    return a_key(world, session, made=timedelta(days=made), ends=timedelta(days=ends))


@excuses("I29")
def a_key_with_an_answer(world: World, session: Session) -> str:
    return a_key(world, session, made=timedelta(), ends=timedelta(days=1), status_code=201)


@plants("I30")
def a_closed_order_keeps_its_booking(world: World, session: Session) -> str:
    session.execute(
        update(OrderBooking)
        .where(OrderBooking.order_id == world.expired)
        .values(active=True)
        .execution_options(synchronize_session=False)
    )
    return world.expired


@plants("I31")
def given_back_and_kept(world: World, session: Session) -> str:
    return put(session, Booking, booking_of(world, world.paid, active=False), status="confirmed")
