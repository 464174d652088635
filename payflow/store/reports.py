"""Reading for staff: sums over a period, open decisions, how much work waits. Floor 4; it reads and never writes.

Sums are in minor units and never cross currencies. A rate is a share between 0 and 1 with four places, or None when
there is nothing to take a share of.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, or_, select, union_all

from payflow.core.states import AttemptStatus, PaymentStatus, RefundStatus
from payflow.models.decision import Decision
from payflow.models.notification import Notification
from payflow.models.order import Order
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Approval, Refund
from payflow.models.webhook_event import WebhookEvent
from payflow.store.engine import Database, reader
from payflow.store.queries import Cursor, Filters, Page, Visibility, conditions, page_of
from payflow.store.shapes import Row, refund_columns

CAUSES_SHOWN, REVIEWS_SHOWN = 20, 20

_PAID = (PaymentStatus.SUCCESS, PaymentStatus.REFUNDED)
_OVER = (*_PAID, PaymentStatus.FAILED, PaymentStatus.CANCELLED)
_DUE = {
    "payments": PaymentAttempt,
    "refunds": Refund,
    "webhooks": WebhookEvent,
    "events": OutboxEvent,
    "notifications": Notification,
    "orders": Order,
}
"""Kind of owed work → the rows that carry its due time."""


class Reports:
    """What staff read."""

    def __init__(self, engine: Database) -> None:
        self._engine = reader(engine)

    def summary(self, sight: Visibility, filters: Filters) -> Row:
        """Payments made in the period: how many came through, how much, by gateway and day, and what went wrong."""
        mine = [sight.of(Payment), *conditions(Payment, filters)]
        with self._engine.connect() as connection:
            return {
                "payments": _counts(connection, mine),
                "volumes": _rows(connection, _volumes(Payment.currency).where(*mine).group_by(Payment.currency)),
                "by_gateway": _by_gateway(connection, mine),
                "by_day": _by_day(connection, mine),
                "failures": _failures(connection, mine),
                "refunds_to_review": _refunds_to_review(connection, sight, filters),
            }

    def decisions(
        self, sight: Visibility, *, state: str, workspace: str | None, size: int, cursor: Cursor | None = None
    ) -> Page:
        """Questions about money; `state` is open, resolved or all."""
        query = _decision_columns().where(_in_workspaces(sight))
        if workspace is not None:
            query = query.where(Decision.workspace_id == workspace)
        if state != "all":
            query = query.where(Decision.resolved_at.is_(None) if state == "open" else Decision.resolved_at.is_not(None))
        with self._engine.connect() as connection:
            return page_of(connection, query, Decision.id, size, cursor)

    def decision(self, decision_id: str) -> Row:
        """One question, for a caller whose right to it is already settled."""
        with self._engine.connect() as connection:
            return _rows(connection, _decision_columns().where(Decision.id == decision_id))[0]

    def owed(self) -> dict[str, Row]:
        """Kind of work → how many rows are overdue or due, and since when the oldest is (`oldest_at`, None if none).

        An order's due time is its deadline, so the caller counts only what lies in the past.
        """
        parts = [
            select(func.count().label("count"), func.min(model.due_at).label("oldest_at"), _word(kind))
            .select_from(model)
            .where(model.due_at <= func.current_timestamp())
            for kind, model in _DUE.items()
        ]
        with self._engine.connect() as connection:
            rows = _rows(connection, union_all(*parts))
        return {row["kind"]: {"count": row["count"], "oldest_at": row["oldest_at"]} for row in rows}

    def orders_by_status(self) -> dict[str, int]:
        """How many orders stand where."""
        with self._engine.connect() as connection:
            found = connection.execute(select(Order.status, func.count()).group_by(Order.status))
            return {status: count for status, count in found}


def _word(kind: str) -> Any:
    from sqlalchemy import literal

    return literal(kind).label("kind")
