"""Webhooks from gateways: received once, processed once. A hint, never the truth: the gateway is asked afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payflow import logs
from payflow.core.clock import Clock
from payflow.core.errors import NotFound, PayflowError
from payflow.core.identifiers import new_id
from payflow.core.polling import INBOX_BACKOFF
from payflow.gateways.base import DisputeHint, Gateway, HintKind, WebhookHint
from payflow.models.payment import PaymentAttempt
from payflow.models.webhook_event import WebhookEvent
from payflow.services.dispute import record_dispute
from payflow.services.unmatched import ask_operators, close_question
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
PROCESS_LEASE_SECONDS = 15
"""A refund's event is held so long for the task that reads the gateway's list; reading it twice is harmless."""
BATCH = 64
_BUGS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a mistake of ours in reading an event raises. No broader: what a lost database raises undoes the batch."""


@dataclass(frozen=True, slots=True)
class Owed:
    """What a batch of webhooks asks for: questions to gateways."""

    attempts: Mapping[str, list[tuple[str, str]]]
    """gateway → (id of a try to verify, id of its order)."""
    refunds: Mapping[str, list[tuple[str, str]]]
    """gateway → (id of the inbox row, id of the try whose refunds are to be listed)."""


class WebhookService:
    """The inbox."""

    def __init__(self, units: UnitOfWork, clock: Clock, gateways: Mapping[str, Gateway]) -> None:
        self._units, self._clock, self._gateways = units, clock, gateways

    def receive(self, gateway: str, headers: Mapping[str, str], body: bytes) -> bool:
        """Check the signature on the raw bytes and store the event once; False if it was there already.

        Raises NotFound for a gateway that is off, SignatureInvalid, UnreadableWebhook; nothing is stored then.
        """
        adapter = self._gateways.get(gateway)
        if adapter is None:
            raise NotFound("This gateway is not enabled here.")
        hint = adapter.read_webhook(headers, body)

        def step(tx: Transaction) -> bool:
            is_new = tx.insert_webhook(_inbox_row(gateway, hint, tx.act.at, tx.act.correlation_id))
            if is_new:
                tx.ring("webhooks.process")
            return is_new

        return self._units.run(step, actor=f"gateway:{gateway}")

    def process(self) -> Owed:
        """Chain link: match the inbox with tries and refunds and make their questions due, once per event.

        What nobody can work in is undone by itself and stops no neighbour; a lost database undoes the whole batch.
        """

        def step(tx: Transaction) -> Owed:
            claimed = tx.claim(WebhookEvent, now=tx.act.at, lease_seconds=PROCESS_LEASE_SECONDS, limit=BATCH)
            attempts: dict[str, list[tuple[str, str]]] = {}
            refunds: dict[str, list[tuple[str, str]]] = {}
            for event in tx.many(WebhookEvent, list(claimed)):
                try:
                    with tx.savepoint():
                        attempt = _match(tx, event)
                        tx.flush()
                except (PayflowError, *_BUGS) as error:
                    _poison(event, tx.act.at, error)
                    continue
                if attempt is None:
                    continue
                if event.kind == HintKind.REFUND:
                    refunds.setdefault(event.gateway, []).append((event.id, attempt.id))
                else:
                    attempts.setdefault(event.gateway, []).append((attempt.id, attempt.order_id))
            return Owed(attempts, refunds)

        return self._units.run(step)

    def give_back(self, event_ids: Sequence[str]) -> None:
        """End the claims on some events: whoever was to read their gateway's list could not begin."""
        self._units.run(lambda tx: tx.end_claims(WebhookEvent, event_ids))


def _inbox_row(gateway: str, hint: WebhookHint, at: datetime, correlation_id: str | None) -> WebhookEvent:
    return WebhookEvent(
        id=new_id(),
        gateway=gateway,
        event_key=hint.event_key,
        event_type=hint.event_type[:64],
        kind=hint.kind.value,
        reference=hint.reference,
        transaction_id=hint.transaction_id,
        gateway_refund_id=hint.gateway_refund_id,
        dispute=_dispute_facts(hint.dispute),
        body=hint.raw,
        created_at=at,
        due_at=at,
        tries=0,
        correlation_id=correlation_id,
    )


def _dispute_facts(hint: DisputeHint | None) -> dict[str, Any] | None:
    if hint is None:
        return None
    return {
        "id": hint.gateway_dispute_id,
        "status": hint.status.value,
        "amount_minor": hint.amount.amount_minor if hint.amount else None,
        "currency": hint.amount.currency if hint.amount else None,
        "reason": hint.reason,
    }


def _match(tx: Transaction, event: WebhookEvent) -> PaymentAttempt | None:
    """The try an event asks a question about; None when there is nothing to ask.

    A payment's event is handled here, in the transaction that makes the question due. A refund's event stays due until
    the gateway's list was read (refund_adoption.py).
    """
    if event.kind == HintKind.OTHER or (event.kind == HintKind.DISPUTE and event.dispute is None):
        _handled(event, tx.act.at, "ignored")
        return None
    attempt = _find_attempt(tx, event)
    if attempt is None:
        _unmatched(tx, event)
        return None
    if event.outcome is not None:  # it was looked for before
        close_question(tx, event, by=f"gateway:{event.gateway}", note="Its payment is known now.")
    if event.kind == HintKind.REFUND:
        return attempt
    if event.kind == HintKind.DISPUTE and event.dispute is not None:
        record_dispute(tx, attempt.id, event.dispute)
        _handled(event, tx.act.at, "matched")
        return None
    _handled(event, tx.act.at, "matched")
    same_money = event.transaction_id in (None, attempt.gateway_transaction_id)
    if attempt.captured_minor and same_money:
        return None
    tx.ask(PaymentAttempt, attempt.id, tx.act.at)
    return attempt


def _find_attempt(tx: Transaction, event: WebhookEvent) -> PaymentAttempt | None:
    found = tx.attempt_by_reference(event.reference) if event.reference else None
    if found is None and event.transaction_id:
        found = tx.attempt_by_transaction(event.gateway, event.transaction_id)
    return found if found is not None and found.gateway == event.gateway else None


def _handled(event: WebhookEvent, at: datetime, outcome: str) -> None:
    event.outcome, event.handled_at, event.task = outcome, at, logs.task()
    event.settle_due(None, seen=event.due_at)


def _unmatched(tx: Transaction, event: WebhookEvent) -> None:
    """Nobody knows the reference (yet): keep trying, then park it and ask operators. Never dropped."""
    event.outcome = "unmatched"
    if not _look_again(event, tx.act.at):
        ask_operators(tx, event)
        _log.error(
            "a webhook fits no payment of ours",
            action="webhook.parked",
            webhook_event_id=event.id,
            gateway=event.gateway,
        )


def _poison(event: WebhookEvent, at: datetime, error: Exception) -> None:
    """Nobody can make anything of it: keep trying, for the fault may be ours and mended, then park it."""
    if not _look_again(event, at):
        event.outcome = "parked"
    _log.error(
        "a webhook could not be worked in",
        action="webhook.poison",
        webhook_event_id=event.id,
        gateway=event.gateway,
        error=type(error).__name__,
        tries=event.tries,
    )


def _look_again(event: WebhookEvent, at: datetime) -> bool:
    """Due again after a growing wait; False if that was so often enough, and it is parked."""
    event.tries += 1
    event.due_at, event.claimed_until = INBOX_BACKOFF.next_at(event.tries, at), None
    if event.due_at is None:
        event.parked_at = at
    return event.due_at is not None
