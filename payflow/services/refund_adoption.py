"""What a refund webhook or a reconciliation sets off: the gateway's list of a try's refunds is read, ours follow it.

So a refund made in a gateway's dashboard becomes a row here (`source=gateway`), one that failed after success is
reversed, and events that come late, twice or out of order change nothing: the list is the truth, the webhook a hint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from payflow import logs
from payflow.core.clock import Clock
from payflow.core.errors import PayflowError
from payflow.core.polling import INBOX_BACKOFF
from payflow.core.states import OPEN_REFUND
from payflow.gateways.base import AttemptRef, Gateway, RefundResult
from payflow.gateways.calls import About, concerning
from payflow.models.decision import DecisionAction, DecisionKind
from payflow.models.order import Order
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund, RefundReason, RefundSource
from payflow.models.webhook_event import WebhookEvent
from payflow.services.decisions import close_decision, open_decision
from payflow.services.payment import attempt_ref, lock_attempt
from payflow.services.refund import reserve, unreserved_minor
from payflow.services.refund_answers import apply_refund_result, count_as_made, is_made_by_hand
from payflow.services.side_by_side import SideBySide
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
_ABOUT_SURPLUS = (
    DecisionKind.UNDERPAID,
    DecisionKind.WRONG_CURRENCY,
    DecisionKind.MODE_MISMATCH,
    DecisionKind.REFUND_UNKNOWN,
    DecisionKind.OVERPAID,
    DecisionKind.DUPLICATE_PAYMENT,
)
"""What a person is asked about a try whose money is not the order's."""


class RefundAdoption:
    """Brings refunds in line with a gateway's list."""

    def __init__(
        self, units: UnitOfWork, clock: Clock, gateways: Mapping[str, Gateway], side_by_side: SideBySide
    ) -> None:
        self._units, self._clock, self._gateways, self._side_by_side = units, clock, gateways, side_by_side

    def adopt(self, gateway: str, hints: Sequence[tuple[str, str]]) -> list[str]:
        """Handle refund webhooks: (inbox row id, try id). Ids of the orders concerned.

        An inbox row counts as handled in the transaction that brings the refunds in line; until then it stays due.
        """
        if gateway not in self._gateways:
            return []
        events: dict[str, list[str]] = {}
        for event_id, attempt_id in hints:
            events.setdefault(attempt_id, []).append(event_id)
        return self._read(gateway, events)[0]

    def look(self, gateway: str, attempt_ids: Sequence[str]) -> list[str]:
        """Bring the refunds of tries in line without having been told of any. Ids of the orders concerned.

        Raises the first GatewayError after all others are done.
        """
        order_ids, errors = self._read(gateway, {attempt_id: [] for attempt_id in attempt_ids})
        if errors:
            raise errors[0]
        return order_ids

    def _read(self, gateway: str, events: Mapping[str, Sequence[str]]) -> tuple[list[str], list[PayflowError]]:
        with self._units.reading() as rows:
            refs = [(row.id, row.order_id, attempt_ref(row)) for row in rows.many(PaymentAttempt, list(events))]
        lists = self._side_by_side.run(gateway, partial(_list, self._gateways[gateway]), refs)
        for (attempt_id, _, _), listed in zip(refs, lists, strict=True):
            try:
                step = partial(_bring_in_line, attempt_id=attempt_id, event_ids=events[attempt_id], listed=listed)
                self._units.run(step)
            except PayflowError as error:
                _log.error(
                    "a gateway's refunds could not be stored",
                    action="refund.store_failed",
                    attempt_id=attempt_id,
                    error=error.detail,
                )
                if not error.retryable:
                    self._units.run(partial(_put_off, event_ids=events[attempt_id]))
        return [order_id for _, order_id, _ in refs], [one for one in lists if isinstance(one, PayflowError)]


def _list(gateway: Gateway, one: tuple[str, str, AttemptRef]) -> list[RefundResult]:
    attempt_id, order_id, ref = one
    with concerning(About(order_id, attempt_id)):
        return gateway.list_refunds(ref)


def _bring_in_line(
    tx: Transaction, *, attempt_id: str, event_ids: Sequence[str], listed: list[RefundResult] | PayflowError
) -> None:
    order, payment, attempt = lock_attempt(tx, attempt_id)
    events = tx.many(WebhookEvent, event_ids)
    if isinstance(listed, PayflowError):
        _put_off(tx, event_ids=event_ids)
        return
    ours = [refund for refund in tx.refunds_of(payment.id) if refund.attempt_id == attempt.id]
    foreign = [one for one in _settle_ours(tx, ours, listed) if attempt.captured_minor]
    foreign = [one for one in foreign if not _is_ours_made_by_hand(tx, ours, one)]
    unclear = [one for one in foreign if _may_be_ours(ours, one)]
    for result in foreign:
        if result in unclear:
            continue
        if _source(payment, attempt, result) is None and any(_is_unsent(refund) for refund in ours):
            unclear.append(result)  # if the gateway refuses ours for it, it fits
        else:
            _adopt(tx, order, payment, attempt, result)
    done = [event for event in events if not (unclear and _look_again(event, tx.act.at))]
    for event in done:
        event.handled_at, event.outcome, event.task = tx.act.at, "matched", logs.task()
        event.settle_due(None, seen=event.due_at)
    for result in unclear if done else ():
        if not _may_be_ours(ours, result):  # it was waited for long enough: a person is asked
            _adopt(tx, order, payment, attempt, result)


def _put_off(tx: Transaction, *, event_ids: Sequence[str]) -> None:
    """The list could not be read, or what it holds not be stored: again with growing waits, then it is parked."""
    for event in tx.many(WebhookEvent, event_ids):
        if not _look_again(event, tx.act.at):
            event.parked_at, event.outcome = tx.act.at, "parked"
            _log.error("a refund webhook could not be handled", action="webhook.parked", webhook_event_id=event.id)


def _settle_ours(tx: Transaction, ours: Sequence[Refund], listed: Sequence[RefundResult]) -> list[RefundResult]:
    """Bring our refunds in line; what is listed besides."""
    foreign = []
    for result in listed:
        known = _ours(ours, result)
        if known is None:
            foreign.append(result)
        else:
            refund = tx.lock(Refund, known.id)
            apply_refund_result(tx, refund, result, seen_due=refund.due_at)
    return foreign


def _look_again(event: WebhookEvent, at: datetime) -> bool:
    """Let the list be read once more after a while; False when that was done often enough."""
    event.tries += 1
    event.claimed_until = None
    event.due_at = INBOX_BACKOFF.next_at(event.tries, at)
    return event.due_at is not None


def _ours(refunds: Sequence[Refund], result: RefundResult) -> Refund | None:
    for refund in refunds:
        if result.refund_id == refund.id:
            return refund
        if refund.gateway_refund_id is not None and refund.gateway_refund_id == result.gateway_refund_id:
            return refund
    return None


def _is_ours_made_by_hand(tx: Transaction, ours: Sequence[Refund], result: RefundResult) -> bool:
    """Whether a refund of ours that was not sent yet was made by hand instead; then it counts as made."""
    for refund in ours:
        if _is_unsent(refund) and refund.submitted_at is None and is_made_by_hand(result, refund.amount, ()):
            count_as_made(tx, tx.lock(Refund, refund.id), result)
            return True
    return False


def _may_be_ours(refunds: Sequence[Refund], result: RefundResult) -> bool:
    """Whether a refund of ours whose answer was lost could be this one: then its own probe decides, not we."""
    return any(_is_unsent(refund) and refund.amount == result.amount for refund in refunds)


def _is_unsent(refund: Refund) -> bool:
    """Whether a refund of ours is still to be sent, or its answer is not known."""
    return refund.status in OPEN_REFUND and refund.gateway_refund_id is None


def _source(payment: Payment, attempt: PaymentAttempt, result: RefundResult) -> RefundSource | None:
    """As what it can be recorded: all that came besides the order's money, some of it where the try has brought the
    order none, or some of the order's; None: as nothing."""
    money = result.amount
    if money is None or money.currency != attempt.captured_currency:
        return None
    besides = unreserved_minor(payment, attempt, is_surplus=True)
    if money.amount_minor == besides or (attempt.application != "applied" and money.amount_minor < besides):
        return RefundSource.SURPLUS
    if money.amount_minor <= unreserved_minor(payment, attempt, is_surplus=False):
        return RefundSource.GATEWAY
    return None


def _adopt(tx: Transaction, order: Order, payment: Payment, attempt: PaymentAttempt, result: RefundResult) -> None:
    """Somebody gave money back at the gateway itself: record it as a refund."""
    money, source = result.amount, _source(payment, attempt, result)
    if money is None or not money.amount_minor:
        return
    if source is None:
        open_decision(
            tx,
            DecisionKind.REFUND_UNKNOWN,
            subject_id=attempt.id,
            order=order,
            money=money,
            detail=f"The gateway shows a refund of {money} that we did not ask for and that exceeds what is left here.",
            suggested=DecisionAction.IGNORE,
        )
        _log.error("a refund at the gateway does not fit", action="refund.foreign_does_not_fit", order_id=order.id)
        return
    refund = reserve(
        tx,
        payment,
        order,
        attempt_id=attempt.id,
        amount_minor=money.amount_minor,
        source=source,
        reason=RefundReason.OTHER,
        description="Made at the gateway.",
        requested_by=f"gateway:{attempt.gateway}",
        gateway_refund_id=result.gateway_refund_id,
    )
    if refund.is_surplus and not unreserved_minor(payment, attempt, is_surplus=True):
        for kind in _ABOUT_SURPLUS:
            note = f"{money} was given back at the gateway"
            close_decision(tx, kind, attempt.id, order=order, by=f"gateway:{attempt.gateway}", note=note)
    apply_refund_result(tx, refund, result, seen_due=refund.due_at)
