"""Refunds: reserved, approved where the policy asks, sent once, watched until their end is known.

The reservation and the row come first; the gateway call is tasks' business through `RefundCalls` (refund_calls.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from payflow.core.clock import Clock
from payflow.core.errors import Conflict, Forbidden, InvalidInput
from payflow.core.events import EventType
from payflow.core.identifiers import new_id
from payflow.core.money import Money, share_bps
from payflow.core.states import BookingStatus, OrderStatus, PaymentStatus, RefundStatus
from payflow.gateways.base import Gateway
from payflow.models.access import Workspace
from payflow.models.act import HumanAct
from payflow.models.booking import Booking
from payflow.models.decision import DecisionAction, DecisionKind
from payflow.models.order import Order
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Approval, Refund, RefundReason, RefundSource
from payflow.services import ledger
from payflow.services.access import Caller
from payflow.services.decisions import close_decision, open_decision
from payflow.store.unit_of_work import Transaction, UnitOfWork


class RefundService:
    """What people do with refunds."""

    def __init__(self, units: UnitOfWork, clock: Clock, gateways: Mapping[str, Gateway]) -> None:
        self._units, self._clock, self._gateways = units, clock, gateways

    def request_refund(
        self,
        caller: Caller,
        payment_id: str,
        *,
        amount_minor: int | None,
        reason: RefundReason,
        description: str = "",
        refund_id: str | None = None,
    ) -> str:
        """Ask for money back (all that is left without an amount); the refund's id (`refund_id` where given: done
        already under it is done).

        Raises Conflict when nothing is refundable, a dispute is open or the window is over, InvalidInput `/amount` when
        it is more than is left or nothing the gateway can give back.
        """

        own_id = refund_id or new_id()  # drawn once: a step whose commit was not answered is run again

        def step(tx: Transaction) -> str:
            payment = tx.get(Payment, payment_id)
            caller.must_see(user_id=payment.user_id, workspace_id=payment.workspace_id)
            order = tx.lock_order(payment.order_id)
            if tx.find(Refund, own_id) is not None:
                return own_id
            payment = tx.lock(Payment, payment_id)
            workspace = tx.get(Workspace, payment.workspace_id)
            is_staff = caller.administers(payment.workspace_id)
            _check_refundable(tx, payment, workspace, is_staff=is_staff)
            amount = payment.refundable_minor if amount_minor is None else amount_minor
            _check_amount(payment, amount)
            gateway = self._gateways.get(payment.gateway)
            if gateway is not None:
                gateway.check_refund(Money(amount, payment.currency))
            needs_approval = workspace.refund_needs_approval and not is_staff
            refund = reserve(
                tx,
                payment,
                order,
                attempt_id=payment.current_attempt_id or "",
                amount_minor=amount,
                source=RefundSource.API,
                reason=reason,
                description=description,
                requested_by=caller.actor,
                approval=Approval.WAITING if needs_approval else Approval.NOT_NEEDED,
                refund_id=own_id,
            )
            return refund.id

        return self._units.run(step, actor=caller.actor)

    def approve(self, caller: Caller, refund_id: str) -> None:
        """Let a waiting refund go to the gateway; repeating is a no-op."""

        def step(tx: Transaction) -> None:
            refund = _lock_refund(tx, caller, refund_id)
            if refund.approval == Approval.APPROVED:
                return
            _must_wait(refund)
            if refund.requested_by == caller.actor and not caller.is_operator:
                raise Forbidden("Somebody else must approve a refund you asked for.")
            refund.approval, refund.approved_by = Approval.APPROVED.value, caller.actor
            refund.owe_now(tx.act.at)
            refund.updated_at = tx.act.at
            words = f"refund of {refund.amount} approved"
            tx.add(HumanAct.of(tx.act, words, entity="refund", entity_id=refund.id, order_id=refund.order_id))
            tx.ring(f"refunds.submit:{refund.gateway}")
            tx.touched_order(refund.user_id, refund.workspace_id)

        self._units.run(step, actor=caller.actor)

    def reject(self, caller: Caller, refund_id: str, *, note: str = "") -> None:
        """Refuse a waiting refund and give its reservation back; repeating is a no-op.

        What becomes of money that a rule, not a person, wanted to give back is a question then.
        """

        def step(tx: Transaction) -> None:
            refund = _lock_refund(tx, caller, refund_id)
            if refund.approval == Approval.REJECTED:
                return
            _must_wait(refund)
            refund.approval, refund.approved_by = Approval.REJECTED.value, caller.actor
            fail_refund(tx, refund, error=f"rejected: {note}" if note else "rejected")
            if refund.source == RefundSource.POLICY:
                open_decision(
                    tx,
                    DecisionKind.REFUND_FAILED,
                    subject_id=refund.id,
                    order=tx.lock_order(refund.order_id),
                    money=refund.amount,
                    detail="A refund that the policy had asked for was rejected; the money is still with us.",
                    suggested=DecisionAction.REFUND,
                )

        self._units.run(step, actor=caller.actor)


def reserve(
    tx: Transaction,
    payment: Payment,
    order: Order,
    *,
    attempt_id: str,
    amount_minor: int,
    source: RefundSource,
    reason: RefundReason,
    description: str,
    requested_by: str = "system",
    approval: Approval = Approval.NOT_NEEDED,
    booking_id: str | None = None,
    gateway_refund_id: str | None = None,
    refund_id: str | None = None,
) -> Refund:
    """Write the refund and reserve its money, in the caller's transaction. The order and payment must be locked."""
    attempt = tx.lock(PaymentAttempt, attempt_id)
    attempt.refund_reserved_minor += amount_minor
    if source is not RefundSource.SURPLUS:
        payment.refund_reserved_minor += amount_minor
        payment.updated_at = tx.act.at
    refund = Refund(
        id=refund_id or new_id(),
        payment_id=payment.id,
        order_id=order.id,
        attempt_id=attempt.id,
        booking_id=booking_id,
        user_id=payment.user_id,
        workspace_id=payment.workspace_id,
        requested_by=requested_by,
        gateway=attempt.gateway,
        amount_minor=amount_minor,
        currency=attempt.captured_currency or payment.currency,
        status=RefundStatus.PENDING.value,
        moves=0,
        tries=0,
        poll_step=0,
        needs_attention=False,
        reason=reason.value,
        reason_description=description[:500],
        source=source.value,
        approval=approval.value,
        gateway_refund_id=gateway_refund_id,
        submitted_at=tx.act.at if gateway_refund_id else None,
        correlation_id=tx.act.correlation_id,
        created_at=tx.act.at,
        updated_at=tx.act.at,
        due_at=None if approval is Approval.WAITING else tx.act.at,
    )
    tx.add(refund)
    tx.flush()
    if source is not RefundSource.GATEWAY:  # one made at the gateway was not requested here; its completion is told
        tx.publish(refund.event(EventType.REFUND_REQUESTED, tx.act, order=order))
    if approval is not Approval.WAITING and gateway_refund_id is None:
        tx.ring(f"refunds.submit:{refund.gateway}")
    tx.touched_order(payment.user_id, payment.workspace_id)
    return refund


def cancel_booking_refund(tx: Transaction, order: Order, booking: Booking, caller: Caller) -> None:
    """A paid booking is being cancelled: ask its share back by policy, or release it where that is nothing. Raises
    Conflict if neither can be."""
    payment = tx.payment_of(order.id, lock=True)
    if payment is None:
        raise Conflict("The booking's payment cannot be found.", code="payment_missing")
    if any(
        refund.booking_id == booking.id and refund.status != RefundStatus.FAILED for refund in tx.refunds_of(payment.id)
    ):
        return
    workspace = tx.get(Workspace, order.workspace_id)
    share = share_bps(_share_minor(order, booking), workspace.refund_percent_bps)
    if share == 0 and order.status == OrderStatus.COMPLETED:
        _release_for_nothing(tx, order, booking)
        return
    is_staff = caller.administers(order.workspace_id)
    _check_refundable(tx, payment, workspace, is_staff=is_staff)
    amount = min(share, payment.refundable_minor)
    if amount <= 0:
        raise Conflict("Nothing is given back for this booking; wait until it is confirmed.", code="not_refundable")
    reserve(
        tx,
        payment,
        order,
        attempt_id=payment.current_attempt_id or "",
        amount_minor=amount,
        source=RefundSource.POLICY,
        reason=RefundReason.BOOKING_CANCELLED,
        description=f"Booking {booking.id} was cancelled.",
        requested_by=caller.actor,
        approval=Approval.WAITING if workspace.refund_needs_approval and not is_staff else Approval.NOT_NEEDED,
        booking_id=booking.id,
    )


def _share_minor(order: Order, booking: Booking) -> int:
    """A booking's part of what its order cost, discount and tax included; the dearest takes what rounding leaves."""
    if not order.subtotal_minor:
        return 0
    shares = {item.booking_id: order.total_minor * item.price_minor // order.subtotal_minor for item in order.items}
    dearest = max(order.items, key=lambda item: (item.price_minor, item.booking_id))
    shares[dearest.booking_id] += order.total_minor - sum(shares.values())
    return shares[booking.id]


def _release_for_nothing(tx: Transaction, order: Order, booking: Booking) -> None:
    """There is no money to wait for: the slot is free at once."""
    for item in order.items:
        item.active = item.active and item.booking_id != booking.id
    order.booking_count = sum(item.active for item in order.items)
    booking.move_to(BookingStatus.CANCELLED, tx.act, why="cancelled; by policy nothing is given back")
    tx.publish(booking.event(EventType.BOOKING_CANCELLED, tx.act, order_id=order.id))
    words = "booking cancelled; by policy nothing is given back"
    tx.add(HumanAct.of(tx.act, words, entity="booking", entity_id=booking.id, order_id=order.id))


def unreserved_minor(payment: Payment, attempt: PaymentAttempt, *, is_surplus: bool) -> int:
    """What of a try's money is neither back nor on its way: of the order's own, or of what came besides."""
    held = attempt.captured_minor - attempt.refund_reserved_minor
    own = payment.refundable_minor if attempt.application == "applied" else 0
    return held - own if is_surplus else min(held, own)


def complete_refund(tx: Transaction, refund: Refund) -> None:
    """The money is back with the customer: ledger, amounts, states, event. Order and payment locked by the caller."""
    order, payment = tx.lock_order(refund.order_id), tx.lock(Payment, refund.payment_id)
    attempt = tx.lock(PaymentAttempt, refund.attempt_id)
    was_failed = refund.status == RefundStatus.FAILED
    if refund.status == RefundStatus.COMPLETED:
        return
    if was_failed:  # a gateway may report a refund done that it had called failed
        attempt.refund_reserved_minor += refund.amount_minor
        if not refund.is_surplus:
            payment.refund_reserved_minor += refund.amount_minor
    refund.completed_at, refund.needs_attention, refund.error = tx.act.at, False, None
    refund.move_to(RefundStatus.COMPLETED, tx.act, why="the gateway says the money is back")
    refund.settle_due(None, seen=refund.due_at)
    _end_is_known(tx, order, refund, "the money is back")
    ledger.post_refund(tx, refund, attempt)
    if not refund.is_surplus:
        payment.refunded_minor += refund.amount_minor
        payment.updated_at = tx.act.at
        if payment.refunded_minor == payment.captured_minor and payment.status == PaymentStatus.SUCCESS:
            payment.move_to(PaymentStatus.REFUNDED, tx.act, why="given back whole")
            order.move_to(OrderStatus.REFUNDED, tx.act, why="given back whole")
        if order.status == OrderStatus.REFUNDED or refund.booking_id is not None:
            order.owe_now(tx.act.at)  # bookings.release
            tx.ring("bookings.release")
    tx.publish(refund.event(EventType.REFUND_COMPLETED, tx.act, order=order))
    tx.touched_order(refund.user_id, refund.workspace_id)


def fail_refund(tx: Transaction, refund: Refund, *, error: str) -> None:
    """It did not happen (or came back): the reservation is released, a completed one is reversed in the ledger."""
    order, payment = tx.lock_order(refund.order_id), tx.lock(Payment, refund.payment_id)
    attempt = tx.lock(PaymentAttempt, refund.attempt_id)
    if refund.status == RefundStatus.FAILED:
        return
    was_completed = refund.status == RefundStatus.COMPLETED
    refund.completed_at, refund.error = None, error[:255]
    refund.move_to(RefundStatus.FAILED, tx.act, why=error)
    refund.settle_due(None, seen=refund.due_at)
    _end_is_known(tx, order, refund, f"it failed: {error}")
    if was_completed:
        ledger.post_refund_reversal(tx, refund, attempt)
    attempt.refund_reserved_minor -= refund.amount_minor
    if not refund.is_surplus:
        if was_completed:
            payment.refunded_minor -= refund.amount_minor
            if payment.status == PaymentStatus.REFUNDED:
                payment.move_to(PaymentStatus.SUCCESS, tx.act, why="a refund came back")
            if order.status == OrderStatus.REFUNDED:
                before = OrderStatus.COMPLETED if order.completed_at else OrderStatus.PAID
                order.move_to(before, tx.act, why="a refund came back")
                order.settle_due(None, seen=order.due_at)
        payment.refund_reserved_minor -= refund.amount_minor
        payment.updated_at = tx.act.at
    tx.publish(refund.event(EventType.REFUND_FAILED, tx.act, order=order))
    tx.touched_order(refund.user_id, refund.workspace_id)


def freed_by(order: Order, refund: Refund) -> int:
    """How many bookings of the order were released because this refund had been completed."""
    if refund.status != RefundStatus.COMPLETED or refund.is_surplus:
        return 0
    gone = [item for item in order.items if not item.active and item.booking.status == BookingStatus.CANCELLED]
    released = {item.booking_id for item in gone}
    if order.status == OrderStatus.REFUNDED:
        return len(released)
    return int(refund.booking_id in released)


def _end_is_known(tx: Transaction, order: Order, refund: Refund, note: str) -> None:
    """Nobody need find it out any more. One made by hand instead is another matter: that was told, not asked."""
    for kind in (DecisionKind.REFUND_NEEDS_ATTENTION, DecisionKind.REFUND_UNKNOWN):
        asked = tx.decision_of(kind, refund.id)
        if asked is not None and asked.suggested_action != DecisionAction.ACCEPT:
            close_decision(tx, kind, refund.id, order=order, by=f"gateway:{refund.gateway}", note=note)


def _lock_refund(tx: Transaction, caller: Caller, refund_id: str) -> Refund:
    refund = tx.get(Refund, refund_id)
    caller.must_administer(user_id=refund.user_id, workspace_id=refund.workspace_id)
    tx.lock_order(refund.order_id)
    tx.lock(Payment, refund.payment_id)
    return tx.lock(Refund, refund_id)


def _must_wait(refund: Refund) -> None:
    if refund.approval != Approval.WAITING:
        raise Conflict(
            f"The refund's approval is {refund.approval.replace('_', ' ')}.", code="not_waiting_for_approval"
        )


def _check_refundable(tx: Transaction, payment: Payment, workspace: Workspace, *, is_staff: bool) -> None:
    if payment.status != PaymentStatus.SUCCESS:
        code = "already_refunded" if payment.status == PaymentStatus.REFUNDED else "not_paid"
        raise Conflict(f"The payment is {payment.status}; there is nothing to give back.", code=code)
    if payment.refundable_minor <= 0:
        raise Conflict("Everything has been given back or is on its way.", code="nothing_refundable")
    if tx.is_disputed(payment.id):
        raise Conflict("The customer's bank disputes this payment; nothing may be given back besides.", code="disputed")
    if is_staff or payment.paid_at is None:
        return
    if tx.act.at > payment.paid_at + timedelta(hours=workspace.refund_window_hours):
        raise Conflict("The time in which you can ask for a refund is over.", code="refund_window_over")


def _check_amount(payment: Payment, amount_minor: int) -> None:
    if amount_minor <= 0:
        raise InvalidInput("amount must be positive (minor units).", code="invalid_amount", pointer="/amount")
    if amount_minor > payment.refundable_minor:
        left = Money(payment.refundable_minor, payment.currency)
        raise InvalidInput(f"At most {left} can be given back.", code="amount_too_large", pointer="/amount")
