"""What a gateway's answer about a refund means: its end, another look later, or a question to a person.

Whoever has read one asks here: the links that call, the list that is adopted, the desk. Nothing here calls a gateway.
Order and payment are locked by the caller.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from payflow import logs
from payflow.core.errors import (
    Conflict,
    GatewayError,
    GatewayLeftAlone,
    GatewayRejected,
    GatewayUnavailable,
    InvalidInput,
)
from payflow.core.money import Money
from payflow.core.polling import GATEWAY_BACKOFF, REFUND_POLL_PLAN, SILENCE, PollPlan
from payflow.core.states import OPEN_REFUND, RefundStatus
from payflow.gateways.base import Outcome, RefundResult
from payflow.models.decision import DecisionAction, DecisionKind
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Approval, Refund
from payflow.services.decisions import open_decision
from payflow.services.refund import complete_refund, fail_refund, freed_by, unreserved_minor
from payflow.store.unit_of_work import Transaction

_log = logs.get(__name__)
_PLAN = PollPlan(REFUND_POLL_PLAN)
REQUEST_MAY_LIVE_SECONDS = 600
"""A request that timed out here may still arrive there for this long."""


def may_arrive_until(sent_at: datetime) -> datetime:
    """Until when a request sent then, whose answer was lost, may still arrive at the gateway."""
    return sent_at + timedelta(seconds=REQUEST_MAY_LIVE_SECONDS)


def is_made_by_hand(result: RefundResult, amount: Money, known_ids: Collection[str]) -> bool:
    """Whether it is a refund of this sum that bears no sign of us and belongs to none of ours."""
    return (
        result.refund_id is None
        and result.amount == amount
        and result.gateway_refund_id not in known_ids
        and result.outcome is not Outcome.FAILED
    )


def apply_refund_result(tx: Transaction, refund: Refund, result: RefundResult, *, seen_due: datetime | None) -> None:
    """Store what the gateway said of one refund; repeating it changes nothing."""
    if refund.status not in OPEN_REFUND and result.outcome not in (Outcome.SUCCEEDED, Outcome.FAILED):
        return  # an older word that comes late
    if result.outcome is Outcome.SUCCEEDED and _went_back_otherwise(tx, refund):
        detail = "The gateway had called this refund failed and made it after all; its money went back another way too."
        _ask_person(tx, refund, DecisionKind.REFUND_UNKNOWN, detail, suggested=DecisionAction.IGNORE)
        return
    refund.gateway_refund_id = result.gateway_refund_id or refund.gateway_refund_id
    refund.gateway_response = result.raw or refund.gateway_response
    refund.tries, refund.unanswered_since = 0, None
    if result.outcome is Outcome.SUCCEEDED:
        complete_refund(tx, refund)
        return
    if result.outcome is Outcome.FAILED:
        if refund.status == RefundStatus.FAILED:
            return
        freed = freed_by(tx.lock_order(refund.order_id), refund)
        fail_refund(tx, refund, error=result.message or "the gateway could not give the money back")
        slots = f" {freed} of the order's bookings were released with it: their slots are free." if freed else ""
        detail = f"The refund failed at the gateway; the money is still with us.{slots}"
        _ask_person(tx, refund, DecisionKind.REFUND_FAILED, detail)
        return
    if refund.status == RefundStatus.PENDING:
        refund.move_to(RefundStatus.PROCESSING, tx.act, why="the gateway accepted it")
        refund.poll_step = 0
    if result.needs_attention and not refund.needs_attention:
        _ask_person(tx, refund, DecisionKind.REFUND_NEEDS_ATTENTION, "The gateway needs the customer's bank details.")
    refund.needs_attention = result.needs_attention
    due_at = _PLAN.next_at(refund.poll_step, tx.act.at)
    refund.poll_step += 1
    if due_at is None:
        refund.needs_attention = True
        _ask_person(tx, refund, DecisionKind.REFUND_UNKNOWN, "The gateway has not told the refund's end for a month.")
        due_at = tx.act.at + timedelta(days=7)
    refund.settle_due(due_at, seen=seen_due)


def _went_back_otherwise(tx: Transaction, refund: Refund) -> bool:
    """Whether the money of a refund that had failed is not there for it any more."""
    if refund.status != RefundStatus.FAILED:
        return False
    payment, attempt = tx.get(Payment, refund.payment_id), tx.get(PaymentAttempt, refund.attempt_id)
    return refund.amount_minor > unreserved_minor(payment, attempt, is_surplus=refund.is_surplus)


def send_again(tx: Transaction, refund: Refund) -> None:
    """A person has looked: an open refund is sent now, or asked about where the gateway has it. Raises Conflict while
    it waits for approval."""
    if refund.approval == Approval.WAITING:
        raise Conflict("The refund waits for approval; approve it.", code="not_applicable")
    sent_at = refund.submitted_at
    if refund.gateway_refund_id is None and sent_at and tx.act.at >= may_arrive_until(sent_at):
        refund.submitted_at, refund.poll_step = None, 0
    refund.tries, refund.needs_attention, refund.unanswered_since = 0, False, None
    refund.owe_now(tx.act.at)
    kind = "verify" if refund.gateway_refund_id else "submit"
    tx.ring(f"refunds.{kind}:{refund.gateway}")


def count_as_made(tx: Transaction, refund: Refund, result: RefundResult) -> None:
    """One of the same sum was made by hand before this one was sent: it is this one, and nothing is sent any more.

    Somebody is told, for it may have been meant besides. Order and payment locked by the caller.
    """
    if refund.approval == Approval.WAITING:
        refund.approval, refund.approved_by = Approval.APPROVED.value, f"gateway:{refund.gateway}"
    refund.submitted_at, refund.claimed_until = refund.submitted_at or tx.act.at, None
    detail = "Before it was sent, one of the same sum was made at the gateway by hand. It counts as this one."
    _ask_person(tx, refund, DecisionKind.REFUND_UNKNOWN, detail, suggested=DecisionAction.ACCEPT)
    apply_refund_result(tx, refund, result, seen_due=refund.due_at)


def rejected(tx: Transaction, refund: Refund, answer: GatewayRejected | InvalidInput) -> None:
    """Refused there, or here because the gateway could never make it: the money is still with us."""
    fail_refund(tx, refund, error=answer.detail)
    _ask_person(tx, refund, DecisionKind.REFUND_FAILED, f"The gateway refused the refund: {answer.detail}")


def balance_too_low(tx: Transaction, refund: Refund, answer: GatewayUnavailable) -> None:
    """Nothing happened there; it is asked again with growing waits, and a person is told to top the balance up."""
    refund.submitted_at, refund.poll_step, refund.needs_attention = None, 0, True
    refund.unanswered_since = None
    _later(refund, tx.act.at, answer)
    _ask_person(tx, refund, DecisionKind.REFUND_NEEDS_ATTENTION, "The gateway balance is too low; top it up.")


def not_found(tx: Transaction, refund: Refund) -> None:
    """The list does not show it: wait until a lost request cannot be alive, then send once more or ask a person."""
    refund.claimed_until = refund.unanswered_since = None
    bound = may_arrive_until(refund.submitted_at or tx.act.at)
    if tx.act.at < bound:
        refund.due_at = min(bound, tx.act.at + timedelta(seconds=60))
        return
    refund.needs_attention = True
    refund.due_at = tx.act.at + timedelta(hours=6)
    _ask_person(tx, refund, DecisionKind.REFUND_UNKNOWN, "It is not clear whether the gateway has made this refund.")


def _ask_person(
    tx: Transaction,
    refund: Refund,
    kind: DecisionKind,
    detail: str,
    *,
    suggested: DecisionAction = DecisionAction.REFUND,
) -> None:
    order = tx.lock_order(refund.order_id)
    open_decision(tx, kind, subject_id=refund.id, order=order, money=refund.amount, detail=detail, suggested=suggested)
    _log.error("a refund needs a person", action="refund.needs_person", refund_id=refund.id, kind=kind.value)


def unanswered(tx: Transaction, refund: Refund, error: GatewayError) -> None:
    """Ask later; a gateway silent for a day is put before a person, and asked on all the same."""
    _later(refund, tx.act.at, error)
    refund.unanswered_since = refund.unanswered_since or tx.act.at
    if tx.act.at >= refund.unanswered_since + SILENCE and not refund.needs_attention:
        refund.needs_attention = True
        detail = f"{refund.gateway} has not answered about this refund for a day; it is asked on."
        _ask_person(tx, refund, DecisionKind.REFUND_NEEDS_ATTENTION, detail)


def _later(refund: Refund, now: datetime, error: GatewayError) -> None:
    refund.tries += not isinstance(error, GatewayLeftAlone)
    refund.claimed_until = None
    refund.due_at = GATEWAY_BACKOFF.next_at(refund.tries, now) or now + timedelta(hours=1)
    if error.retry_after_seconds:
        refund.due_at = max(refund.due_at, now + timedelta(seconds=min(error.retry_after_seconds, 3_600)))
    refund.error = error.detail[:255]
    _log.warning(
        "gateway gave no answer", action="gateway.ask_later", refund_id=refund.id, code=error.code, tries=refund.tries
    )
