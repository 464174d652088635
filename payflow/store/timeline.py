"""Everything that happened to one order, in the order it happened. Floor 4; what it means is services/explain.py's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, or_, select

from payflow.core.errors import NotFound
from payflow.models.base import Transition
from payflow.models.decision import Decision
from payflow.models.gateway_call import GatewayCall
from payflow.models.notification import Notification
from payflow.models.order import Order
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund
from payflow.models.webhook_event import WebhookEvent
from payflow.store.engine import Database, looking, reader
from payflow.store.queries import Visibility
from payflow.store.shapes import AnySelect, Row


class Timelines:
    """The rows a timeline is told from."""

    def __init__(self, engine: Database) -> None:
        self._engine = reader(engine)

    def id_of(self, name: str) -> str:
        """An order's id by its id or its number; NotFound if there is none."""
        try:
            named = Order.id == str(UUID(name))
        except ValueError:
            named = Order.order_number == name.strip().upper()
        with looking(self._engine) as connection:
            found = connection.scalars(select(Order.id).where(named)).one_or_none()
        if found is None:
            raise NotFound(f"There is no order {name}.")
        return found

    def of_order(self, sight: Visibility, order_id: str) -> Row:
        """The order with its payment, tries, refunds, decisions and `entries`. NotFound if it is not to be seen."""
        with looking(self._engine) as connection:
            order = _first(connection, _order_query().where(Order.id == order_id, sight.of(Order)))
            if order is None:
                raise NotFound
            tries = _rows(connection, _ATTEMPTS.where(PaymentAttempt.order_id == order_id))
            refunds = _rows(connection, _REFUNDS.where(Refund.order_id == order_id))
            decisions = _rows(connection, _DECISIONS.where(Decision.order_id == order_id))
            return {
                "order": order,
                "payment": _first(connection, _PAYMENT.where(Payment.order_id == order_id)),
                "attempts": tries,
                "refunds": refunds,
                "decisions": decisions,
                "entries": _entries(connection, order, tries, decisions),
            }


def _rows(connection: Connection, query: AnySelect) -> list[Row]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _first(connection: Connection, query: AnySelect) -> Row | None:
    found = connection.execute(query).mappings().one_or_none()
    return dict(found) if found else None


def _order_query() -> AnySelect:
    return select(
        Order.id,
        Order.order_number,
        Order.status,
        Order.user_id,
        Order.workspace_id,
        Order.created_at,
        Order.expires_at,
        Order.due_at,
    )


_PAYMENT = select(Payment.id, Payment.status, Payment.gateway, Payment.error, Payment.captured_minor)
_ATTEMPTS = select(
    PaymentAttempt.id,
    PaymentAttempt.reference,
    PaymentAttempt.session_id,
    PaymentAttempt.gateway,
    PaymentAttempt.status,
    PaymentAttempt.error,
    PaymentAttempt.due_at,
    PaymentAttempt.tries,
    PaymentAttempt.called_at,
    PaymentAttempt.created_at,
    PaymentAttempt.gateway_transaction_id,
    PaymentAttempt.routing,
).order_by(PaymentAttempt.id)
_REFUNDS = select(
    Refund.id,
    Refund.status,
    Refund.approval,
    Refund.needs_attention,
    Refund.gateway,
    Refund.due_at,
    Refund.error,
    Refund.amount_minor,
    Refund.currency,
    Refund.created_at,
).order_by(Refund.id)
_DECISIONS = select(
    Decision.id,
    Decision.kind,
    Decision.detail,
    Decision.created_at,
    Decision.resolved_at,
    Decision.resolved_by,
    Decision.action,
    Decision.note,
).order_by(Decision.id)


def _opened(one: Row) -> str:
    return f"try {one['reference']} opened at {one['gateway']}" + (f" ({one['routing']})" if one["routing"] else "")


def _entries(connection: Connection, order: Row, tries: list[Row], decisions: list[Row]) -> list[Row]:
    """`{at, kind, what, actor, subject_id, correlation_id}`, oldest first."""
    entries = [_entry(order["created_at"], "order", f"order {order['order_number']} created", order["id"])]
    entries += [_entry(one["created_at"], "attempt", _opened(one), one["id"]) for one in tries]
    entries += [
        _entry(one["called_at"], "attempt", f"{one['gateway']} was called for {one['reference']}", one["id"])
        for one in tries
        if one["called_at"]
    ]
    entries += _moves(connection, order["id"])
    entries += _calls(connection, order["id"])
    entries += _webhooks(connection, tries)
    entries += _events_and_messages(connection, order["id"])
    for one in decisions:
        entries.append(_entry(one["created_at"], "decision", f"{one['kind']}: {one['detail']}", one["id"]))
        if one["resolved_at"]:
            what = f"{one['kind']} resolved: {one['action']}" + (f" ({one['note']})" if one["note"] else "")
            entries.append(_entry(one["resolved_at"], "decision", what, one["id"], actor=one["resolved_by"]))
    return sorted(entries, key=lambda entry: entry["at"])


def _entry(
    at: datetime,
    kind: str,
    what: str,
    subject_id: str,
    *,
    actor: str | None = None,
    correlation_id: str | None = None,
    task: str | None = None,
) -> Row:
    return {
        "at": at,
        "kind": kind,
        "what": what,
        "subject_id": subject_id,
        "actor": actor,
        "correlation_id": correlation_id,
        "task": task,
    }


def _moves(connection: Connection, order_id: str) -> Iterable[Row]:
    query = select(Transition).where(Transition.order_id == order_id).order_by(Transition.id)
    for row in connection.execute(query.with_only_columns(*Transition.__table__.columns)).mappings():
        what = f"{row['entity']} {row['from_status']} → {row['to_status']}: {row['why']}"
        yield _entry(
            row["at"],
            row["entity"],
            what,
            row["entity_id"],
            actor=row["actor"],
            correlation_id=row["correlation_id"],
            task=row["task"],
        )


def _calls(connection: Connection, order_id: str) -> Iterable[Row]:
    """The gateway log, for as long as it is kept."""
    query = select(
        GatewayCall.id,
        GatewayCall.at,
        GatewayCall.gateway,
        GatewayCall.method,
        GatewayCall.route,
        GatewayCall.http_status,
        GatewayCall.duration_ms,
        GatewayCall.request_id,
        GatewayCall.error,
        GatewayCall.task,
    ).where(GatewayCall.order_id == order_id)
    for row in connection.execute(query).mappings():
        what = (
            f"{row['method']} {row['route']} at {row['gateway']}: {row['http_status'] or 'no answer'}"
            f" after {row['duration_ms']} ms"
            + (f", request {row['request_id']}" if row["request_id"] else "")
            + (f" ({row['error']})" if row["error"] else "")
        )
        yield _entry(row["at"], "gateway_call", what, row["id"], task=row["task"])


def _webhooks(connection: Connection, tries: list[Row]) -> Iterable[Row]:
    """What gateways told of these tries, by reference, session or transaction."""
    names = [name for one in tries for name in (one["reference"], one["session_id"]) if name]
    transactions = [one["gateway_transaction_id"] for one in tries if one["gateway_transaction_id"]]
    if not names:
        return
    query = select(
        WebhookEvent.id,
        WebhookEvent.gateway,
        WebhookEvent.event_type,
        WebhookEvent.outcome,
        WebhookEvent.created_at,
        WebhookEvent.correlation_id,
    ).where(or_(WebhookEvent.reference.in_(names), WebhookEvent.transaction_id.in_(transactions)))
    for row in connection.execute(query).mappings():
        what = f"{row['gateway']} sent {row['event_type']} ({row['outcome'] or 'not handled yet'})"
        yield _entry(
            row["created_at"],
            "webhook",
            what,
            row["id"],
            actor=f"gateway:{row['gateway']}",
            correlation_id=row["correlation_id"],
        )


def _events_and_messages(connection: Connection, order_id: str) -> Iterable[Row]:
    events = select(OutboxEvent.id, OutboxEvent.type, OutboxEvent.created_at, OutboxEvent.correlation_id).where(
        OutboxEvent.order_id == order_id
    )
    for row in connection.execute(events).mappings():
        yield _entry(
            row["created_at"], "event", f"{row['type']} published", row["id"], correlation_id=row["correlation_id"]
        )
    messages = select(
        Notification.id,
        Notification.channel,
        Notification.title,
        Notification.created_at,
        Notification.sent_at,
        Notification.parked_at,
        Notification.error,
    ).where(Notification.order_id == order_id)
    for row in connection.execute(messages).mappings():
        state = "sent" if row["sent_at"] else "given up" if row["parked_at"] else "waits to be sent"
        what = f"{row['channel']} message “{row['title']}” {state}" + (f": {row['error']}" if row["error"] else "")
        yield _entry(row["sent_at"] or row["parked_at"] or row["created_at"], "notification", what, row["id"])
