"""Outbound webhooks on their way: a delivery for each endpoint that wants an event, sent until a receiver takes it.

What is sent is built from the event's own facts, which never change: a webhook that comes late says what happened then,
when, and where it stands in the order of things (`sequence`), and never passes for the present state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

from payflow import logs
from payflow.channels.webhook import Message, Receipt, WebhookSender
from payflow.core.clock import Clock
from payflow.core.errors import PayflowError
from payflow.core.events import EventType, outside_name, timestamp
from payflow.core.identifiers import new_id
from payflow.core.polling import WEBHOOK_SCHEDULE
from payflow.gateways.redaction import redact_text
from payflow.models.outbox import OutboxEvent
from payflow.models.webhook_endpoint import PING, Disabled, WebhookDelivery, WebhookEndpoint, WebhookTry
from payflow.services.side_by_side import SideBySide
from payflow.store import outgoing
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
LEASE_SECONDS = 60
"""Longer than a call may take, the look for its name included."""
CALLS_AT_ONCE = 8
RUN_SECONDS = 25
"""So long a run takes up new work; then it waits for what is under way, and ends below a task's time limit."""
LOOK_SECONDS = 0.5
"""How often it looks for more while receivers keep it waiting."""
GIVE_UP_AFTER = timedelta(days=5)
"""An endpoint that has done nothing but fail for so long is disabled."""
BODY_VERSION = 1
"""Of the body's shape; raised when a receiver must read it in another way."""
EXCERPT_LENGTH = 300
DISABLED = "The endpoint is disabled."


@dataclass(frozen=True, slots=True)
class _Job:
    delivery_id: str
    endpoint_id: str
    seen_due: datetime | None
    url: str
    message_id: str
    body: str
    secrets: tuple[str, ...]
    correlation_id: str | None


class DeliveryService:
    """From delivery to receiver."""

    def __init__(self, units: UnitOfWork, clock: Clock, sender: WebhookSender, side_by_side: SideBySide) -> None:
        self._units, self._clock, self._sender, self._side_by_side = units, clock, sender, side_by_side

    def send(self) -> bool:
        """Send what is due, a few at once, each on record as soon as it is over; True if it ran out of time before it
        ran out of work. A receiver that hangs keeps its own places waiting: the others are filled again."""
        ends_at = monotonic() + RUN_SECONDS
        under_way: dict[Future[Receipt | PayflowError], _Job] = {}
        while True:
            has_time, places = monotonic() < ends_at, CALLS_AT_ONCE - len(under_way)
            if has_time and places:
                for job in self._units.run(partial(_claim, limit=places)):
                    under_way[self._side_by_side.begin("webhooks", self._post, job)] = job
            if not under_way:
                return not has_time
            over, _ = wait(under_way, LOOK_SECONDS if has_time else None, FIRST_COMPLETED)
            if over:
                self._units.run(partial(_store, tried=[(under_way.pop(one), one.result()) for one in over]))

    def _post(self, job: _Job) -> Receipt:
        with logs.bound(correlation_id=job.correlation_id):
            receipt = self._sender.send(
                Message(job.url, job.message_id, job.body, job.secrets, self._clock.now(), job.correlation_id)
            )
            line = _log.info if receipt.error is None else _log.warning
            line(
                "outbound webhook",
                action="delivery.tried",
                delivery_id=job.delivery_id,
                endpoint_id=job.endpoint_id,
                http_status=receipt.http_status,
                duration_ms=receipt.duration_ms,
                error=receipt.error,
            )
        return receipt


# -- fan-out -----------------------------------------------------------------------------------------------------------


def deliveries_of(event: OutboxEvent, subscribers: Sequence[WebhookEndpoint], now: datetime) -> list[dict[str, Any]]:
    """A row for each endpoint (of its workspace, locked) that wants the event, with the next of its numbers."""
    kind = EventType(event.type)
    rows = []
    for endpoint in subscribers:
        if endpoint.wants(kind):
            endpoint.last_sequence += 1
            rows.append(new_delivery(endpoint, event.type, now, event=event, correlation_id=event.correlation_id))
    return rows


def new_delivery(
    endpoint: WebhookEndpoint,
    kind: str,
    now: datetime,
    *,
    event: OutboxEvent | None = None,
    delivery_id: str | None = None,
    correlation_id: str | None,
) -> dict[str, Any]:
    """A delivery due now, under the endpoint's present number."""
    return {
        "id": delivery_id or new_id(),
        "created_at": now,
        "endpoint_id": endpoint.id,
        "event_id": event.id if event else None,
        "type": kind,
        "order_id": event.order_id if event else None,
        "sequence": endpoint.last_sequence,
        "tries_made": 0,
        "correlation_id": correlation_id,
        "due_at": now,
        "tries": 0,
    }


# -- sending -----------------------------------------------------------------------------------------------------------


def _claim(tx: Transaction, *, limit: int) -> list[_Job]:
    now = tx.act.at
    claimed = tx.claim(
        WebhookDelivery, now=now, lease_seconds=LEASE_SECONDS, limit=limit, where=(outgoing.in_turn(now),)
    )
    if not claimed:
        return []
    rows = tx.many(WebhookDelivery, list(claimed))
    endpoints = {one.id: one for one in tx.many(WebhookEndpoint, [row.endpoint_id for row in rows])}
    events = {one.id: one for one in tx.many(OutboxEvent, [row.event_id for row in rows if row.event_id])}
    references = outgoing.refund_references(tx, (one.payload["refund_id"] for one in events.values() if _refunds(one)))
    for row in rows:
        if not endpoints[row.endpoint_id].enabled:  # taken up again by hand
            row.park(now, DISABLED)
    return [
        _Job(
            row.id,
            row.endpoint_id,
            row.due_at,
            endpoint.url,
            row.message_id,
            _body(row, endpoint, events.get(row.event_id or ""), references),
            tuple(endpoint.secrets_at(now)),
            row.correlation_id,
        )
        for row in rows
        for endpoint in [endpoints[row.endpoint_id]]
        if endpoint.enabled
    ]


def _refunds(event: OutboxEvent) -> bool:
    return "refund_id" in event.payload


def _body(
    row: WebhookDelivery, endpoint: WebhookEndpoint, event: OutboxEvent | None, references: Mapping[str, str]
) -> str:
    """`{"type", "timestamp", "data": {the event's fields, "reference"}, "version", "sequence"}`, the same each time."""
    if event is None:
        at, data = timestamp(row.created_at), {"endpoint_id": endpoint.id, "workspace_id": endpoint.workspace_id}
        reference = None
    else:
        at, data = event.payload["timestamp"], event.payload
        reference = data.get("gateway_reference") or references.get(data.get("refund_id", ""))
    body = {
        "type": outside_name(row.type),
        "timestamp": at,
        "data": {**data, "reference": reference},
        "version": BODY_VERSION,
        "sequence": row.sequence,
    }
    return json.dumps(body, separators=(",", ":"))


def _store(tx: Transaction, *, tried: Sequence[tuple[_Job, Receipt | PayflowError]]) -> None:
    endpoints = outgoing.lock_endpoints(tx, (job.endpoint_id for job, _ in tried))
    rows = {row.id: row for row in tx.many(WebhookDelivery, [job.delivery_id for job, _ in tried])}
    for job, receipt in tried:
        if isinstance(receipt, PayflowError):
            receipt = Receipt(None, 0, receipt.detail, "")  # noqa: PLW2901 - an error is a receipt of its own
        row, endpoint = rows[job.delivery_id], endpoints[job.endpoint_id]
        _note(tx, row, job, receipt)
        if receipt.error is None:
            row.delivered_at, row.parked_at, row.error, row.tries = tx.act.at, None, None, 0
            row.settle_due(None, seen=job.seen_due)
            if endpoint.failing_since is not None:
                endpoint.failing_since = None
        elif row.delivered_at is None:
            _failed(tx, row, endpoint, job, receipt)


def _note(tx: Transaction, row: WebhookDelivery, job: _Job, receipt: Receipt) -> None:
    row.tries_made += 1
    row.http_status, row.duration_ms, row.tried_at = receipt.http_status, receipt.duration_ms, tx.act.at
    tx.add(
        WebhookTry(
            id=new_id(),
            delivery_id=row.id,
            at=tx.act.at,
            url=job.url,
            http_status=receipt.http_status,
            duration_ms=receipt.duration_ms,
            error=receipt.error[:255] if receipt.error else None,
            excerpt=redact_text(receipt.excerpt, limit=EXCERPT_LENGTH, secrets=job.secrets),
            task=logs.task(),
        )
    )


def _failed(tx: Transaction, row: WebhookDelivery, endpoint: WebhookEndpoint, job: _Job, receipt: Receipt) -> None:
    """Later by the schedule; or never, if the endpoint is gone or has done nothing but fail for days."""
    now = tx.act.at
    row.tries += 1
    row.error = (receipt.error or "")[:255]
    endpoint.failing_since = endpoint.failing_since or now
    if endpoint.enabled and receipt.http_status == 410:
        disable(tx, endpoint, Disabled.GONE)
    elif endpoint.enabled and now - endpoint.failing_since >= GIVE_UP_AFTER:
        disable(tx, endpoint, Disabled.FAILING)
    due_at = WEBHOOK_SCHEDULE.next_at(row.tries, now) if endpoint.enabled and row.type != PING else None
    if due_at is None:
        row.park(now, row.error)
    else:
        row.settle_due(due_at, seen=job.seen_due)


def disable(tx: Transaction, endpoint: WebhookEndpoint, reason: Disabled) -> None:
    """Send nothing there any longer; what is owed is given up until somebody asks for it."""
    endpoint.disable(reason, tx.act.at)
    outgoing.park_owed(tx, endpoint.id, tx.act.at, DISABLED)
    line = _log.info if reason is Disabled.BY_HAND else _log.error
    line(
        "a webhook endpoint was disabled",
        action="webhook_endpoint.disabled",
        endpoint_id=endpoint.id,
        workspace_id=endpoint.workspace_id,
        reason=reason.value,
        actor=tx.act.actor,
    )
