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
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from payflow.core.events import EventType
from payflow.core.identifiers import new_id
from payflow.models.access import IdempotencyKey, Workspace
from payflow.models.act import HumanAct
from payflow.models.base import Base, Transition
from payflow.models.booking import Booking
from payflow.models.decision import Decision, DecisionAction
from payflow.models.dispute import Dispute
from payflow.models.ledger import LedgerPosting, PostingKind
from payflow.models.notification import Notification, NotificationPreferences
from payflow.models.order import Order, OrderBooking
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.reconciliation import ReconciliationSlice
from payflow.models.refund import Refund, RefundReason
from payflow.models.webhook_endpoint import WebhookDelivery, WebhookEndpoint, WebhookTry
from payflow.models.webhook_event import WebhookEvent
from payflow.services.decision_desk import DecisionDesk
from payflow.services.policy import PolicyService
from payflow.store.audit import Breach, breaches, invariants
from payflow.store.repositories import Repositories
from tests.databases import clean_database
from tests.house import ADA, ADMIN, OPERATOR, OTHER_WORKSPACE, PLATFORM, SECRET, WORKSPACE, House, open_house
from tests.receivers import a_receiver
from tests.rows import NOW, a_booking, a_decision, a_notification, a_posting, a_refund, an_attempt, an_event
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
    odd: str
    """Paid in another currency; a person has it."""
    late: str
    """Paid after it had expired; a person has it."""
    back: str
    """Given back whole, its bookings released; then the gateway took its word back, and a person has it."""
    disputed: str
    """Completed; the bank took the money."""

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
        self.disputes: dict[str, Dispute] = {one.order_id: one for one in rows(Dispute)}
        self.postings: list[LedgerPosting] = rows(LedgerPosting)
        self.decisions: dict[str, Decision] = {one.order_id: one for one in rows(Decision)}
        self.slices: list[ReconciliationSlice] = rows(ReconciliationSlice)
        self.letters: list[Notification] = [one for one in rows(Notification) if one.channel == "email"]
        self.items: list[OrderBooking] = [item for one in rows(Order) for item in self.house.order_row(one.id).items]


@pytest.fixture(scope="module")
def world(migrated_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("world")
    with (
        clean_database(migrated_database, folder) as url,
        open_house(url, PAYFLOW_WEBHOOK_ALLOW_PRIVATE="1") as house,
        a_receiver() as receiver,
    ):
        expired, _ = house.initiated()
        late, late_reference = house.initiated()
        house.container.webhook_endpoints.create(PLATFORM, WORKSPACE, url=receiver.url)
        house.later(1_801)
        PolicyService(house.container.units, gateways=()).change(ADMIN, WORKSPACE, {"late_payment": "decide"})
        house.pay(late_reference)
        house.ask(late_reference)
        house.later(24 * 3_600)  # what is judged by the settings of an earlier day, is judged
        paid = house.paid()
        house.container.bookings.cancel(ADA, house.order_row(paid).items[0].booking_id)
        excess, reference = house.initiated()
        house.fault("wrong_amount", reference=reference, params={"delta": 500})
        house.pay(reference)
        house.ask(reference)
        refunded = house.paid()
        give_back(house, refunded)
        house.drain()
        house.later(30)
        receive(house, "charge.success", house.attempts(paid)[0].reference)
        mismatched(house, "wrong_amount", {"delta": -500})
        (underpaid,) = (one for one in house.rows(Decision) if one.kind == "underpaid")
        DecisionDesk(house.container.units).resolve(OPERATOR, underpaid.id, DecisionAction.REFUND)
        house.later(30)
        odd = mismatched(house, "wrong_currency", {"currency": "GHS"})
        back = house.paid()
        house.fault("refund_fails_after_success", reference=house.attempts(back)[0].reference, params={"seconds": 30})
        give_back(house, back)
        house.drain()
        house.later(6)
        disputed = house.paid()
        house.fault("dispute", reference=house.attempts(disputed)[0].reference)
        house.fault("dispute_resolve", reference=house.attempts(disputed)[0].reference, params={"won": False})
        house.clock.advance(60)
        house.control("GET", "/sandbox/refunds")
        for row in house.webhooks():
            house.receive(row)
        house.drain()
        assert house.statuses(back) == ("completed", "success", {"cancelled"})
        house.container.orders.cancel(ADA, house.order())
        _, declined = house.initiated()
        house.pay(declined, "decline")
        house.ask(declined)
        now = house.clock.now()
        house.container.reconciliation.open(since=now - timedelta(hours=2), until=now, actor="user:u-op")
        house.drain()
        house.later(130)
        opened, _ = house.initiated()
        yield World(house, paid, excess, opened, refunded, expired, house.order(), odd, late, back, disputed)


def give_back(house: House, order_id: str) -> None:
    """Ask for all of an order's money."""
    payment_id = house.payment_row(order_id).id
    house.container.refunds.request_refund(ADA, payment_id, amount_minor=None, reason=RefundReason.OTHER)


def mismatched(house: House, fault: str, params: dict[str, Any]) -> str:
    """An order whose money does not fit it."""
    order_id, reference = house.initiated()
    house.fault(fault, reference=reference, params=params)
    house.pay(reference)
    house.ask(reference)
    assert house.attempts(order_id)[0].status == "mismatched"
    return order_id


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


# -- the plants: each breaks one branch of a rule and names the row that must be found ---------------------------------

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


def decide(session: Session, order_id: str, kind: str, subject_id: str, action: str | None = None) -> None:
    """A question about an order, open or answered."""
    answer = {"resolved_at": NOW, "resolved_by": "user:u-op", "action": action} if action else {}
    session.add(a_decision(session.get_one(Order, order_id), kind=kind, subject_id=subject_id, **answer))
    session.flush()


def answer(world: World, session: Session, order_id: str, action: str) -> None:
    """Answer the question a person has about an order."""
    put(session, Decision, world.decisions[order_id].id, resolved_at=NOW, resolved_by="user:u-op", action=action)


def refund_of(world: World, session: Session, order_id: str, **given: Any) -> str:
    refund = a_refund(world.payments[order_id], world.attempts[order_id], **given)
    session.add(refund)
    session.flush()
    return refund.id


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


@plants("I08")
def more_reserved_than_taken(world: World, session: Session) -> str:
    payment = world.payments[world.paid]
    return put(session, Payment, payment.id, refund_reserved_minor=payment.captured_minor + 1)


@plants("I09")
def refund_in_another_currency(world: World, session: Session) -> str:
    return put(session, Refund, world.refunds[world.refunded].id, currency="USD")


def posting_of(world: World, kind: str, order_id: str | None = None) -> LedgerPosting:
    return next(one for one in world.postings if one.kind == kind and order_id in (None, one.order_id))


def without(session: Session, posting: LedgerPosting) -> str:
    """A posting is gone: the row it was about."""
    session.execute(delete(LedgerPosting).where(LedgerPosting.id == posting.id))
    return posting.subject_id


def once_more(session: Session, posting: LedgerPosting, **given: Any) -> str:
    """A posting is there twice: the row it is about."""
    fields = ("kind", "subject_id", "order_id", "debit_account", "credit_account", "amount_minor", "currency")
    session.add(a_posting(**{field: getattr(posting, field) for field in fields}, part=9, **given))
    return posting.subject_id


@plants("I10")
def a_posting_of_nothing(world: World, session: Session) -> str:
    return put(session, LedgerPosting, posting_of(world, "capture").id, amount_minor=0)


@plants("I11", "capture")
@plants("I11", "excess")
@plants("I11", "unapplied")
@plants("I11", "fee")
@plants("I12", "refund")
@plants("I12", "refund_reversal")
@plants("I12", "dispute")
def money_not_in_the_books(world: World, session: Session, kind: str) -> str:
    return without(session, posting_of(world, kind))


@plants("I11", "capture")
@plants("I11", "excess")
@plants("I11", "unapplied")
@plants("I11", "fee")
@plants("I12", "refund")
@plants("I12", "refund_reversal")
@plants("I12", "dispute")
def money_in_the_books_twice(world: World, session: Session, kind: str) -> str:
    return once_more(session, posting_of(world, kind))


@plants("I11", "debit_account", "gateway:stripe")
@plants("I11", "currency", "USD")
@plants("I11", "kind", "excess")
def a_capture_elsewhere(world: World, session: Session, field: str, value: str) -> str:
    posting = posting_of(world, "capture")
    put(session, LedgerPosting, posting.id, **{field: value})
    return posting.subject_id


@plants("I11")
def a_fee_of_money_that_does_not_count(world: World, session: Session) -> str:
    attempt = world.attempts[world.odd]
    session.add(a_posting(kind="fee", subject_id=attempt.id, amount_minor=attempt.fee_minor or 1))
    return attempt.id


@plants("I12", "refund", "credit_account", "gateway:stripe")
@plants("I12", "refund", "currency", "USD")
@plants("I12", "refund_reversal", "debit_account", "gateway:stripe")
def what_went_back_elsewhere(world: World, session: Session, kind: str, field: str, value: str) -> str:
    posting = posting_of(world, kind)
    put(session, LedgerPosting, posting.id, **{field: value})
    return posting.subject_id


@plants("I12")
def a_dispute_that_was_won_and_paid(world: World, session: Session) -> str:
    return put(session, Dispute, world.disputes[world.disputed].id, status="won")


def each_posting_moved(plant: Plant) -> Plant:
    for kind in ("capture", "excess", "unapplied", "fee", "refund", "refund_reversal", "dispute"):
        for field, value in (
            ("debit_account", "workspace:w-hill"),
            ("credit_account", "workspace:w-hill"),
            ("currency", "USD"),
            ("subject_id", NOBODY),
        ):
            plants("I13", kind, field, value)(plant)
    return plant


@each_posting_moved
def a_posting_out_of_place(world: World, session: Session, kind: str, field: str, value: str) -> str:
    return put(session, LedgerPosting, posting_of(world, kind).id, **{field: value})


@plants("I13", "capture", "surplus")
@plants("I13", "excess", None)
def a_posting_of_another_kind_of_money(world: World, session: Session, kind: str, application: str | None) -> str:
    posting = posting_of(world, kind)
    put(session, PaymentAttempt, posting.subject_id, application=application)
    return posting.id


@plants("I14")
def clearing_out_of_step(world: World, session: Session) -> str:
    session.add(a_posting(kind="excess", credit_account="excess"))
    return "paystack NGN"


def no_refund(world: World, session: Session, order_id: str) -> str:
    """The refund of an order is gone; the try it gave back."""
    refund = world.refunds[order_id]
    session.execute(delete(Refund).where(Refund.id == refund.id))
    return refund.attempt_id


@plants("I15")
def surplus_nobody_gives_back(world: World, session: Session) -> str:
    return no_refund(world, session, world.excess)


@plants("I15", {"amount_minor": 499})
@plants("I15", {"status": "failed"})
@plants("I15", {"source": "api"})
def surplus_not_given_back(world: World, session: Session, refund: dict[str, Any]) -> str:
    put(session, Refund, world.refunds[world.excess].id, **refund)
    return world.attempts[world.excess].id


@plants("I15", "late_payment")
@plants("I15", "poll_plan_exhausted")
@plants("I15", "refund_unknown")
def surplus_behind_another_question(world: World, session: Session, kind: str) -> str:
    attempt_id = no_refund(world, session, world.excess)
    decide(session, world.excess, kind, attempt_id)
    return attempt_id


@plants("I15")
def surplus_behind_a_question_about_another_refund(world: World, session: Session) -> str:
    attempt_id = no_refund(world, session, world.excess)
    other = refund_of(world, session, world.excess, approval="waiting")
    decide(session, world.excess, "refund_needs_attention", other, "ignore")
    return attempt_id


@excuses("I15", None)
@excuses("I15", "ignore")
@excuses("I15", "accept")
@plants("I15", "refund")
def surplus_whose_refund_failed(world: World, session: Session, action: str | None) -> str:
    refund = world.refunds[world.excess]
    put(session, Refund, refund.id, status="failed", completed_at=None)
    decide(session, world.excess, "refund_failed", refund.id, action)
    return refund.attempt_id


@excuses("I15", "overpaid", "ignore")
@excuses("I15", "duplicate_payment", None)
@plants("I15", "overpaid", "refund")
def surplus_a_person_was_asked_about(world: World, session: Session, kind: str, action: str | None) -> str:
    attempt_id = no_refund(world, session, world.excess)
    session.execute(delete(Decision).where(Decision.order_id == world.excess))
    decide(session, world.excess, kind, attempt_id, action)
    return attempt_id


@excuses("I15", "ignore")
@plants("I15", "refund")
def money_that_fits_nothing_and_was_decided(world: World, session: Session, action: str) -> str:
    answer(world, session, world.odd, action)
    return world.attempts[world.odd].id


@plants("I15", None)
@plants("I15", "poll_plan_exhausted")
def money_that_fits_nothing_and_nobody_has(world: World, session: Session, kind: str | None) -> str:
    session.execute(delete(Decision).where(Decision.order_id == world.odd))
    attempt = world.attempts[world.odd]
    if kind is not None:
        decide(session, world.odd, kind, attempt.id)
    return put(session, PaymentAttempt, attempt.id, captured_minor=0)


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


@excuses("I19")
def a_try_that_is_never_asked_about(world: World, session: Session) -> str:
    """Its money is before a person."""
    late = world.house.clock.now() - timedelta(hours=1)
    return put(session, PaymentAttempt, world.attempts[world.odd].id, due_at=late)


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


# -- the tests ---------------------------------------------------------------------------------------------------------


def test_sound_books_have_no_breach(world: World) -> None:
    """Paid, given back whole and in part, overpaid, mismatched, late, disputed, expired, untouched: nothing is found,
    though everything that is ever told happened in them, and every kind of posting."""
    assert audit(world.house, slo_seconds=60) == []
    assert_same_money(world.house)
    assert {one.type for one in world.events} == set(EventType)
    assert {one.kind for one in world.postings} == set(PostingKind)


def test_every_invariant_has_a_plant() -> None:
    """No rule is trusted that was never seen to bite."""
    assert [one.id for one in invariants()] == [f"I{number:02d}" for number in range(1, 34)]
    assert sorted({one.values[0] for one in PLANTS}) == [one.id for one in invariants()]


@pytest.mark.parametrize(("invariant", "plant", "given"), PLANTS)
def test_planted_breach_is_found(
    world: World, bypass: Session, invariant: str, plant: Plant, given: tuple[Any, ...]
) -> None:
    """With the database's own guards out of the way, the breach is reported under its number with the right row."""
    row = plant(world, bypass, *given)
    found = found_in(world, bypass)
    assert invariant in found, f"{invariant} does not bite"
    assert row in found[invariant].row_ids
    assert found[invariant].sentence


@pytest.mark.parametrize(("invariant", "plant", "given"), EXCUSES)
def test_what_is_in_order_is_not_found(
    world: World, bypass: Session, invariant: str, plant: Plant, given: tuple[Any, ...]
) -> None:
    """A state that payflow itself brings about, or a person has answered for, is no breach."""
    row = plant(world, bypass, *given)
    found = found_in(world, bypass)
    assert invariant not in found or row not in found[invariant].row_ids


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
