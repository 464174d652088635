"""Why an order is where it is, and what happens next and when, in plain words. Reads rows, decides nothing.

Every status has its sentence in a table of its own; a status without one would be a KeyError, and a test looks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from payflow.core.errors import NotFound
from payflow.core.events import timestamp
from payflow.core.money import Money
from payflow.core.states import (
    OPEN_ORDER,
    OPEN_REFUND,
    AttemptStatus,
    BookingStatus,
    DisputeStatus,
    OrderStatus,
    PaymentStatus,
    RefundStatus,
)
from payflow.models.base import Transition
from payflow.models.decision import DecisionKind
from payflow.models.dispute import Dispute
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Approval, Refund
from payflow.services.access import Caller
from payflow.services.chronicle import Entry, entries
from payflow.store.timeline import OrderRecord, read_order
from payflow.store.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Next:
    """What is owed, by whom, and when (None: it waits for somebody, or nothing more happens)."""

    what: str
    due_at: datetime | None
    is_end: bool = False
    """Nothing more happens, and this is why."""


@dataclass(frozen=True, slots=True)
class Story:
    """An order's record with its explanation."""

    record: OrderRecord
    why: str
    next: list[Next]
    """Never empty."""
    entries: list[Entry]

    def as_json(self) -> dict[str, Any]:
        """`{order_id, order_number, status, why, next: [{what, due_at}], entries: [{at, kind, what, subject_id, actor,
        correlation_id, task}]}`; moments are RFC 3339."""
        order = self.record.order
        return {
            "order_id": order.id,
            "order_number": order.order_number,
            "status": order.status,
            "why": self.why,
            "next": [{"what": one.what, "due_at": timestamp(one.due_at) if one.due_at else None} for one in self.next],
            "entries": [asdict(entry) | {"at": timestamp(entry.at)} for entry in self.entries],
        }


class Explainer:
    """Tells orders' stories to staff."""

    def __init__(self, units: UnitOfWork) -> None:
        self._units = units

    def story(self, caller: Caller, order_id: str) -> Story:
        """Raises NotFound for what the caller cannot see, Forbidden for the customer itself."""
        with self._units.reading() as rows:
            record = read_order(rows, order_id)
        if record is None:
            raise NotFound
        caller.must_administer(user_id=record.order.user_id, workspace_id=record.order.workspace_id)
        return Story(record, why(record), _next(record, self._units.now()), entries(record))


# -- why -----------------------------------------------------------------------------------------------------------


def why(record: OrderRecord) -> str:
    """The order's sentence, then its payment's, its refunds' and its disputes'."""
    said = [ORDER_WORDS[OrderStatus(record.order.status)](record)]
    if record.payment is not None:
        said.append(payment_words(record.payment))
    came_back = {one.entity_id for one in record.transitions if _is_return(one)}
    said += [refund_words(refund, came_back=refund.id in came_back) for refund in record.refunds]
    said += [dispute_words(dispute) for dispute in record.disputes]
    return " ".join(said)


def _processing(record: OrderRecord) -> str:
    number, current_id = record.order.order_number, record.payment.current_attempt_id if record.payment else None
    current = next((one for one in record.attempts if one.id == current_id), None)
    return f"{number} is being paid: {attempt_words(current)}" if current else f"{number} is being paid."


def _failed(record: OrderRecord) -> str:
    reason = (record.payment.error if record.payment else None) or "the gateway gave no reason"
    return f"The last try to pay {record.order.order_number} failed: {reason.rstrip('.')}."


def _paid(record: OrderRecord) -> str:
    order = record.order
    if order.due_at is not None:
        return f"The money for {order.order_number} is verified; its bookings are not confirmed yet."
    taken = next((f" {one.detail}" for one in record.decisions if one.kind == DecisionKind.SLOT_TAKEN), "")
    return f"The money for {order.order_number} is verified, but its bookings will not be confirmed.{taken}"


def _completed(record: OrderRecord) -> str:
    """Bookings taken off before the money came belong to other orders; those released afterwards are told."""
    order = record.order
    cancelled = {
        move.entity_id
        for move in record.transitions
        if move.to_status == BookingStatus.CANCELLED and order.paid_at and move.at >= order.paid_at
    }
    gone = sum(not item.active and item.booking_id in cancelled for item in order.items)
    if not gone:
        return f"{order.order_number} is paid and its bookings are confirmed."
    confirmed = sum(item.active and item.booking.status == BookingStatus.CONFIRMED for item in order.items)
    return f"{order.order_number} is paid. Bookings confirmed: {confirmed}; released again: {gone}."


def _late_money(record: OrderRecord) -> str:
    return " Money came all the same." if record.payment and record.payment.captured_minor else ""


ORDER_WORDS: dict[OrderStatus, Callable[[OrderRecord], str]] = {
    OrderStatus.PENDING: lambda one: f"{one.order.order_number} waits for its customer to start a payment.",
    OrderStatus.PROCESSING: _processing,
    OrderStatus.FAILED: _failed,
    OrderStatus.PAID: _paid,
    OrderStatus.COMPLETED: _completed,
    OrderStatus.REFUNDED: lambda one: f"The money for {one.order.order_number} was given back whole.",
    OrderStatus.EXPIRED: lambda one: f"{one.order.order_number} was not paid in time.{_late_money(one)}",
    OrderStatus.CANCELLED: lambda one: f"{one.order.order_number} was cancelled.{_late_money(one)}",
}

_PAYMENT_WORDS = {
    PaymentStatus.PENDING: "No page to pay {money} on is open yet.",
    PaymentStatus.PROCESSING: "{money} is asked for and has not been received.",
    PaymentStatus.SUCCESS: "{money} was received{back}.",
    PaymentStatus.FAILED: "Its payment of {money} failed; nothing was received.",
    PaymentStatus.CANCELLED: "Its payment of {money} was called off; nothing was received.",
    PaymentStatus.REFUNDED: "{money} was received and given back.",
}


def payment_words(payment: Payment) -> str:
    """Where the money of an order is."""
    back = Money(payment.refunded_minor, payment.currency)
    return _PAYMENT_WORDS[PaymentStatus(payment.status)].format(
        money=payment.amount, back=f", {back} of it given back" if payment.refunded_minor else ""
    )


_ATTEMPT_WORDS = {
    AttemptStatus.CREATED: "{gateway} has not been asked for a page yet ({reference}).",
    AttemptStatus.INITIATED: "the customer has {gateway}'s page ({reference}); {gateway} has not reported an end.",
    AttemptStatus.UNKNOWN: "a call to {gateway} for a page got no clear answer ({reference}); there may be one.",
    AttemptStatus.SUCCEEDED: "{gateway} reports the money of {reference} as received.",
    AttemptStatus.FAILED: "{gateway} declined {reference}.",
    AttemptStatus.ABANDONED: "the try {reference} was given up; {gateway} may still report money for it.",
    AttemptStatus.MISMATCHED: "{gateway} reports money for {reference} that is not what was asked for.",
}


def attempt_words(attempt: PaymentAttempt) -> str:
    """How far one try is, with its last trouble while that lasts."""
    said = _ATTEMPT_WORDS[AttemptStatus(attempt.status)].format(gateway=attempt.gateway, reference=attempt.reference)
    return f"{said} Last trouble: {attempt.error}" if attempt.error and attempt.tries else said


_REFUND_WORDS = {
    RefundStatus.PENDING: "A refund of {money} is recorded; {gateway} has not confirmed it yet.",
    RefundStatus.PROCESSING: "A refund of {money} is with {gateway}, whose last word is outstanding.",
    RefundStatus.COMPLETED: "A refund of {money} is done.",
    RefundStatus.FAILED: "A refund of {money} did not go through ({error}); the money is still here.",
}


def _is_return(move: Transition) -> bool:
    return move.entity == "refund" and move.from_status == RefundStatus.COMPLETED


def refund_words(refund: Refund, *, came_back: bool = False) -> str:
    """How far one refund is; `came_back`: it was done once, and then was not."""
    if refund.approval == Approval.WAITING:
        return f"A refund of {refund.amount} waits for approval."
    error = (refund.error or "no reason given").rstrip(".")
    said = _REFUND_WORDS[RefundStatus(refund.status)].format(money=refund.amount, gateway=refund.gateway, error=error)
    if came_back and refund.status == RefundStatus.FAILED:
        said = f"A refund of {refund.amount} was done and came back ({error}); the money is here again."
    if refund.unanswered_since is not None:
        said += f" {refund.gateway} has not answered about it since {timestamp(refund.unanswered_since)}."
    return f"{said} It needs a person." if refund.needs_attention else said


_DISPUTE_WORDS = {
    DisputeStatus.OPEN: "The customer's bank disputes {money}; nothing can be given back meanwhile.",
    DisputeStatus.WON: "A dispute over {money} was won.",
    DisputeStatus.LOST: "A dispute over {money} was lost; the bank took it back.",
}


def dispute_words(dispute: Dispute) -> str:
    """How a chargeback stands."""
    return _DISPUTE_WORDS[DisputeStatus(dispute.status)].format(money=Money(dispute.amount_minor, dispute.currency))


# -- next ------------------------------------------------------------------------------------------------------------


_ENDS = {
    OrderStatus.PAID: "its bookings will not be confirmed and no money is on its way back",
    OrderStatus.COMPLETED: "it is paid and every step on it has been taken",
    OrderStatus.REFUNDED: "its money was given back",
    OrderStatus.EXPIRED: "it was not paid in time",
    OrderStatus.CANCELLED: "it was cancelled",
}
"""Why nothing more happens. An order that is not paid and not closed always has a next step."""


def _next(record: OrderRecord, now: datetime) -> list[Next]:
    steps = [_overdue(step) if step.due_at and step.due_at < now else step for step in _steps(record, now)]
    if steps:
        return steps
    return [Next(f"Nothing more: {_ENDS[OrderStatus(record.order.status)]}.", None, is_end=True)]


def _overdue(step: Next) -> Next:
    return replace(step, what=f"{step.what} It is due; no worker has finished it yet.")


def _steps(record: OrderRecord, now: datetime) -> Iterator[Next]:
    for one in record.decisions:
        if one.resolved_at is None:
            yield Next(f"A person decides: {one.detail}", None)
    for attempt in record.attempts:
        if attempt.due_at is not None:
            yield Next(_question(attempt), attempt.due_at)
    for refund in record.refunds:
        if refund.status in OPEN_REFUND:
            yield _refund_step(record, refund)
    for dispute in record.disputes:
        if dispute.status == DisputeStatus.OPEN:
            money = Money(dispute.amount_minor, dispute.currency)
            yield Next(f"The bank gives its verdict on the dispute over {money}; {dispute.gateway} tells it.", None)
    yield from _unpaid_steps(record, now) if record.order.status in OPEN_ORDER else _paid_steps(record)
    yield from _telling_steps(record)


def _telling_steps(record: OrderRecord) -> Iterator[Next]:
    for event in record.webhooks:
        yield from _owed(f"{event.gateway}'s {event.event_type} is handled.", event)
    for published in record.events:
        yield from _owed(f"{published.type} is told to its recipients.", published)
    for message in record.messages:
        yield from _owed(f"The {message.channel} message “{message.title}” is sent.", message)
    for delivery in record.deliveries:
        yield from _owed(f"{delivery.type} is sent to webhook endpoint {delivery.endpoint_id}.", delivery)


def _owed(what: str, row: Any) -> Iterator[Next]:
    """A step owed on a row, or one given up that waits for `replay`."""
    if row.due_at is not None:
        yield Next(what, row.due_at)
    elif row.parked_at is not None:
        yield Next(f"Given up after {row.tries} tries until somebody runs `replay {row.id}`: {what}", None)


def _question(attempt: PaymentAttempt) -> str:
    """What its gateway is called for next."""
    if attempt.status == AttemptStatus.CREATED:
        return f"{attempt.gateway} is asked for a page."
    if attempt.status == AttemptStatus.UNKNOWN:
        return f"{attempt.gateway} is called again for {attempt.reference}: for its page, or for what became of it."
    return f"{attempt.gateway} is asked about {attempt.reference}."


def _unpaid_steps(record: OrderRecord, now: datetime) -> Iterator[Next]:
    order, is_over = record.order, now >= record.order.expires_at
    asked = [attempt for attempt in record.attempts if attempt.is_perhaps_paid(now)]
    silent = " and ".join(sorted({one.gateway for one in asked if one.tries} or {one.gateway for one in asked}))
    if is_over and order.tries and silent:
        yield Next(f"The order cannot expire, for {silent} has not answered; {silent} is asked again.", order.due_at)
    elif any(one.resolved_at is None for one in record.decisions):
        yield Next("The order is held until the question is answered: it neither expires nor can be paid again.", None)
    elif order.status == OrderStatus.FAILED and is_over:
        yield Next("It stays failed, for its time to pay is over; its bookings may be put on a new order.", None)
    elif order.status == OrderStatus.FAILED:
        yield Next("The customer may try again until then; else it stays failed.", order.expires_at)
    else:
        if order.status == OrderStatus.PENDING and not is_over:
            yield Next("The customer starts a payment.", None)
        yield Next("The order expires unless it is paid.", order.due_at)


def _paid_steps(record: OrderRecord) -> Iterator[Next]:
    order = record.order
    if order.status == OrderStatus.PAID and order.due_at is not None:
        yield Next("The bookings are confirmed.", order.due_at)
    elif order.status in (OrderStatus.REFUNDED, OrderStatus.COMPLETED) and order.due_at is not None:
        yield Next("The bookings whose money went back are released.", order.due_at)


def _refund_step(record: OrderRecord, refund: Refund) -> Next:
    money = refund.amount
    disputes = {dispute.status for dispute in record.disputes}
    if refund.approval == Approval.WAITING:
        return Next(f"An administrator approves or rejects the refund of {money}.", None)
    if refund.submitted_at is None and DisputeStatus.LOST in disputes:
        return Next(f"The refund of {money} is held: the bank has taken the money back itself.", None)
    if refund.submitted_at is None and DisputeStatus.OPEN in disputes:
        return Next(f"The refund of {money} is held until the dispute ends.", None)
    if refund.needs_attention:
        return Next(f"The refund of {money} needs attention at {refund.gateway}, which is asked again.", refund.due_at)
    verb = "asked for" if refund.status == RefundStatus.PENDING else "asked about"
    return Next(f"{refund.gateway} is {verb} the refund of {money}.", refund.due_at)
