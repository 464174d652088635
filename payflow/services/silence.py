"""What a person is asked when a gateway does not tell, or not so that it can be stored, how a try ended."""

from __future__ import annotations

from payflow import logs
from payflow.core.polling import SILENCE
from payflow.core.states import AttemptStatus, OrderStatus
from payflow.models.decision import DecisionAction, DecisionKind
from payflow.models.order import Order
from payflow.models.payment import PaymentAttempt
from payflow.services.decisions import open_decision
from payflow.store.unit_of_work import Transaction

_log = logs.get(__name__)

UNTOLD = (
    DecisionKind.POLL_PLAN_EXHAUSTED,
    DecisionKind.REFERENCE_MISMATCH,
    DecisionKind.MODE_MISMATCH,
    DecisionKind.UNDERPAID,
    DecisionKind.REFUND_UNKNOWN,
)
"""The questions about a try that may be open while nothing is recorded of it."""


def tell_of_end(tx: Transaction, order: Order, attempt: PaymentAttempt) -> None:
    """The poll plan is over and the try's end not known: a person is asked; again, if they had the plan begun anew, or
    if a word that told no end has answered the question and the order still waits."""
    is_news = attempt.is_live
    if is_news:
        attempt.move_to(AttemptStatus.ABANDONED, tx.act, why="the poll plan came to its end")
    if attempt.status not in (AttemptStatus.ABANDONED, AttemptStatus.MISMATCHED):
        return
    for kind in UNTOLD:
        asked = tx.decision_of(kind, attempt.id)
        was_extended = asked is not None and asked.action == DecisionAction.EXTEND
        is_silence = kind is DecisionKind.POLL_PLAN_EXHAUSTED
        is_held = is_silence and asked is not None and order.status == OrderStatus.PROCESSING
        if was_extended or is_held or (is_silence and is_news):
            open_decision(
                tx,
                kind,
                subject_id=attempt.id,
                order=order,
                money=attempt.amount,
                detail="The gateway never told how this try ended; it is no longer asked.",
                suggested=DecisionAction.EXTEND,
            )


def tell_of_silence(tx: Transaction, order: Order, attempt: PaymentAttempt, *, is_off: bool) -> None:
    """A gateway silent for a day is put before a person, again a day after the answer; it is asked on all the same.

    `is_off`: it is switched off, so it cannot even be asked.
    """
    asked = tx.decision_of(DecisionKind.POLL_PLAN_EXHAUSTED, attempt.id)
    since = (asked.resolved_at if asked else None) or order.expires_at
    if tx.act.at < since + SILENCE:
        return
    if is_off:
        detail = f"{attempt.gateway} is switched off, so nobody can ask how this try ended: switch it on, or cancel."
    else:
        detail = f"{attempt.gateway} has not said for a day how this try ended; it is asked on."
    is_news = open_decision(
        tx,
        DecisionKind.POLL_PLAN_EXHAUSTED,
        subject_id=attempt.id,
        order=order,
        money=attempt.amount,
        detail=detail,
        suggested=DecisionAction.EXTEND,
    )
    if is_news:
        attempt.tries = attempt.tries or 1  # its next answer is the one this question waits for, and closes it
        _log.error(
            "a gateway is silent about an order that is over",
            action="orders.gateway_silent",
            order_id=order.id,
            attempt_id=attempt.id,
            gateway=attempt.gateway,
        )


def tell_of_no_use(tx: Transaction, order: Order, attempt: PaymentAttempt, why: str) -> None:
    """A gateway's answers about a try cannot be stored; it is asked on all the same."""
    open_decision(
        tx,
        DecisionKind.POLL_PLAN_EXHAUSTED,
        subject_id=attempt.id,
        order=order,
        money=attempt.amount,
        detail=f"What {attempt.gateway} tells of this try cannot be stored: {why}; it is asked on.",
        suggested=DecisionAction.IGNORE if attempt.captured_minor else DecisionAction.EXTEND,
    )
