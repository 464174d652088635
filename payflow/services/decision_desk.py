"""What a person makes of money that arrived wrong, late or twice, or fits nothing. Who decided what is on record."""

from __future__ import annotations

from payflow import logs
from payflow.core.errors import Conflict, Forbidden
from payflow.core.states import OPEN_REFUND, OrderStatus, PaymentStatus, RefundStatus
from payflow.models.decision import Decision, DecisionAction, DecisionKind
from payflow.models.order import Order
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.reconciliation import Difference
from payflow.models.refund import Refund, RefundReason, RefundSource
from payflow.models.webhook_event import WebhookEvent
from payflow.services import unmatched
from payflow.services.access import Caller
from payflow.services.decisions import let_expire, told_before
from payflow.services.differences import settle
from payflow.services.payment import ask_now
from payflow.services.refund import reserve, unreserved_minor
from payflow.services.refund_answers import send_again
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
_WITHOUT_ORDER = {
    DecisionAction.ACCEPT: "It fits no order, so there is nothing to take it for; ignore it once you know what it is.",
    DecisionAction.REFUND: "It fits no payment here: refund it in the gateway's dashboard, if it must go back; then "
    "ignore this.",
    DecisionAction.EXTEND: "No try of ours is behind it, so there is nothing to ask: look it up in the gateway's "
    "dashboard, then ignore this.",
}
"""What to do instead about a difference that fits no order."""


class DecisionDesk:
    """Resolves decisions."""

    def __init__(self, units: UnitOfWork) -> None:
        self._units = units

    def resolve(self, caller: Caller, decision_id: str, action: DecisionAction, *, note: str = "") -> None:
        """Carry out a verdict; repeating it is a no-op.

        `refund` gives back the money still held on the try; where the question is about a refund, that refund's sum: it
        is sent again while it is open, and made anew when it has ended. `extend` asks the gateway again, about a try
        from the start of its plan. `accept` takes late money for the order, or a refund made by hand for ours.
        `ignore` closes the question and leaves the money where it is: `refund` may still follow. What fits no order is
        answered by operators, with `ignore`; a webhook also with `extend`, which looks for its payment again.
        Raises NotFound, Forbidden, Conflict (`already_resolved`, `nothing_held`, `not_applicable`).
        """

        def step(tx: Transaction) -> None:
            known = tx.get(Decision, decision_id)
            if known.order_id is None:
                _answer_without_order(tx, caller, known, action, note=note)
                return
            order = tx.lock_order(known.order_id)
            caller.must_administer(user_id=order.user_id, workspace_id=order.workspace_id)
            payment = tx.payment_of(order.id, lock=True)
            decision = tx.lock(Decision, decision_id)
            if decision.resolved_at is not None:
                if decision.action == action:
                    return
                if not _was_let_be(tx, decision) or action is not DecisionAction.REFUND:
                    raise _resolved_already(decision)
                decision.detail = told_before(decision, decision.detail)
            _carry_out(tx, decision, order, payment, action, by=caller.actor)
            _resolve(tx, decision, action, by=caller.actor, note=note)
            let_expire(order)
            tx.touched_order(order.user_id, order.workspace_id)

        self._units.run(step, actor=caller.actor)
        _log.info(
            "decision resolved",
            action="decision.resolved",
            decision_id=decision_id,
            verdict=action.value,
            actor=caller.actor,
        )


def _answer_without_order(
    tx: Transaction, caller: Caller, known: Decision, action: DecisionAction, *, note: str
) -> None:
    """The verdict on what fits no order, its subject locked first, as in the steps that ask."""
    if not caller.all_workspaces:
        raise Forbidden("This needs an operator: it fits no order, so it is no workspace's.")
    is_webhook = known.kind == DecisionKind.UNMATCHED_WEBHOOK
    subject = tx.lock(WebhookEvent if is_webhook else Difference, known.subject_id)
    decision = tx.lock(Decision, known.id)
    if decision.resolved_at is not None:
        if decision.action == action:
            return
        raise _resolved_already(decision)
    if isinstance(subject, WebhookEvent):
        unmatched.carry_out(tx, subject, action)
    elif action is not DecisionAction.IGNORE:
        raise Conflict(_WITHOUT_ORDER[action], code="not_applicable")
    _resolve(tx, decision, action, by=caller.actor, note=note)


def _resolve(tx: Transaction, decision: Decision, action: DecisionAction, *, by: str, note: str) -> None:
    decision.resolved_at, decision.resolved_by = tx.act.at, by
    decision.action, decision.note = action.value, note[:500] or None
    if decision.kind == DecisionKind.RECONCILIATION:
        settle(tx, tx.lock(Difference, decision.subject_id), by=by, note=note)


def _resolved_already(decision: Decision) -> Conflict:
    return Conflict(f"This was resolved already: {decision.action}.", code="already_resolved")


def _carry_out(
    tx: Transaction, decision: Decision, order: Order, payment: Payment | None, action: DecisionAction, *, by: str
) -> None:
    if action is DecisionAction.IGNORE or payment is None:
        return
    if decision.kind == DecisionKind.RECONCILIATION and action is DecisionAction.REFUND:
        # Which of two accounts is right is what is not known: nothing is given back on the strength of it.
        raise Conflict("Refund the payment itself, if it must go back; then ignore this.", code="not_applicable")
    if action is DecisionAction.EXTEND:
        refund = tx.find(Refund, decision.subject_id)
        if refund is not None and refund.status in OPEN_REFUND:
            send_again(tx, tx.lock(Refund, refund.id))
        else:
            _ask_again(tx, _attempt_of(tx, decision, payment))
    elif action is DecisionAction.REFUND:
        _give_back(tx, decision, order, payment, by=by)
    else:
        _accept(tx, decision, order, payment)


def _was_let_be(tx: Transaction, decision: Decision) -> bool:
    """Whether a person, not a gateway's word, has left the money where it was."""
    refund = tx.find(Refund, decision.subject_id)
    is_persons = not (decision.resolved_by or "").startswith("gateway:")
    is_back = refund is not None and refund.status == RefundStatus.COMPLETED
    return decision.action == DecisionAction.IGNORE and is_persons and not is_back


def _accept(tx: Transaction, decision: Decision, order: Order, payment: Payment) -> None:
    """Late money, or late money whose refund failed, is the order's now. One made by hand is ours: that is all."""
    refund = tx.find(Refund, decision.subject_id)
    is_own = refund is not None and not refund.is_surplus
    if decision.kind == DecisionKind.LATE_PAYMENT or (decision.kind == DecisionKind.REFUND_FAILED and is_own):
        _accept_late(tx, order, payment)
    elif decision.suggested_action != DecisionAction.ACCEPT:
        raise Conflict("There is nothing to accept; ignore it to leave all as it is.", code="not_applicable")


def _attempt_of(tx: Transaction, decision: Decision, payment: Payment) -> PaymentAttempt:
    """The try a decision is about, directly, through its refund, or as the one that paid the order."""
    subject_id = decision.subject_id
    if decision.kind == DecisionKind.RECONCILIATION:
        subject_id = tx.get(Difference, subject_id).attempt_id or subject_id
    attempt = tx.find(PaymentAttempt, subject_id)
    refund = None if attempt else tx.find(Refund, subject_id)
    if attempt is None:
        attempt_id = refund.attempt_id if refund else payment.current_attempt_id
        if attempt_id is None:
            raise Conflict("There is no try at a gateway behind this.", code="not_applicable")
        return tx.lock(PaymentAttempt, attempt_id)
    return tx.lock(PaymentAttempt, attempt.id)


def _ask_again(tx: Transaction, attempt: PaymentAttempt) -> None:
    if attempt.captured_minor:
        raise Conflict("The money of this try is on record; there is nothing to ask.", code="not_applicable")
    attempt.poll_step = 0
    ask_now(tx, attempt)


def _give_back(tx: Transaction, decision: Decision, order: Order, payment: Payment, *, by: str) -> None:
    """Money the order counts as its own goes back as a plain refund; what came besides, as a surplus."""
    asked = tx.find(Refund, decision.subject_id)
    if asked is not None and asked.status in OPEN_REFUND:
        send_again(tx, tx.lock(Refund, asked.id))
        return
    if tx.is_disputed(payment.id):
        raise Conflict("The customer's bank disputes this payment; nothing may be given back besides.", code="disputed")
    attempt = _attempt_of(tx, decision, payment)
    is_own = attempt.application == "applied" and decision.kind != DecisionKind.OVERPAID
    is_own = is_own and not (asked is not None and asked.is_surplus)
    amount = unreserved_minor(payment, attempt, is_surplus=not is_own)
    if asked is not None:
        amount = min(amount, asked.amount_minor)
    if amount <= 0:
        raise Conflict("No money is held there; it has been given back or is on its way.", code="nothing_held")
    failed = asked if asked is not None and asked.status == RefundStatus.FAILED else None
    for one in tx.refunds_of(payment.id):
        is_same_surplus = not is_own and one.is_surplus and one.attempt_id == attempt.id and not one.was_made_there
        is_same_booking = failed is not None and failed.booking_id is not None and one.booking_id == failed.booking_id
        if one.status != RefundStatus.FAILED and (is_same_surplus or is_same_booking):
            raise Conflict("This money has a refund already; see to that one.", code="refund_exists")
    reserve(
        tx,
        payment,
        order,
        attempt_id=attempt.id,
        amount_minor=amount,
        source=_source(failed, is_own=is_own),
        reason=_reason(failed, decision),
        description=f"Decided: {decision.kind.replace('_', ' ')}.",
        requested_by=by,
        booking_id=failed.booking_id if failed else None,
    )


def _source(failed: Refund | None, *, is_own: bool) -> RefundSource:
    """What a rule had asked for, and failed, is still the rule's."""
    if not is_own:
        return RefundSource.SURPLUS
    return RefundSource.POLICY if failed is not None and failed.source == RefundSource.POLICY else RefundSource.API


def _reason(failed: Refund | None, decision: Decision) -> RefundReason:
    if failed is not None:
        return RefundReason(failed.reason)
    return RefundReason.DUPLICATE if decision.kind == DecisionKind.DUPLICATE_PAYMENT else RefundReason.OTHER


def _accept_late(tx: Transaction, order: Order, payment: Payment) -> None:
    """Take the late money for the order after all. Confirming its bookings is owed then; that looks at the slots."""
    if order.status not in (OrderStatus.EXPIRED, OrderStatus.CANCELLED):
        raise Conflict(f"The order is {order.status}; there is no late money to take.", code="not_applicable")
    if payment.status != PaymentStatus.SUCCESS or payment.refund_reserved_minor:
        raise Conflict("The money has been given back or is on its way; it cannot be accepted.", code="not_applicable")
    if tx.active_orders_of([item.booking_id for item in order.items]):
        raise Conflict("A booking of this order is on another order now; refund instead.", code="not_applicable")
    for item in order.items:
        item.active = True
    order.move_to(OrderStatus.PAID, tx.act, why="late payment accepted")
    order.due_at = tx.act.at
    tx.ring("bookings.confirm")
