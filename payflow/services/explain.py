"""Why an order is where it is, and what happens next and when, in plain words. Reads rows, decides nothing.

Every status has its sentence in a table of its own; a status without one would be a KeyError, and a test looks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from payflow.core.errors import NotFound
from payflow.core.events import timestamp
from payflow.core.money import Money
from payflow.core.states import AttemptStatus, DisputeStatus, OrderStatus, PaymentStatus, RefundStatus
from payflow.models.dispute import Dispute
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Approval, Refund
from payflow.services.access import Caller
from payflow.services.chronicle import Entry, entries
from payflow.services.gateway_calls import AWAITS_INITIATE
from payflow.store.timeline import OrderRecord, read_order
from payflow.store.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Next:
    """What is owed, by whom, and when (None: it waits for somebody)."""

    what: str
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Story:
    """An order's record with its explanation."""

    record: OrderRecord
    why: str
    next: list[Next]
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
        return Story(record, why(record), list(_next(record)), entries(record))


# -- why -----------------------------------------------------------------------------------------------------------


def why(record: OrderRecord) -> str:
    """The order's sentence, then its payment's, its refunds' and its disputes'."""
    said = [ORDER_WORDS[OrderStatus(record.order.status)](record)]
    if record.payment is not None:
        said.append(payment_words(record.payment))
    said += [refund_words(refund) for refund in record.refunds]
    said += [dispute_words(dispute) for dispute in record.disputes]
    return " ".join(said)


def _processing(record: OrderRecord) -> str:
    number = record.order.order_number
    return (
        f"{number} is being paid: {attempt_words(record.attempts[-1])}"
        if record.attempts
        else f"{number} is being paid."
    )


def _failed(record: OrderRecord) -> str:
    reason = (record.payment.error if record.payment else None) or "the gateway gave no reason"
    return f"The last try to pay {record.order.order_number} failed: {reason.rstrip('.')}. The customer may try again."


def _late_money(record: OrderRecord) -> str:
    return " Money came all the same." if record.payment and record.payment.captured_minor else ""


ORDER_WORDS: dict[OrderStatus, Callable[[OrderRecord], str]] = {
    OrderStatus.PENDING: lambda one: f"{one.order.order_number} waits for its customer to start a payment.",
    OrderStatus.PROCESSING: _processing,
    OrderStatus.FAILED: _failed,
    OrderStatus.PAID: lambda one: (
        f"The money for {one.order.order_number} is verified; its bookings are not confirmed yet."
    ),
    OrderStatus.COMPLETED: lambda one: f"{one.order.order_number} is paid and its bookings are confirmed.",
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
    AttemptStatus.UNKNOWN: "a call to {gateway} got no clear answer ({reference}), so it is being asked.",
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


def refund_words(refund: Refund) -> str:
    """How far one refund is."""
    if refund.approval == Approval.WAITING:
        return f"A refund of {refund.amount} waits for approval."
    error = (refund.error or "no reason given").rstrip(".")
    said = _REFUND_WORDS[RefundStatus(refund.status)].format(money=refund.amount, gateway=refund.gateway, error=error)
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


def _next(record: OrderRecord) -> Iterator[Next]:
    for one in record.decisions:
        if one.resolved_at is None:
            yield Next(f"A person decides: {one.detail}", None)
    for attempt in record.attempts:
        if attempt.due_at is not None:
            is_to_open = attempt.status in AWAITS_INITIATE
            verb = "asked for a page" if is_to_open else f"asked about {attempt.reference}"
            yield Next(f"{attempt.gateway} is {verb}.", attempt.due_at)
    for refund in record.refunds:
        yield from _refund_step(refund)
    yield from _order_steps(record)
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


def _order_steps(record: OrderRecord) -> Iterator[Next]:
    order = record.order
    if order.status == OrderStatus.PAID and order.due_at is not None:
        yield Next("The bookings are confirmed.", order.due_at)
    elif order.status in (OrderStatus.REFUNDED, OrderStatus.COMPLETED) and order.due_at is not None:
        yield Next("The bookings whose money went back are released.", order.due_at)
    elif order.status == OrderStatus.PENDING:
        yield Next("The customer starts a payment.", None)
    if order.status in (OrderStatus.PENDING, OrderStatus.PROCESSING):
        yield Next("The order expires unless it is paid.", order.expires_at)
    elif order.status == OrderStatus.FAILED:
        yield Next("The customer may try again until then; else it stays failed.", order.expires_at)


def _refund_step(refund: Refund) -> Iterator[Next]:
    if refund.status not in (RefundStatus.PENDING, RefundStatus.PROCESSING):
        return
    money = refund.amount
    if refund.approval == Approval.WAITING:
        yield Next(f"An administrator approves or rejects the refund of {money}.", None)
    elif refund.needs_attention:
        yield Next(f"The refund of {money} needs attention at {refund.gateway}.", refund.due_at)
    else:
        verb = "asked for" if refund.status == RefundStatus.PENDING else "asked about"
        yield Next(f"{refund.gateway} is {verb} the refund of {money}.", refund.due_at)
