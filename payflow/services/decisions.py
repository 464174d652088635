"""Money that arrived wrong, late or twice: put before a person once, with a suggestion."""

from __future__ import annotations

from payflow.core.money import Money
from payflow.models.decision import Decision, DecisionAction, DecisionKind
from payflow.models.order import Order
from payflow.store.unit_of_work import Transaction


def open_decision(
    tx: Transaction,
    kind: DecisionKind,
    *,
    subject_id: str,
    order: Order,
    money: Money,
    detail: str,
    suggested: DecisionAction,
    decided: DecisionAction | None = None,
) -> None:
    """Ask a person, once per kind and subject; asking again changes nothing.

    `decided`: the workspace's policy has answered already, and the question is kept for the record.
    """
    if tx.decision_of(kind, subject_id) is not None:
        return
    tx.add(
        Decision(
            kind=kind.value,
            subject_id=subject_id,
            order_id=order.id,
            workspace_id=order.workspace_id,
            amount_minor=money.amount_minor,
            currency=money.currency,
            detail=detail[:500],
            suggested_action=suggested.value,
            created_at=tx.act.at,
            resolved_at=tx.act.at if decided else None,
            resolved_by="policy" if decided else None,
            action=decided.value if decided else None,
        )
    )
