"""The read side: pages, filters and details, seen with a caller's eyes. Floor 4; it reads and never writes.

Every query carries a Visibility (own rows, rows of administered workspaces, or everything), so what is not a caller's
does not exist for it. Pages go by keyset on the id (UUIDv7, newest first): no row is skipped or doubled while others
are inserted. Rows are plain dicts whose keys are the API's field names, amounts in minor units; how they look on the
wire is web/schemas.py's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, false, func, or_, select, true

from payflow.core.errors import NotFound
from payflow.core.identifiers import ORDER_CODE, ORDER_NUMBER
from payflow.core.states import OrderStatus
from payflow.models.access import ServiceKey, Workspace
from payflow.models.base import Transition
from payflow.models.booking import Booking
from payflow.models.notification import Channel, Notification
from payflow.models.order import Order, OrderBooking
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund
from payflow.store.engine import Database, looking, reader
from payflow.store.shapes import (
    ATTEMPT_COLUMNS,
    AnySelect,
    Row,
    booking_columns,
    order_columns,
    payment_columns,
    present_payment,
    refund_columns,
)

_CLOSED = (OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REFUNDED)
"""Orders whose bookings are free again, but which still tell what was on them."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """Whose rows a reader sees: its own, those of some workspaces, or everything."""

    user_id: str | None = None
    workspace_ids: tuple[str, ...] = ()
    everything: bool = False

    def of(self, model: type[Any]) -> ColumnElement[bool]:
        """The condition on a model that has `user_id` and `workspace_id`."""
        if self.everything:
            return true()
        allowed: list[ColumnElement[bool]] = [false()]
        if self.user_id is not None:
            allowed.append(model.user_id == self.user_id)
        if self.workspace_ids:
            allowed.append(model.workspace_id.in_(self.workspace_ids))
        return or_(*allowed)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list may be narrowed by; none of it widens what is visible."""

    status: str | None = None
    workspace: str | None = None
    gateway: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    search: str | None = None
    """Part of an order number."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list: just after (`is_backward`: just before) a row."""

    row_id: str
    is_backward: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the ways on from it."""

    rows: list[Row]
    next: Cursor | None
    previous: Cursor | None


class Queries:
    """What can be read."""

    def __init__(self, engine: Database) -> None:
        self._engine = reader(engine)

    # -- lists ---------------------------------------------------------------------------------------------------

    def bookings(self, sight: Visibility, filters: Filters, *, size: int, cursor: Cursor | None = None) -> Page:
        return self._page(booking_columns(), Booking, sight, filters, size, cursor)

    def orders(self, sight: Visibility, filters: Filters, *, size: int, cursor: Cursor | None = None) -> Page:
        return self._page(order_columns(), Order, sight, filters, size, cursor)

    def payments(self, sight: Visibility, filters: Filters, *, size: int, cursor: Cursor | None = None) -> Page:
        page = self._page(payment_columns(), Payment, sight, filters, size, cursor)
        return Page([present_payment(row) for row in page.rows], page.next, page.previous)

    def refunds(self, sight: Visibility, filters: Filters, *, size: int, cursor: Cursor | None = None) -> Page:
        return self._page(refund_columns(), Refund, sight, filters, size, cursor)

    def notifications(self, user_id: str, *, size: int, unread_only: bool, cursor: Cursor | None = None) -> Page:
        """A user's in-app messages."""
        query = select(
            Notification.id,
            Notification.event,
            Notification.title,
            Notification.body,
            Notification.order_id,
            Notification.read_at,
            Notification.created_at,
        ).where(Notification.recipient == user_id, Notification.channel == Channel.IN_APP)
        if unread_only:
            query = query.where(Notification.read_at.is_(None))
        with looking(self._engine) as connection:
            return page_of(connection, query, Notification.id, size, cursor)

    def unread_count(self, user_id: str) -> int:
        query = select(func.count()).where(
            Notification.recipient == user_id, Notification.channel == Channel.IN_APP, Notification.read_at.is_(None)
        )
        with looking(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    # -- details; NotFound for what is not there or not to be seen --------------------------------------------------

    def booking(self, sight: Visibility, booking_id: str) -> Row:
        with looking(self._engine) as connection:
            return one_row(connection, booking_columns().where(Booking.id == booking_id, sight.of(Booking)))

    def order(self, sight: Visibility, order_id: str) -> Row:
        """With its `bookings` and `payment` (or None). A closed order still names the bookings it had."""
        with looking(self._engine) as connection:
            order = one_row(connection, order_columns().where(Order.id == order_id, sight.of(Order)))
            on_it = booking_columns().join(OrderBooking, OrderBooking.booking_id == Booking.id)
            on_it = on_it.where(OrderBooking.order_id == order_id).order_by(Booking.id)
            if order["status"] not in _CLOSED:
                on_it = on_it.where(OrderBooking.active)
            order["bookings"] = all_rows(connection, on_it)
            payment = connection.execute(payment_columns().where(Payment.order_id == order_id)).mappings().one_or_none()
            order["payment"] = present_payment(dict(payment)) if payment else None
            return order

    def payment(self, sight: Visibility, payment_id: str) -> Row:
        """With `attempts` and `history`. The gateways' own answers are under `gateway_response`, for staff's eyes."""
        with looking(self._engine) as connection:
            payment = present_payment(
                one_row(connection, payment_columns().where(Payment.id == payment_id, sight.of(Payment)))
            )
            tries = select(*ATTEMPT_COLUMNS).where(PaymentAttempt.payment_id == payment_id).order_by(PaymentAttempt.id)
            payment["attempts"] = all_rows(connection, tries)
            payment["history"] = all_rows(
                connection,
                select(
                    Transition.from_status.label("from"),
                    Transition.to_status.label("to"),
                    Transition.why,
                    Transition.at,
                )
                .where(Transition.entity_id == payment_id)
                .order_by(Transition.sequence),
            )
            return payment

    def refund(self, sight: Visibility, refund_id: str) -> Row:
        with looking(self._engine) as connection:
            return one_row(connection, refund_columns().where(Refund.id == refund_id, sight.of(Refund)))

    # -- small looks ---------------------------------------------------------------------------------------------

    def attempt_progress(self, payment_id: str) -> Row | None:
        """How far a payment's current try is: for waiting on the worker. None while there is no try."""
        query = (
            select(PaymentAttempt.status, PaymentAttempt.authorization_url, PaymentAttempt.due_at, PaymentAttempt.tries)
            .join(Payment, Payment.current_attempt_id == PaymentAttempt.id)
            .where(Payment.id == payment_id)
        )
        with looking(self._engine) as connection:
            found = connection.execute(query).mappings().one_or_none()
            return dict(found) if found else None

    def returning(self, reference: str) -> Row | None:
        """What the page a customer comes back to may say of a try, by our reference or the gateway's session id."""
        query = (
            select(
                Order.id.label("order_id"),
                Order.order_number,
                Order.status.label("order_status"),
                Payment.status.label("payment_status"),
                PaymentAttempt.status.label("attempt_status"),
                PaymentAttempt.reference,
                PaymentAttempt.amount_minor.label("amount"),
                PaymentAttempt.currency,
                PaymentAttempt.return_url,
                Workspace.return_urls,
            )
            .join(Payment, Payment.id == PaymentAttempt.payment_id)
            .join(Order, Order.id == PaymentAttempt.order_id)
            .join(Workspace, Workspace.id == Order.workspace_id)
            .where(or_(PaymentAttempt.reference == reference, PaymentAttempt.session_id == reference))
            .limit(1)
        )
        with looking(self._engine) as connection:
            found = connection.execute(query).mappings().one_or_none()
            return dict(found) if found else None

    def service_key(self, key_hash: str, at: datetime) -> Row | None:
        """A key that is good at that moment, by its SHA-256 (hex)."""
        query = select(
            ServiceKey.id, ServiceKey.name, ServiceKey.workspace_id, ServiceKey.scope, ServiceKey.last_used_at
        ).where(ServiceKey.key_hash == key_hash, or_(ServiceKey.revoked_at.is_(None), ServiceKey.revoked_at > at))
        with looking(self._engine) as connection:
            found = connection.execute(query).mappings().one_or_none()
            return dict(found) if found else None

    def _page(
        self,
        query: AnySelect,
        model: type[Any],
        sight: Visibility,
        filters: Filters,
        size: int,
        cursor: Cursor | None,
    ) -> Page:
        query = query.where(sight.of(model), *conditions(model, filters))
        with looking(self._engine) as connection:
            return page_of(connection, query, model.id, size, cursor)


def conditions(model: type[Any], filters: Filters) -> Sequence[ColumnElement[bool]]:
    """A filter as conditions on a model that has the columns it names."""
    found: list[ColumnElement[bool]] = []
    if filters.status is not None:
        found.append(model.status == filters.status)
    if filters.workspace is not None:
        found.append(model.workspace_id == filters.workspace)
    if filters.gateway is not None:
        found.append(model.gateway == filters.gateway)
    if filters.created_after is not None:
        found.append(model.created_at >= filters.created_after)
    if filters.created_before is not None:
        found.append(model.created_at < filters.created_before)
    if filters.search is not None:
        found.append(_is_named(filters.search.upper()))
    return found


def _is_named(words: str) -> ColumnElement[bool]:
    """Orders by number or by the code that ends it, through an index; by any other part of the number."""
    if ORDER_NUMBER.fullmatch(words):
        return Order.order_number == words
    if ORDER_CODE.fullmatch(words):
        return func.substr(Order.order_number, 14) == words
    return Order.order_number.contains(words, autoescape=True)


def page_of(connection: Connection, query: AnySelect, id_column: Any, size: int, cursor: Cursor | None) -> Page:
    """One page, newest first, of a query with a column `id`; one row beyond the page tells whether it goes on."""
    is_backward = cursor is not None and cursor.is_backward
    if cursor is not None:
        query = query.where(id_column > cursor.row_id if is_backward else id_column < cursor.row_id)
    rows = all_rows(connection, query.order_by(id_column.asc() if is_backward else id_column.desc()).limit(size + 1))
    goes_on, rows = len(rows) > size, rows[:size]
    if is_backward:
        rows.reverse()
    if not rows:
        return Page([], None, None)
    has_next = is_backward or goes_on
    has_previous = goes_on if is_backward else cursor is not None
    return Page(
        rows,
        Cursor(rows[-1]["id"]) if has_next else None,
        Cursor(rows[0]["id"], is_backward=True) if has_previous else None,
    )


def one_row(connection: Connection, query: AnySelect) -> Row:
    """The one row there is. Raises NotFound."""
    found = connection.execute(query).mappings().one_or_none()
    if found is None:
        raise NotFound
    return dict(found)


def all_rows(connection: Connection, query: AnySelect) -> list[Row]:
    """All of them, as dicts."""
    return [dict(row) for row in connection.execute(query).mappings()]
