"""The one hall of outcomes: polling, callback and webhook all end in `apply_verification`.

What a gateway answered is compared with what was asked for; money received is recorded as a fact; what the order does
about it is decided afterwards. The caller holds the locks order → payment → attempt. No calls to gateways here.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from payflow import logs
from payflow.core.errors import AnswerNotUnderstood
from payflow.core.events import EventType
from payflow.core.identifiers import new_id
from payflow.core.money import Money
from payflow.core.polling import PollPlan
from payflow.core.states import AttemptStatus, OrderStatus, PaymentStatus
from payflow.gateways.base import Outcome, Verification
from payflow.models.access import Workspace
from payflow.models.decision import DecisionAction, DecisionKind
from payflow.models.order import Order
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import RefundReason, RefundSource
from payflow.services import ledger
from payflow.services.decisions import close_decision, open_decision
from payflow.services.late_money import decide_order, expire_if_late
from payflow.services.refund import reserve
from payflow.services.silence import UNTOLD, tell_of_end
from payflow.store.unit_of_work import Transaction

_log = logs.get(__name__)


def apply_verification(
    tx: Transaction,
    order: Order,
    payment: Payment,
    attempt: PaymentAttempt,
    result: Verification,
    *,
    plan: PollPlan,
    is_live: bool,
    seen_due: datetime | None,
) -> None:
    """Store what the gateway said of one try. Repeating it, late or out of order, changes nothing that is settled.

    `seen_due` is the try's due time when it was claimed: if somebody asked for a look since then, that look stays due.
    """
    if result.found and result.reference not in (attempt.reference, attempt.session_id):
        raise AnswerNotUnderstood("The gateway answered about another reference.", gateway=attempt.gateway)
    attempt.gateway_response = result.raw or attempt.gateway_response
    if attempt.is_live or attempt.tries:
        _answered(tx, order, attempt, "the gateway answers again", kinds=(DecisionKind.POLL_PLAN_EXHAUSTED,))
    attempt.tries = 0
    if attempt.captured_minor:
        _receive_further(tx, order, payment, attempt, result, is_live=is_live)
        attempt.settle_due(None, seen=seen_due)
        return
    if result.outcome in (Outcome.SUCCEEDED, Outcome.REVERSED):
        _receive_money(tx, order, payment, attempt, result, is_live=is_live, seen_due=seen_due)
        _receive_further(tx, order, payment, attempt, result, is_live=is_live)
        return
    if result.outcome is Outcome.FAILED:
        fail_payment(tx, order, payment, attempt, error=result.message or "declined by the gateway")
    elif result.outcome is Outcome.UNKNOWN:
        _log.warning(
            "gateway answered with a status we do not know",
            action="verify.unknown_status",
            gateway=attempt.gateway,
            attempt_id=attempt.id,
        )
    _ask_again(tx, order, attempt, plan, seen_due)


def _ask_again(
    tx: Transaction, order: Order, attempt: PaymentAttempt, plan: PollPlan, seen_due: datetime | None
) -> None:
    """Set the next question's time; at the end of the plan, give an explicit verdict: again, if somebody had the plan
    begun anew."""
    attempt.poll_step += 1
    due_at = plan.next_for(attempt.poll_step, since=attempt.called_at or attempt.created_at, now=tx.act.at)
    attempt.updated_at = tx.act.at
    attempt.settle_due(due_at, seen=seen_due)
    if due_at is None:
        tell_of_end(tx, order, attempt)


def _answered(
    tx: Transaction, order: Order, attempt: PaymentAttempt, note: str, *, kinds: Collection[DecisionKind] = UNTOLD
) -> None:
    """What a person was asked about has been told: its silence, or a word that fitted nothing."""
    if attempt.is_live and not attempt.tries and tx.act.at < order.expires_at:
        return  # nobody was asked yet
    for kind in kinds:
        close_decision(tx, kind, attempt.id, order=order, by=f"gateway:{attempt.gateway}", note=note)


def _receive_further(
    tx: Transaction, order: Order, payment: Payment, attempt: PaymentAttempt, result: Verification, *, is_live: bool
) -> None:
    """Further successful transactions on the reference of a try whose money is on record (Flutterwave lets a page be
    paid twice): each that brought something is a try of its own, and judged like any other. The first that is told of
    money on record without a number is that money."""
    if not attempt.captured_minor:
        return
    for extra in (result, *result.extra_successes):
        is_money = extra.amount is None or extra.amount.amount_minor > 0
        if extra.outcome is not Outcome.SUCCEEDED or extra.transaction_id is None or not is_money:
            continue
        if tx.attempt_by_transaction(attempt.gateway, extra.transaction_id):
            continue
        if attempt.gateway_transaction_id is None:
            attempt.gateway_transaction_id = extra.transaction_id
            continue
        second = PaymentAttempt(
            id=new_id(),
            payment_id=payment.id,
            order_id=order.id,
            gateway=attempt.gateway,
            reference=f"{attempt.reference}.{extra.transaction_id}"[:64],
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            status=AttemptStatus.CREATED.value,
            moves=0,
            tries=0,
            poll_step=0,
            captured_minor=0,
            refund_reserved_minor=0,
            gateway_response=extra.raw or None,
            called_at=attempt.called_at,
            correlation_id=tx.act.correlation_id,
            created_at=tx.act.at,
            updated_at=tx.act.at,
        )
        tx.add(second)
        second.move_to(AttemptStatus.ABANDONED, tx.act, why=f"another transaction on the page of {attempt.reference}")
        tx.flush()
        _receive_money(tx, order, payment, second, extra, is_live=is_live, seen_due=None)


def _receive_money(
    tx: Transaction,
    order: Order,
    payment: Payment,
    attempt: PaymentAttempt,
    result: Verification,
    *,
    is_live: bool,
    seen_due: datetime | None,
) -> None:
    """Money came: whose it is, whether it is what was asked for, and on record whatever it is."""
    if result.transaction_id is not None:
        known = tx.attempt_by_transaction(attempt.gateway, result.transaction_id)
        if known is not None and known.id != attempt.id:
            detail = f"the gateway names transaction {result.transaction_id}, which is the money of {known.reference}"
            _mismatch(tx, order, attempt, _Wrong(DecisionKind.REFERENCE_MISMATCH, None, detail), seen_due=seen_due)
            return
        attempt.gateway_transaction_id = result.transaction_id
    attempt.payment_method = result.payment_method or attempt.payment_method
    attempt.fee_minor = result.fee_minor
    wrong = _wrong(payment, attempt, result, is_live=is_live)
    if wrong is not None:
        _mismatch(tx, order, attempt, wrong, seen_due=seen_due)
    elif result.amount is not None:
        complete_payment(tx, order, payment, attempt, result.amount, seen_due=seen_due)


class _Wrong(NamedTuple):
    """What keeps money from being applied."""

    kind: DecisionKind
    money: Money | None
    """What came and is with us now; None: nothing, or nobody knows how much."""
    detail: str


def _wrong(payment: Payment, attempt: PaymentAttempt, result: Verification, *, is_live: bool) -> _Wrong | None:
    money = result.amount
    if result.is_test is not None and result.is_test == is_live:
        word = "test" if result.is_test else "live"
        real = None if result.is_test else money
        return _Wrong(DecisionKind.MODE_MISMATCH, real, f"the gateway reports {word}-mode money")
    if result.outcome is Outcome.REVERSED:
        # Some or all of it went back before we asked: a person must look, nobody may call it failed.
        detail = "paid, and given back in part or whole at the gateway before we first asked"
        return _Wrong(DecisionKind.REFUND_UNKNOWN, money, detail)
    if money is None:
        return _Wrong(DecisionKind.UNDERPAID, None, "the gateway says paid but not how much")
    if money.currency != attempt.currency:
        return _Wrong(DecisionKind.WRONG_CURRENCY, money, f"{attempt.amount} was asked for, {money} came")
    is_surplus = payment.captured_minor > 0 and money.amount_minor > 0  # beside the order's money any sum is
    if money < attempt.amount and not is_surplus:
        return _Wrong(DecisionKind.UNDERPAID, money, f"{attempt.amount} was asked for, only {money} came")
    return None


def complete_payment(
    tx: Transaction,
    order: Order,
    payment: Payment,
    attempt: PaymentAttempt,
    money: Money,
    *,
    seen_due: datetime | None,
) -> None:
    """The money asked for is there: at least the attempt's amount, in its currency. `seen_due`: as for an answer."""
    if attempt.captured_minor:
        return
    _answered(tx, order, attempt, "the gateway says paid")
    expire_if_late(tx, order)
    is_first = payment.captured_minor == 0
    attempt.captured_minor, attempt.captured_currency = money.amount_minor, money.currency
    attempt.application = "applied" if is_first else "surplus"
    attempt.error = None
    attempt.move_to(AttemptStatus.SUCCEEDED, tx.act, why="the gateway says paid")
    attempt.settle_due(None, seen=seen_due)
    if attempt.fee_minor:
        ledger.post_fee(tx, attempt, Money(attempt.fee_minor, money.currency))
    tx.touched_order(order.user_id, order.workspace_id)
    if not is_first:
        ledger.post_excess(tx, attempt, money)
        _give_back_surplus(tx, order, payment, attempt, money, DecisionKind.DUPLICATE_PAYMENT)
        return
    was_current = payment.current_attempt_id == attempt.id
    payment.captured_minor = payment.amount_minor
    payment.gateway, payment.current_attempt_id = attempt.gateway, attempt.id
    payment.payment_method = attempt.payment_method or payment.payment_method
    payment.paid_at, payment.error = tx.act.at, None
    payment.move_to(PaymentStatus.SUCCESS, tx.act, why=f"{attempt.gateway} says {attempt.reference} is paid")
    order.payment_method, order.payment_reference = payment.payment_method, attempt.reference
    order.paid_at = tx.act.at
    ledger.post_capture(tx, attempt, workspace_id=order.workspace_id)
    excess = money - attempt.amount
    if excess.amount_minor:
        ledger.post_excess(tx, attempt, excess)
    decide_order(tx, order, payment, attempt)
    booking_ids = [item.booking_id for item in order.items]
    tx.publish(
        payment.event(
            EventType.PAYMENT_COMPLETED,
            tx.act,
            order=order,
            reference=attempt.reference,
            booking_ids=booking_ids,
            order_status=order.status,
        )
    )
    if excess.amount_minor:
        _give_back_surplus(tx, order, payment, attempt, excess, DecisionKind.OVERPAID)
    if not was_current:  # the current try is the only one that can be live
        _close_other_attempts(tx, payment, attempt)


def _give_back_surplus(
    tx: Transaction, order: Order, payment: Payment, attempt: PaymentAttempt, money: Money, kind: DecisionKind
) -> None:
    """Money that was never the order's: give it back, or ask, as the workspace wants."""
    data = {"excess_amount": money.amount_minor, "cause": kind.value}
    tx.publish(
        payment.event(
            EventType.PAYMENT_EXCESS, tx.act, order=order, reference=attempt.reference, booking_ids=[], **data
        )
    )
    asks = tx.get(Workspace, order.workspace_id).excess_payment == "decide"
    open_decision(
        tx,
        kind,
        subject_id=attempt.id,
        order=order,
        money=money,
        detail=f"{money} came in beyond what the order costs.",
        suggested=DecisionAction.REFUND,
        decided=None if asks else DecisionAction.REFUND,
    )
    if asks:
        return
    reserve(
        tx,
        payment,
        order,
        attempt_id=attempt.id,
        amount_minor=money.amount_minor,
        source=RefundSource.SURPLUS,
        reason=RefundReason.DUPLICATE if kind is DecisionKind.DUPLICATE_PAYMENT else RefundReason.OTHER,
        description="Paid twice." if kind is DecisionKind.DUPLICATE_PAYMENT else "Paid more than the order costs.",
    )


def _close_other_attempts(tx: Transaction, payment: Payment, paid: PaymentAttempt) -> None:
    """A payment that is paid has no live try any more; the others stay due, since a second success must be seen."""
    for other in tx.attempts_of(payment.id):
        if other.id != paid.id and other.is_live:
            other.move_to(AttemptStatus.ABANDONED, tx.act, why="another try of this payment was paid")


def fail_payment(tx: Transaction, order: Order, payment: Payment, attempt: PaymentAttempt, *, error: str) -> None:
    """This try brought no money. Its payment and order fail with it only while it is their current try."""
    if attempt.status in (AttemptStatus.SUCCEEDED, AttemptStatus.MISMATCHED, AttemptStatus.FAILED):
        return
    _answered(tx, order, attempt, f"the try failed: {error}")
    was_live = attempt.is_live
    attempt.error = error[:255]
    attempt.move_to(AttemptStatus.FAILED, tx.act, why=error)
    if not was_live or payment.current_attempt_id != attempt.id:
        return
    if payment.status not in (PaymentStatus.PENDING, PaymentStatus.PROCESSING):
        return
    payment.error = error[:255]
    if order.status == OrderStatus.PROCESSING and tx.act.at >= order.expires_at:
        tx.ring("orders.expire")  # its time is over: it expires instead, whoever comes to tell of the try first
        return
    payment.move_to(PaymentStatus.FAILED, tx.act, why=error)
    if order.status == OrderStatus.PROCESSING:
        order.move_to(OrderStatus.FAILED, tx.act, why=error)
        order.settle_due(None, seen=order.due_at)
    tx.publish(
        payment.event(
            EventType.PAYMENT_FAILED,
            tx.act,
            order=order,
            reference=attempt.reference,
            booking_ids=[item.booking_id for item in order.items if item.active],
        )
    )
    tx.touched_order(order.user_id, order.workspace_id)


def _mismatch(
    tx: Transaction, order: Order, attempt: PaymentAttempt, wrong: _Wrong, *, seen_due: datetime | None
) -> None:
    """Not what was asked for: what came is recorded, not applied, and a person is asked; again, if they had it asked
    again."""
    _answered(tx, order, attempt, wrong.detail, kinds=[kind for kind in UNTOLD if kind is not wrong.kind])
    attempt.error = wrong.detail[:255]
    if wrong.money is not None and wrong.money.amount_minor > 0:
        attempt.captured_minor, attempt.captured_currency = wrong.money.amount_minor, wrong.money.currency
        ledger.post_unapplied(tx, attempt, wrong.money)
    attempt.move_to(AttemptStatus.MISMATCHED, tx.act, why=wrong.detail)
    attempt.settle_due(None, seen=seen_due)
    open_decision(
        tx,
        wrong.kind,
        subject_id=attempt.id,
        order=order,
        money=wrong.money or attempt.amount,
        detail=wrong.detail,
        suggested=DecisionAction.REFUND if attempt.captured_minor else DecisionAction.EXTEND,
    )
    tx.touched_order(order.user_id, order.workspace_id)
    _log.error(
        "money does not match",
        action="verify.mismatch",
        kind=wrong.kind.value,
        attempt_id=attempt.id,
        order_id=order.id,
    )
