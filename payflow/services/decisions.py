"""Money that arrived wrong, late or twice, or fits nothing: put before a person, and closed once its end is known."""

from __future__ import annotations

from payflow.core.events import timestamp
from payflow.core.money import Money
from payflow.core.states import OrderStatus
from payflow.models.decision import Decision, DecisionAction, DecisionKind
from payflow.models.order import Order
from payflow.store.unit_of_work import Transaction


def open_decision(
    tx: Transaction,
    kind: DecisionKind,
    *,
    subject_id: str,
    order: Order | None,
    money: Money | None,
    detail: str,
    suggested: DecisionAction,
    decided: DecisionAction | None = None,
) -> bool:
    """Ask a person, once per kind and subject; False if they were asked before and asking again changes nothing.

    Without an order it is the operators'; without money it is not known how much it is about.
    A question that was answered with `extend`, or closed by a gateway's word, is asked anew.
    `decided`: the workspace's policy has answered already, and the question is kept for the record.
    """
    asked = tx.decision_of(kind, subject_id)
    if asked is not None:
        return _ask_anew(tx, asked, detail)
    tx.add(
        Decision(
            kind=kind.value,
            subject_id=subject_id,
            order_id=order.id if order else None,
            workspace_id=order.workspace_id if order else None,
            amount_minor=money.amount_minor if money else None,
            currency=money.currency if money else None,
            detail=detail[:500],
            suggested_action=suggested.value,
            created_at=tx.act.at,
            resolved_at=tx.act.at if decided else None,
            resolved_by="policy" if decided else None,
            action=decided.value if decided else None,
        )
    )
    return True


def _ask_anew(tx: Transaction, asked: Decision, detail: str) -> bool:
    if asked.resolved_at is None or asked.resolved_by is None:
        return False
    if asked.action != DecisionAction.EXTEND and not asked.resolved_by.startswith("gateway:"):
        return False
    asked.detail = told_before(asked, detail)
    asked.resolved_at = asked.resolved_by = asked.action = asked.note = None
    asked.created_at = tx.act.at  # since when it is open: the digest tells it again
    return True


def told_before(asked: Decision, detail: str) -> str:
    """A question's words with the answer that is about to be replaced, so that it stays on record."""
    at = timestamp(asked.resolved_at) if asked.resolved_at else "no time"
    return f"{detail} (answered before by {asked.resolved_by} at {at}: {asked.action})"[:500]


def close_decision(
    tx: Transaction, kind: DecisionKind, subject_id: str, *, order: Order | None, by: str, note: str
) -> None:
    """What a person was asked is known now: the question is answered by that."""
    asked = tx.decision_of(kind, subject_id)
    if asked is None or asked.resolved_at is not None:
        return
    asked.resolved_at, asked.resolved_by = tx.act.at, by
    asked.action, asked.note = DecisionAction.IGNORE.value, note[:500]
    if order is not None:
        let_expire(order)


def let_expire(order: Order) -> None:
    """A question is closed that had held the order's expiry up."""
    if order.status in (OrderStatus.PENDING, OrderStatus.PROCESSING):
        order.owe_now(order.expires_at)
