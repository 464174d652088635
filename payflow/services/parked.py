"""Work that was given up after many tries: seen, taken up again, or closed by a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payflow import logs
from payflow.core.errors import InvalidInput, NotFound
from payflow.models.act import HumanAct
from payflow.models.notification import Notification
from payflow.models.outbox import OutboxEvent
from payflow.models.webhook_endpoint import WebhookDelivery
from payflow.models.webhook_event import WebhookEvent
from payflow.services.unmatched import close_question, leave
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
_KINDS: dict[str, type[Any]] = {
    "webhook": WebhookEvent,
    "event": OutboxEvent,
    "notification": Notification,
    "delivery": WebhookDelivery,
}
_BELLS = {
    "webhook": "webhooks.process",
    "event": "notifications.fan_out",
    "notification": "notifications.deliver",
    "delivery": "deliveries.send",
}


@dataclass(frozen=True, slots=True)
class Parked:
    """One row that waits for a person."""

    kind: str
    """`webhook`, `event`, `notification` or `delivery`."""
    id: str
    parked_at: datetime
    what: str


class ParkedService:
    """For operators."""

    def __init__(self, units: UnitOfWork) -> None:
        self._units = units

    def list(self) -> Sequence[Parked]:
        """Everything parked, the oldest first."""
        with self._units.reading() as rows:
            found = [
                Parked(kind, row.id, row.parked_at, _words(row))
                for kind, model in _KINDS.items()
                for row in rows.parked(model)
            ]
        return sorted(found, key=lambda one: one.parked_at)

    def replay(self, row_id: str, *, actor: str) -> None:
        """Make a parked row due now, as if it had never been tried. Repeating is harmless. Raises NotFound.

        What operators are asked about a webhook stays open until it fits something.
        """

        def step(tx: Transaction) -> None:
            kind, row = _find(tx, row_id)
            words = f"{_words(row)}; taken up again"
            order_id = None if isinstance(row, WebhookEvent) else row.order_id
            tx.add(HumanAct.of(tx.act, words, entity=kind, entity_id=row.id, order_id=order_id))
            row.parked_at, row.tries = None, 0
            row.owe_now(tx.act.at)
            tx.ring(_BELLS[kind])

        self._units.run(step, actor=actor)
        _log.info("parked work is taken up again", action="parked.replayed", row_id=row_id, actor=actor)

    def close(self, row_id: str, *, actor: str) -> None:
        """Mark a webhook as looked at and none of ours. Raises NotFound, InvalidInput for messages, which are owed."""

        def step(tx: Transaction) -> None:
            kind, row = _find(tx, row_id)
            if kind != "webhook":
                raise InvalidInput("Only a webhook can be closed; a message is owed to somebody: replay it.")
            leave(row, tx.act.at)
            close_question(tx, row, by=actor, note="Closed: none of ours.")

        self._units.run(step, actor=actor)
        _log.info("a parked webhook was closed", action="parked.closed", row_id=row_id, actor=actor)


def _find(tx: Transaction, row_id: str) -> tuple[str, Any]:
    for kind, model in _KINDS.items():
        row = tx.find(model, row_id)
        if row is not None and row.parked_at is not None:
            return kind, row
    raise NotFound(f"Nothing parked has the id {row_id}.")


def _words(row: WebhookEvent | OutboxEvent | Notification | WebhookDelivery) -> str:
    if isinstance(row, WebhookEvent):
        return f"{row.gateway} {row.event_type} for {row.reference or row.transaction_id or 'no reference'}"
    if isinstance(row, OutboxEvent):
        return f"{row.type} could not be told to its recipients"
    if isinstance(row, WebhookDelivery):
        return f"{row.type} to webhook endpoint {row.endpoint_id}: {row.error or 'no reason given'}"
    return f"{row.channel} “{row.title}”: {row.error or 'no reason given'}"
