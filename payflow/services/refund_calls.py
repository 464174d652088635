"""The links that move refunds at gateways: submit once, ask until the end is known.

A gateway without idempotent refunds is probed by listing before any second request, and the second request waits until
the first cannot be alive any more; what stays unclear goes to a person ("ask, then send
again" still gives money back twice when the first request is merely slow).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from payflow import logs
from payflow.core.clock import Clock
from payflow.core.errors import (
    GatewayError,
    GatewayRejected,
    GatewayUnavailable,
    InvalidInput,
    OutcomeUnknown,
    PayflowError,
)
from payflow.core.states import OPEN_REFUND, RefundStatus
from payflow.gateways.base import Gateway, RefundRef, RefundRequest, RefundResult
from payflow.gateways.calls import About, concerning
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund
from payflow.services.gateway_calls import BATCH, CALL_LEASE_SECONDS
from payflow.services.payment import attempt_ref
from payflow.services.refund_answers import (
    apply_refund_result,
    balance_too_low,
    count_as_made,
    is_made_by_hand,
    may_arrive_until,
    not_found,
    rejected,
    unanswered,
)
from payflow.services.side_by_side import SideBySide
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
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
                if not error.retryable:
                    self._units.run(partial(_put_off, job=job, error=error))
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
    grace_over = submitted_before is not None and tx.act.at >= may_arrive_until(submitted_before)
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
    if refund.claimed_until != job.not_after and not isinstance(answer, RefundResult):
        # Another has had it in hand since: what came to nothing here says nothing of what it has done.
        _log.warning("an answer came after its claim", action="refund.claim_over", refund_id=job.refund_id)
        return
    refund.updated_at = tx.act.at
    tx.touched_order(refund.user_id, refund.workspace_id)
    if isinstance(answer, RefundResult):
        apply_refund_result(tx, refund, answer, seen_due=job.seen_due)
    elif isinstance(answer, MadeByHand):
        count_as_made(tx, refund, answer.result)
    elif isinstance(answer, NotFoundYet):
        not_found(tx, refund)
    elif isinstance(answer, InvalidInput) or (isinstance(answer, GatewayRejected) and not job.gateway_refund_id):
        rejected(tx, refund, answer)
    elif isinstance(answer, GatewayUnavailable) and answer.code == "insufficient_balance":
        balance_too_low(tx, refund, answer)
    elif isinstance(answer, NotSent | GatewayUnavailable):  # it did not act: the next request counts as this one
        refund.submitted_at, refund.poll_step = job.submitted_before, job.sends_before
        unanswered(tx, refund, answer.error if isinstance(answer, NotSent) else answer)
    elif isinstance(answer, GatewayError) and not isinstance(answer, OutcomeUnknown):
        unanswered(tx, refund, answer)
    else:  # its answer was lost, or a mistake of ours has broken the call: it may have arrived
        if refund.status == RefundStatus.PENDING:
            refund.move_to(RefundStatus.PROCESSING, tx.act, why="sent; the answer was lost")
        unanswered(tx, refund, answer if isinstance(answer, OutcomeUnknown) else OutcomeUnknown(answer.detail))


def _put_off(tx: Transaction, *, job: _Job, error: PayflowError) -> None:
    """What the gateway told of a refund cannot be stored: ask with growing waits, and tell a person after a day."""
    tx.lock_order(job.order_id)
    refund = tx.lock(Refund, job.refund_id)
    if refund.status in OPEN_REFUND:
        unanswered(tx, refund, OutcomeUnknown(error.detail))
