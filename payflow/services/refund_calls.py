"""The links that move refunds at gateways: submit once, ask until the end is known.

A gateway without idempotent refunds is probed by listing before any second request, and the second request waits until
the first cannot be alive any more; what stays unclear goes to a person ("ask, then send
again" still gives money back twice when the first request is merely slow).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from payflow import logs
from payflow.core.clock import Clock
from payflow.core.errors import (
    Conflict,
    GatewayError,
    GatewayLeftAlone,
    GatewayRejected,
    GatewayUnavailable,
    InvalidInput,
    OutcomeUnknown,
    PayflowError,
)
from payflow.core.money import Money
from payflow.core.polling import GATEWAY_BACKOFF, REFUND_POLL_PLAN, SILENCE, PollPlan
from payflow.core.states import OPEN_REFUND, RefundStatus
from payflow.gateways.base import Gateway, Outcome, RefundRef, RefundRequest, RefundResult
from payflow.gateways.calls import About, concerning
from payflow.models.decision import DecisionAction, DecisionKind
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Approval, Refund
from payflow.services.decisions import open_decision
from payflow.services.gateway_calls import BATCH, CALL_LEASE_SECONDS
from payflow.services.payment import attempt_ref
from payflow.services.refund import complete_refund, fail_refund, freed_by, unreserved_minor
from payflow.services.side_by_side import SideBySide
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
_PLAN = PollPlan(REFUND_POLL_PLAN)
REQUEST_MAY_LIVE_SECONDS = 600
"""A request that timed out here may still arrive there for this long."""
LOOK_FIRST_SECONDS = 60
"""One that waited so long may have been made by hand meanwhile: the gateway's list is read before it is sent."""
MAX_SENDS = 2
DISPUTE_WAIT_HOURS = 6


@dataclass(frozen=True, slots=True)
class _Job:
    refund_id: str
    order_id: str
    attempt_id: str
    request: RefundRequest
    gateway_refund_id: str | None
    others: frozenset[str]
    """The gateway's ids of the try's other refunds."""
    has_waited: bool
    submitted_before: datetime | None
    sends_before: int
    may_send_again: bool
    seen_due: datetime | None
    not_after: datetime
    """The end of the claim: from then on another worker may have it in hand."""

    @property
    def sent_before(self) -> bool:
        return self.submitted_before is not None


class NotFoundYet(PayflowError):
    """The gateway's list does not show the refund; too early to say it never arrived."""

    code = "refund_not_found_yet"


class NotSent(PayflowError):
    """The gateway's list could not be read first, so nothing was sent."""

    code = "refund_not_sent"

    def __init__(self, error: GatewayError) -> None:
        super().__init__(error.detail)
        self.error = error


class ClaimOver(PayflowError):
    """The claim ran out before the request left, so nothing was sent: whoever has the refund now sees to it."""

    code = "refund_claim_over"


class MadeByHand(PayflowError):
    """The gateway's list shows a refund of the same sum that nobody here has sent."""

    code = "refund_made_by_hand"

    def __init__(self, result: RefundResult) -> None:
        super().__init__()
        self.result = result


class RefundCalls:
    """Submission and verification of refunds."""

    def __init__(
        self, units: UnitOfWork, clock: Clock, gateways: Mapping[str, Gateway], side_by_side: SideBySide
    ) -> None:
        self._units, self._clock, self._gateways, self._side_by_side = units, clock, gateways, side_by_side

    def submit(self, gateway: str, ids: Sequence[str] | None = None) -> list[str]:
        """Send refunds that wait for it; ids of the orders concerned."""
        where = (Refund.gateway_refund_id.is_(None), Refund.due_at.is_not(None))
        return self._drive(gateway, ids, where)

    def verify(self, gateway: str, ids: Sequence[str] | None = None) -> list[str]:
        """Ask what became of refunds the gateway has; ids of the orders concerned."""
        return self._drive(gateway, ids, (Refund.gateway_refund_id.is_not(None),))

    def _drive(self, gateway: str, ids: Sequence[str] | None, where: tuple[object, ...]) -> list[str]:
        if gateway not in self._gateways:
            return []

        def claim(tx: Transaction) -> dict[str, datetime | None]:
            return tx.claim(
                Refund,
                now=tx.act.at,
                lease_seconds=CALL_LEASE_SECONDS,
                limit=BATCH,
                ids=ids,
                where=(Refund.gateway == gateway, Refund.status.in_(OPEN_REFUND), *where),
            )

        claimed = self._units.run(claim)
        prepared = [self._units.run(partial(_prepare, refund_id=key, seen_due=seen)) for key, seen in claimed.items()]
        jobs = [job for job in prepared if job is not None]

        def called(job: _Job) -> RefundResult:
            with concerning(About(job.order_id, job.attempt_id, job.refund_id)):
                call = self._ask if job.gateway_refund_id else self._send  # it may have got its id since the claim
                return call(self._gateways[gateway], job)

        answers = self._side_by_side.run(gateway, called, jobs)
        for job, answer in zip(jobs, answers, strict=True):
            try:
                self._units.run(partial(_store, job=job, answer=answer))
            except PayflowError as error:
                _log.error(
                    "a refund's answer could not be stored",
                    action="refund.store_failed",
                    refund_id=job.refund_id,
                    error=error.detail,
                )
        return [job.order_id for job in jobs]

    def _send(self, gateway: Gateway, job: _Job) -> RefundResult:
        """The request; the gateway's list is read first after one whose answer was lost, and after a long wait."""
        may_be_there = job.sent_before and not gateway.refund_is_idempotent
        if not may_be_there and not job.has_waited:
            return self._request(gateway, job)
        try:
            listed = gateway.list_refunds(job.request.attempt)
        except GatewayError as error:
            raise NotSent(error) from error
        ours = [found for found in listed if found.refund_id == job.refund_id]
        if ours:
            return ours[0]
        nobodys = [found for found in listed if is_made_by_hand(found, job.request.amount, job.others)]
        if not may_be_there:
            if nobodys:
                raise MadeByHand(nobodys[0])
            return self._request(gateway, job)
        if job.may_send_again and not nobodys:
            return self._request(gateway, job)
        raise NotFoundYet

    def _request(self, gateway: Gateway, job: _Job) -> RefundResult:
        """Give the money back, unless this worker was frozen and the claim is over: another may have done it since."""
        if not gateway.refund_is_idempotent and self._clock.now() >= job.not_after:
            raise ClaimOver
        return gateway.refund(job.request)

    def _ask(self, gateway: Gateway, job: _Job) -> RefundResult:
        return gateway.fetch_refund(
            RefundRef(
                refund_id=job.refund_id,
                attempt=job.request.attempt,
                amount=job.request.amount,
                gateway_refund_id=job.gateway_refund_id,
            )
        )


def is_made_by_hand(result: RefundResult, amount: Money, known_ids: Collection[str]) -> bool:
    """Whether it is a refund of this sum that bears no sign of us and belongs to none of ours."""
    return (
        result.refund_id is None
        and result.amount == amount
        and result.gateway_refund_id not in known_ids
        and result.outcome is not Outcome.FAILED
    )


def _prepare(tx: Transaction, *, refund_id: str, seen_due: datetime | None) -> _Job | None:
    """Write down that the request is about to be sent."""
    refund = tx.get(Refund, refund_id)
    tx.lock_order(refund.order_id)
    refund = tx.lock(Refund, refund_id)
    if refund.status not in OPEN_REFUND:
        refund.claimed_until = None
        return None
    if refund.submitted_at is None and tx.is_disputed(refund.payment_id):
        # The bank may be taking the same money: nothing is sent before the dispute has ended.
        refund.claimed_until, refund.due_at = None, tx.act.at + timedelta(hours=DISPUTE_WAIT_HOURS)
        return None
    attempt = tx.get(PaymentAttempt, refund.attempt_id)
    submitted_before, sends_before = refund.submitted_at, refund.poll_step
    bound = timedelta(seconds=REQUEST_MAY_LIVE_SECONDS)
    grace_over = submitted_before is not None and tx.act.at >= submitted_before + bound
    may_send_again = grace_over and sends_before < MAX_SENDS
    if submitted_before is None or may_send_again:
        refund.submitted_at = tx.act.at
        refund.poll_step += 1  # until the gateway has accepted it, this counts the requests sent
    return _Job(
        refund_id=refund.id,
        order_id=refund.order_id,
        attempt_id=refund.attempt_id,
        request=RefundRequest(
            refund_id=refund.id,
            attempt=attempt_ref(attempt),
            amount=refund.amount,
            reason=refund.reason,
        ),
        gateway_refund_id=refund.gateway_refund_id,
        others=frozenset(
            one.gateway_refund_id for one in tx.refunds_of(refund.payment_id) if one.gateway_refund_id is not None
        ),
        has_waited=tx.act.at - refund.created_at >= timedelta(seconds=LOOK_FIRST_SECONDS),
        submitted_before=submitted_before,
        sends_before=sends_before,
        may_send_again=may_send_again,
        seen_due=seen_due,
        not_after=refund.claimed_until or tx.act.at,  # none: it was given up, as a dead worker's
    )


def _store(tx: Transaction, *, job: _Job, answer: RefundResult | PayflowError) -> None:
    if isinstance(answer, ClaimOver):
        _log.warning("a claim was over before it was sent", action="refund.claim_over", refund_id=job.refund_id)
        return
    tx.lock_order(job.order_id)
    refund = tx.get(Refund, job.refund_id)
    tx.lock(Payment, refund.payment_id)
    refund = tx.lock(Refund, job.refund_id)
    if refund.status not in OPEN_REFUND:
        refund.claimed_until = None
        return
    refund.updated_at = tx.act.at
    tx.touched_order(refund.user_id, refund.workspace_id)
    if isinstance(answer, RefundResult):
        apply_refund_result(tx, refund, answer, seen_due=job.seen_due)
    elif isinstance(answer, MadeByHand):
        count_as_made(tx, refund, answer.result)
    elif isinstance(answer, NotFoundYet):
        _not_found(tx, refund)
    elif isinstance(answer, InvalidInput) or (isinstance(answer, GatewayRejected) and not job.gateway_refund_id):
        _rejected(tx, refund, answer)
    elif isinstance(answer, GatewayUnavailable) and answer.code == "insufficient_balance":
        _balance_too_low(tx, refund, answer)
    elif isinstance(answer, NotSent | GatewayUnavailable):  # it did not act: the next request counts as this one
        refund.submitted_at, refund.poll_step = job.submitted_before, job.sends_before
        _unanswered(tx, refund, answer.error if isinstance(answer, NotSent) else answer)
    elif isinstance(answer, OutcomeUnknown):
        if refund.status == RefundStatus.PENDING:
            refund.move_to(RefundStatus.PROCESSING, tx.act, why="sent; the answer was lost")
        _unanswered(tx, refund, answer)
    elif isinstance(answer, GatewayError):
        _unanswered(tx, refund, answer)
    else:
        raise answer


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
    bound = timedelta(seconds=REQUEST_MAY_LIVE_SECONDS)
    if refund.gateway_refund_id is None and refund.submitted_at and tx.act.at >= refund.submitted_at + bound:
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


def _rejected(tx: Transaction, refund: Refund, answer: GatewayRejected | InvalidInput) -> None:
    """Refused there, or here because the gateway could never make it: the money is still with us."""
    fail_refund(tx, refund, error=answer.detail)
    _ask_person(tx, refund, DecisionKind.REFUND_FAILED, f"The gateway refused the refund: {answer.detail}")


def _balance_too_low(tx: Transaction, refund: Refund, answer: GatewayUnavailable) -> None:
    """Nothing happened there; it is asked again with growing waits, and a person is told to top the balance up."""
    refund.submitted_at, refund.poll_step, refund.needs_attention = None, 0, True
    refund.unanswered_since = None
    _later(refund, tx.act.at, answer)
    _ask_person(tx, refund, DecisionKind.REFUND_NEEDS_ATTENTION, "The gateway balance is too low; top it up.")


def _not_found(tx: Transaction, refund: Refund) -> None:
    """The list does not show it: wait until a lost request cannot be alive, then send once more or ask a person."""
    refund.claimed_until = refund.unanswered_since = None
    bound = (refund.submitted_at or tx.act.at) + timedelta(seconds=REQUEST_MAY_LIVE_SECONDS)
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


def _unanswered(tx: Transaction, refund: Refund, error: GatewayError) -> None:
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
