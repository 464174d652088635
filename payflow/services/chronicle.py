"""An order's record as one list of what happened, oldest first. Words only; why and what next is explain.py's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from payflow.core.money import Money
from payflow.models.gateway_call import GatewayCall
from payflow.models.notification import Notification
from payflow.models.webhook_endpoint import WebhookDelivery, WebhookTry
from payflow.store.timeline import OrderRecord


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    at: datetime
    kind: str
    what: str
    subject_id: str
    actor: str | None = None
    correlation_id: str | None = None
    task: str | None = None
    """The Celery task that did it: name and id."""


def entries(record: OrderRecord) -> list[Entry]:
    """Everything, in time; what happened at the same moment in the order of cause and effect."""
    found = [
        *_beginnings(record),
        *_calls(record),
        *_moves(record),
        *_told_by_gateways(record),
        *_told_to_people(record),
        *_deliveries(record),
        *_by_hand(record),
    ]
    return sorted([*found, *_verdicts(record)], key=lambda entry: entry.at)


def _beginnings(record: OrderRecord) -> Iterator[Entry]:
    order = record.order
    yield Entry(order.created_at, "order", f"order {order.order_number} created", order.id, f"user:{order.user_id}")
    for attempt in record.attempts:
        why = f" ({attempt.routing})" if attempt.routing else ""
        what = f"try {attempt.reference} opened at {attempt.gateway}{why}"
        yield Entry(attempt.created_at, "attempt", what, attempt.id, correlation_id=attempt.correlation_id)
        if attempt.called_at:
            about_to = f"a call to {attempt.gateway} for {attempt.reference} was about to be made"
            yield Entry(attempt.called_at, "attempt", about_to, attempt.id)
    for refund in record.refunds:
        money = Money(refund.amount_minor, refund.currency)
        what = f"refund of {money} recorded ({refund.source}, {refund.reason})"
        yield Entry(refund.created_at, "refund", what, refund.id, refund.requested_by, refund.correlation_id)
        if refund.submitted_at:
            yield Entry(refund.submitted_at, "refund", f"the refund of {money} was about to be sent", refund.id)
    for dispute in record.disputes:
        what = (
            f"dispute of {Money(dispute.amount_minor, dispute.currency)} opened: {dispute.reason or 'no reason told'}"
        )
        yield Entry(dispute.created_at, "dispute", what, dispute.id, f"gateway:{dispute.gateway}")


def _calls(record: OrderRecord) -> Iterator[Entry]:
    for call in record.calls:
        yield Entry(call.at, "gateway_call", call_words(call), call.id, task=call.task)


def call_words(call: GatewayCall) -> str:
    """One call in a line."""
    request = f", request {call.request_id}" if call.request_id else ""
    error = f" ({call.error})" if call.error else ""
    answer = call.http_status or "no answer"
    return f"{call.method} {call.route} at {call.gateway}: {answer} after {call.duration_ms} ms{request}{error}"


def _moves(record: OrderRecord) -> Iterator[Entry]:
    for move in record.transitions:
        what = f"{move.entity} {move.from_status} → {move.to_status}: {move.why}"
        yield Entry(move.at, move.entity, what, move.entity_id, move.actor, move.correlation_id, move.task)


def _told_by_gateways(record: OrderRecord) -> Iterator[Entry]:
    for event in record.webhooks:
        actor = f"gateway:{event.gateway}"
        came = f"{event.gateway} sent {event.event_type}"
        yield Entry(event.created_at, "webhook", came, event.id, actor, event.correlation_id)
        ended = event.handled_at or event.parked_at
        if ended:
            what = f"{event.event_type} {event.outcome if event.handled_at else 'was parked'}"
            task = event.task if event.handled_at else None
            yield Entry(ended, "webhook", what, event.id, correlation_id=event.correlation_id, task=task)


def _told_to_people(record: OrderRecord) -> Iterator[Entry]:
    for event in record.events:
        yield Entry(event.created_at, "event", f"{event.type} published", event.id, None, event.correlation_id)
        if event.fanned_out_at:
            what = f"{event.type} told to its recipients"
            yield Entry(event.fanned_out_at, "event", what, event.id, None, event.correlation_id, event.task)
        if event.parked_at:
            yield Entry(event.parked_at, "event", f"{event.type} could not be read and was parked", event.id)
    for message in record.messages:
        at = message.sent_at or message.parked_at or message.withdrawn_at or message.created_at
        what = _message_words(message)
        yield Entry(at, "notification", what, message.id, None, message.correlation_id, message.task)


def _deliveries(record: OrderRecord) -> Iterator[Entry]:
    """Each delivery's earlier tries, then how it stands since the last."""
    for row in record.deliveries:
        tries = [one for one in record.delivery_tries if one.delivery_id == row.id]
        for one in tries[:-1]:
            yield Entry(one.at, "delivery", _try_words(row, one), row.id, None, row.correlation_id, one.task)
        at = row.delivered_at or row.parked_at or row.tried_at or row.created_at
        task = tries[-1].task if tries and tries[-1].at == at else None
        yield Entry(at, "delivery", _delivery_words(row), row.id, None, row.correlation_id, task)


def _by_hand(record: OrderRecord) -> Iterator[Entry]:
    for one in record.acts:
        yield Entry(one.at, one.entity, one.what, one.entity_id, one.actor, one.correlation_id)


def _try_words(row: WebhookDelivery, one: WebhookTry) -> str:
    error = f" ({one.error})" if one.error else ""
    answer = one.http_status or "no answer"
    return f"{row.type} to webhook endpoint {row.endpoint_id}: {answer} after {one.duration_ms} ms{error}"


def _delivery_words(row: WebhookDelivery) -> str:
    state = "taken" if row.delivered_at else "given up" if row.parked_at else "not taken yet"
    said = f"{row.type} to webhook endpoint {row.endpoint_id} {state} after {row.tries_made} tries"
    return said + (f": {row.error}" if row.error else "")


def _message_words(row: Notification) -> str:
    states = {"sent": row.sent_at, "given up": row.parked_at, "withdrawn, for it was true no longer": row.withdrawn_at}
    state = next((word for word, at in states.items() if at), "waits to be sent")
    return f"{row.channel} message “{row.title}” {state}" + (f": {row.error}" if row.error else "")


def _verdicts(record: OrderRecord) -> Iterator[Entry]:
    for one in record.decisions:
        yield Entry(one.created_at, "decision", f"{one.kind}: {one.detail}", one.id)
        if one.resolved_at:
            what = f"{one.kind} resolved: {one.action}" + (f" ({one.note})" if one.note else "")
            yield Entry(one.resolved_at, "decision", what, one.id, one.resolved_by)
