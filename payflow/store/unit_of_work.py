"""One step = one transaction. The only place that commits, and the only one that retries a lost race.

A step is a function of a Transaction; it may be run again from the start when the database breaks a deadlock or drops
the connection, so it must do nothing but database work. After the commit the cache forgets what changed and the bells
of owed work are rung: both for speed only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random

from payflow import bus, failpoints, logs
from payflow.cache import Cache
from payflow.core.act import Act
from payflow.core.clock import Clock
from payflow.core.errors import RuleBroken
from payflow.core.events import Event
from payflow.models.access import User, Workspace
from payflow.models.base import MOVED
from payflow.models.order import Order
from payflow.store.engine import answering, reader
from payflow.store.repositories import Repositories

T = TypeVar("T")
_log = logs.get(__name__)
_RETRYABLE_SQLSTATES = ("40001", "40P01", "55P03")
"""Serialization failure, deadlock, lock not available (PostgreSQL, appendix A)."""


class Bells(Protocol):
    """Rings a wake-up for work that is owed; may lose it, must not raise."""

    def ring(self, kind: str) -> None: ...


class Transaction(Repositories):
    """What a step works with: the rows, the act to sign changes with, and what to do after the commit."""

    def __init__(self, session: Session, act: Act, *, worker: str | None = None) -> None:
        super().__init__(session, worker=worker)
        self.act = act
        self.bells: dict[str, None] = {}
        self.stale: set[str] = set()
        self._people: dict[tuple[str, str], tuple[User | None, Workspace | None]] = {}

    def publish(self, event: Event) -> None:
        """Write an event into this transaction's outbox."""
        user, workspace = self._names(event.user_id, event.workspace_id)
        bus.publish(self.session, event, self.act, user=user, workspace=workspace)
        self.ring("notifications.fan_out")

    def _names(self, user_id: str, workspace_id: str) -> tuple[User | None, Workspace | None]:
        """Who an event speaks of; held on to, since a session forgets rows nobody holds."""
        if (user_id, workspace_id) not in self._people:
            found = (self.session.get(User, user_id), self.session.get(Workspace, workspace_id))
            self._people[user_id, workspace_id] = found
        return self._people[user_id, workspace_id]

    def lock_order(self, order_id: str) -> Order:
        """As Repositories.lock_order; a worker's step is signed with the order's correlation id."""
        order = super().lock_order(order_id)
        if self.act.correlation_id is None and order.correlation_id is not None:
            self.act = replace(self.act, correlation_id=order.correlation_id)
        return order

    def ring(self, kind: str) -> None:
        """Ring this bell once the transaction is committed."""
        self.bells[kind] = None

    def touched(self, *families: str) -> None:
        """Cache families to forget once the transaction is committed."""
        self.stale.update(families)

    def touched_order(self, user_id: str, workspace_id: str) -> None:
        """An order, its payment or a refund of it changed: forget the lists and details that show it."""
        for noun in ("orders", "payments", "refunds", "bookings"):
            self.stale.add(f"{noun}:user:{user_id}")
            self.stale.add(f"{noun}:workspace:{workspace_id}")
            self.stale.add(f"{noun}:all")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part that may fail alone without undoing the rest. Raises RuleBroken if the database refused its rows."""
        try:
            with self.session.begin_nested():
                yield
        except IntegrityError as error:
            raise _refused(error) from None
        except DataError as error:  # a value no column can hold; the driver's words would repeat it
            raise RuleBroken(type(error.orig).__name__).with_traceback(error.__traceback__) from None


class UnitOfWork:
    """Opens transactions on one engine."""

    def __init__(self, engine: Engine, clock: Clock, cache: Cache, bells: Bells, *, worker: str | None = None) -> None:
        self._engine, self._worker = engine, worker
        self._reader = reader(engine)
        self._clock, self._cache, self._bells = clock, cache, bells

    def now(self) -> datetime:
        """The moment a transaction begun now would bear."""
        return self._clock.now()

    def run(self, step: Callable[[Transaction], T], *, actor: str = "system", correlation_id: str | None = None) -> T:
        """Run a step in a transaction and commit it. Raises RuleBroken if a constraint refused it."""
        correlation_id = correlation_id or logs.correlation_id()
        once = Retrying(
            stop=stop_after_attempt(6),
            wait=wait_random(0.005, 0.08),
            retry=retry_if_exception(_lost_a_race),
            before_sleep=_say,
            reraise=True,
        )
        try:
            with answering():
                outcome: tuple[T, Transaction] = once(self._once, step, actor, correlation_id)
        except IntegrityError as error:
            broken = _refused(error)
            _log.error("the database refused a step", action="store.refused", rule=broken.rule, exc_info=broken)
            raise broken from None
        result, done = outcome
        for moved in done.session.info.get(MOVED, ()):
            _log.info("state moved", action="state.moved", **moved)
        if done.stale:
            self._cache.forget(done.stale)
        for kind in done.bells:
            self._bells.ring(kind)
        failpoints.hit_step(step, "after_publish")
        return result

    def _once(self, step: Callable[[Transaction], T], actor: str, correlation_id: str | None) -> tuple[T, Transaction]:
        with Session(self._engine, expire_on_commit=False) as session:
            tx = Transaction(session, Act(self._clock.now(), actor, correlation_id, logs.task()), worker=self._worker)
            result = step(tx)
            failpoints.hit_step(step, "before_commit")
            session.commit()
            failpoints.hit_step(step, "after_commit")
            return result, tx

    @contextmanager
    def reading(self) -> Iterator[Repositories]:
        """Look only; never waits for a writer, never writes."""
        with answering(), Session(self._reader, expire_on_commit=False) as session:
            yield Repositories(session)


def _lost_a_race(error: BaseException) -> bool:
    if isinstance(error, StaleDataError):
        return True
    if not isinstance(error, DBAPIError) or isinstance(error, IntegrityError):
        return False
    sqlstate = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or sqlstate in _RETRYABLE_SQLSTATES or "database is locked" in str(error.orig)


def _refused(error: IntegrityError) -> RuleBroken:
    """The rule's name and the stack; not the driver's own words, to which PostgreSQL adds the row's values."""
    diagnosis = getattr(error.orig, "diag", None)
    rule = getattr(diagnosis, "constraint_name", None) or getattr(diagnosis, "message_primary", None)
    return RuleBroken(rule or str(error.orig)).with_traceback(error.__traceback__)


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.warning("transaction lost a race; running it again", action="store.retry", error=type(error).__name__)
