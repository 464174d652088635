"""What a slice of a reconciliation writes: one function, one transaction. Calls to gateways are reconciliation.py's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from payflow import logs
from payflow.core.errors import GatewayError, GatewayRejected
from payflow.core.polling import HOUR, MINUTE, Backoff
from payflow.gateways.base import ListedPayment, ListedRefund, ListPage, RefundResult, Verification, Window
from payflow.models.reconciliation import GONE, REPAIR, Difference, ReconciliationSlice, Stage
from payflow.services.differences import decide, is_gone, note, settle
from payflow.services.findings import missing_payments, missing_refunds, payments_found, refunds_found
from payflow.store.unit_of_work import Transaction

_log = logs.get(__name__)

OVERLAP = timedelta(minutes=15)
"""Lists are read so much wider than the slice at each end: clocks differ, and a payment is younger there than here."""
LEASE_SECONDS = 120
RECHECK_AFTER = timedelta(minutes=2)
MOST_PAGES = 5_000
BATCH = 500
"""Slices given up in one transaction."""
LATER = Backoff(base_seconds=MINUTE, cap_seconds=HOUR, max_tries=12)
"""A gateway that does not answer is tried for about eight hours; then the slice is told as incomplete."""
_AFTER = {
    Stage.REFUNDS: Stage.MEND_REFUNDS,
    Stage.MEND_REFUNDS: Stage.PAYMENTS,
    Stage.PAYMENTS: Stage.OURS,
    Stage.OURS: Stage.MEND_PAYMENTS,
    Stage.MEND_PAYMENTS: Stage.RECHECK,
}


class ListDoesNotEnd(GatewayRejected):
    """The gateway's list makes no sense: it does not end, or leaves out too much of what we know."""

    code = "list_does_not_end"


def wider(one: ReconciliationSlice) -> Window:
    return Window(one.since - OVERLAP, one.until + OVERLAP)


def _at(tx: Transaction, seen: ReconciliationSlice) -> ReconciliationSlice | None:
    """The slice, locked; None if somebody else has gone on meanwhile (our lease ran out): then this step was theirs."""
    one = tx.lock(ReconciliationSlice, seen.id)
    is_there = (one.stage, one.cursor, one.pages, one.asked, one.finished_at)
    return one if is_there == (seen.stage, seen.cursor, seen.pages, seen.asked, seen.finished_at) else None


def store_refunds(tx: Transaction, *, seen: ReconciliationSlice, page: ListPage[ListedRefund]) -> None:
    one = _at(tx, seen)
    if one is None:
        return
    rows = [row for row in page.rows if _is_within(row.at, one)]
    one.refunds_listed += len(rows)
    for found in refunds_found(tx, one, rows):
        note(tx, one, found)
    _go_on(one, page.next)


def store_payments(tx: Transaction, *, seen: ReconciliationSlice, page: ListPage[ListedPayment]) -> None:
    one = _at(tx, seen)
    if one is None:
        return
    rows = [row for row in page.rows if _is_within(row.at, one)]
    one.payments_listed += len(rows)
    for found in payments_found(tx, one, rows):
        note(tx, one, found)
    _go_on(one, page.next)


def _is_within(at: datetime, one: ReconciliationSlice) -> bool:
    window = wider(one)
    return window.since <= at < window.until


def _go_on(one: ReconciliationSlice, cursor: str | None) -> None:
    """After a page: the next one, or the next stage."""
    one.pages += 1
    one.tries, one.error = 0, None
    if cursor is not None and (one.pages >= MOST_PAGES or cursor == one.cursor):
        raise ListDoesNotEnd("The list does not end.", gateway=one.gateway, operation="list")
    one.cursor = cursor
    if cursor is None:
        one.stage = _AFTER[Stage(one.stage)].value


def mended(tx: Transaction, *, seen: ReconciliationSlice, difference_ids: Sequence[str]) -> None:
    one = _at(tx, seen)
    if one is None:
        return
    one.tries, one.error = 0, None
    for row in tx.many(Difference, difference_ids):
        row.repaired_at = tx.act.at
    if difference_ids:
        return
    one.stage = _AFTER[Stage(one.stage)].value
    if one.stage == Stage.RECHECK and tx.undecided(one.id, limit=1):
        one.owe_now(tx.act.at + RECHECK_AFTER)  # what was set off needs its time


def store_asked(
    tx: Transaction,
    *,
    seen: ReconciliationSlice,
    answers: dict[str, Verification],
    lists: dict[str, list[RefundResult]],
) -> None:
    one = _at(tx, seen)
    if one is None:
        return
    one.tries, one.error = 0, None
    one.asked += len(answers) + len(lists)
    for found in (*missing_payments(tx, answers), *missing_refunds(tx, lists)):
        note(tx, one, found)
    if not answers and not lists:
        one.stage = _AFTER[Stage.OURS].value


def finish(tx: Transaction, *, seen: ReconciliationSlice) -> None:
    """What was repaired is settled, what was not goes before a person, and what nobody saw any more is gone."""
    one = _at(tx, seen)
    if one is None:
        return
    for row in tx.undecided(one.id):
        if is_gone(tx, row):
            settle(tx, row, by=REPAIR)
        else:
            decide(tx, row)
    for row in tx.not_seen_again(one):
        settle(tx, row, by=GONE)
    one.finished_at, one.is_complete, one.error = tx.act.at, True, None
    one.due_at = one.claimed_until = None
    _log.info(
        "a day at a gateway was compared",
        action="reconciliation.compared",
        gateway=one.gateway,
        slice_id=one.id,
        payments=one.payments_listed,
        refunds=one.refunds_listed,
        found=one.found,
    )


def release(tx: Transaction, *, slice_id: str, keep: bool) -> None:
    """The turn is over and there is more: due again at once, for the next in the queue."""
    one = tx.lock(ReconciliationSlice, slice_id)
    if one.finished_at is not None:
        return
    one.owe_now(tx.act.at)
    if keep:
        one.claimed_until = tx.act.at + timedelta(seconds=LEASE_SECONDS)
    else:
        tx.ring(f"reconciliation.compare:{one.gateway}")


def trouble(tx: Transaction, *, slice_id: str, error: GatewayError, gives_up: bool) -> None:
    """The gateway did not answer, or with nonsense: later again, then told as incomplete. Never "no differences"."""
    one = tx.lock(ReconciliationSlice, slice_id)
    if one.finished_at is not None:
        return
    one.tries += 1
    one.error, one.claimed_until = error.detail[:255], None
    one.due_at = LATER.next_at(one.tries, tx.act.at)
    words = {"gateway": one.gateway, "slice_id": one.id, "code": error.code, "error": error.detail}
    if one.due_at is not None and not gives_up and not isinstance(error, GatewayRejected):
        _log.warning("a list could not be read; later again", action="reconciliation.later", **words)
        return
    one.due_at, one.finished_at = None, tx.act.at
    _log.error("a day at a gateway could not be compared", action="reconciliation.incomplete", **words)


def give_up_switched_off(tx: Transaction, gateways: Sequence[str]) -> None:
    """Slices of a gateway that is none of these end as incomplete: nobody would ever take them."""
    elsewhere = (ReconciliationSlice.gateway.not_in(gateways),)
    owed = tx.claim(ReconciliationSlice, now=tx.act.at, lease_seconds=LEASE_SECONDS, limit=BATCH, where=elsewhere)
    for slice_id in owed:
        error = GatewayRejected("The gateway is switched off.", code="gateway_off")
        trouble(tx, slice_id=slice_id, error=error, gives_up=True)
