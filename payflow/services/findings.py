"""From a page of a gateway's list, or the answer to a question by name, to the differences in it.

Reads, and writes nothing but the mark that a row of ours, or an open difference, was seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from payflow.core.errors import InvalidInput
from payflow.core.money import Money
from payflow.gateways.base import ListedPayment, ListedRefund, RefundResult, Verification
from payflow.models.payment import PaymentAttempt
from payflow.models.reconciliation import DifferenceKind, ReconciliationSlice
from payflow.models.refund import Refund
from payflow.services.comparison import find_refund, missing_difference, payment_difference, refund_differences
from payflow.services.differences import Finding
from payflow.store.unit_of_work import Transaction

_UNKNOWN = "unknown"


def payments_found(tx: Transaction, one: ReconciliationSlice, listed: Sequence[ListedPayment]) -> list[Finding]:
    """What does not fit in a page of transactions; ours that are in it are marked as seen."""
    told = [row.told for row in listed]
    tries = tx.tries_listed(one.gateway, _words(row.transaction_id for row in told), _words(r.reference for r in told))
    by_transaction = {row.gateway_transaction_id: row for row in tries if row.gateway_transaction_id}
    by_reference = {row.reference: row for row in tries}
    rows = [
        (row, by_transaction.get(row.told.transaction_id) or by_reference.get(row.told.reference)) for row in listed
    ]
    back = tx.given_back(tries)
    refunds = tx.refunds_of_nobody(one.gateway, _words(row.told.transaction_id for row, ours in rows if ours is None))
    found, seen = [], []
    for row, ours in rows:
        if ours is not None and ours.captured_minor and ours.gateway_transaction_id in (None, row.told.transaction_id):
            seen.append(ours.id)
        is_back = ours.id in back if ours else _is_whole(row.told, refunds.get(row.told.transaction_id or "", []))
        kind = payment_difference(row.told, ours, is_given_back=is_back)
        if kind is not None:
            found.append(
                Finding(
                    kind,
                    subject=row.told.transaction_id or row.told.reference,
                    at=row.at,
                    there=row.told.outcome.value,
                    attempt=ours,
                    reference=row.told.reference or None,
                    transaction_id=row.told.transaction_id,
                    money=row.told.amount,
                )
            )
    tx.mark_listed(PaymentAttempt, seen, tx.act.at)
    return found


def _is_whole(told: Verification, refunds: Sequence[Money]) -> bool:
    """Whether refunds there give back all of a payment."""
    paid = told.amount
    return paid is not None and paid.amount_minor <= sum(
        one.amount_minor for one in refunds if one.currency == paid.currency
    )


def refunds_found(tx: Transaction, one: ReconciliationSlice, listed: Sequence[ListedRefund]) -> list[Finding]:
    """What does not fit in a page of refunds; ours that are in it are marked as seen."""
    own_ids = [row.told.refund_id for row in listed if row.told.refund_id and _is_id(row.told.refund_id)]
    known = tx.refunds_listed(one.gateway, _words(row.told.gateway_refund_id for row in listed), own_ids)
    by_theirs, by_ours = {row.gateway_refund_id: row for row in known}, {row.id: row for row in known}
    tries = tx.tries_listed(one.gateway, _words(row.transaction_id for row in listed), [])
    owners = {row.gateway_transaction_id: row for row in tries}
    lost = defaultdict(list)
    for refund in tx.awaits_gateway_id([row.id for row in tries]):
        lost[refund.attempt_id].append(refund.amount)
    found, seen, unclear = [], [], []
    for row in listed:
        ours = by_theirs.get(row.told.gateway_refund_id) or by_ours.get(row.told.refund_id or "")
        owner = tx.find(PaymentAttempt, ours.attempt_id) if ours else owners.get(row.transaction_id)
        told = _in_money(row, owner)
        subject = told.gateway_refund_id or ""
        if ours is not None:
            seen.append(ours.id)
        elif owner is not None and told.amount in lost[owner.id]:
            # One of ours whose answer was lost may be this one: its own question decides. It is none other besides.
            lost[owner.id].remove(told.amount)
            unclear.append(subject)
            continue
        found += [
            Finding(
                kind,
                subject=subject,
                at=row.at,
                there=_there(kind, told),
                attempt=owner,
                refund=ours,
                transaction_id=row.transaction_id,
                money=told.amount or (ours.amount if ours else None),
            )
            for kind in refund_differences(told, ours)
        ]
    tx.mark_listed(Refund, seen, tx.act.at)
    tx.seen_again(one.gateway, DifferenceKind.REFUND_UNKNOWN_HERE, unclear, tx.act.at)
    return found


def _in_money(row: ListedRefund, owner: PaymentAttempt | None) -> RefundResult:
    """With its amount: where the row names no currency, it is that of the payment it gives back."""
    currency = owner.captured_currency if owner else None
    if row.major is None or currency is None:
        return row.told
    try:
        return replace(row.told, amount=Money.from_major(row.major, currency))
    except InvalidInput:  # more decimals than the currency has: no amount
        return row.told


def _there(kind: DifferenceKind, told: RefundResult) -> str:
    """How a refund stands there, in a few words."""
    return str(told.amount) if kind is DifferenceKind.REFUND_AMOUNT_DIFFERS else told.outcome.value


def missing_payments(tx: Transaction, answers: dict[str, Verification]) -> list[Finding]:
    """What became of tries of ours (by id) that no list showed; all are marked as looked after."""
    tries = tx.many(PaymentAttempt, list(answers))
    back = tx.given_back(tries)
    found = []
    for ours in tries:
        told = answers[ours.id]
        kind = missing_difference(told, ours, is_given_back=ours.id in back)
        if kind is not None:
            counted = Money(ours.captured_minor, ours.captured_currency or ours.currency)
            is_there = kind is not DifferenceKind.UNKNOWN_THERE
            found.append(
                Finding(
                    kind,
                    subject=ours.gateway_transaction_id or ours.id,
                    at=ours.created_at,
                    there=told.outcome.value if is_there else _UNKNOWN,
                    attempt=ours,
                    reference=ours.reference,
                    transaction_id=ours.gateway_transaction_id,
                    money=told.amount if is_there and told.amount else counted,
                )
            )
    tx.mark_listed(PaymentAttempt, list(answers), tx.act.at)
    return found


def missing_refunds(tx: Transaction, lists: dict[str, list[RefundResult]]) -> list[Finding]:
    """What became of refunds of ours (by id) that no list showed, each with all its try has at the gateway."""
    found = []
    for ours in tx.many(Refund, list(lists)):
        there = find_refund(lists[ours.id], ours)
        kinds = refund_differences(there, ours) if there else [DifferenceKind.REFUND_UNKNOWN_THERE]
        for kind in kinds:
            owner = tx.get(PaymentAttempt, ours.attempt_id)
            found.append(
                Finding(
                    kind,
                    subject=ours.gateway_refund_id or ours.id,
                    at=ours.created_at,
                    there=_there(kind, there) if there else _UNKNOWN,
                    attempt=owner,
                    refund=ours,
                    reference=owner.reference,
                    transaction_id=owner.gateway_transaction_id,
                    money=there.amount if there and there.amount else ours.amount,
                )
            )
    tx.mark_listed(Refund, list(lists), tx.act.at)
    return found


def _words(names: Iterable[str | None]) -> list[str]:
    return sorted({name for name in names if name})


def _is_id(word: str) -> bool:
    """Whether what a gateway gives back as our id can be one."""
    try:
        return str(UUID(word)) == word
    except ValueError:
        return False
