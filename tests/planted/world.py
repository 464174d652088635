"""Books with something of everything in them, all sound; and a way to break them past the database's own guards."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from payflow.core.identifiers import new_id
from payflow.models.base import Transition
from payflow.models.decision import Decision, DecisionAction
from payflow.models.dispute import Dispute
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.order import Order, OrderBooking
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.reconciliation import ReconciliationSlice
from payflow.models.refund import Refund, RefundReason
from payflow.models.webhook_endpoint import WebhookDelivery
from payflow.models.webhook_event import WebhookEvent
from payflow.services.decision_desk import DecisionDesk
from payflow.services.policy import PolicyService
from payflow.store.audit import Breach, breaches
from payflow.store.repositories import Repositories
from tests.databases import clean_database
from tests.house import ADA, ADMIN, OPERATOR, PLATFORM, SECRET, WORKSPACE, House, open_house
from tests.receivers import a_receiver


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
