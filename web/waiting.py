"""Waiting for a worker within a request: a poll with a deadline, said openly by `Prefer: wait`. No bare sleep."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.25


class Waiter:
    """Looks again and again until something is so or the time is over."""

    def __init__(self, seconds: float) -> None:
        self._deadline = monotonic() + seconds
        self._never = threading.Event()

    def until(self, is_so: Callable[[], bool]) -> bool:
        """Whether it became so in time; looks at least once."""
        pause = FIRST_PAUSE_SECONDS
        while not is_so():
            left = self._deadline - monotonic()
            if left <= 0:
                return False
            self._never.wait(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
        return True
