"""Reconciliation: what the gateways list of a window is compared with what we have, and ours with what they list.

A run is cut into slices, a day at a gateway each. A slice is a row with a due time like all owed work: it is taken a
few pages at a time on the gateway's own queue, goes on where it stopped, and never ends as "no differences" when the
gateway did not answer. What a list did not show is asked for by name before anybody is told that it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from payflow import logs
from payflow.core.clock import Clock
from payflow.core.errors import GatewayError, GatewayRejected, InvalidInput, NotFound, PayflowError
from payflow.core.identifiers import new_id
from payflow.gateways.base import (
    Gateway,
    RefundResult,
    Verification,
    Window,
)
from payflow.gateways.calls import About, concerning
from payflow.models.payment import PaymentAttempt
from payflow.models.reconciliation import Difference, ReconciliationRun, ReconciliationSlice, Stage
from payflow.services.access import Caller
from payflow.services.differences import MENDED_BY_LOOKING, settle
from payflow.services.payment import attempt_ref
from payflow.services.reconciliation_steps import (
    LEASE_SECONDS,
    ListDoesNotEnd,
    finish,
    give_up_switched_off,
    mended,
    release,
    store_asked,
    store_payments,
    store_refunds,
    trouble,
    wider,
)
from payflow.services.refund_adoption import RefundAdoption
from payflow.services.side_by_side import SideBySide
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
Answer = TypeVar("Answer")

NIGHT_BEGINS_AFTER = timedelta(hours=2)
"""After midnight (UTC): by then what was paid the day before has been told, or never will be."""
LONGEST_GAP = timedelta(days=7)
"""So far back a nightly run makes up for nights without one."""
AGAIN_AFTER = timedelta(days=8)
"""A day is looked at once more when the poll plans of its tries have ended, for money that came that late."""
LONGEST_WINDOW = timedelta(days=366)
TURN_SECONDS = 15
"""With the one call that may still be under way, below a task's soft limit of a minute."""
STEPS_AT_ONCE = 20
MOST_ASKED = 500
"""Payments and refunds of one slice asked for by name: if more are missing, the list is what is wrong."""
BATCH = 16


class ReconciliationService:
    """Opens runs and takes their slices."""

    def __init__(
        self,
        units: UnitOfWork,
        clock: Clock,
        gateways: Mapping[str, Gateway],
        adoption: RefundAdoption,
        side_by_side: SideBySide,
    ) -> None:
        self._units, self._clock, self._gateways = units, clock, gateways
        self._adoption, self._side_by_side = adoption, side_by_side

    # -- runs ----------------------------------------------------------------------------------------------------

    def open_nightly(self) -> str | None:
        """The run of the night that has begun, unless it is there; its id. Safe to call by two beats, and late.

        It goes on where the last one ended, or where the nights of a week have left a day incomplete or unfinished, and
        looks once more at the days whose poll plans have ended.
        """
        now = self._clock.now()
        until = (now - NIGHT_BEGINS_AFTER).replace(hour=0, minute=0, second=0, microsecond=0)
        night = f"{until:%Y-%m-%d}"

        def step(tx: Transaction) -> str | None:
            give_up_switched_off(tx, list(self._gateways))
            last = tx.last_night()
            if last is not None and (last.night or "") >= night:
                return None
            since = until - timedelta(days=1)
            if last is not None:
                left = tx.first_day_left(f"{until - LONGEST_GAP:%Y-%m-%d}", list(self._gateways))
                since = max(min(last.until, left or last.until), until - LONGEST_GAP)
            windows = [Window(since, until)]
            if last is not None:  # not before the first night: what was there before us is nobody's difference
                again = Window(max(since - AGAIN_AFTER, tx.first_night().since), until - AGAIN_AFTER)
                windows += [again] if again.since < again.until else []
            return self._open(tx, windows, list(self._gateways), night=night)

        return self._units.run(step, actor="beat")

    def open(
        self, *, since: datetime, until: datetime, gateways: Sequence[str] = (), actor: str, in_foreground: bool = False
    ) -> str:
        """A run over a window, at some gateways or all; its id. Raises InvalidInput.

        `in_foreground`: the caller takes the slices itself (`run`); workers leave them alone while it does.
        """
        unknown = [name for name in gateways if name not in self._gateways]
        if unknown:
            raise InvalidInput(f"No such gateway is on: {', '.join(unknown)}.", pointer="/gateway")
        if not since < until:
            raise InvalidInput("The window is empty: it ends where it begins, or before.", pointer="/until")
        if until - since > LONGEST_WINDOW:
            raise InvalidInput(f"At most {LONGEST_WINDOW.days} days at once.", pointer="/since")

        def step(tx: Transaction) -> str | None:
            lease = timedelta(seconds=LEASE_SECONDS if in_foreground else 0)
            return self._open(tx, [Window(since, until)], list(gateways or self._gateways), lease=lease)

        run_id = self._units.run(step, actor=actor)
        assert run_id is not None
        return run_id

    def _open(
        self,
        tx: Transaction,
        windows: Sequence[Window],
        gateways: Sequence[str],
        *,
        night: str | None = None,
        lease: timedelta = timedelta(0),
    ) -> str | None:
        asked = windows[0]
        run = ReconciliationRun(
            id=new_id(), created_at=tx.act.at, since=asked.since, until=asked.until, asked_by=tx.act.actor, night=night
        )
        if not tx.insert_run(run):
            return None
        held_until = tx.act.at + lease if lease else None
        for gateway in gateways:
            for part in (day for window in windows for day in _days(window)):
                new = ReconciliationSlice(run_id=run.id, gateway=gateway, since=part.since, until=part.until)
                new.created_at = new.due_at = tx.act.at
                new.claimed_until = held_until
                tx.add(new)
            tx.ring(f"reconciliation.compare:{gateway}")
        return run.id

    def close(self, caller: Caller, difference_id: str, *, note: str) -> None:
        """A person has looked into it; it does not open again while both sides stay as they are. Repeating is a no-op.

        Raises NotFound for whoever does not see it: one without an order is for those who see every workspace.
        """

        def step(tx: Transaction) -> None:
            known = tx.get(Difference, difference_id)
            if known.order_id is not None:
                order = tx.lock_order(known.order_id)
                caller.must_administer(user_id=order.user_id, workspace_id=order.workspace_id)
            elif not caller.all_workspaces:
                raise NotFound
            row = tx.lock(Difference, difference_id)
            if row.settled_at is None:
                settle(tx, row, by=caller.actor, note=note)

        self._units.run(step, actor=caller.actor)
        _log.info("a difference was closed", action="reconciliation.closed", difference_id=difference_id)

    # -- slices --------------------------------------------------------------------------------------------------

    def compare(self, gateway: str) -> list[str]:
        """Take one due slice of this gateway a few pages on; ids of orders whose refunds were brought in line."""
        if gateway not in self._gateways:
            return []

        def claim(tx: Transaction) -> dict[str, datetime | None]:
            where = (ReconciliationSlice.gateway == gateway,)
            return tx.claim(ReconciliationSlice, now=tx.act.at, lease_seconds=LEASE_SECONDS, limit=1, where=where)

        order_ids: list[str] = []
        for slice_id in self._units.run(claim):
            order_ids += self._turn(slice_id)
        return order_ids

    def run(self, run_id: str) -> None:
        """Take all slices of a run here and now, as far as they go; a gateway in trouble is not waited for.

        Repairs are looked at again by whoever takes the slice two minutes later.
        """
        with self._units.reading() as rows:
            slice_ids = [one.id for one in rows.slices_of(run_id)]
        for slice_id in slice_ids:
            while self._is_going_on(slice_id):
                self._turn(slice_id, in_foreground=True)

    def _is_going_on(self, slice_id: str) -> bool:
        one = self._slice(slice_id)
        return one.finished_at is None and one.due_at is not None and one.due_at <= self._clock.now()

    def _turn(self, slice_id: str, *, in_foreground: bool = False) -> list[str]:
        ends_at = self._clock.now() + timedelta(seconds=TURN_SECONDS)
        order_ids: list[str] = []
        for _ in range(STEPS_AT_ONCE):
            one = self._slice(slice_id)
            try:
                order_ids += self._step(one)
            except GatewayError as error:
                self._units.run(partial(trouble, slice_id=slice_id, error=error, gives_up=in_foreground))
                return order_ids
            if not self._is_going_on(slice_id):
                return order_ids
            if self._clock.now() >= ends_at:
                break
        self._units.run(partial(release, slice_id=slice_id, keep=in_foreground))
        return order_ids

    def _slice(self, slice_id: str) -> ReconciliationSlice:
        with self._units.reading() as rows:
            return rows.get(ReconciliationSlice, slice_id)

    def _step(self, one: ReconciliationSlice) -> list[str]:
        """One page, one batch of questions, or the end."""
        match Stage(one.stage):
            case Stage.REFUNDS:
                refunds = self._gateways[one.gateway].refunds_made(wider(one), one.cursor)
                self._units.run(partial(store_refunds, seen=one, page=refunds))
            case Stage.PAYMENTS:
                payments = self._gateways[one.gateway].payments_made(wider(one), one.cursor)
                self._units.run(partial(store_payments, seen=one, page=payments))
            case Stage.MEND_REFUNDS | Stage.MEND_PAYMENTS:
                return self._mend(one)
            case Stage.OURS:
                self._ask_for_ours(one)
            case Stage.RECHECK:
                self._units.run(partial(finish, seen=one))
        return []

    def _mend(self, one: ReconciliationSlice) -> list[str]:
        """Read the refunds of tries on which they differ, and bring ours in line."""
        by_looking = (Difference.kind.in_(MENDED_BY_LOOKING), Difference.repaired_at.is_(None))
        with self._units.reading() as rows:
            found = [row for row in rows.undecided(one.id, *by_looking, limit=BATCH) if row.attempt_id]
        attempt_ids = sorted({row.attempt_id for row in found if row.attempt_id})
        order_ids = self._adoption.look(one.gateway, attempt_ids) if attempt_ids else []
        self._units.run(partial(mended, seen=one, difference_ids=[row.id for row in found]))
        return order_ids

    def _ask_for_ours(self, one: ReconciliationSlice) -> None:
        """Ask by name for what we count and no list has shown: payments, then refunds."""
        with self._units.reading() as rows:
            tries = rows.unlisted_tries(one, BATCH)
            refunds = [] if tries else rows.unlisted_refunds(one, BATCH)
            owners = {row.id: row for row in rows.many(PaymentAttempt, [refund.attempt_id for refund in refunds])}
        if one.asked + len(tries) + len(refunds) > MOST_ASKED:
            raise ListDoesNotEnd(f"More than {MOST_ASKED} payments and refunds of ours are not in the list.")
        gateway = self._gateways[one.gateway]
        told = self._ask_all(one.gateway, partial(_by_name, gateway), tries)
        listed = self._ask_all(one.gateway, partial(_refunds_of, gateway), [owners[row.attempt_id] for row in refunds])
        answers = {row.id: answer for row, answer in zip(tries, told, strict=True)}
        lists = {row.id: answer for row, answer in zip(refunds, listed, strict=True)}
        self._units.run(partial(store_asked, seen=one, answers=answers, lists=lists))

    def _ask_all(
        self, gateway: str, question: Callable[[PaymentAttempt], Answer], tries: Sequence[PaymentAttempt]
    ) -> list[Answer]:
        """All answers; raises the first error, and then none of them counts."""
        answers: list[Answer] = []
        for answer in self._side_by_side.run(gateway, question, tries):
            if isinstance(answer, PayflowError):
                raise answer
            answers.append(answer)
        return answers


def _days(window: Window) -> list[Window]:
    """Cut at most a day long."""
    parts, since = [], window.since
    while since < window.until:
        until = min(since + timedelta(days=1), window.until)
        parts.append(Window(since, until))
        since = until
    return parts


def _by_name(gateway: Gateway, attempt: PaymentAttempt) -> Verification:
    """What the gateway says of a try. A second payment of a page is on record under a name made of two."""
    ref = attempt_ref(attempt)
    asked = replace(ref, reference=ref.reference.removesuffix(f".{ref.transaction_id}"))
    with concerning(About(attempt.order_id, attempt.id)):
        return gateway.verify(asked)


def _refunds_of(gateway: Gateway, attempt: PaymentAttempt) -> list[RefundResult]:
    """A payment the gateway does not know has no refunds there."""
    try:
        with concerning(About(attempt.order_id, attempt.id)):
            return gateway.list_refunds(attempt_ref(attempt))
    except GatewayRejected as error:
        if error.code != "transaction_not_found":
            raise
        return []
