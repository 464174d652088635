"""Runs a batch's outside calls on small thread pools, one for each outside party; each result or error stands alone.

One party that hangs fills its own pool and nobody else's. Whatever one call raises is no answer to that call alone, for
a person to see; a worker's death (BaseException) is nobody's answer and passes.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from payflow import logs
from payflow.core.errors import PayflowError

A = TypeVar("A")
R = TypeVar("R")
_log = logs.get(__name__)


class SideBySide:
    """Pools for waiting on others. Batches of one run where they stand."""

    def __init__(self, *, threads: int) -> None:
        """`threads` for each party."""
        self._threads, self._lock = threads, threading.Lock()
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def run(self, party: str, call: Callable[[A], R], items: Sequence[A]) -> list[R | PayflowError]:
        """The results in order; a PayflowError takes the place of the result it prevented. A bare one stands for a
        mistake of ours: what was asked may have been done. `party` is a gateway's name or another's."""

        if len(items) < 2:
            return [safely(call, item) for item in items]
        return [future.result() for future in [self.begin(party, call, item) for item in items]]

    def begin(self, party: str, call: Callable[[A], R], item: A) -> Future[R | PayflowError]:
        """One call, begun as soon as the party's pool has a thread; for those who do not wait for all of a batch."""

        def safe() -> R | PayflowError:
            return safely(call, item)

        return self._pool(party).submit(contextvars.copy_context().run, safe)

    def _pool(self, party: str) -> ThreadPoolExecutor:
        with self._lock:
            if party not in self._pools:
                self._pools[party] = ThreadPoolExecutor(self._threads, thread_name_prefix=f"side-by-side-{party}")
            return self._pools[party]


def safely(call: Callable[[A], R], item: A) -> R | PayflowError:
    """The call's result, or the error that prevented it: the caller's own, or one that stands for a bug of ours."""
    try:
        return call(item)
    except PayflowError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a mistake in one call must not lose the answers beside it
        _log.error("a call failed inside", action="call.failed", error=type(error).__name__, exc_info=error)
        return PayflowError(f"The call failed inside: {type(error).__name__}.")
