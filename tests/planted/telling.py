"""Plants: events, messages and outbound webhooks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from payflow.core.events import EventType
from payflow.core.identifiers import new_id
from payflow.models.notification import Notification, NotificationPreferences
from payflow.models.outbox import OutboxEvent
from payflow.models.webhook_endpoint import WebhookDelivery, WebhookEndpoint, WebhookTry
from tests.house import ADA, OTHER_WORKSPACE, WORKSPACE
from tests.planted.shelf import (
    Plant,
    excuses,
    plants,
    put,
    refund_of,
)
from tests.planted.world import World
from tests.rows import NOW, a_notification, an_attempt, an_event


def event_of(world: World, subject_id: str, kind: str) -> OutboxEvent:
    return next(one for one in world.events if (one.subject_id, one.type) == (subject_id, kind))


def without_messages(session: Session, event: OutboxEvent, *, channel: str | None = None) -> None:
    which = [Notification.channel == channel] if channel else []
    session.execute(delete(Notification).where(Notification.event_id == event.id, *which))


def without_deliveries(session: Session, event: OutboxEvent) -> None:
    of_event = select(WebhookDelivery.id).where(WebhookDelivery.event_id == event.id)
    session.execute(delete(WebhookTry).where(WebhookTry.delivery_id.in_(of_event)))
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.event_id == event.id))


def each_event(plant: Plant) -> Plant:
    for kind in EventType:
        plants("I20", kind.value)(plant)
    return plant


@each_event
def an_event_nobody_heard_of(world: World, session: Session, kind: str) -> str:
    event = next(one for one in world.events if one.type == kind)
    without_messages(session, event)
    without_deliveries(session, event)
    session.execute(delete(OutboxEvent).where(OutboxEvent.id == event.id))
    return event.subject_id


@each_event
def an_event_about_nothing(world: World, session: Session, kind: str) -> str:
    event = an_event(type=kind)
    session.add(event)
    return event.subject_id


@plants("I20", "PAYMENT_COMPLETED", "payment")
@plants("I20", "PAYMENT_INITIATED", "payment")
@plants("I20", "PAYMENT_EXCESS", "payment")
@plants("I20", "NONSENSE", "payment")
@plants("I20", "REFUND_REQUESTED", "refund")
def an_event_without_its_fact(world: World, session: Session, kind: str, about: str) -> str:
    """Told of a try that has no more of it; of a refund that was made at the gateway."""
    if about == "payment":
        subject_id = world.payments[world.paid].id
    else:
        subject_id = refund_of(world, session, world.paid, source="gateway", status="processing")
    session.add(an_event(type=kind, subject_id=subject_id))
    return subject_id


@plants("I20")
def a_second_success_nobody_heard_of(world: World, session: Session) -> str:
    payment = world.payments[world.paid]
    session.add(an_attempt(payment, status="succeeded", application="surplus", captured_currency="NGN"))
    return payment.id


@plants("I20")
def an_event_that_was_given_up(world: World, session: Session) -> str:
    event = event_of(world, world.payments[world.paid].id, "PAYMENT_COMPLETED")
    return put(session, OutboxEvent, event.id, fanned_out_at=None, parked_at=NOW)


YESTERDAY = timedelta(days=1)


def wishes(world: World, session: Session, *, at: timedelta = YESTERDAY, **off: list[str]) -> None:
    """What Ada has switched off, by channel, since some time ago."""
    then = world.house.clock.now() - at
    session.add(NotificationPreferences(user_id=ADA.user_id, locale="fr", switched_off=off, updated_at=then))


def message_lost(world: World, session: Session, kind: str, channel: str) -> str:
    event = next(one for one in world.events if one.type == kind and one.order_id == world.refunded)
    without_messages(session, event, channel=channel)
    return event.id


@plants("I21", "in_app")
@plants("I21", "email")
def a_message_lost(world: World, session: Session, channel: str) -> str:
    return message_lost(world, session, "REFUND_REQUESTED", channel)


@plants("I21")
def a_message_to_somebody_else(world: World, session: Session) -> str:
    event = event_of(world, world.payments[world.paid].id, "PAYMENT_COMPLETED")
    in_app = (Notification.event_id == event.id, Notification.channel == "in_app")
    session.execute(update(Notification).where(*in_app).values(recipient="u-ben"))
    return event.id


@plants("I21", "in_app", {})
@plants("I21", "email", {})
@plants("I21", "in_app", {"in_app": ["ORDER_CREATED"], "email": ["REFUND_REQUESTED"]})
@plants("I21", "in_app", {"email": ["REFUND_REQUESTED"], "in_app": ["ORDER_CREATED"]})
@plants("I21", "email", {"in_app": ["REFUND_REQUESTED"], "email": ["ORDER_EXPIRED"]})
@plants("I21", "email", {"email": ["ORDER_EXPIRED"], "in_app": ["REFUND_REQUESTED"]})
@excuses("I21", "in_app", {"in_app": ["ORDER_CREATED", "REFUND_REQUESTED"], "email": []})
@excuses("I21", "in_app", {"email": [], "in_app": ["ORDER_CREATED", "REFUND_REQUESTED"]})
@excuses("I21", "email", {"in_app": [], "email": ["ORDER_EXPIRED", "REFUND_REQUESTED"]})
@excuses("I21", "email", {"email": ["ORDER_EXPIRED", "REFUND_REQUESTED"], "in_app": []})
def a_message_lost_of_somebody_with_wishes(
    world: World, session: Session, channel: str, off: dict[str, list[str]]
) -> str:
    wishes(world, session, **off)
    return message_lost(world, session, "REFUND_REQUESTED", channel)


@excuses("I21", "in_app")
@excuses("I21", "email")
def a_message_lost_as_wishes_changed(world: World, session: Session, channel: str) -> str:
    wishes(world, session, at=timedelta())
    return message_lost(world, session, "REFUND_REQUESTED", channel)


@plants("I21")
def a_message_nobody_can_switch_off(world: World, session: Session) -> str:
    wishes(world, session, in_app=["REFUND_COMPLETED"], email=[])
    return message_lost(world, session, "REFUND_COMPLETED", "in_app")


@excuses("I21", "before")
@excuses("I21", "after")
@excuses("I21", "long ago")
@excuses("I21", "no address")
@excuses("I21", "none known")
def a_letter_nobody_could_write(world: World, session: Session, why: str) -> str:
    """Before the first letter there was, or after the last; to nobody."""
    event_id = message_lost(world, session, "REFUND_REQUESTED", "email")
    letters, at = Notification.channel == "email", world.house.clock.now()
    if why == "no address":
        event = next(one for one in world.events if one.id == event_id)
        return put(session, OutboxEvent, event_id, payload=event.payload | {"user_email": ""})
    if why == "none known":
        return put(session, OutboxEvent, event_id, payload={})
    moved = {"before": timedelta(hours=1), "after": -timedelta(hours=1), "long ago": -timedelta(days=3)}[why]
    session.execute(update(Notification).where(letters).values(created_at=at + moved))
    return event_id


@plants("I21", "in_app", "u-ada")
@plants("I21", "email", "ada@example.com")
def a_message_stored_twice(world: World, session: Session, channel: str, recipient: str) -> str:
    event = event_of(world, world.payments[world.paid].id, "PAYMENT_COMPLETED")
    session.add(a_notification(event, channel=channel, recipient=recipient))
    return event.id


@plants("I32")
def an_endpoint_not_told(world: World, session: Session) -> str:
    event = event_of(world, world.payments[world.paid].id, "PAYMENT_COMPLETED")
    without_deliveries(session, event)
    return event.id


@plants("I32")
def an_endpoint_not_told_and_disabled(world: World, session: Session) -> str:
    without_deliveries(session, event_of(world, world.payments[world.paid].id, "PAYMENT_COMPLETED"))
    return put(session, WebhookEndpoint, world.deliveries[0].endpoint_id, enabled=False, disabled_at=NOW)


@plants("I32", "")
@plants("I32", "PAYMENT_COMPLETED")
@excuses("I32", "ORDER_EXPIRED")
@excuses("I32", "", {"enabled": False, "disabled_at": NOW})
@excuses("I32", "", {"workspace_id": OTHER_WORKSPACE})
@excuses("I32", "", {"subscribed_at": NOW + timedelta(days=30)})
def a_second_endpoint(world: World, session: Session, events: str, given: dict[str, Any] | None = None) -> str:
    """That nobody told anything."""
    fields = {"url": "https://shop.example/hook", "secret": "s", "retired_secrets": {}, "enabled": True}
    times = {"created_at": NOW, "updated_at": NOW, "subscribed_at": NOW}
    of = {"id": new_id(), "workspace_id": WORKSPACE, "events": events, "last_sequence": 0}
    session.add(WebhookEndpoint(**(fields | times | of | (given or {}))))
    return event_of(world, world.payments[world.paid].id, "PAYMENT_COMPLETED").id


@plants("I32", {"type": "ORDER_EXPIRED"})
@plants("I32", {"event": {"workspace_id": OTHER_WORKSPACE}})
def a_delivery_of_something_else(world: World, session: Session, other: dict[str, Any]) -> str:
    row = next(one for one in world.deliveries if one.type == "PAYMENT_COMPLETED")
    if "event" in other:
        put(session, OutboxEvent, str(row.event_id), **other["event"])
        return row.id
    return put(session, WebhookDelivery, row.id, **other)


@plants("I33")
def delivered_without_an_answer(world: World, session: Session) -> str:
    row = world.deliveries[0]
    session.execute(update(WebhookTry).where(WebhookTry.delivery_id == row.id).values(http_status=302))
    return row.id
