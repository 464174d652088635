"""Orders: made from a customer's pending bookings, cancelled or expired while no money has moved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from payflow.core.clock import Clock
from payflow.core.errors import Conflict, Forbidden, InvalidInput, RuleBroken, StaleRow
from payflow.core.events import EventType
from payflow.core.identifiers import is_uuid, new_id, order_number
from payflow.core.pricing import Totals, price
from payflow.core.states import AttemptStatus, BookingStatus, OrderStatus, PaymentStatus
from payflow.models.access import Workspace
from payflow.models.booking import Booking
from payflow.models.order import Order, OrderBooking
from payflow.services.access import Caller
from payflow.store.unit_of_work import Transaction, UnitOfWork

BATCH = 64
MAX_BOOKINGS = 100
"""Bookings one order may hold."""


class OrderService:
    """What a customer does with orders before any money moves."""

    def __init__(self, units: UnitOfWork, clock: Clock, *, order_ttl_seconds: int) -> None:
        self._units, self._clock = units, clock
        self._ttl_seconds = order_ttl_seconds

    def create_order(
        self, caller: Caller, booking_ids: Sequence[str], *, discount_minor: int = 0, order_id: str | None = None
    ) -> str:
        """An order over the caller's own pending bookings of one workspace and currency; its id (`order_id` where
        given: done already under it is done).

        Bookings still on an older unpaid order move to the new one. Raises InvalidInput naming the booking,
        Conflict `booking_on_order_being_paid`, Forbidden for a discount by an unprivileged caller.
        """
        _check_ids(booking_ids)
        own_id = order_id or new_id()  # drawn once: a step whose commit was not answered is run again

        def step(tx: Transaction) -> str:
            if tx.find(Order, own_id) is not None:
                return own_id
            bookings = _own_pending_bookings(tx, caller, booking_ids)
            if caller.locale and not caller.is_service:
                tx.upsert_user(caller.user_id, email=caller.email, name=caller.name, at=tx.act.at, locale=caller.locale)
            workspace = tx.get(Workspace, bookings[0].workspace_id)
            if discount_minor and not caller.administers(workspace.id):
                raise Forbidden("Only the workspace's administrators and its platform may set a discount.")
            totals = price(
                (booking.price for booking in bookings), tax_bps=workspace.tax_bps, discount_minor=discount_minor
            )
            ttl_seconds = workspace.order_ttl_seconds or self._ttl_seconds
            order = _add_order(tx, bookings, totals, order_id=own_id, ttl_seconds=ttl_seconds)
            tx.publish(order.event(EventType.ORDER_CREATED, tx.act))
            tx.touched_order(order.user_id, order.workspace_id)
            return order.id

        return self._units.run(step, actor=caller.actor)

    def cancel(self, caller: Caller, order_id: str) -> None:
        """Cancel an order before money moved; repeating is a no-op. Raises Conflict once it is paid or expired.

        A page that is still open at a gateway keeps being asked about: money that lands there is given back.
        """

        def step(tx: Transaction) -> None:
            order = tx.lock_order(order_id)
            caller.must_see(user_id=order.user_id, workspace_id=order.workspace_id)
            if order.status == OrderStatus.CANCELLED:
                return
            if order.status not in (OrderStatus.PENDING, OrderStatus.PROCESSING, OrderStatus.FAILED):
                raise Conflict(f"The order is {order.status}; it can no longer be cancelled.", code="order_not_open")
            close_order(tx, order, OrderStatus.CANCELLED, why="cancelled by request")
            tx.publish(order.event(EventType.ORDER_CANCELLED, tx.act))

        self._units.run(step, actor=caller.actor)


def claim_orders(units: UnitOfWork, where: object, *, lease_seconds: int) -> list[str]:
    """Claim a batch of orders on which a step is owed."""

    def step(tx: Transaction) -> list[str]:
        return list(tx.claim(Order, now=tx.act.at, lease_seconds=lease_seconds, limit=BATCH, where=(where,)))

    return units.run(step)


def close_order(tx: Transaction, order: Order, status: OrderStatus, *, why: str) -> None:
    """End an unpaid order (cancelled or expired): its payment and live attempt end too, its bookings are free again.

    The attempt stays due: a gateway may still report money for it, and then the late-payment policy decides.
    """
    payment = tx.payment_of(order.id, lock=True)
    if payment is not None:
        for attempt in tx.attempts_of(payment.id):
            if not attempt.is_live:
                continue
            attempt.move_to(AttemptStatus.ABANDONED, tx.act, why=why)
            if attempt.called_at is None:
                attempt.settle_due(None, seen=attempt.due_at)
        payment.move_to(PaymentStatus.CANCELLED, tx.act, why=why)
    for item in order.items:
        item.active = False
    order.move_to(status, tx.act, why=why)
    order.settle_due(None, seen=order.due_at)
    tx.touched_order(order.user_id, order.workspace_id)


def expire_order(tx: Transaction, order: Order, *, why: str) -> None:
    """End an order that was not paid in time, and tell it."""
    close_order(tx, order, OrderStatus.EXPIRED, why=why)
    tx.publish(order.event(EventType.ORDER_EXPIRED, tx.act))


def remove_bookings(tx: Transaction, order: Order, booking_ids: set[str], *, why: str) -> None:
    """Take bookings off an unpaid order: priced anew while pending; cancelled when what is left costs nothing, or when
    it was tried before."""
    left = [item for item in order.items if item.active and item.booking_id not in booking_ids]
    worth_minor = sum(item.price_minor for item in left)
    if worth_minor > order.discount_minor and order.status == OrderStatus.PENDING:
        workspace = tx.get(Workspace, order.workspace_id)
        totals = price(
            (item.booking.price for item in left), tax_bps=workspace.tax_bps, discount_minor=order.discount_minor
        )
        order.subtotal_minor, order.discount_minor = totals.subtotal_minor, totals.discount_minor
        order.tax_minor, order.total_minor = totals.tax_minor, totals.total_minor
        order.items, order.booking_count = left, len(left)  # what it is not for any more, late money does not buy
        order.updated_at = tx.act.at
    else:
        close_order(tx, order, OrderStatus.CANCELLED, why=why)
        tx.publish(order.event(EventType.ORDER_CANCELLED, tx.act))
    tx.touched_order(order.user_id, order.workspace_id)


def _check_ids(booking_ids: Sequence[str]) -> None:
    if not booking_ids:
        raise InvalidInput("Name at least one booking.", code="empty_order", pointer="/booking_ids")
    if len(booking_ids) > MAX_BOOKINGS:
        raise InvalidInput(f"An order holds at most {MAX_BOOKINGS} bookings.", code="too_many", pointer="/booking_ids")
    seen: set[str] = set()
    for position, booking_id in enumerate(booking_ids):
        if not is_uuid(booking_id):
            raise InvalidInput(
                "That is not a booking id (a UUID).", code="invalid_id", pointer=f"/booking_ids/{position}"
            )
        if booking_id in seen:
            raise InvalidInput("The same booking is named twice.", code="repeated", pointer=f"/booking_ids/{position}")
        seen.add(booking_id)


def _own_pending_bookings(tx: Transaction, caller: Caller, booking_ids: Sequence[str]) -> list[Booking]:
    """The bookings, locked and taken off older unpaid orders. The lock order is orders first, then bookings."""
    older = tx.active_orders_of(booking_ids)
    orders = {order_id: tx.lock_order(order_id) for order_id in sorted(set(older.values()))}
    found = {booking.id: booking for booking in tx.lock_bookings(booking_ids)}
    owner = _one_owner(caller, found, booking_ids)
    if tx.active_orders_of(booking_ids) != older:
        raise StaleRow("Another order took one of these bookings at this moment; try again.")
    for position, booking_id in enumerate(booking_ids):
        booking, pointer = found[booking_id], f"/booking_ids/{position}"
        if booking.user_id != owner:
            raise InvalidInput(
                "All bookings of an order must belong to one customer.", code="mixed_customers", pointer=pointer
            )
        if booking.workspace_id != found[booking_ids[0]].workspace_id:
            raise InvalidInput(
                "All bookings of an order must be of one workspace.", code="mixed_workspaces", pointer=pointer
            )
        if booking.status != BookingStatus.PENDING:
            raise Conflict(f"The booking is already {booking.status}.", code="booking_not_pending", pointer=pointer)
        order = orders.get(older.get(booking_id, ""))
        if order is not None and order.status not in (OrderStatus.PENDING, OrderStatus.FAILED):
            raise Conflict(
                f"The booking is on order {order.order_number}, which is being paid.",
                code="booking_on_order_being_paid",
                pointer=pointer,
            )
    price([found[booking_id].price for booking_id in booking_ids], tax_bps=0)
    for order in orders.values():
        remove_bookings(tx, order, set(booking_ids), why="its bookings moved to a newer order")
    tx.flush()
    return [found[booking_id] for booking_id in booking_ids]


def _one_owner(caller: Caller, found: dict[str, Booking], booking_ids: Sequence[str]) -> str:
    """The customer the bookings must belong to. Somebody else's booking is as unknown as one that never was."""
    for position, booking_id in enumerate(booking_ids):
        booking = found.get(booking_id)
        visible = booking is not None and (
            caller.administers(booking.workspace_id) if caller.is_service else booking.user_id == caller.user_id
        )
        if not visible:
            raise InvalidInput(
                "There is no such booking of yours.", code="unknown_booking", pointer=f"/booking_ids/{position}"
            )
    return found[booking_ids[0]].user_id


def _add_order(
    tx: Transaction, bookings: Sequence[Booking], totals: Totals, *, order_id: str, ttl_seconds: int
) -> Order:
    first = bookings[0]
    for _ in range(5):
        order = Order(
            id=order_id,
            order_number=order_number(tx.act.at),
            user_id=first.user_id,
            workspace_id=first.workspace_id,
            currency=totals.currency,
            subtotal_minor=totals.subtotal_minor,
            discount_minor=totals.discount_minor,
            tax_minor=totals.tax_minor,
            total_minor=totals.total_minor,
            booking_count=len(bookings),
            status=OrderStatus.PENDING.value,
            moves=0,
            tries=0,
            correlation_id=tx.act.correlation_id,
            created_at=tx.act.at,
            updated_at=tx.act.at,
            expires_at=tx.act.at + timedelta(seconds=ttl_seconds),
        )
        order.due_at = order.expires_at
        order.items = [
            OrderBooking(booking_id=booking.id, price_minor=booking.amount_minor, active=True) for booking in bookings
        ]
        try:
            with tx.savepoint():
                tx.add(order)
        except RuleBroken as broken:
            if "order_number" not in broken.rule:
                raise
            continue
        return order
    raise StaleRow("No free order number was found; try again.")
