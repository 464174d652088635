"""Reading for staff: sums over a period, open decisions, how much work waits. Floor 4; it reads and never writes.

Sums are in minor units and never cross currencies. A rate is in basis points, or None when there is nothing to take a
share of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, literal, or_, select, true, union_all

from payflow.core.states import AttemptStatus, PaymentStatus, RefundStatus
from payflow.models.breach import AuditBreach
from payflow.models.decision import Decision
from payflow.models.health import GatewayHealth
from payflow.models.notification import Notification
from payflow.models.order import Order
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.reconciliation import Difference, ReconciliationSlice
from payflow.models.refund import Approval, Refund
from payflow.models.webhook_endpoint import Disabled, WebhookDelivery, WebhookEndpoint
from payflow.models.webhook_event import WebhookEvent
from payflow.store.engine import Database, looking, reader
from payflow.store.queries import Cursor, Filters, Page, Visibility, conditions, page_of
from payflow.store.shapes import AnySelect, Row, refund_columns

CAUSES_SHOWN = REVIEWS_SHOWN = 20
DAYS_SHOWN = 92

_PAID = (PaymentStatus.SUCCESS, PaymentStatus.REFUNDED)
_OVER = (*_PAID, PaymentStatus.FAILED, PaymentStatus.CANCELLED)
_DUE: dict[str, type[Any]] = {
    "payments": PaymentAttempt,
    "refunds": Refund,
    "webhooks": WebhookEvent,
    "events": OutboxEvent,
    "notifications": Notification,
    "deliveries": WebhookDelivery,
    "orders": Order,
}
"""Kind of owed work → the rows that carry its due time."""
_PARKED: dict[str, type[Any]] = {
    "webhooks": WebhookEvent,
    "events": OutboxEvent,
    "notifications": Notification,
    "deliveries": WebhookDelivery,
}
"""Kind of work that can be parked → its rows."""


class Reports:
    """What staff read."""

    def __init__(self, engine: Database) -> None:
        self._engine = reader(engine)

    def summary(self, sight: Visibility, filters: Filters) -> Row:
        """Payments made in the period: how many came through, how much, by gateway and day, and what went wrong."""
        mine = (sight.of(Payment), *conditions(Payment, filters))
        with looking(self._engine) as connection:
            return {
                "payments": _counts(connection, mine),
                "volumes": _rows(connection, _volumes(Payment.currency).where(*mine)),
                "by_gateway": _by_gateway(connection, mine),
                "by_day": _by_day(connection, mine),
                "failures": _failures(connection, mine),
                "refunds_to_review": _refunds_to_review(connection, sight, filters),
            }

    def decisions(
        self, sight: Visibility, *, state: str, workspace: str | None, size: int, cursor: Cursor | None = None
    ) -> Page:
        """Questions about money in the workspaces the reader decides for; `state` is open, resolved or all.

        One that fits no order is no workspace's: whoever sees every workspace sees it.
        """
        mine = true() if sight.everything else Decision.workspace_id.in_(sight.workspace_ids)
        query = _decision_columns().where(mine)
        if workspace is not None:
            query = query.where(Decision.workspace_id == workspace)
        if state != "all":
            query = query.where(
                Decision.resolved_at.is_(None) if state == "open" else Decision.resolved_at.is_not(None)
            )
        with looking(self._engine) as connection:
            return page_of(connection, query, Decision.id, size, cursor)

    def decision(self, decision_id: str) -> Row:
        """One question, for a caller whose right to it is already settled."""
        with looking(self._engine) as connection:
            return dict(connection.execute(_decision_columns().where(Decision.id == decision_id)).mappings().one())

    def owed(self, now: datetime) -> dict[str, Row]:
        """Kind of work → how many rows are due and since when the oldest is (`oldest_at`; None if none is).

        A webhook counts from its arrival until it is handled, so one that fits no payment yet is seen between tries.
        """
        due = {kind: (model.due_at, model.due_at <= now) for kind, model in _DUE.items()}
        return self._waiting({**due, "webhooks": (WebhookEvent.created_at, WebhookEvent.due_at.is_not(None))})

    def parked(self) -> dict[str, Row]:
        """Kind of work → how many rows were given up and wait for a person, and since when the oldest does."""
        return self._waiting({kind: (model.parked_at, model.parked_at.is_not(None)) for kind, model in _PARKED.items()})

    def disabled_endpoints(self) -> dict[str, int]:
        """Why webhook endpoints were disabled by payflow (`gone`, `failing`) → how many are."""
        row = WebhookEndpoint
        reasons = (Disabled.GONE.value, Disabled.FAILING.value)
        query = (
            select(row.disabled_reason, func.count())
            .where(row.disabled_reason.in_(reasons), row.deleted_at.is_(None))
            .group_by(row.disabled_reason)
        )
        with looking(self._engine) as connection:
            found = {reason: int(count) for reason, count in connection.execute(query)}
        return {reason: found.get(reason, 0) for reason in reasons}

    def _waiting(self, kinds: Mapping[str, tuple[Any, ColumnElement[bool]]]) -> dict[str, Row]:
        parts = [
            select(literal(kind).label("kind"), func.count().label("count"), func.min(since).label("oldest_at")).where(
                is_one
            )
            for kind, (since, is_one) in kinds.items()
        ]
        with looking(self._engine) as connection:
            rows = _rows(connection, union_all(*parts))
        return {row["kind"]: {"count": row["count"], "oldest_at": row["oldest_at"]} for row in rows}

    def silent_gateways(self, now: datetime) -> set[str]:
        """Those that do not answer."""
        with looking(self._engine) as connection:
            return set(connection.scalars(select(GatewayHealth.gateway).where(GatewayHealth.silent_until > now)))

    def broken_invariants(self) -> dict[str, int]:
        """Invariant → how many rows broke it when it was last looked at; empty when the books are sound."""
        query = select(AuditBreach.invariant, AuditBreach.row_count).where(AuditBreach.gone_at.is_(None))
        with looking(self._engine) as connection:
            return {invariant: int(count) for invariant, count in connection.execute(query)}

    def open_decisions(self) -> dict[str, int]:
        """Kind of question about money → how many wait for a person."""
        query = select(Decision.kind, func.count()).where(Decision.resolved_at.is_(None)).group_by(Decision.kind)
        with looking(self._engine) as connection:
            return {kind: int(count) for kind, count in connection.execute(query)}

    def differences(self) -> dict[str, int]:
        """Kind of difference with a gateway → how many are open, those under repair included."""
        query = select(Difference.kind, func.count()).where(Difference.settled_at.is_(None)).group_by(Difference.kind)
        with looking(self._engine) as connection:
            return {kind: int(count) for kind, count in connection.execute(query)}

    def compared_until(self) -> dict[str, datetime]:
        """Gateway → the latest moment up to which it was compared with us to the end of its lists."""
        query = (
            select(ReconciliationSlice.gateway, func.max(ReconciliationSlice.until))
            .where(ReconciliationSlice.is_complete)
            .group_by(ReconciliationSlice.gateway)
        )
        with looking(self._engine) as connection:
            return {gateway: until for gateway, until in connection.execute(query)}  # noqa: C416 - rows, not pairs

    def orders_by_status(self) -> dict[str, int]:
        """How many orders stand where."""
        with looking(self._engine) as connection:
            found = connection.execute(select(Order.status, func.count()).group_by(Order.status))
            return {status: int(count) for status, count in found}


def _rows(connection: Connection, query: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _counted(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _rate_bps(part: int, whole: int) -> int | None:
    return (part * 10_000 + whole // 2) // whole if whole else None


def _counts(connection: Connection, mine: Sequence[ColumnElement[bool]]) -> Row:
    query = select(
        func.count().label("total"),
        _counted(Payment.status.in_(_PAID)).label("succeeded"),
        _counted(Payment.status == PaymentStatus.FAILED).label("failed"),
        _counted(Payment.status == PaymentStatus.CANCELLED).label("cancelled"),
        _counted(Payment.status.not_in(_OVER)).label("open"),
    ).where(*mine)
    row = {key: int(value) for key, value in connection.execute(query).mappings().one().items()}
    return {**row, "success_rate_bps": _rate_bps(row["succeeded"], row["total"] - row["open"])}


def _volumes(*by: Any) -> AnySelect:
    """Money taken and given back per group."""
    return (
        select(
            *by,
            _counted(Payment.captured_minor > 0).label("count"),
            func.coalesce(func.sum(Payment.captured_minor), 0).label("captured"),
            func.coalesce(func.sum(Payment.refunded_minor), 0).label("refunded"),
        )
        .group_by(*by)
        .order_by(*by)
    )


def _by_gateway(connection: Connection, mine: Sequence[ColumnElement[bool]]) -> list[Row]:
    """Tries and money per gateway; tries are counted where they were made, money where it was paid."""
    tries = (
        select(
            PaymentAttempt.gateway,
            func.count().label("attempts"),
            _counted(PaymentAttempt.status == AttemptStatus.SUCCEEDED).label("succeeded"),
            _counted(PaymentAttempt.status.in_((AttemptStatus.FAILED, AttemptStatus.ABANDONED))).label("failed"),
        )
        .join(Payment, Payment.id == PaymentAttempt.payment_id)
        .where(*mine)
        .group_by(PaymentAttempt.gateway)
        .order_by(PaymentAttempt.gateway)
    )
    money: dict[str, list[Row]] = {}
    for row in _rows(connection, _volumes(Payment.gateway, Payment.currency).where(*mine)):
        money.setdefault(row.pop("gateway"), []).append(row)
    return [
        {
            **row,
            "success_rate_bps": _rate_bps(int(row["succeeded"]), int(row["succeeded"]) + int(row["failed"])),
            "volumes": money.get(row["gateway"], []),
        }
        for row in _rows(connection, tries)
    ]


def _by_day(connection: Connection, mine: Sequence[ColumnElement[bool]]) -> list[Row]:
    """The latest days (UTC) with payments, newest first."""
    is_postgresql = connection.dialect.name == "postgresql"
    day = func.date(func.timezone("UTC", Payment.created_at) if is_postgresql else Payment.created_at)
    grouped = (
        _volumes(day.label("day"), Payment.currency).where(*mine).order_by(None).order_by(day.desc(), Payment.currency)
    )
    return [{**row, "day": str(row["day"])} for row in _rows(connection, grouped.limit(DAYS_SHOWN))]


def _failures(connection: Connection, mine: Sequence[ColumnElement[bool]]) -> list[Row]:
    """Why tries failed, the most frequent cause first."""
    cause = func.coalesce(PaymentAttempt.error, "no reason was given")
    query = (
        select(PaymentAttempt.gateway, cause.label("cause"), func.count().label("count"))
        .join(Payment, Payment.id == PaymentAttempt.payment_id)
        .where(*mine, PaymentAttempt.status.in_((AttemptStatus.FAILED, AttemptStatus.MISMATCHED)))
        .group_by(PaymentAttempt.gateway, cause)
        .order_by(func.count().desc(), cause)
        .limit(CAUSES_SHOWN)
    )
    return _rows(connection, query)


def _refunds_to_review(connection: Connection, sight: Visibility, filters: Filters) -> Row:
    """Refunds that wait for a person: an approval, or attention at the gateway."""
    waits = (
        sight.of(Refund),
        *conditions(Refund, Filters(workspace=filters.workspace, gateway=filters.gateway)),
        Refund.status.in_((RefundStatus.PENDING, RefundStatus.PROCESSING)),
        or_(Refund.approval == Approval.WAITING, Refund.needs_attention),
    )
    oldest_first = refund_columns().where(*waits).order_by(Refund.id).limit(REVIEWS_SHOWN)
    count = connection.execute(select(func.count()).select_from(Refund).where(*waits)).scalar_one()
    return {"count": int(count), "oldest": _rows(connection, oldest_first)}


def _decision_columns() -> AnySelect:
    return select(
        Decision.id,
        Decision.kind,
        Decision.subject_id,
        Decision.order_id,
        Order.order_number,
        Decision.workspace_id,
        Decision.amount_minor.label("amount"),
        Decision.currency,
        Decision.detail,
        Decision.suggested_action,
        Decision.created_at,
        Decision.resolved_at,
        Decision.resolved_by,
        Decision.action,
        Decision.note,
    ).outerjoin(Order, Order.id == Decision.order_id)
