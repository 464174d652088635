"""Messages: fanned out from events once per recipient and channel, delivered until they are through."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

from payflow import failpoints, logs
from payflow.channels import in_app
from payflow.channels.email import EmailSender
from payflow.core.clock import Clock
from payflow.core.errors import DeliveryError, NotFound, PayflowError
from payflow.core.events import EventType
from payflow.core.identifiers import new_id
from payflow.core.polling import EMAIL_BACKOFF, OUTBOX_BACKOFF
from payflow.models.notification import Channel, Notification
from payflow.models.outbox import OutboxEvent
from payflow.services.access import Caller
from payflow.services.delivery import deliveries_of
from payflow.services.digest import DIGEST
from payflow.services.letters import Draft, drafts
from payflow.services.preferences import Reader, readers
from payflow.services.side_by_side import SideBySide, safely
from payflow.store import outgoing
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
LEASE_SECONDS = 30
"""Of events that are being fanned out."""
BATCH = 64
LETTERS_AT_ONCE = 4
"""Of one task. A process has threads for sixteen, so as many tasks can keep a letter waiting for three others."""
LETTER_LEASE_SECONDS = 240
"""Longer than four letters may take one after another, at 45 s each (channels/email.py), with a minute to spare for
names that are slow to look up and for the record."""
RUN_SECONDS = 12
"""So long a run takes up new letters; then it waits for what is under way, and ends below a task's time limit."""
LOOK_SECONDS = 0.5
"""How often it looks for more while the mail server keeps it waiting."""


class NotificationService:
    """From event to message."""

    def __init__(self, units: UnitOfWork, clock: Clock, email: EmailSender | None, side_by_side: SideBySide) -> None:
        self._units, self._clock, self._email, self._side_by_side = units, clock, email, side_by_side

    def fan_out(self, order_ids: Sequence[str] | None = None) -> list[str]:
        """Write the messages of published events (of some orders, or of all that are due); ids of letters to deliver.

        The subscribers are locked before their events are claimed: what a workspace is told is numbered in order.
        """

        def step(tx: Transaction) -> list[str]:
            workspaces = outgoing.workspaces_with_news(tx, tx.act.at, order_ids, BATCH)
            subscribers = outgoing.lock_subscribers(tx, workspaces)
            where = [OutboxEvent.workspace_id.in_(workspaces)]
            if order_ids is not None:
                where.append(OutboxEvent.order_id.in_(order_ids))
            claimed = tx.claim(OutboxEvent, now=tx.act.at, lease_seconds=LEASE_SECONDS, limit=BATCH, where=where)
            messages: list[Notification] = []
            deliveries: list[dict[str, Any]] = []
            events = tx.many(OutboxEvent, list(claimed))
            told_to = readers(tx, events)
            for event in events:
                try:
                    rows = self._messages(event, told_to[event.id])
                except (KeyError, TypeError, ValueError, AttributeError, PayflowError) as error:
                    _poison(event, tx, error)
                    continue
                messages += rows
                deliveries += deliveries_of(event, subscribers.get(event.workspace_id, ()), tx.act.at)
                event.fanned_out_at, event.task = tx.act.at, tx.act.task
                event.settle_due(None, seen=event.due_at)
                tx.touched(f"notifications:user:{event.user_id}")
            tx.insert_notifications(messages)
            outgoing.insert_deliveries(tx, deliveries)
            if deliveries:
                tx.ring("deliveries.send")
            owed = [row.id for row in messages if row.due_at is not None]
            if owed:
                tx.ring("notifications.deliver")
            return owed

        return self._units.run(step)

    def _messages(self, event: OutboxEvent, reader: Reader) -> list[Notification]:
        """One row per recipient and channel that wants to hear of the event."""
        kind = EventType(event.type)
        now = self._clock.now()
        rows: list[Notification] = []
        if reader.hears(Channel.IN_APP, kind):
            rows.append(_message(event, Channel.IN_APP, event.user_id, reader, now=now, sent=True))
        address = event.payload.get("user_email")
        if reader.hears(Channel.EMAIL, kind) and address and self._email is not None:
            rows.append(_message(event, Channel.EMAIL, address, reader, now=now, sent=False))
        return rows

    def deliver(self, ids: Sequence[str] | None = None) -> bool:
        """Send letters that are due (some, or all), a few at once, each on record as soon as it is sent; True if it ran
        out of time before it ran out of work. What is true no longer is withdrawn."""
        if self._email is None:
            return False
        ends_at = monotonic() + RUN_SECONDS
        under_way: set[Future[PayflowError | None]] = set()
        while True:
            claimed: Sequence[Draft] = ()
            has_time, places = monotonic() < ends_at, LETTERS_AT_ONCE - len(under_way)
            if has_time and places:
                claimed = self._units.run(partial(_claim, ids=ids, limit=places))
                send = partial(self._deliver, self._email)
                true = [draft for draft in claimed if draft.facts is not None]
                under_way |= {self._side_by_side.begin("mail", send, draft) for draft in true}
            if not under_way and not claimed:
                return not has_time
            over, under_way = wait(under_way, LOOK_SECONDS if has_time else None, FIRST_COMPLETED)
            for one in over:
                one.result()  # what it tells is on record; a thread that died ends the run

    def _deliver(self, email: EmailSender, draft: Draft) -> None:
        """Send one letter and write down what came of it, here in its own thread: nobody waits for its neighbours."""
        if self._clock.now() >= draft.held_until:
            _claim_over(draft)
            return
        error = safely(partial(_send, email), draft)
        try:
            self._units.run(partial(_record, draft=draft, error=error))
        except PayflowError as problem:
            _log.error(
                "what became of a letter could not be stored",
                action="notification.store_failed",
                notification_id=draft.notification_id,
                error=problem.detail,
            )

    def mark_read(self, caller: Caller, notification_id: str) -> None:
        """Mark one of the caller's in-app messages read; repeating is a no-op."""

        def step(tx: Transaction) -> None:
            row = tx.find(Notification, notification_id)
            if row is None or row.channel != Channel.IN_APP or row.recipient != caller.user_id:
                raise NotFound
            row.read_at = row.read_at or tx.act.at
            tx.touched(f"notifications:user:{caller.user_id}")

        self._units.run(step, actor=caller.actor)

    def mark_all_read(self, caller: Caller) -> int:
        """Mark all of the caller's in-app messages read; how many were unread."""

        def step(tx: Transaction) -> int:
            tx.touched(f"notifications:user:{caller.user_id}")
            return tx.mark_all_read(caller.user_id, tx.act.at)

        return self._units.run(step, actor=caller.actor)


def _claim(tx: Transaction, *, ids: Sequence[str] | None, limit: int) -> list[Draft]:
    """Letters to send now; those without facts are withdrawn already."""
    claimed = tx.claim(
        Notification,
        now=tx.act.at,
        lease_seconds=LETTER_LEASE_SECONDS,
        limit=limit,
        ids=ids,
        where=(Notification.sent_at.is_(None), Notification.parked_at.is_(None), Notification.due_at <= tx.act.at),
    )
    owed = tx.many(Notification, list(claimed))
    found = drafts(tx, owed, held_until=tx.act.at + timedelta(seconds=LETTER_LEASE_SECONDS))
    for row, draft in zip(owed, found, strict=True):
        if draft.facts is None:
            _withdraw(tx, row)
    return found


def _send(email: EmailSender, one: Draft) -> None:
    facts = one.facts or {}
    if one.event_type == DIGEST:
        letter = email.digest(one.notification_id, one.recipient, facts)
    else:
        letter = email.compose(
            one.notification_id,
            one.recipient,
            one.event_type,
            facts,
            language=one.language,
            from_name=one.from_name,
            reply_to=one.reply_to,
        )
    failpoints.hit("deliver.before_send")
    email.send(letter)
    failpoints.hit("deliver.after_send")


def _message(
    event: OutboxEvent, channel: Channel, recipient: str, reader: Reader, *, now: datetime, sent: bool
) -> Notification:
    text = in_app.render(event.type, event.payload, reader.language)
    return Notification(
        id=new_id(),
        event_id=event.id,
        event=event.type,
        order_id=event.order_id,
        channel=channel.value,
        recipient=recipient,
        title=text.title,
        body=text.body,
        locale=reader.language,
        created_at=now,
        sent_at=now if sent else None,
        task=logs.task() if sent else None,
        due_at=None if sent else now,
        tries=0,
        correlation_id=event.correlation_id,
    )


def _poison(event: OutboxEvent, tx: Transaction, error: Exception) -> None:
    """An event nobody can read must not stop its neighbours: later, and in the end parked."""
    event.tries += 1
    due_at = OUTBOX_BACKOFF.next_at(event.tries, tx.act.at)
    event.parked_at = tx.act.at if due_at is None else None
    event.claimed_until, event.due_at = None, due_at
    _log.error(
        "an event could not be fanned out", action="outbox.poison", event_id=event.id, error=type(error).__name__
    )


def _withdraw(tx: Transaction, row: Notification) -> None:
    row.withdrawn_at, row.due_at, row.claimed_until = tx.act.at, None, None
    _log.info(
        "a letter was overtaken by the record", action="notification.withdrawn", notification_id=row.id, kind=row.event
    )


def _claim_over(draft: Draft) -> None:
    _log.warning(
        "a letter's claim was over before it was dealt with",
        action="notification.claim_over",
        notification_id=draft.notification_id,
    )


def _record(tx: Transaction, *, draft: Draft, error: PayflowError | None) -> None:
    """Write down how a letter fared, unless the claim on it has ended: then what stands there is the next holder's."""
    row = tx.lock(Notification, draft.notification_id)
    if row.claimed_until != draft.held_until:
        _claim_over(draft)
        return
    row.claimed_until = None
    if error is None:
        row.sent_at, row.due_at, row.error, row.task = tx.act.at, None, None, tx.act.task
        return
    row.tries += 1
    row.error = error.detail[:255]
    retryable = not isinstance(error, DeliveryError) or error.retryable
    row.due_at = EMAIL_BACKOFF.next_at(row.tries, tx.act.at) if retryable else None
    if row.due_at is None:
        row.parked_at = tx.act.at
        _log.error("a letter could not be delivered", action="notification.parked", notification_id=row.id)
