"""Postings: which account owes which, for every movement of money. Only adds rows."""

from __future__ import annotations

from payflow.core.money import Money
from payflow.models.dispute import Dispute
from payflow.models.ledger import LedgerPosting, PostingKind
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund
from payflow.store.unit_of_work import Transaction


def gateway_account(gateway: str) -> str:
    """Money a gateway holds for us (asset)."""
    return f"gateway:{gateway}"


def workspace_account(workspace_id: str) -> str:
    """Money owed to a seller (liability)."""
    return f"workspace:{workspace_id}"


EXCESS = "excess"
"""Money owed back to customers who paid too much or twice (liability)."""
UNAPPLIED = "unapplied"
"""Money that came in and fits no order; waits for a decision (liability)."""


def _post(
    tx: Transaction,
    kind: PostingKind,
    *,
    subject_id: str,
    order_id: str,
    debit: str,
    credit: str,
    money: Money,
    part: int = 0,
) -> None:
    tx.add(
        LedgerPosting(
            kind=kind.value,
            subject_id=subject_id,
            part=part,
            order_id=order_id,
            debit_account=debit,
            credit_account=credit,
            amount_minor=money.amount_minor,
            currency=money.currency,
            created_at=tx.act.at,
        )
    )


def post_capture(tx: Transaction, attempt: PaymentAttempt, *, workspace_id: str) -> None:
    """The order's own money came in."""
    _post(
        tx,
        PostingKind.CAPTURE,
        subject_id=attempt.id,
        order_id=attempt.order_id,
        debit=gateway_account(attempt.gateway),
        credit=workspace_account(workspace_id),
        money=attempt.amount,
    )


def post_excess(tx: Transaction, attempt: PaymentAttempt, money: Money) -> None:
    """Money came in that nobody asked for."""
    _post(
        tx,
        PostingKind.EXCESS,
        subject_id=attempt.id,
        order_id=attempt.order_id,
        debit=gateway_account(attempt.gateway),
        credit=EXCESS,
        money=money,
    )


def post_unapplied(tx: Transaction, attempt: PaymentAttempt, money: Money) -> None:
    """Money came in that does not settle its order: too little, or another currency."""
    _post(
        tx,
        PostingKind.UNAPPLIED,
        subject_id=attempt.id,
        order_id=attempt.order_id,
        debit=gateway_account(attempt.gateway),
        credit=UNAPPLIED,
        money=money,
    )


def post_fee(tx: Transaction, attempt: PaymentAttempt, money: Money) -> None:
    """What the gateway kept for itself."""
    _post(
        tx,
        PostingKind.FEE,
        subject_id=attempt.id,
        order_id=attempt.order_id,
        debit=f"fees:{attempt.gateway}",
        credit=gateway_account(attempt.gateway),
        money=money,
    )


def _owing_account(refund: Refund, attempt: PaymentAttempt) -> str:
    if attempt.application is None:
        return UNAPPLIED
    return EXCESS if refund.is_surplus else workspace_account(refund.workspace_id)


def post_refund(tx: Transaction, refund: Refund, attempt: PaymentAttempt) -> None:
    """Money went back to the customer."""
    _post(
        tx,
        PostingKind.REFUND,
        subject_id=refund.id,
        part=refund.moves,
        order_id=refund.order_id,
        debit=_owing_account(refund, attempt),
        credit=gateway_account(refund.gateway),
        money=refund.amount,
    )


def post_lost_dispute(tx: Transaction, dispute: Dispute, *, workspace_id: str) -> None:
    """The customer's bank took the money back."""
    _post(
        tx,
        PostingKind.DISPUTE,
        subject_id=dispute.id,
        order_id=dispute.order_id,
        debit=workspace_account(workspace_id),
        credit=gateway_account(dispute.gateway),
        money=Money(dispute.amount_minor, dispute.currency),
    )


def post_refund_reversal(tx: Transaction, refund: Refund, attempt: PaymentAttempt) -> None:
    """A refund that had gone through came back."""
    _post(
        tx,
        PostingKind.REFUND_REVERSAL,
        subject_id=refund.id,
        part=refund.moves,
        order_id=refund.order_id,
        debit=gateway_account(refund.gateway),
        credit=_owing_account(refund, attempt),
        money=refund.amount,
    )
