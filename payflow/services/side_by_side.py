"""Runs a batch's outside calls on a small thread pool; each result or error stands alone."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from payflow.core.errors import PayflowError

A = TypeVar("A")
R = TypeVar("R")


class SideBySide:
    """A pool for waiting on others. Batches of one run where they stand."""

    def __init__(self, *, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="side-by-side")

    def run(self, call: Callable[[A], R], items: Sequence[A]) -> list[R | PayflowError]:
        """The results in order; a PayflowError takes the place of the result it prevented."""

        def safe(item: A) -> R | PayflowError:
            try:
                return call(item)
            except PayflowError as error:
                return error

        if len(items) < 2:
            return [safe(item) for item in items]
        futures = [self._pool.submit(contextvars.copy_context().run, safe, item) for item in items]
        return [future.result() for future in futures]
