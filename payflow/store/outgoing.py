"""Outbound webhooks in the database: who is told, whose turn it is, and what staff read of it. Floor 4.

Lock order: endpoints by id, before outbox events and deliveries. Whoever writes deliveries holds their endpoint's lock,
so its sequence grows in the order of the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from payflow.models.outbox import OutboxEvent
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund
from payflow.models.webhook_endpoint import WebhookDelivery, WebhookEndpoint, WebhookTry
from payflow.store.engine import Database, looking, reader
from payflow.store.queries import Cursor, Page, Visibility, all_rows, one_row, page_of
from payflow.store.repositories import Repositories
from payflow.store.shapes import AnySelect, Row

AT_ONE_RECEIVER = 4
"""So many calls at once, about, may wait for one receiver, over all processes."""
_state = case(
    (WebhookDelivery.delivered_at.is_not(None), "delivered"),
    (WebhookDelivery.parked_at.is_not(None), "failed"),
    else_="pending",
)

# -- fan-out -----------------------------------------------------------------------------------------------------------


def workspaces_with_news(rows: Repositories, now: datetime, order_ids: Sequence[str] | None, limit: int) -> list[str]:
    """Whose events wait to be fanned out (of some orders, or at all): those of the longest waiting."""
    waiting = select(OutboxEvent.workspace_id).where(OutboxEvent.due_at.is_not(None), OutboxEvent.due_at <= now)
    if order_ids is not None:
        waiting = waiting.where(OutboxEvent.order_id.in_(order_ids))
    oldest = waiting.order_by(OutboxEvent.due_at).limit(limit).subquery()
    return list(rows.session.scalars(select(oldest.c.workspace_id).distinct()))


def lock_subscribers(rows: Repositories, workspace_ids: Sequence[str]) -> dict[str, list[WebhookEndpoint]]:
    """The endpoints of these workspaces that get events, by workspace, locked."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.workspace_id.in_(workspace_ids), WebhookEndpoint.enabled)
    found: dict[str, list[WebhookEndpoint]] = {}
    for one in _locked(rows, query):
        found.setdefault(one.workspace_id, []).append(one)
    return found


def lock_endpoints(rows: Repositories, ids: Iterable[str]) -> dict[str, WebhookEndpoint]:
    """Endpoints by id, locked."""
    return {row.id: row for row in _locked(rows, select(WebhookEndpoint).where(WebhookEndpoint.id.in_(set(ids))))}


def _locked(rows: Repositories, query: Any) -> list[WebhookEndpoint]:
    query = query.order_by(WebhookEndpoint.id).with_for_update().execution_options(populate_existing=True)
    return list(rows.session.scalars(query))


def insert_deliveries(rows: Repositories, values: Sequence[Row]) -> None:
    """Store deliveries by the thousand; one per event and endpoint, for ever."""
    if values:
        insert = postgresql_insert if rows.session.get_bind().dialect.name == "postgresql" else sqlite_insert
        statement = insert(WebhookDelivery).on_conflict_do_nothing(index_elements=["event_id", "endpoint_id"])
        rows.session.execute(statement, list(values))


# -- sending -----------------------------------------------------------------------------------------------------------


def in_turn(now: datetime) -> ColumnElement[bool]:
    """That a delivery is among the first of its endpoint and few enough are on their way there already: a receiver that
    hangs holds a few places, and leaves the others to the others."""
    row = WebhookDelivery
    is_due = (row.due_at.is_not(None), row.due_at <= now, or_(row.claimed_until.is_(None), row.claimed_until <= now))
    place = func.row_number().over(partition_by=row.endpoint_id, order_by=(row.due_at, row.sequence))
    waiting = select(row.id, row.endpoint_id, place.label("place")).where(*is_due).subquery()
    under_way = (
        select(row.endpoint_id, func.count().label("calls"))
        .where(row.due_at.is_not(None), row.claimed_until > now)
        .group_by(row.endpoint_id)
        .subquery()
    )
    chosen = (
        select(waiting.c.id)
        .outerjoin(under_way, under_way.c.endpoint_id == waiting.c.endpoint_id)
        .where(waiting.c.place + func.coalesce(under_way.c.calls, 0) <= AT_ONE_RECEIVER)
    )
    return row.id.in_(chosen)


def refund_references(rows: Repositories, refund_ids: Iterable[str]) -> dict[str, str]:
    """Refund id → the reference of the try whose money it gives back."""
    query = select(Refund.id, PaymentAttempt.reference).join(PaymentAttempt, PaymentAttempt.id == Refund.attempt_id)
    found = rows.session.execute(query.where(Refund.id.in_(set(refund_ids))))
    return {key: value for key, value in found}  # noqa: C416 - rows, not pairs


def park_owed(rows: Repositories, endpoint_id: str, at: datetime, error: str) -> None:
    """Give up what is owed to an endpoint that gets nothing any longer."""
    rows.session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.due_at.is_not(None))
        .values(parked_at=at, due_at=None, claimed_until=None, error=error)
        .execution_options(synchronize_session=False)
    )


def owe_again(
    rows: Repositories,
    endpoint_id: str,
    at: datetime,
    *,
    since: datetime | None,
    until: datetime | None,
    failed_only: bool,
    at_most: int,
) -> int:
    """Make deliveries made in [since, until) due now, the oldest first; how many."""
    row = WebhookDelivery
    conditions = [row.endpoint_id == endpoint_id, row.event_id.is_not(None), row.due_at.is_(None)]
    if failed_only:
        conditions.append(row.parked_at.is_not(None))
    if since is not None:
        conditions.append(row.created_at >= since)
    if until is not None:
        conditions.append(row.created_at < until)
    chosen = select(row.id).where(*conditions).order_by(row.id).limit(at_most)
    done = rows.session.execute(
        update(row)
        .where(row.id.in_(chosen))
        .values(due_at=at, claimed_until=None, delivered_at=None, parked_at=None, error=None, tries=0)
        .execution_options(synchronize_session=False)
    )
    return int(getattr(done, "rowcount", 0))


def count_endpoints(rows: Repositories, workspace_id: str) -> int:
    """How many a workspace has."""
    query = select(func.count()).where(
        WebhookEndpoint.workspace_id == workspace_id, WebhookEndpoint.deleted_at.is_(None)
    )
    return int(rows.session.scalar(query) or 0)


# -- what staff read ---------------------------------------------------------------------------------------------------


class OutgoingQueries:
    """Endpoints without their secrets, and what became of each event, with the sight of staff."""

    def __init__(self, engine: Database) -> None:
        self._engine = reader(engine)

    def endpoints(self, sight: Visibility, *, workspace: str | None, size: int, cursor: Cursor | None = None) -> Page:
        """Those of the workspaces the reader decides for, newest first."""
        query = _endpoint_columns(sight)
        if workspace is not None:
            query = query.where(WebhookEndpoint.workspace_id == workspace)
        with looking(self._engine) as connection:
            page = page_of(connection, query, WebhookEndpoint.id, size, cursor)
        return Page([_with_events(row) for row in page.rows], page.next, page.previous)

    def endpoint(self, sight: Visibility, endpoint_id: str) -> Row:
        """One. Raises NotFound."""
        with looking(self._engine) as connection:
            return _with_events(one_row(connection, _endpoint_columns(sight).where(WebhookEndpoint.id == endpoint_id)))

    def deliveries(
        self,
        sight: Visibility,
        endpoint_id: str,
        *,
        status: str | None,
        size: int,
        cursor: Cursor | None = None,
    ) -> Page:
        """An endpoint's log, newest first. Raises NotFound."""
        self.endpoint(sight, endpoint_id)
        query = _delivery_columns().where(WebhookDelivery.endpoint_id == endpoint_id)
        if status is not None:
            query = query.where(_state == status)
        with looking(self._engine) as connection:
            return page_of(connection, query, WebhookDelivery.id, size, cursor)

    def delivery(self, sight: Visibility, delivery_id: str) -> Row:
        """One, with its tries under `attempts`, the oldest first. Raises NotFound."""
        mine = (WebhookDelivery.id == delivery_id, WebhookEndpoint.deleted_at.is_(None), sight.of(WebhookEndpoint))
        query = _delivery_columns().join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        one = WebhookTry
        tries = select(one.at, one.url, one.http_status, one.duration_ms, one.error, one.excerpt)
        with looking(self._engine) as connection:
            row = one_row(connection, query.where(*mine))
            row["attempts"] = all_rows(connection, tries.where(one.delivery_id == delivery_id).order_by(one.id))
            return row


def _endpoint_columns(sight: Visibility) -> AnySelect:
    row = WebhookEndpoint
    return select(
        row.id,
        row.workspace_id,
        row.url,
        row.description,
        row.events,
        row.enabled,
        row.disabled_at,
        row.disabled_reason,
        row.failing_since,
        row.created_at,
        row.updated_at,
    ).where(row.deleted_at.is_(None), sight.of(WebhookEndpoint))


def _with_events(row: Row) -> Row:
    return row | {"events": row["events"].split()}


def _delivery_columns() -> AnySelect:
    row = WebhookDelivery
    return select(
        row.id,
        row.endpoint_id,
        func.coalesce(row.event_id, row.id).label("webhook_id"),
        row.type,
        row.order_id,
        row.sequence,
        _state.label("status"),
        row.tries_made.label("tries"),
        row.http_status,
        row.duration_ms,
        row.error,
        row.tried_at,
        row.delivered_at,
        row.due_at.label("next_try_at"),
        row.correlation_id,
        row.created_at,
    )
