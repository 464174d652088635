"""A webhook that fits no try of ours and was given up: the operators' question, and what their answer does to it.

It moves no money and touches no order: there is none it is known to belong to.
"""

from __future__ import annotations

from datetime import datetime

from payflow.core.errors import Conflict
from payflow.models.decision import DecisionAction, DecisionKind
from payflow.models.webhook_event import WebhookEvent
from payflow.services.decisions import close_decision, open_decision
from payflow.store.unit_of_work import Transaction

_INSTEAD = {
    DecisionAction.ACCEPT: "It fits no payment here, so there is nothing to take it for: `extend` looks for its "
    "payment again, `ignore` says that it is none of ours.",
    DecisionAction.REFUND: "No money is counted here for it: refund it in the gateway's dashboard, if it must go back; "
    "then ignore this.",
}


def ask_operators(tx: Transaction, event: WebhookEvent) -> None:
    """Put it into the inbox, once; anew if they had it looked for again and that came to nothing."""
    names = f"reference {event.reference}" if event.reference else f"transaction {event.transaction_id}"
    if not event.reference and not event.transaction_id:
        names = "no reference"
    open_decision(
        tx,
        DecisionKind.UNMATCHED_WEBHOOK,
        subject_id=event.id,
        order=None,
        money=None,
        detail=f"{event.gateway} tells of {event.event_type} for {names}, which fits no payment here; "
        f"looked for since {event.created_at:%Y-%m-%d %H:%M} UTC.",
        suggested=DecisionAction.IGNORE,
    )


def close_question(tx: Transaction, event: WebhookEvent, *, by: str, note: str) -> None:
    """Answer what operators were asked about it, if they were and have not."""
    close_decision(tx, DecisionKind.UNMATCHED_WEBHOOK, event.id, order=None, by=by, note=note)


def carry_out(tx: Transaction, event: WebhookEvent, action: DecisionAction) -> None:
    """What an operator has made of it: looked for again, or none of ours. Raises Conflict (`not_applicable`)."""
    if action in _INSTEAD:
        raise Conflict(_INSTEAD[action], code="not_applicable")
    if action is DecisionAction.IGNORE:
        leave(event, tx.act.at)
        return
    event.parked_at, event.tries = None, 0
    event.owe_now(tx.act.at)
    tx.ring("webhooks.process")


def leave(event: WebhookEvent, at: datetime) -> None:
    """None of ours: handled by that."""
    event.parked_at, event.outcome, event.handled_at = None, "ignored", at
    event.due_at = event.claimed_until = None
