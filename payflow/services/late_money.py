"""What an order makes of its payment's success: in time it is paid; late, the workspace's policy or a person decides.

Money is on record as a fact before anybody asks here. The caller holds the locks order → payment → attempt.
"""

from __future__ import annotations

from payflow.core.states import BookingStatus, OrderStatus
from payflow.models.access import Workspace
from payflow.models.decision import DecisionAction, DecisionKind
from payflow.models.order import Order
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import RefundReason, RefundSource
from payflow.services.decisions import open_decision
from payflow.services.order import expire_order
from payflow.services.refund import reserve
from payflow.store.unit_of_work import Transaction


def expire_if_late(tx: Transaction, order: Order) -> None:
    """A failed order may be paid while there is time. Once that is over it expires, so what comes is late money."""
    if order.status == OrderStatus.FAILED and tx.act.at >= order.expires_at:
        expire_order(tx, order, why="not paid in time")


def decide_order(tx: Transaction, order: Order, payment: Payment, attempt: PaymentAttempt) -> None:
    """The payment is a success; what the order makes of it depends on whether it was still waiting."""
    if order.status in (OrderStatus.PROCESSING, OrderStatus.FAILED):
        order.move_to(OrderStatus.PAID, tx.act, why="money verified")
        order.owe_now(tx.act.at)
        tx.ring("bookings.confirm")
        return
    workspace = tx.get(Workspace, order.workspace_id)
    if order.status == OrderStatus.EXPIRED and workspace.late_payment == "accept" and _can_still_be_had(tx, order):
        for item in order.items:
            item.active = True
        order.move_to(OrderStatus.PAID, tx.act, why="paid late; its slots were still free")
        order.owe_now(tx.act.at)
        tx.ring("bookings.confirm")
        return
    goes_back = workspace.late_payment != "decide" or order.status == OrderStatus.CANCELLED
    open_decision(
        tx,
        DecisionKind.LATE_PAYMENT,
        subject_id=attempt.id,
        order=order,
        money=attempt.amount,
        detail=f"Money came after the order was {order.status}.",
        suggested=DecisionAction.REFUND,
        decided=DecisionAction.REFUND if goes_back else None,
    )
    if goes_back:
        reserve(
            tx,
            payment,
            order,
            attempt_id=attempt.id,
            amount_minor=payment.amount_minor,
            source=RefundSource.POLICY,
            reason=RefundReason.OTHER,
            description=f"The payment came after the order was {order.status}.",
        )


def _can_still_be_had(tx: Transaction, order: Order) -> bool:
    """Whether every booking of an expired order is still pending, on no other order, and its slot free."""
    booking_ids = [item.booking_id for item in order.items]
    if not booking_ids or tx.active_orders_of(booking_ids):
        return False
    return all(
        booking.status == BookingStatus.PENDING and tx.slot_is_free(booking)
        for booking in tx.lock_bookings(booking_ids)
    )
