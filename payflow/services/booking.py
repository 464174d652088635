"""Bookings: made by the booking platform, confirmed when their order is paid, released when the money went back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from payflow import logs
from payflow.core.clock import Clock
from payflow.core.errors import Conflict, Forbidden, InvalidInput, PayflowError, RuleBroken
from payflow.core.events import EventType, timestamp
from payflow.core.identifiers import new_id
from payflow.core.money import MAX_MINOR, Money
from payflow.core.states import BookingStatus, OrderStatus, PaymentStatus
from payflow.models.booking import Booking
from payflow.models.decision import DecisionAction, DecisionKind
from payflow.models.order import Order
from payflow.models.refund import RefundReason, RefundSource
from payflow.services.access import Caller
from payflow.services.decisions import open_decision
from payflow.services.order import claim_orders, remove_bookings
from payflow.services.refund import cancel_booking_refund, reserve
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
LEASE_SECONDS = 15


@dataclass(frozen=True, slots=True)
class NewBooking:
    """A booking as asked for. `user_*` only with a service key."""

    workspace_id: str
    resource_id: str
    starts_at: datetime
    ends_at: datetime
    amount_minor: int
    currency: str
    user_id: str | None = None
    user_email: str | None = None
    user_name: str | None = None


class BookingService:
    """The booking platform's side, and what an order's end means for its bookings."""

    def __init__(self, units: UnitOfWork, clock: Clock) -> None:
        self._units, self._clock = units, clock

    def create(self, caller: Caller, new: NewBooking, *, booking_id: str | None = None) -> str:
        """Store a pending booking; its id (`booking_id` where given: done already under it is done).

        Raises InvalidInput naming the field, Forbidden where customers may not.
        """
        _check(new)
        owner = _owner(caller, new)
        membership = caller.workspaces.get(new.workspace_id)
        own_id = booking_id or new_id()  # drawn once: a step whose commit was not answered is run again

        def step(tx: Transaction) -> str:
            if tx.find(Booking, own_id) is not None:
                return own_id
            user_id, email, name = owner
            locale = None if caller.is_service else caller.locale
            tx.upsert_user(user_id, email=email, name=name, at=tx.act.at, locale=locale)
            workspace = tx.upsert_workspace(new.workspace_id, name=membership.name if membership else "", at=tx.act.at)
            if not workspace.customers_may_book and not caller.administers(new.workspace_id):
                raise Forbidden("This workspace takes bookings from its own platform only.")
            booking = Booking(
                id=own_id,
                user_id=user_id,
                workspace_id=new.workspace_id,
                resource_id=new.resource_id,
                starts_at=new.starts_at,
                ends_at=new.ends_at,
                amount_minor=new.amount_minor,
                currency=new.currency,
                status=BookingStatus.PENDING.value,
                moves=0,
                created_at=tx.act.at,
                updated_at=tx.act.at,
            )
            tx.add(booking)
            tx.flush()
            tx.touched_order(user_id, new.workspace_id)
            return booking.id

        return self._units.run(step, actor=caller.actor)

    def cancel(self, caller: Caller, booking_id: str) -> None:
        """Cancel a booking. Unpaid: at once. Confirmed and paid: its refund is requested, and the slot is released when
        the money is back, so that the customer never loses both. Raises Conflict while its order is being paid."""

        def step(tx: Transaction) -> None:
            booking = tx.get(Booking, booking_id)
            caller.must_see(user_id=booking.user_id, workspace_id=booking.workspace_id)
            order_id = tx.active_orders_of([booking_id]).get(booking_id)
            order = tx.lock_order(order_id) if order_id else None
            booking = tx.lock(Booking, booking_id)
            if booking.status == BookingStatus.CANCELLED:
                return
            tx.touched_order(booking.user_id, booking.workspace_id)
            if order is not None and order.status in (OrderStatus.PAID, OrderStatus.COMPLETED):
                cancel_booking_refund(tx, order, booking, caller)
                return
            if order is not None and order.status == OrderStatus.PROCESSING:
                raise Conflict("The booking's order is being paid; wait for the outcome.", code="order_being_paid")
            if order is not None:
                remove_bookings(tx, order, {booking.id}, why="a booking was cancelled")
            booking.move_to(BookingStatus.CANCELLED, tx.act, why="cancelled before payment")
            tx.publish(booking.event(EventType.BOOKING_CANCELLED, tx.act, order_id=order_id))

        self._units.run(step, actor=caller.actor)

    def confirm(self, order_ids: Sequence[str] | None = None) -> list[str]:
        """Chain link: confirm the bookings of paid orders (all due ones without ids). One poison order stops none."""
        if order_ids is None:
            order_ids = claim_orders(self._units, Order.status == OrderStatus.PAID, lease_seconds=LEASE_SECONDS)
        for order_id in order_ids:
            try:
                self._units.run(partial(_confirm_one, order_id=order_id))
            except PayflowError as error:
                _log.error(
                    "bookings could not be confirmed",
                    action="bookings.confirm_failed",
                    order_id=order_id,
                    error=error.detail,
                )
        return list(order_ids)

    def release(self, order_ids: Sequence[str] | None = None) -> list[str]:
        """Chain link: cancel the bookings whose money went back. One poison order stops none."""
        if order_ids is None:
            settled = Order.status.in_((OrderStatus.REFUNDED, OrderStatus.COMPLETED))
            order_ids = claim_orders(self._units, settled, lease_seconds=LEASE_SECONDS)
        for order_id in order_ids:
            try:
                self._units.run(partial(_release_one, order_id=order_id))
            except PayflowError as error:
                _log.error(
                    "bookings could not be released",
                    action="bookings.release_failed",
                    order_id=order_id,
                    error=error.detail,
                )
        return list(order_ids)


def _confirm_one(tx: Transaction, *, order_id: str) -> None:
    order = tx.lock_order(order_id)
    if order.status != OrderStatus.PAID:
        return
    payment = tx.payment_of(order_id, lock=True)
    if payment is None or payment.status != PaymentStatus.SUCCESS:
        return
    given_back = tx.refunded_bookings(payment.id)
    bookings = tx.lock_bookings({item.booking_id for item in order.items if item.active} - given_back)
    try:
        with tx.savepoint():
            _confirm_all(tx, order, bookings)
    except (RuleBroken, Conflict) as error:
        order = tx.lock_order(order_id)
        has_money = payment.refundable_minor > 0
        goes_back = "the money is being given back" if has_money else "no money is left to give back"
        if has_money:
            reserve(
                tx,
                payment,
                order,
                attempt_id=payment.current_attempt_id or "",
                amount_minor=payment.refundable_minor,
                source=RefundSource.POLICY,
                reason=RefundReason.SERVICE_ISSUE,
                description="The slot was taken before the payment arrived.",
            )
        open_decision(
            tx,
            DecisionKind.SLOT_TAKEN,
            subject_id=order.id,
            order=order,
            money=order.total,
            detail=f"{_why_lost(tx, bookings) or error.detail}; {goes_back}.",
            suggested=DecisionAction.REFUND,
            decided=DecisionAction.REFUND if has_money else None,
        )
        order.settle_due(None, seen=order.due_at)
        tx.touched_order(order.user_id, order.workspace_id)
        return
    order.completed_at = tx.act.at
    order.move_to(OrderStatus.COMPLETED, tx.act, why="all bookings confirmed")
    order.settle_due(None, seen=order.due_at)
    if given_back:  # a booking's money went back before it was confirmed: its release is owed
        order.owe_now(tx.act.at)
        tx.ring("bookings.release")
    tx.touched_order(order.user_id, order.workspace_id)


def _why_lost(tx: Transaction, bookings: list[Booking]) -> str:
    """The slots somebody else has; empty if it was not that."""
    lost = [one for one in bookings if not tx.slot_is_free(one)]
    slots = [f"{one.resource_id} from {timestamp(one.starts_at)} to {timestamp(one.ends_at)}" for one in lost]
    return f"The slot was taken before the payment came: {', '.join(slots)}" if slots else ""


def _confirm_all(tx: Transaction, order: Order, bookings: list[Booking]) -> None:
    if not bookings:
        raise Conflict("the order has no bookings left")
    for booking in bookings:
        if booking.status == BookingStatus.CONFIRMED:
            continue
        if booking.status != BookingStatus.PENDING:
            raise Conflict(f"booking {booking.id} is {booking.status}")
        booking.move_to(BookingStatus.CONFIRMED, tx.act, why=f"order {order.order_number} is paid")
        tx.publish(booking.event(EventType.BOOKING_CONFIRMED, tx.act, order_id=order.id))
    tx.flush()  # the database refuses a slot that is taken


def _release_one(tx: Transaction, *, order_id: str) -> None:
    order = tx.lock_order(order_id)
    payment = tx.payment_of(order_id)
    if order.status == OrderStatus.REFUNDED:
        gone = {item.booking_id for item in order.items if item.active}
    elif payment is not None:
        gone = tx.refunded_bookings(payment.id) & {item.booking_id for item in order.items if item.active}
    else:
        gone = set()
    for booking in tx.lock_bookings(gone):
        if booking.move_to(BookingStatus.CANCELLED, tx.act, why="its money was given back"):
            tx.publish(booking.event(EventType.BOOKING_CANCELLED, tx.act, order_id=order.id))
    for item in order.items:
        if item.booking_id in gone:
            item.active = False
    order.booking_count = sum(item.active for item in order.items)
    if order.status in (OrderStatus.REFUNDED, OrderStatus.COMPLETED):
        order.settle_due(None, seen=order.due_at)
    tx.touched_order(order.user_id, order.workspace_id)


def _check(new: NewBooking) -> None:
    if new.ends_at <= new.starts_at:
        raise InvalidInput("ends_at must lie after starts_at.", code="invalid_slot", pointer="/ends_at")
    Money(new.amount_minor, new.currency)
    if not 0 <= new.amount_minor <= MAX_MINOR:
        raise InvalidInput(
            f"amount must lie between 0 and {MAX_MINOR} minor units.", code="invalid_amount", pointer="/amount"
        )


def _owner(caller: Caller, new: NewBooking) -> tuple[str, str, str]:
    if caller.is_service:
        if caller.service_workspace not in (None, new.workspace_id):
            raise Forbidden("This key may act for another workspace only.")
        if not new.user_id:
            raise InvalidInput("A service key must say whose booking it is.", code="required", pointer="/user_id")
        return new.user_id, new.user_email or "", new.user_name or ""
    if new.user_id not in (None, caller.user_id):
        raise InvalidInput("You can book for yourself only; leave user_id out.", code="not_yours", pointer="/user_id")
    return caller.user_id, caller.email, caller.name
