"""What waits for a person and was not told yet: one query per kind. Another kind is another row of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, exists, select

from payflow.models.breach import AuditBreach
from payflow.models.decision import Decision
from payflow.models.notification import Alert, Notification
from payflow.models.order import Order
from payflow.models.outbox import OutboxEvent
from payflow.models.reconciliation import ReconciliationSlice
from payflow.models.webhook_endpoint import Disabled, WebhookEndpoint
from payflow.models.webhook_event import WebhookEvent
from payflow.store.repositories import Repositories

MOST = 500
"""Of each kind at a time; the rest is told next time."""
FAILS_FOR = timedelta(hours=1)
"""An endpoint that fails for a moment is nobody's business."""


@dataclass(frozen=True, slots=True)
class Untold:
    """One matter. It is the same matter as long as kind, row and `since` are."""

    kind: str
    subject_id: str
    since: datetime
    what: str
    order_number: str | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    model: type[Any]
    since: Any
    """The column that says since when, and so what is new."""
    is_open: Callable[[datetime], Any]
    """At that moment."""
    words: Callable[[Any], str]


SOURCES: Mapping[str, _Source] = {
    "decision": _Source(
        Decision,
        Decision.created_at,
        lambda _: Decision.resolved_at.is_(None),
        lambda row: f"{row.kind}: {row.detail}",
    ),
    "day not compared": _Source(
        ReconciliationSlice,
        ReconciliationSlice.finished_at,
        lambda _: and_(ReconciliationSlice.finished_at.is_not(None), ReconciliationSlice.error.is_not(None)),
        lambda row: f"{row.gateway} on {row.since:%Y-%m-%d}: {row.error}",
    ),
    "broken invariant": _Source(
        AuditBreach,
        AuditBreach.created_at,
        lambda _: AuditBreach.gone_at.is_(None),
        lambda row: f"{row.invariant} {row.sentence}: {row.row_count} rows",
    ),
    "parked webhook": _Source(
        WebhookEvent,
        WebhookEvent.parked_at,
        lambda _: and_(WebhookEvent.parked_at.is_not(None), WebhookEvent.outcome.is_distinct_from("unmatched")),
        lambda row: f"{row.gateway} {row.event_type} could not be handled",
    ),
    "parked event": _Source(
        OutboxEvent,
        OutboxEvent.parked_at,
        lambda _: OutboxEvent.parked_at.is_not(None),
        lambda row: f"{row.type} could not be told to anybody",
    ),
    "parked letter": _Source(
        Notification,
        Notification.parked_at,
        lambda _: Notification.parked_at.is_not(None),
        lambda row: f"{row.event} was not delivered: {row.error or 'no reason given'}",
    ),
    "failing endpoint": _Source(
        WebhookEndpoint,
        WebhookEndpoint.failing_since,
        lambda now: and_(WebhookEndpoint.enabled, WebhookEndpoint.failing_since <= now - FAILS_FOR),
        lambda row: f"nothing has reached the webhook endpoint {row.id} of {row.workspace_id}",
    ),
    "disabled endpoint": _Source(
        WebhookEndpoint,
        WebhookEndpoint.disabled_at,
        lambda _: WebhookEndpoint.disabled_reason.in_((Disabled.GONE, Disabled.FAILING)),
        lambda row: f"webhook endpoint {row.id} of {row.workspace_id} was disabled: {row.disabled_reason}",
    ),
}
"""A dispute, a difference with a gateway, a webhook that fits nothing is a decision too: it is told as one."""


def untold(rows: Repositories, now: datetime) -> list[Untold]:
    """Every open matter no digest has told, by kind, the oldest first."""
    found: list[Untold] = []
    for kind, source in SOURCES.items():
        told = exists().where(Alert.kind == kind, Alert.subject_id == source.model.id, Alert.since == source.since)
        query = select(source.model).where(source.is_open(now), ~told).order_by(source.since).limit(MOST)
        for row in rows.session.scalars(query):
            since = getattr(row, source.since.key)
            found.append(Untold(kind, row.id, since, source.words(row), _order_number(rows, row)))
    return found


def _order_number(rows: Repositories, row: Any) -> str | None:
    order_id = getattr(row, "order_id", None)
    order = rows.find(Order, order_id) if order_id else None
    return order.order_number if order is not None else None
