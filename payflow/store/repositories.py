"""Getting, locking and adding rows. The lock order stands here: order → payment → attempt → refund, rows by id.

Every step that changes an order's money takes the order's lock first, so steps on one order run one after the other and
steps on different orders never meet. Nothing else in payflow locks rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import delete, inspect, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import selectinload

from payflow.core.errors import NotFound
from payflow.core.states import OPEN_REFUND, BookingStatus, DisputeStatus, RefundStatus
from payflow.models.access import IdempotencyKey, ServiceKey, User, Workspace
from payflow.models.base import Base, Transition
from payflow.models.booking import Booking
from payflow.models.breach import AuditBreach
from payflow.models.decision import Decision
from payflow.models.dispute import Dispute
from payflow.models.gateway_call import GatewayCall
from payflow.models.health import GatewayHealth
from payflow.models.notification import Channel, Notification, NotificationPreferences
from payflow.models.order import Order, OrderBooking
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.reconciliation import Difference, ReconciliationRun
from payflow.models.refund import Refund
from payflow.models.webhook_event import WebhookEvent
from payflow.store.listings import Listings

Row = TypeVar("Row", bound=Base)


class Repositories(Listings):
    """The rows of one transaction."""

    def add(self, row: Base) -> None:
        self.session.add(row)

    def flush(self) -> None:
        """Send what is pending to the database, so that its constraints speak now."""
        self.session.flush()

    def find(self, model: type[Row], row_id: str) -> Row | None:
        return self.session.get(model, row_id)

    def get(self, model: type[Row], row_id: str) -> Row:
        """One row by id; NotFound if there is none."""
        row = self.session.get(model, row_id)
        if row is None:
            raise NotFound
        return row

    def many(self, model: type[Any], ids: Sequence[str]) -> list[Any]:
        """Rows by id, unlocked, in id order."""
        return list(self.session.scalars(select(model).where(model.id.in_(ids)).order_by(model.id)))

    def all_of(self, model: type[Any]) -> list[Any]:
        """Every row of a small table, by key; for audits and tests."""
        return list(self.session.scalars(select(model).order_by(*inspect(model).primary_key)))

    def lock(self, model: type[Row], row_id: str) -> Row:
        """One row, locked until the end of the transaction and read afresh."""
        row = self.session.get(model, row_id, with_for_update=True, populate_existing=True)
        if row is None:
            raise NotFound
        return row

    def lock_order(self, order_id: str) -> Order:
        """The order with its bookings; the first lock of every step about its money."""
        order = self.session.scalars(
            select(Order)
            .where(Order.id == order_id)
            .options(selectinload(Order.items).joinedload(OrderBooking.booking))
            .with_for_update(of=Order)
            .execution_options(populate_existing=True)
        ).one_or_none()
        if order is None:
            raise NotFound
        return order

    def lock_bookings(self, booking_ids: Iterable[str]) -> list[Booking]:
        """Bookings by id order, so that two orders over the same bookings cannot deadlock."""
        return list(
            self.session.scalars(
                select(Booking)
                .where(Booking.id.in_(sorted(booking_ids)))
                .order_by(Booking.id)
                .with_for_update()
                .execution_options(populate_existing=True)
            )
        )

    def order(self, order_id: str) -> Order | None:
        """The order with its bookings, unlocked."""
        return self.session.scalars(
            select(Order)
            .where(Order.id == order_id)
            .options(selectinload(Order.items).joinedload(OrderBooking.booking))
        ).one_or_none()

    def active_orders_of(self, booking_ids: Sequence[str]) -> dict[str, str]:
        """booking id → id of the order it is active on."""
        rows = self.session.execute(
            select(OrderBooking.booking_id, OrderBooking.order_id).where(
                OrderBooking.booking_id.in_(booking_ids), OrderBooking.active
            )
        )
        return {key: value for key, value in rows}  # noqa: C416 - rows, not pairs

    def payment_of(self, order_id: str, *, lock: bool = False) -> Payment | None:
        query = select(Payment).where(Payment.order_id == order_id)
        if lock:
            query = query.with_for_update().execution_options(populate_existing=True)
        return self.session.scalars(query).one_or_none()

    def attempts_of(self, payment_id: str) -> list[PaymentAttempt]:
        """All tries of a payment, oldest first."""
        return list(
            self.session.scalars(
                select(PaymentAttempt).where(PaymentAttempt.payment_id == payment_id).order_by(PaymentAttempt.id)
            )
        )

    def silent_gateways(self, at: datetime) -> set[str]:
        """Those that do not answer at that moment."""
        return set(self.session.scalars(select(GatewayHealth.gateway).where(GatewayHealth.silent_until > at)))

    def attempt_by_reference(self, reference: str) -> PaymentAttempt | None:
        """By our own reference, or by the gateway's session id (Stripe speaks of sessions)."""
        return self.session.scalars(
            select(PaymentAttempt)
            .where(or_(PaymentAttempt.reference == reference, PaymentAttempt.session_id == reference))
            .limit(1)
        ).one_or_none()

    def attempt_by_transaction(self, gateway: str, transaction_id: str) -> PaymentAttempt | None:
        return self.session.scalars(
            select(PaymentAttempt).where(
                PaymentAttempt.gateway == gateway, PaymentAttempt.gateway_transaction_id == transaction_id
            )
        ).one_or_none()

    def insert_webhook(self, event: WebhookEvent) -> bool:
        """Store an inbox row unless this gateway's event is there; whether it was new."""
        return self._insert_new(WebhookEvent, [event], ["gateway", "event_key"]) == 1

    def insert_run(self, run: ReconciliationRun) -> bool:
        """Store a reconciliation unless this night has one; whether it was new."""
        return self._insert_new(ReconciliationRun, [run], ["night"]) == 1

    def insert_difference(self, row: Difference) -> bool:
        """Store a difference with a gateway unless it is there; whether it was new."""
        return self._insert_new(Difference, [row], ["gateway", "kind", "subject"]) == 1

    def insert_notifications(self, rows: Sequence[Notification]) -> None:
        """Store messages; one per event, recipient and channel, for ever."""
        if rows:
            self._insert_new(Notification, rows, ["event_id", "recipient", "channel"])

    def preferences_of(self, user_ids: Iterable[str]) -> dict[str, NotificationPreferences]:
        """User id → what they want to hear; who never said has none."""
        query = select(NotificationPreferences).where(NotificationPreferences.user_id.in_(set(user_ids)))
        return {row.user_id: row for row in self.session.scalars(query)}

    def lock_preferences(self, user_id: str, at: datetime) -> NotificationPreferences:
        """A user's preferences, locked; new ones that switch nothing off if there were none."""
        if self.session.get(NotificationPreferences, user_id) is None:
            self._insert_or_get(NotificationPreferences(user_id=user_id, switched_off={}, updated_at=at), user_id)
        return self.lock(NotificationPreferences, user_id)

    def insert_idempotency_key(self, row: IdempotencyKey) -> bool:
        """Claim a key in a scope; False if it is there already."""
        return self._insert_new(IdempotencyKey, [row], ["scope", "key"]) == 1

    def lock_idempotency_key(self, scope: str, key: str) -> IdempotencyKey:
        """A key that is there, locked."""
        row = self.session.get(IdempotencyKey, (scope, key), with_for_update=True, populate_existing=True)
        if row is None:
            raise NotFound
        return row

    def open_breaches(self) -> list[AuditBreach]:
        """What the latest audit found broken, by invariant."""
        query = select(AuditBreach).where(AuditBreach.gone_at.is_(None)).order_by(AuditBreach.invariant)
        return list(self.session.scalars(query))

    def insert_breaches(self, rows: Sequence[AuditBreach]) -> None:
        """Store what was found; one open row per invariant."""
        if rows:
            self._insert_new(AuditBreach, rows)

    def _insert_new(self, model: type[Base], rows: Sequence[Base], unique: list[str] | None = None) -> int:
        """Insert what breaks no unique rule (the one over these columns, or any); how many."""
        columns = [column.key for column in inspect(model).column_attrs]
        values = [{key: getattr(row, key) for key in columns} for row in rows]
        insert = postgresql_insert if self.session.get_bind().dialect.name == "postgresql" else sqlite_insert
        statement = insert(model).values(values).on_conflict_do_nothing(index_elements=unique)
        # Without the option SQLAlchemy keeps no count of an INSERT's rows, and psycopg's reads as -1.
        done = self.session.execute(statement, execution_options={"preserve_rowcount": True})
        return int(getattr(done, "rowcount", 0))

    def mark_all_read(self, user_id: str, at: datetime) -> int:
        """Mark a user's unread in-app messages read; how many."""
        done = self.session.execute(
            update(Notification)
            .where(
                Notification.recipient == user_id,
                Notification.channel == Channel.IN_APP,
                Notification.read_at.is_(None),
            )
            .values(read_at=at)
            .execution_options(synchronize_session=False)
        )
        return int(getattr(done, "rowcount", 0))

    def refunds_of(self, payment_id: str) -> list[Refund]:
        """All refunds of a payment, oldest first."""
        return list(self.session.scalars(select(Refund).where(Refund.payment_id == payment_id).order_by(Refund.id)))

    def refunded_bookings(self, payment_id: str) -> set[str]:
        """Bookings of a payment whose own refund has come through."""
        query = select(Refund.booking_id).where(
            Refund.payment_id == payment_id, Refund.status == RefundStatus.COMPLETED, Refund.booking_id.is_not(None)
        )
        return {booking_id for booking_id in self.session.scalars(query) if booking_id}

    def open_refunds_of_attempt(self, attempt_id: str) -> list[Refund]:
        """Refunds of a try whose end is not known."""
        query = (
            select(Refund).where(Refund.attempt_id == attempt_id, Refund.status.in_(OPEN_REFUND)).order_by(Refund.id)
        )
        return list(self.session.scalars(query))

    def dispute_of(self, gateway: str, gateway_dispute_id: str) -> Dispute | None:
        query = select(Dispute).where(Dispute.gateway == gateway, Dispute.gateway_dispute_id == gateway_dispute_id)
        return self.session.scalars(query).one_or_none()

    def is_disputed(self, payment_id: str) -> bool:
        """Whether the customer's bank holds the money back, or has taken it: then nothing may be given back besides."""
        held = (DisputeStatus.OPEN, DisputeStatus.LOST)
        query = select(Dispute.id).where(Dispute.payment_id == payment_id, Dispute.status.in_(held))
        return self.session.scalars(query.limit(1)).first() is not None

    def decision_of(self, kind: str, subject_id: str) -> Decision | None:
        return self.session.scalars(
            select(Decision).where(Decision.kind == kind, Decision.subject_id == subject_id)
        ).one_or_none()

    def has_open_decision(self, order_id: str) -> bool:
        query = select(Decision.id).where(Decision.order_id == order_id, Decision.resolved_at.is_(None))
        return self.session.scalars(query.limit(1)).first() is not None

    def history_of(self, entity_id: str) -> list[Transition]:
        return list(
            self.session.scalars(
                select(Transition).where(Transition.entity_id == entity_id).order_by(Transition.sequence)
            )
        )

    def slot_is_free(self, booking: Booking) -> bool:
        """Whether no other confirmed booking overlaps; the database's own constraint has the last word."""
        clash = select(Booking.id).where(
            Booking.workspace_id == booking.workspace_id,
            Booking.resource_id == booking.resource_id,
            Booking.status == BookingStatus.CONFIRMED,
            Booking.starts_at < booking.ends_at,
            Booking.ends_at > booking.starts_at,
            Booking.id != booking.id,
        )
        return self.session.scalars(clash.limit(1)).first() is None

    def upsert_user(self, user_id: str, *, email: str, name: str, at: datetime, locale: str | None = None) -> User:
        """Remember how a person is called and speaks; an empty value does not erase a known one."""
        user = self.session.get(User, user_id)
        if user is None:
            user = self._insert_or_get(User(id=user_id, email=email, name=name, created_at=at, updated_at=at), user_id)
        if (email and user.email != email) or (name and user.name != name) or (locale and user.locale != locale):
            user.email, user.name, user.updated_at = email or user.email, name or user.name, at
            user.locale = locale or user.locale
        return user

    def upsert_workspace(self, workspace_id: str, *, name: str, at: datetime) -> Workspace:
        """A workspace as the token names it, with the default policy when it is new."""
        workspace = self.session.get(Workspace, workspace_id)
        if workspace is None:
            fresh = Workspace(id=workspace_id, name=name, created_at=at, updated_at=at)
            workspace = self._insert_or_get(fresh, workspace_id)
        if name and workspace.name != name:
            workspace.name, workspace.updated_at = name, at
        return workspace

    def _insert_or_get(self, fresh: Row, key: str) -> Row:
        try:
            with self.session.begin_nested():
                self.session.add(fresh)
        except IntegrityError:  # somebody else was first
            return self.get(type(fresh), key)
        return fresh

    def service_keys(self) -> list[ServiceKey]:
        return list(self.session.scalars(select(ServiceKey).order_by(ServiceKey.id.desc())))

    def has_bookings(self, user_id: str) -> bool:
        return self.session.scalars(select(Booking.id).where(Booking.user_id == user_id).limit(1)).first() is not None

    def forget_keys(self, before: datetime) -> int:
        """Delete idempotency keys older than `before`; how many."""
        done = self.session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < before))
        return int(getattr(done, "rowcount", 0))

    def parked(self, model: type[Row]) -> list[Row]:
        """Rows of one kind that were given up, the oldest first."""
        is_parked: Any = model.parked_at  # type: ignore[attr-defined]  # of the kinds that can be parked
        return list(self.session.scalars(select(model).where(is_parked.is_not(None)).order_by(is_parked)))

    def forget_calls(self, before: datetime, at_most: int) -> int:
        """Delete the oldest calls of the gateway log made before that moment; how many."""
        oldest = select(GatewayCall.id).where(GatewayCall.at < before).order_by(GatewayCall.at).limit(at_most)
        done = self.session.execute(delete(GatewayCall).where(GatewayCall.id.in_(oldest)))
        return int(getattr(done, "rowcount", 0))

    def ping(self) -> None:
        """One round trip to the database."""
        self.session.execute(text("SELECT 1"))
