"""One circuit breaker per gateway and process (pybreaker): a gateway that does not answer is left alone for a while.

Only silence counts against a gateway: time-outs, broken connections, 5xx, answers that make no sense. A refusal, a
rate limit or our own full bulkhead is an answer. After the wait one call at a time goes through; if it is answered, all
may go again.

pybreaker counts and moves between the states; the call itself is made outside of it, because pybreaker holds one lock
for as long as a call lasts, which would make eight places one (docs/decisions/0013). Floor 2.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pybreaker

from payflow.core.clock import Clock
from payflow.gateways.calls import HealthListener

FAILURES = 5
"""In a row, then the gateway is left alone."""
WAIT_SECONDS = 30
"""For so long; then one call tries."""


@dataclass(slots=True)
class Passage:
    """One call that is let through. Whoever makes it says whether the gateway was silent."""

    was_silent: bool


class LeftAlone(Exception):
    """The call is not to be made now, but after so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Breaker:
    """Safe to share between threads."""

    def __init__(self, gateway: str, clock: Clock, listener: HealthListener | None) -> None:
        self._gateway, self._clock, self._listener = gateway, clock, listener
        self._storage = _Storage(clock)
        self._circuit = pybreaker.CircuitBreaker(
            fail_max=FAILURES, state_storage=self._storage, throw_new_error_on_trip=False, name=gateway
        )
        self._lock = threading.Lock()
        self._is_trying = False

    @contextlib.contextmanager
    def passing(self) -> Iterator[Passage]:
        """Around one call. Raises LeftAlone instead of letting it begin."""
        is_trial = self._enter()
        passage = Passage(was_silent=is_trial)  # a trial that comes to no end has shown nothing good
        try:
            yield passage
        finally:
            self._leave(passage, is_trial=is_trial)

    def _enter(self) -> bool:
        """Whether the call that begins now is the trial."""
        with self._lock:
            if self._circuit.current_state == pybreaker.STATE_CLOSED:
                return False
            left = (self._storage.until - self._clock.now()).total_seconds()
            if left > 0 or self._is_trying:
                raise LeftAlone(max(1, round(left)))
            self._circuit.half_open()
            self._is_trying = True
            return True

    def _leave(self, passage: Passage, *, is_trial: bool) -> None:
        with self._lock:
            if is_trial:
                self._is_trying = False
            elif self._circuit.current_state != pybreaker.STATE_CLOSED:
                return  # it began before the gateway was left alone
            with contextlib.suppress(_Silent):
                self._circuit.call(_count, passage)
            is_closed = self._circuit.current_state == pybreaker.STATE_CLOSED
            has_changed = is_trial or not is_closed
            until = None if is_closed else self._storage.until
        if has_changed and self._listener is not None:
            self._listener(self._gateway, until)


class _Silent(Exception):
    """Counts against the gateway."""


def _count(passage: Passage) -> None:
    if passage.was_silent:
        raise _Silent


class _Storage(pybreaker.CircuitMemoryStorage):
    """pybreaker's memory; the moment of opening is kept on payflow's clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(pybreaker.STATE_CLOSED)
        self._clock = clock
        self.until = clock.now()

    @property
    def opened_at(self) -> datetime | None:
        return self.until - timedelta(seconds=WAIT_SECONDS)

    @opened_at.setter
    def opened_at(self, _wall: datetime) -> None:
        self.until = self._clock.now() + timedelta(seconds=WAIT_SECONDS)
