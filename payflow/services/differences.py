"""What becomes of a difference: on record once, repaired where a mechanism for it exists, else put before a person.

Repairs only set off what exists: a question becomes due (`payments.verify` applies the answer through the one hall of
outcomes), a try's list of refunds is read (`refund_adoption`). Nothing here changes money.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from payflow import logs
from payflow.core.identifiers import new_id
from payflow.core.money import Money
from payflow.core.states import AttemptStatus
from payflow.gateways.base import Outcome
from payflow.models.decision import DecisionAction, DecisionKind
from payflow.models.order import Order
from payflow.models.payment import PaymentAttempt
from payflow.models.reconciliation import GONE, REPAIR, Difference, DifferenceKind, ReconciliationSlice
from payflow.models.refund import Refund
from payflow.services.comparison import has_status
from payflow.services.decisions import open_decision
from payflow.services.gateway_calls import AWAITS_INITIATE
from payflow.store.unit_of_work import Transaction

_log = logs.get(__name__)
MENDED_BY_LOOKING = (
    DifferenceKind.REFUND_UNKNOWN_HERE,
    DifferenceKind.REFUND_STATUS_DIFFERS,
    DifferenceKind.REVERSED_THERE,
)
"""Repaired by reading the try's refunds at its gateway, where there is a try."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference as it was just seen."""

    kind: DifferenceKind
    subject: str
    at: datetime
    there: str
    attempt: PaymentAttempt | None = None
    refund: Refund | None = None
    reference: str | None = None
    transaction_id: str | None = None
    money: Money | None = None

    @property
    def here(self) -> str:
        """How it stands here, in a few words."""
        if self.refund is not None:
            is_amount = self.kind is DifferenceKind.REFUND_AMOUNT_DIFFERS
            return str(self.refund.amount) if is_amount else self.refund.status
        if self.attempt is None:
            return "unknown"
        if self.kind is DifferenceKind.AMOUNT_DIFFERS:
            return str(Money(self.attempt.captured_minor, self.attempt.captured_currency or self.attempt.currency))
        return self.attempt.status


def note(tx: Transaction, one: ReconciliationSlice, found: Finding) -> None:
    """Put a difference on record, once, and see to its repair.

    Seen again it is the same row. One that had gone, or that a person has closed and that is no longer the same, opens
    again.
    """
    row = tx.difference(one.gateway, found.kind, found.subject)
    if one.since <= found.at < one.until:
        one.found += 1
    if row is None:
        row = _new(tx, one, found)
    elif row.settled_at is not None:
        if row.settled_by not in (REPAIR, GONE) and (row.here, row.there, row.money) == _facts(found):
            row.slice_id, row.last_seen_at = one.id, tx.act.at
            return
        row.settled_at = row.settled_by = row.repaired_at = row.decided_at = None
    attempt = found.attempt
    row.order_id, row.attempt_id = (attempt.order_id, attempt.id) if attempt else (None, None)
    row.refund_id = found.refund.id if found.refund else None
    row.reference, row.transaction_id = found.reference, found.transaction_id
    row.here, row.there, _ = _facts(found)
    row.amount_minor, row.currency = (found.money.amount_minor, found.money.currency) if found.money else (None, None)
    row.slice_id, row.last_seen_at = one.id, tx.act.at
    tx.flush()
    if row.decided_at is not None or row.repaired_at is not None:
        return
    _log.warning(
        "a gateway and we do not agree",
        action="reconciliation.difference",
        kind=row.kind,
        gateway=row.gateway,
        difference_id=row.id,
        order_id=row.order_id,
    )
    if found.kind is DifferenceKind.PAID_THERE and attempt is not None:
        _ask(tx, attempt)
        row.repaired_at = tx.act.at
    elif found.kind not in MENDED_BY_LOOKING or attempt is None:
        decide(tx, row)


def _new(tx: Transaction, one: ReconciliationSlice, found: Finding) -> Difference:
    """Its row; the neighbouring day's slice, whose list overlaps, may be writing the same one."""
    here, there, _ = _facts(found)
    row = Difference(
        id=new_id(),
        created_at=tx.act.at,
        gateway=one.gateway,
        kind=found.kind.value,
        subject=found.subject,
        at=found.at,
        here=here,
        there=there,
        run_id=one.run_id,
        slice_id=one.id,
        last_seen_at=tx.act.at,
    )
    tx.insert_difference(row)
    stored = tx.difference(one.gateway, found.kind, found.subject)
    assert stored is not None
    return stored


def _facts(found: Finding) -> tuple[str, str, Money | None]:
    return found.here[:64], found.there[:64], found.money


def _ask(tx: Transaction, attempt: PaymentAttempt) -> None:
    """Make the try's question due, whatever its plan says."""
    tx.ask(PaymentAttempt, attempt.id, tx.act.at)
    verb = "initiate" if attempt.status in AWAITS_INITIATE else "verify"
    tx.ring(f"payments.{verb}:{attempt.gateway}")


def is_gone(tx: Transaction, row: Difference) -> bool:
    """Whether a repair has helped, from what stands here now and what the gateway had shown."""
    match DifferenceKind(row.kind):
        case DifferenceKind.PAID_THERE:
            attempt = tx.find(PaymentAttempt, row.attempt_id or "") if row.attempt_id else None
            if attempt is not None and attempt.status == AttemptStatus.MISMATCHED and not attempt.captured_minor:
                return True  # it is before a person as what it is
            if row.transaction_id is None:
                return attempt is not None and attempt.captured_minor > 0
            counted = tx.tries_listed(row.gateway, [row.transaction_id], [])
            return any(one.captured_minor for one in counted)
        case DifferenceKind.REVERSED_THERE:
            return bool(tx.given_back(tx.many(PaymentAttempt, [row.attempt_id or ""])))
        case DifferenceKind.REFUND_UNKNOWN_HERE:
            return bool(tx.refunds_listed(row.gateway, [row.subject], []))
        case DifferenceKind.REFUND_STATUS_DIFFERS:
            return has_status(tx.get(Refund, row.refund_id or ""), Outcome(row.there))
        case _:
            return False


def settle(tx: Transaction, row: Difference, *, by: str, note: str = "") -> None:
    """It is gone, or a person has seen to it. A question still open about it is answered by that."""
    row.settled_at, row.settled_by, row.note = tx.act.at, by, note[:500] or None
    asked = tx.decision_of(DecisionKind.RECONCILIATION, row.id)
    if asked is not None and asked.resolved_at is None:
        asked.resolved_at, asked.resolved_by = tx.act.at, by if by not in (REPAIR, GONE) else "reconciliation"
        asked.action = DecisionAction.IGNORE.value
        asked.note = row.note or "Looked at again: the difference is gone."


def decide(tx: Transaction, row: Difference) -> None:
    """Put it before a person: as a question about its order; where it fits none, as one to operators."""
    row.decided_at = tx.act.at
    _ask_person(tx, row, tx.get(Order, row.order_id) if row.order_id else None)
    _log.error(
        row.sentence,
        action="reconciliation.needs_person",
        kind=row.kind,
        gateway=row.gateway,
        difference_id=row.id,
        order_id=row.order_id,
    )


def _ask_person(tx: Transaction, row: Difference, order: Order | None) -> None:
    asked = tx.decision_of(DecisionKind.RECONCILIATION, row.id)
    if asked is not None:  # it had gone, or was closed, and is there again, perhaps with another sum or an order
        asked.resolved_at = asked.resolved_by = asked.action = asked.note = None
        asked.created_at, asked.detail = tx.act.at, row.sentence[:500]
        asked.order_id, asked.workspace_id = (order.id, order.workspace_id) if order else (None, None)
        asked.amount_minor, asked.currency = row.amount_minor, row.currency
        return
    open_decision(
        tx,
        DecisionKind.RECONCILIATION,
        subject_id=row.id,
        order=order,
        money=row.money,
        detail=row.sentence,
        suggested=DecisionAction.IGNORE,
    )
