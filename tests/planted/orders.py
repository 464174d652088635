"""Plants: orders and their bookings, states and totals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from payflow.models.access import Workspace
from payflow.models.act import HumanAct
from payflow.models.booking import Booking
from payflow.models.decision import Decision
from payflow.models.order import Order, OrderBooking
from payflow.models.payment import Payment
from payflow.models.refund import Refund
from tests.house import WORKSPACE
from tests.planted.shelf import (
    answer,
    booking_of,
    decide,
    excuses,
    plants,
    put,
    refund_of,
    take_off,
)
from tests.planted.world import World
from tests.rows import NOW, a_booking, an_attempt


@plants("I01")
def two_applied_tries(world: World, session: Session) -> str:
    payment = world.payments[world.paid]
    session.add(an_attempt(payment, status="succeeded", application="applied", captured_currency="NGN"))
    return payment.id


@plants("I02")
def paid_without_money(world: World, session: Session) -> str:
    put(session, Payment, world.payments[world.paid].id, captured_minor=0, status="pending")
    return world.paid


@plants("I03")
def money_on_an_open_order(world: World, session: Session) -> str:
    put(session, Order, world.paid, status="processing")
    return world.attempts[world.paid].id


@plants("I03", "refund")
@plants("I03", "accept")
@excuses("I03", "ignore")
def late_money_and_nothing_done(world: World, session: Session, action: str) -> str:
    answer(world, session, world.late, action)
    return world.attempts[world.late].id


@plants("I03")
def late_money_of_another_try(world: World, session: Session) -> str:
    put(session, Decision, world.decisions[world.late].id, subject_id=world.attempts[world.paid].id)
    return world.attempts[world.late].id


@excuses("I03", "api", None)
@excuses("I03", "api", "accept")
@excuses("I03", "api", "ignore")
@plants("I03", "api", "refund")
@plants("I03", "surplus", None)
def late_moneys_refund_that_failed(world: World, session: Session, source: str, action: str | None) -> str:
    answer(world, session, world.late, "refund")
    failed = refund_of(world, session, world.late, status="failed", source=source)
    decide(session, world.late, "refund_failed", failed, action)
    return world.attempts[world.late].id


@excuses("I03", 0)
@plants("I03", 1)
def late_money_on_its_way_back(world: World, session: Session, missing: int) -> str:
    answer(world, session, world.late, "refund")
    payment = world.payments[world.late]
    put(session, Payment, payment.id, refund_reserved_minor=payment.captured_minor - missing)
    return world.attempts[world.late].id


@plants("I04")
def completed_but_not_confirmed(world: World, session: Session) -> str:
    return put(session, Booking, booking_of(world, world.paid), status="pending")


@plants("I04")
def completed_with_nothing_booked(world: World, session: Session) -> str:
    decide(
        session, world.excess, "refund_failed", world.refunds[world.excess].id
    )  # the surplus has nothing to do with it
    refund_of(world, session, world.excess, status="completed", completed_at=NOW)
    failed = refund_of(world, session, world.excess, status="failed", booking_id=booking_of(world, world.excess))
    decide(session, world.excess, "refund_needs_attention", failed)
    return take_off(session, world.excess)


@plants("I04")
def a_refund_came_back_and_nobody_was_asked(world: World, session: Session) -> str:
    session.execute(delete(Decision).where(Decision.order_id == world.back))
    return world.back


@excuses("I04", "ignore")
@excuses("I26", "ignore")
def a_refund_came_back_and_was_let_be(world: World, session: Session, action: str) -> str:
    answer(world, session, world.back, action)
    return world.back


@excuses("I04")
def every_booking_was_given_back(world: World, session: Session) -> str:
    return take_off(session, world.paid)


@excuses("I04")
@excuses("I26")
def every_booking_was_cancelled_for_nothing(world: World, session: Session) -> str:
    booking_ids = [item.booking_id for item in world.items if item.order_id == world.excess and item.active]
    for booking_id in booking_ids:
        act = {"at": NOW, "actor": "u-admin", "what": "cancelled", "entity": "booking", "entity_id": booking_id}
        session.add(HumanAct(**act, order_id=world.excess))
    session.flush()
    return take_off(session, world.excess)


@plants("I05")
def confirmed_without_money(world: World, session: Session) -> str:
    return put(session, Booking, booking_of(world, world.open), status="confirmed")


@plants("I06")
def one_slot_twice(world: World, session: Session) -> str:
    there = session.get_one(Booking, booking_of(world, world.paid))
    clash = a_booking(
        status="confirmed", resource_id=there.resource_id, starts_at=there.starts_at + timedelta(minutes=30),
        ends_at=there.ends_at + timedelta(hours=1),
    )  # fmt: skip
    session.add(clash)
    return there.id


@plants("I07")
def one_booking_on_two_orders(world: World, session: Session) -> str:
    booking_id = booking_of(world, world.open)
    session.add(OrderBooking(order_id=world.fresh, booking_id=booking_id, price_minor=150_000, active=True))
    return booking_id


@plants("I26", "open")
@plants("I26", "paid")
@plants("I26", "expired")
def an_order_overcharged(world: World, session: Session, which: str) -> str:
    """By as much in its total: it adds up, and its payment may agree."""
    more = {"subtotal_minor": Order.subtotal_minor + 1_000, "total_minor": Order.total_minor + 1_000}
    return put(session, Order, getattr(world, which), **more)


@plants("I26", "fresh")
@plants("I26", "expired")
def an_order_undercharged(world: World, session: Session, which: str) -> str:
    return put(session, Order, getattr(world, which), subtotal_minor=1, total_minor=1)


@plants("I26", "excess")
@plants("I26", "fresh")
def a_booking_paid_for_and_lost(world: World, session: Session, which: str) -> str:
    order_id = getattr(world, which)
    return take_off(session, order_id, booking_of(world, order_id))


@plants("I26", "refund_failed", "api", 1)
@plants("I26", "refund_failed", "surplus", 2)
@plants("I26", "refund_needs_attention", "api", 2)
def bookings_lost_beside_some_refund(world: World, session: Session, kind: str, source: str, lost: int) -> str:
    """Not all are gone; it is the surplus' refund, or none that came back."""
    session.execute(delete(Refund).where(Refund.id == world.refunds[world.excess].id))
    decide(session, world.excess, kind, refund_of(world, session, world.excess, status="failed", source=source))
    booking_ids = [item.booking_id for item in world.items if item.order_id == world.excess]
    return take_off(session, world.excess, *booking_ids[:lost])


@plants("I26", "fresh")
@plants("I26", "paid")
def a_wrong_count(world: World, session: Session, which: str) -> str:
    return put(session, Order, getattr(world, which), booking_count=3)


@plants("I26")
def a_total_that_does_not_add_up(world: World, session: Session) -> str:
    return put(session, Order, world.expired, total_minor=Order.total_minor + 1)


@plants("I26", 1)
@excuses("I26", 0)
def a_made_up_tax(world: World, session: Session, days: int) -> str:
    """Not the workspace's, whose rate was set that many days before."""
    row: Any = Workspace
    at = world.house.clock.now() - timedelta(days=days)
    session.execute(update(row).where(row.id == WORKSPACE).values(updated_at=at))
    return put(session, Order, world.open, tax_minor=1_000, total_minor=Order.total_minor + 1_000)


@plants("I26")
def a_price_of_its_own(world: World, session: Session) -> str:
    return put(session, Booking, booking_of(world, world.fresh), amount_minor=1)
