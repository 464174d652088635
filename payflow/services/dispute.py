"""Disputes: a chargeback as its gateway tells it, opened, won or lost, in whatever order the events come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payflow import logs
from payflow.core.money import Money
from payflow.core.states import OPEN_REFUND, DisputeStatus, may_move
from payflow.models.decision import DecisionAction, DecisionKind
from payflow.models.dispute import Dispute
from payflow.models.order import Order
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Approval, Refund
from payflow.services import ledger
from payflow.services.decisions import close_decision, open_decision
from payflow.services.payment import lock_attempt
from payflow.services.refund import fail_refund
from payflow.store.unit_of_work import Transaction

_log = logs.get(__name__)


def record_dispute(tx: Transaction, attempt_id: str, facts: Mapping[str, Any]) -> None:
    """Store what a signed webhook says of one dispute; repeating it, or hearing the end first, changes nothing twice.

    `facts` is WebhookEvent.dispute. While a dispute is open, and when it is lost, no refund leaves for the payment.
    """
    order, _, attempt = lock_attempt(tx, attempt_id)
    dispute = tx.dispute_of(attempt.gateway, facts["id"])
    if dispute is None:
        dispute = _open(tx, order, attempt, facts)
    status = DisputeStatus(facts["status"])
    if status is DisputeStatus.OPEN or not may_move("dispute", dispute.status, status):
        return  # an older word that comes late
    dispute.resolved_at = tx.act.at
    dispute.move_to(status, tx.act, why=f"{attempt.gateway} says the dispute is {status}")
    if status is DisputeStatus.LOST:
        ledger.post_lost_dispute(tx, dispute, workspace_id=order.workspace_id)
        _fail_unsent(tx, order, dispute)
    by, note = f"gateway:{attempt.gateway}", f"the dispute was {status}"
    close_decision(tx, DecisionKind.DISPUTE_OPENED, dispute.id, order=order, by=by, note=note)
    tx.touched_order(order.user_id, order.workspace_id)


def _fail_unsent(tx: Transaction, order: Order, dispute: Dispute) -> None:
    """Refunds that waited for the dispute's end will never be sent; whoever waits for one must be told why."""
    for refund in tx.refunds_of(dispute.payment_id):
        if refund.status not in OPEN_REFUND or refund.submitted_at is not None:
            continue
        if refund.approval == Approval.WAITING:
            refund.approval, refund.approved_by = Approval.REJECTED.value, f"gateway:{dispute.gateway}"
        fail_refund(tx, tx.lock(Refund, refund.id), error="the customer's bank has taken the money in a dispute")
        open_decision(
            tx,
            DecisionKind.REFUND_FAILED,
            subject_id=refund.id,
            order=order,
            money=refund.amount,
            detail="The dispute was lost before this refund was sent: the customer's bank has taken the money.",
            suggested=DecisionAction.IGNORE,
        )


def _open(tx: Transaction, order: Order, attempt: PaymentAttempt, facts: Mapping[str, Any]) -> Dispute:
    known = facts["amount_minor"] is not None
    money = Money(facts["amount_minor"], facts["currency"]) if known else attempt.amount
    dispute = Dispute(
        payment_id=attempt.payment_id,
        order_id=order.id,
        gateway=attempt.gateway,
        gateway_dispute_id=facts["id"],
        status=DisputeStatus.OPEN.value,
        moves=0,
        amount_minor=money.amount_minor,
        currency=money.currency,
        reason=facts["reason"] or "",
        created_at=tx.act.at,
        updated_at=tx.act.at,
    )
    tx.add(dispute)
    tx.flush()
    tx.publish(dispute.event(tx.act, order=order))
    open_decision(
        tx,
        DecisionKind.DISPUTE_OPENED,
        subject_id=dispute.id,
        order=order,
        money=money,
        detail=f"The customer's bank disputes {money}; answer it in the gateway's dashboard.",
        suggested=DecisionAction.IGNORE,
    )
    tx.touched_order(order.user_id, order.workspace_id)
    _log.error("a payment is disputed", action="dispute.opened", dispute_id=dispute.id, order_id=order.id)
    return dispute
