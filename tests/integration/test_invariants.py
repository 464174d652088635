"""The audit finds what it says it finds: nothing in sound books, and every breach that is planted."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.orm import Session

from payflow.core.identifiers import new_id
from payflow.models.access import IdempotencyKey, Workspace
from payflow.models.base import Base, Transition
from payflow.models.booking import Booking
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.order import Order, OrderBooking
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund, RefundReason
from payflow.models.webhook_endpoint import WebhookDelivery, WebhookTry
from payflow.models.webhook_event import WebhookEvent
from payflow.store.audit import Breach, breaches, invariants
from payflow.store.repositories import Repositories
from tests.databases import clean_database
from tests.house import ADA, PLATFORM, SECRET, WORKSPACE, House, open_house
from tests.receivers import a_receiver
from tests.rows import NOW, a_booking, a_notification, a_posting, a_refund, an_attempt
from tests.soundness import assert_same_money, audit


@dataclass
class World:
    """Books with something of everything in them, all sound."""

    house: House
    paid: str
    """Paid and completed; one of its two bookings given back."""
    excess: str
    """Paid too much; the excess given back."""
    open: str
    """Its hosted page is open."""
    refunded: str
    expired: str
    fresh: str
    """Never tried."""

    def __post_init__(self) -> None:
        """Read everything once: while a plant's transaction is open, PostgreSQL lets nobody else look."""
        rows = self.house.rows
        self.payments: dict[str, Payment] = {one.order_id: one for one in rows(Payment)}
        self.attempts: dict[str, PaymentAttempt] = {one.order_id: one for one in rows(PaymentAttempt)}
        self.refunds: dict[str, Refund] = {one.order_id: one for one in rows(Refund)}
        self.events: list[OutboxEvent] = rows(OutboxEvent)
        self.webhooks: list[WebhookEvent] = rows(WebhookEvent)
        self.deliveries: list[WebhookDelivery] = rows(WebhookDelivery)
        self.history: list[Transition] = rows(Transition)
        orders = (self.paid, self.open, self.fresh)
        self.items: list[OrderBooking] = [item for one in orders for item in self.house.order_row(one).items]


@pytest.fixture(scope="module")
def world(migrated_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("world")
    with (
        clean_database(migrated_database, folder) as url,
        open_house(url, PAYFLOW_WEBHOOK_ALLOW_PRIVATE="1") as house,
        a_receiver() as receiver,
    ):
        expired, _ = house.initiated()
        house.container.webhook_endpoints.create(PLATFORM, WORKSPACE, url=receiver.url)
        house.later(1_801)
        paid = house.paid()
        house.container.bookings.cancel(ADA, house.order_row(paid).items[0].booking_id)
        excess, reference = house.initiated()
        house.fault("wrong_amount", reference=reference, params={"delta": 500})
        house.pay(reference)
        house.ask(reference)
        refunded = house.paid()
        payment_id = house.payment_row(refunded).id
        house.container.refunds.request_refund(ADA, payment_id, amount_minor=None, reason=RefundReason.OTHER)
        house.drain()
        house.later(30)
        receive(house, "charge.success", house.attempts(paid)[0].reference)
        odd, odd_reference = house.initiated()
        house.fault("wrong_currency", reference=odd_reference, params={"currency": "GHS"})
        house.pay(odd_reference)
        house.ask(odd_reference)
        assert house.attempts(odd)[0].status == "mismatched"
        opened, _ = house.initiated()
        yield World(house, paid, excess, opened, refunded, expired, house.order())


def receive(house: House, event: str, reference: str) -> None:
    """A signed webhook about a reference, received and processed."""
    body = json.dumps({"event": event, "data": {"reference": reference, "nonce": new_id()}}).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha512).hexdigest()
    house.container.webhooks.receive("paystack", {"x-paystack-signature": signature}, body)
    house.drain()


@pytest.fixture
def bypass(world: World) -> Iterator[Session]:
    """A transaction in which the database refuses nothing; rolled back afterwards."""
    engine = world.house.container.engine
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA ignore_check_constraints=ON"))
            found = (
                "SELECT type, name FROM sqlite_master WHERE type = 'trigger' OR (type = 'index' AND name LIKE 'uq_%')"
            )
            drops = [f"DROP {kind} {name}" for kind, name in connection.execute(text(found)).all()]
        else:
            connection.execute(text("SET LOCAL session_replication_role = replica"))  # no triggers, no foreign keys
            checks = (
                "SELECT c.conrelid::regclass::text, c.conname FROM pg_constraint c "
                "JOIN pg_class t ON t.oid = c.conrelid "
                "WHERE c.contype IN ('c', 'x') AND t.relnamespace = 'public'::regnamespace"
            )
            drops = [
                f'ALTER TABLE {table} DROP CONSTRAINT "{name}"'
                for table, name in connection.execute(text(checks)).all()
            ]
            unique = (
                "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND indexname LIKE 'uq_%' "
                "AND indexname NOT IN (SELECT conname FROM pg_constraint)"
            )
            drops += [f'DROP INDEX "{name}"' for name in connection.scalars(text(unique))]
        for drop in drops:
            connection.execute(text(drop))
        with Session(bind=connection, expire_on_commit=False) as session:
            yield session
        connection.rollback()
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA ignore_check_constraints=OFF"))


def found_in(world: World, session: Session) -> dict[str, Breach]:
    """Breaches by invariant, as this transaction sees them."""
    session.flush()
    return {one.invariant: one for one in breaches(Repositories(session), world.house.clock.now(), 60)}


# -- the plants: each breaks one rule and names the row that must be found ---------------------------------------------

PLANTS: dict[str, Callable[[World, Session], str]] = {}


def plants(invariant: str) -> Callable[[Callable[[World, Session], str]], Callable[[World, Session], str]]:
    def keep(plant: Callable[[World, Session], str]) -> Callable[[World, Session], str]:
        PLANTS[invariant] = plant
        return plant

    return keep


def put(session: Session, model: type[Base], row_id: str, **values: Any) -> str:
    """A bare UPDATE."""
    row: Any = model
    session.execute(update(row).where(row.id == row_id).values(**values).execution_options(synchronize_session=False))
    return row_id


def booking_of(world: World, order_id: str, *, active: bool = True) -> str:
    return next(item.booking_id for item in world.items if item.order_id == order_id and item.active == active)


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


@plants("I04")
def completed_but_not_confirmed(world: World, session: Session) -> str:
    return put(session, Booking, booking_of(world, world.paid), status="pending")


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


@plants("I08")
def more_reserved_than_taken(world: World, session: Session) -> str:
    payment = world.payments[world.paid]
    return put(session, Payment, payment.id, refund_reserved_minor=payment.captured_minor + 1)


@plants("I09")
def refund_in_another_currency(world: World, session: Session) -> str:
    return put(session, Refund, world.refunds[world.refunded].id, currency="USD")


def posting_of(session: Session, subject_id: str, kind: str) -> LedgerPosting:
    found = session.query(LedgerPosting).filter_by(subject_id=subject_id, kind=kind).one()
    session.expunge(found)
    return found


@plants("I10")
def a_posting_of_nothing(world: World, session: Session) -> str:
    posting = posting_of(session, world.attempts[world.paid].id, "capture")
    return put(session, LedgerPosting, posting.id, amount_minor=0)


@plants("I11")
def money_not_in_the_books(world: World, session: Session) -> str:
    attempt = world.attempts[world.paid]
    session.execute(delete(LedgerPosting).where(LedgerPosting.id == posting_of(session, attempt.id, "capture").id))
    return attempt.id


@plants("I12")
def refund_not_in_the_books(world: World, session: Session) -> str:
    refund = world.refunds[world.refunded]
    session.execute(delete(LedgerPosting).where(LedgerPosting.id == posting_of(session, refund.id, "refund").id))
    return refund.id


@plants("I13")
def a_posting_about_nobody(world: World, session: Session) -> str:
    posting = a_posting()
    session.add(posting)
    return posting.id


@plants("I14")
def clearing_out_of_step(world: World, session: Session) -> str:
    session.add(a_posting(kind="excess", credit_account="excess"))
    return "paystack NGN"


@plants("I15")
def surplus_nobody_gives_back(world: World, session: Session) -> str:
    refund = world.refunds[world.excess]
    session.execute(delete(Refund).where(Refund.id == refund.id))
    return refund.attempt_id


@plants("I16")
def a_status_without_history(world: World, session: Session) -> str:
    return put(session, Order, world.fresh, status="processing", moves=1)


@plants("I17")
def an_illegal_move(world: World, session: Session) -> str:
    first = next(one for one in world.history if one.entity_id == world.paid and one.sequence == 1)
    return put(session, Transition, first.id, from_status="pending", to_status="completed")


@plants("I18")
def work_nobody_owes(world: World, session: Session) -> str:
    return put(session, PaymentAttempt, world.attempts[world.open].id, due_at=None)


@plants("I19")
def work_long_overdue(world: World, session: Session) -> str:
    late = world.house.clock.now() - timedelta(seconds=61)
    return put(session, PaymentAttempt, world.attempts[world.open].id, due_at=late)


def event_of(world: World, subject_id: str, kind: str) -> OutboxEvent:
    return next(one for one in world.events if (one.subject_id, one.type) == (subject_id, kind))


@plants("I20")
def a_success_nobody_heard_of(world: World, session: Session) -> str:
    payment = world.payments[world.paid]
    event = event_of(world, payment.id, "PAYMENT_COMPLETED")
    session.execute(delete(Notification).where(Notification.event_id == event.id))
    session.execute(delete(WebhookTry))
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.event_id == event.id))
    session.execute(delete(OutboxEvent).where(OutboxEvent.id == event.id))
    return payment.id


@plants("I21")
def a_message_lost(world: World, session: Session) -> str:
    event = event_of(world, world.payments[world.paid].id, "PAYMENT_COMPLETED")
    session.execute(delete(Notification).where(Notification.event_id == event.id, Notification.channel == "in_app"))
    return event.id


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


@plants("I25")
def a_call_without_an_end(world: World, session: Session) -> str:
    long_ago = world.house.clock.now() - timedelta(hours=1)
    attempt = world.attempts[world.open]
    return put(session, PaymentAttempt, attempt.id, status="created", called_at=long_ago, claimed_until=long_ago)


@plants("I26")
def a_total_that_is_not_its_bookings(world: World, session: Session) -> str:
    return put(session, Order, world.fresh, subtotal_minor=1, total_minor=1)


@plants("I27")
def somebody_elses_booking(world: World, session: Session) -> str:
    put(session, Booking, booking_of(world, world.fresh), user_id="u-ben")
    return world.fresh


@plants("I28")
def refunded_only_by_name(world: World, session: Session) -> str:
    return put(session, Order, world.refunded, status="completed")


@plants("I29")
def a_key_locked_for_ever(world: World, session: Session) -> str:
    until = world.house.clock.now() + timedelta(days=1)
    session.add(IdempotencyKey(scope="s", key="k", fingerprint="f", locked_until=until, created_at=NOW))
    return "s k"


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


# -- the tests ---------------------------------------------------------------------------------------------------------


@plants("I32")
def an_endpoint_not_told(world: World, session: Session) -> str:
    event = event_of(world, world.payments[world.paid].id, "PAYMENT_COMPLETED")
    session.execute(delete(WebhookTry))
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.event_id == event.id))
    return event.id


@plants("I33")
def delivered_without_an_answer(world: World, session: Session) -> str:
    row = world.deliveries[0]
    session.execute(update(WebhookTry).where(WebhookTry.delivery_id == row.id).values(http_status=302))
    return row.id


def test_sound_books_have_no_breach(world: World) -> None:
    """Paid, given back whole and in part, overpaid, mismatched, expired, open, untouched: nothing is found."""
    assert audit(world.house, slo_seconds=60) == []
    assert_same_money(world.house)


def test_every_invariant_has_a_plant() -> None:
    """No rule is trusted that was never seen to bite."""
    assert [one.id for one in invariants()] == [f"I{number:02d}" for number in range(1, 34)]
    assert sorted(PLANTS) == [one.id for one in invariants()]


@pytest.mark.parametrize("invariant", sorted(PLANTS))
def test_planted_breach_is_found(world: World, bypass: Session, invariant: str) -> None:
    """With the database's own guards out of the way, the breach is reported under its number with the right row."""
    row = PLANTS[invariant](world, bypass)
    found = found_in(world, bypass)
    assert invariant in found, f"{invariant} does not bite"
    assert row in found[invariant].row_ids
    assert found[invariant].sentence


@pytest.mark.parametrize(("channel", "recipient"), [("in_app", "u-ada"), ("email", "ada@example.com")])
def test_message_stored_twice_is_found(world: World, bypass: Session, channel: str, recipient: str) -> None:
    """I21's other half: the same message to the same recipient on the same channel."""
    event = event_of(world, world.payments[world.paid].id, "PAYMENT_COMPLETED")
    bypass.add(a_notification(event, channel=channel, recipient=recipient))
    assert event.id in found_in(world, bypass)["I21"].row_ids


def test_work_due_within_the_target_is_not_overdue(world: World, bypass: Session) -> None:
    """A due time that has just passed is a worker's business, not a breach."""
    just_now = world.house.clock.now() - timedelta(seconds=59)
    put(bypass, PaymentAttempt, world.attempts[world.open].id, due_at=just_now)
    assert "I19" not in found_in(world, bypass)


def test_bypass_leaves_no_trace(world: World) -> None:
    """What was planted is rolled back and the guards stand again."""
    assert audit(world.house, slo_seconds=60) == []
    with pytest.raises(Exception, match="append-only"):
        world.house.container.units.run(lambda tx: tx.session.execute(update(LedgerPosting).values(amount_minor=1)))
    assert world.house.rows(Workspace)
