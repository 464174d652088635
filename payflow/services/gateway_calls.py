"""The links that talk to gateways: claim what is owed, call with no transaction open, store each answer by itself.

Each link takes a short list of ids, or none to drain what is due. The calls of a batch run side by side; one poison row
does not stop its neighbours. A crash between the call and its record leaves a row that says which question to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, TypeVar

from payflow import logs
from payflow.core.clock import Clock
from payflow.core.errors import (
    AnswerNotUnderstood,
    GatewayError,
    GatewayLeftAlone,
    GatewayRejected,
    GatewayUnavailable,
    InvalidInput,
    OutcomeUnknown,
    PayflowError,
)
from payflow.core.events import EventType
from payflow.core.polling import GATEWAY_BACKOFF, PollPlan
from payflow.core.states import AttemptStatus, OrderStatus, PaymentStatus
from payflow.gateways.base import AttemptRef, Gateway, Initiated, InitiateRequest, LostInitiate, Outcome, Verification
from payflow.gateways.calls import About, concerning
from payflow.models.access import User, Workspace
from payflow.models.order import Order
from payflow.models.payment import Payment, PaymentAttempt
from payflow.services.payment import (
    attempt_ref,
    fall_over,
    initiate_request,
    lock_attempt,
    renew_attempt,
    replaced_by,
)
from payflow.services.routing import Route, Routes
from payflow.services.side_by_side import SideBySide
from payflow.services.silence import tell_of_no_use
from payflow.services.verification import apply_verification, fail_payment
from payflow.store.unit_of_work import Transaction, UnitOfWork

T = TypeVar("T")
_log = logs.get(__name__)

BATCH = 64
CALL_LEASE_SECONDS = 90
"""Longer than a command to a gateway may take: while it runs, nobody else sends it."""
ASK_LEASE_SECONDS = 15
"""A question may be asked twice; after this long somebody else asks."""
GATEWAY_OFF = "gateway_off"
MAX_RENEWALS = 3
TRIES_UNTOLD = 10
"""Answers about one try that cannot be understood or stored, before a person is told (after a quarter of an hour)."""

AWAITS_INITIATE = (AttemptStatus.CREATED, AttemptStatus.UNKNOWN)
AWAITS_VERIFY = (
    AttemptStatus.INITIATED,
    AttemptStatus.FAILED,
    AttemptStatus.ABANDONED,
    AttemptStatus.MISMATCHED,
    AttemptStatus.SUCCEEDED,
)
"""A try whose money is on record is asked about only when a webhook speaks of another transaction on its reference."""


class _Job(NamedTuple):
    """A page to open."""

    attempt_id: str
    request: InitiateRequest
    called_before: bool
    about: About


class GatewayCalls:
    """Initiation, verification and the last question about an order whose time is over."""

    def __init__(
        self,
        units: UnitOfWork,
        clock: Clock,
        gateways: Mapping[str, Gateway],
        routes: Routes,
        side_by_side: SideBySide,
        *,
        plans: Mapping[str, PollPlan],
        public_url: str,
        is_live: bool,
    ) -> None:
        self._units, self._clock, self._gateways, self._side_by_side = units, clock, gateways, side_by_side
        self._routes = routes
        self._plans, self._public_url, self._is_live = plans, public_url, is_live

    # -- initiate ------------------------------------------------------------------------------------------------

    def initiate(self, gateway: str, ids: Sequence[str] | None = None) -> list[str]:
        """Open hosted pages for tries that wait for one; ids of the orders whose events may now go out."""
        if gateway not in self._gateways:
            return []
        jobs = self._units.run(partial(self._claim_initiations, gateway=gateway, ids=ids))
        outcomes = self._side_by_side.run(gateway, partial(self._open_page, self._gateways[gateway]), jobs)
        orders: list[str] = []
        for (attempt_id, _, called_before, _), outcome in zip(jobs, outcomes, strict=True):
            store = partial(self._store_initiate, attempt_id=attempt_id, outcome=outcome, called_before=called_before)
            order_id = self._store(attempt_id, store)
            if order_id:
                orders.append(order_id)
        return orders

    def _claim_initiations(self, tx: Transaction, *, gateway: str, ids: Sequence[str] | None) -> list[_Job]:
        """Claim tries and write down that their call is about to be made."""
        claimed = _claim(tx, gateway, AWAITS_INITIATE, ids, lease_seconds=CALL_LEASE_SECONDS)
        attempts = tx.many(PaymentAttempt, list(claimed))
        orders = {order.id: order for order in tx.many(Order, [attempt.order_id for attempt in attempts])}
        users = {user.id: user for user in tx.many(User, [order.user_id for order in orders.values()])}
        jobs = []
        for attempt in attempts:
            order = orders[attempt.order_id]
            called_before = attempt.called_at is not None
            attempt.called_at = attempt.called_at or tx.act.at
            user, method = users[order.user_id], attempt.payment_method
            request = initiate_request(order, user, attempt.reference, self._public_url, method)
            jobs.append(_Job(attempt.id, request, called_before, About(order.id, attempt.id)))
        return jobs

    def _open_page(self, gateway: Gateway, job: _Job) -> Initiated | LostInitiate | Verification:
        """The call. After a lost one, first what the gateway's nature asks for."""
        with concerning(job.about):
            return self._called(gateway, job.request, job.called_before)

    def _called(
        self, gateway: Gateway, request: InitiateRequest, called_before: bool
    ) -> Initiated | LostInitiate | Verification:
        if called_before and gateway.lost_initiate is LostInitiate.RENEW:
            return LostInitiate.RENEW
        if called_before and gateway.lost_initiate is LostInitiate.PROBE:
            known = gateway.verify(AttemptRef(reference=request.reference, amount=request.amount))
            if known.outcome is Outcome.SUCCEEDED:
                return known  # paid on the page whose address was lost: no second page
            if known.found:
                return LostInitiate.RENEW
        return gateway.initiate(request)

    def _store_initiate(
        self,
        tx: Transaction,
        *,
        attempt_id: str,
        outcome: Initiated | LostInitiate | Verification | BaseException,
        called_before: bool,
    ) -> str | None:
        order, payment, attempt = lock_attempt(tx, attempt_id)
        if attempt.status not in AWAITS_INITIATE:
            attempt.claimed_until = None
            return order.id
        if isinstance(outcome, Initiated):
            _page_is_open(tx, order, payment, attempt, outcome, plan=self._plans[attempt.gateway])
        elif isinstance(outcome, Verification):
            self._store_answer(tx, attempt_id=attempt_id, answer=outcome, seen_due=attempt.due_at)
        elif (route := self._another_way(tx, order, payment, attempt, outcome)) is not None:
            may_exist = called_before or isinstance(outcome, OutcomeUnknown)
            fall_over(tx, order, payment, attempt, route, may_exist=may_exist)
        elif outcome is LostInitiate.RENEW:
            _renew(tx, order, payment, attempt)
        elif isinstance(outcome, GatewayRejected) and outcome.code == "duplicate_reference":
            # Our earlier call did arrive: ask before anything else.
            attempt.move_to(AttemptStatus.UNKNOWN, tx.act, why="the gateway knows this reference already")
            attempt.owe_now(tx.act.at)
        elif isinstance(outcome, GatewayRejected | InvalidInput):
            fail_payment(tx, order, payment, attempt, error=outcome.detail)
            attempt.settle_due(None, seen=attempt.due_at)
        elif isinstance(outcome, GatewayUnavailable):
            if not called_before:
                attempt.called_at = None  # it did not act: the next call is the first one
            _later(attempt, tx.act.at, outcome)
        elif isinstance(outcome, OutcomeUnknown):
            attempt.move_to(AttemptStatus.UNKNOWN, tx.act, why=outcome.detail)
            _later(attempt, tx.act.at, outcome)
        else:
            raise outcome if isinstance(outcome, BaseException) else RuntimeError(str(outcome))
        tx.touched_order(order.user_id, order.workspace_id)
        return order.id

    def _another_way(
        self,
        tx: Transaction,
        order: Order,
        payment: Payment,
        attempt: PaymentAttempt,
        outcome: LostInitiate | BaseException,
    ) -> Route | None:
        """Where to go with a try of our own routing that could not be opened; None: it stays where it is."""
        if attempt.routing is None or not isinstance(outcome, GatewayError | InvalidInput):
            return None
        if isinstance(outcome, GatewayRejected) and outcome.code == "duplicate_reference":
            return None
        is_current = payment.current_attempt_id == attempt.id and order.status == OrderStatus.PROCESSING
        if not is_current or tx.act.at >= order.expires_at:
            return None
        user, workspace = tx.get(User, order.user_id), tx.get(Workspace, order.workspace_id)
        request = initiate_request(order, user, attempt.reference, self._public_url, attempt.payment_method)
        tried = {older.gateway for older in replaced_by(attempt, tx.attempts_of(payment.id))}
        return self._routes.another(tx, workspace, request, tried)

    # -- verify --------------------------------------------------------------------------------------------------

    def verify(self, gateway: str, ids: Sequence[str] | None = None) -> list[str]:
        """Ask what became of tries; ids of the orders that may have steps owed now."""
        if gateway not in self._gateways:
            return []
        claimed, questions = self._units.run(partial(_claim_questions, gateway=gateway, ids=ids))
        answers = self._side_by_side.run(gateway, partial(_ask, self._gateways[gateway]), questions)
        orders: list[str] = []
        for one, answer in zip(questions, answers, strict=True):
            seen, attempt_id = claimed[one.attempt_id], one.attempt_id
            self._store(attempt_id, partial(self._store_answer, attempt_id=attempt_id, answer=answer, seen_due=seen))
            orders.append(one.order_id)
        return orders

    def _store_answer(
        self, tx: Transaction, *, attempt_id: str, answer: Verification | BaseException, seen_due: datetime | None
    ) -> None:
        order, payment, attempt = lock_attempt(tx, attempt_id)
        if isinstance(answer, Verification):
            plan = self._plans[attempt.gateway]
            apply_verification(tx, order, payment, attempt, answer, plan=plan, is_live=self._is_live, seen_due=seen_due)
        elif isinstance(answer, GatewayError):
            _later(attempt, tx.act.at, answer)
            if isinstance(answer, AnswerNotUnderstood) and attempt.tries >= TRIES_UNTOLD:
                tell_of_no_use(tx, order, attempt, answer.detail)
        else:
            raise answer

    # -- expiry --------------------------------------------------------------------------------------------------

    def ask_last(self, attempt: PaymentAttempt) -> None:
        """Ask about a try whose order is over, have its page ended where that is still open, and store what is told.

        Raises what kept it from being told: GatewayError (code `gateway_off` where the gateway is switched off: it is
        as good as down), or what refused to store the answer.
        """
        gateway = self._gateways.get(attempt.gateway)
        if gateway is None:
            raise GatewayUnavailable("The gateway is switched off.", gateway=attempt.gateway, code=GATEWAY_OFF)
        question, ask = _question(attempt, is_over=True), partial(_ask, gateway)
        (answer,) = self._side_by_side.run(attempt.gateway, ask, [question])
        if isinstance(answer, PayflowError):
            raise answer
        self._units.run(partial(self._store_answer, attempt_id=attempt.id, answer=answer, seen_due=attempt.due_at))

    # -- shared --------------------------------------------------------------------------------------------------

    def _store(self, attempt_id: str, step: Callable[[Transaction], T]) -> T | None:
        try:
            return self._units.run(step)
        except PayflowError as error:
            _log.error(
                "an answer could not be stored",
                action="gateway.store_failed",
                attempt_id=attempt_id,
                error=error.detail,
            )
            if isinstance(error, AnswerNotUnderstood) or not error.retryable:
                self._units.run(partial(_put_off, attempt_id=attempt_id, error=error))
            return None


class _Question(NamedTuple):
    """A try to ask about."""

    attempt_id: str
    order_id: str
    ref: AttemptRef
    is_over: bool
    """Its order is not to be paid any more: a page that is still open is ended too, where the gateway can."""


def _question(attempt: PaymentAttempt, *, is_over: bool) -> _Question:
    return _Question(attempt.id, attempt.order_id, attempt_ref(attempt), is_over)


def _ask(gateway: Gateway, one: _Question) -> Verification:
    with concerning(About(one.order_id, one.attempt_id)):
        answer = gateway.verify(one.ref)
        if one.is_over and answer.found and answer.outcome is Outcome.PENDING:
            try:
                gateway.end_page(one.ref)
            except GatewayRejected:
                return gateway.verify(one.ref)  # it came to its end between the two calls
        return answer


def _claim(
    tx: Transaction,
    gateway: str,
    statuses: Sequence[AttemptStatus],
    ids: Sequence[str] | None,
    *,
    lease_seconds: int,
) -> dict[str, datetime | None]:
    where = (PaymentAttempt.gateway == gateway, PaymentAttempt.status.in_(statuses))
    return tx.claim(PaymentAttempt, now=tx.act.at, lease_seconds=lease_seconds, limit=BATCH, ids=ids, where=where)


def _claim_questions(
    tx: Transaction, *, gateway: str, ids: Sequence[str] | None
) -> tuple[dict[str, datetime | None], list[_Question]]:
    """Claim tries to ask about, with their due times as seen."""
    claimed = _claim(tx, gateway, AWAITS_VERIFY, ids, lease_seconds=ASK_LEASE_SECONDS)
    attempts = tx.many(PaymentAttempt, list(claimed))
    return claimed, [_question(attempt, is_over=attempt.status == AttemptStatus.ABANDONED) for attempt in attempts]


def _renew(tx: Transaction, order: Order, payment: Payment, attempt: PaymentAttempt) -> None:
    """Its page is lost: another try stands in for it, a few times; the old one stays due."""
    stood_in_for = replaced_by(attempt, tx.attempts_of(payment.id))
    renewals = sum(older.gateway == attempt.gateway for older in stood_in_for)
    if order.status == OrderStatus.PROCESSING and renewals < MAX_RENEWALS:
        attempt.owe_now(tx.act.at)
        renew_attempt(tx, order, payment, attempt)
    else:
        fail_payment(tx, order, payment, attempt, error="the gateway's page was lost")
        attempt.claimed_until = None


def _page_is_open(
    tx: Transaction, order: Order, payment: Payment, attempt: PaymentAttempt, page: Initiated, *, plan: PollPlan
) -> None:
    attempt.authorization_url, attempt.session_id = page.authorization_url, page.session_id
    attempt.gateway_response, attempt.tries, attempt.poll_step = page.raw or None, 0, 0
    attempt.move_to(AttemptStatus.INITIATED, tx.act, why=f"{attempt.gateway} opened a page")
    attempt.claimed_until, attempt.due_at = None, plan.next_at(0, tx.act.at)
    if payment.status == PaymentStatus.PENDING:
        payment.move_to(PaymentStatus.PROCESSING, tx.act, why="the customer can pay")
    booking_ids = [item.booking_id for item in order.items if item.active]
    tx.publish(
        payment.event(
            EventType.PAYMENT_INITIATED, tx.act, order=order, reference=attempt.reference, booking_ids=booking_ids
        )
    )


def _later(attempt: PaymentAttempt, now: datetime, error: GatewayError) -> None:
    """The gateway could not tell: ask again with growing waits, for as long as the order or the plan lasts."""
    attempt.tries += not isinstance(error, GatewayLeftAlone)
    attempt.claimed_until = None
    attempt.due_at = GATEWAY_BACKOFF.next_at(attempt.tries, now) or now + timedelta(hours=1)
    if error.retry_after_seconds:
        attempt.due_at = max(attempt.due_at, now + timedelta(seconds=min(error.retry_after_seconds, 3_600)))
    attempt.error = error.detail[:255]
    level = _log.error if isinstance(error, GatewayRejected) else _log.warning
    level(
        "gateway gave no answer",
        action="gateway.ask_later",
        attempt_id=attempt.id,
        code=error.code,
        tries=attempt.tries,
    )


def _put_off(tx: Transaction, *, attempt_id: str, error: PayflowError) -> None:
    """What the gateway told of a try cannot be stored: ask again with growing waits, and tell a person in the end."""
    order, _, attempt = lock_attempt(tx, attempt_id)
    attempt.tries += 1
    attempt.error = error.detail[:255]
    attempt.claimed_until = None
    attempt.due_at = GATEWAY_BACKOFF.next_at(attempt.tries, tx.act.at) or tx.act.at + timedelta(hours=1)
    if attempt.tries >= TRIES_UNTOLD:
        tell_of_no_use(tx, order, attempt, error.detail)
