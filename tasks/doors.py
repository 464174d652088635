"""How many tasks of one kind may run at once in a worker process: a gateway that hangs leaves threads to the others.

A task that finds its door shut does nothing: its rows stay due. Whoever leaves rings for those that were turned away;
should nobody leave, the sweep rings.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Doors:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: Counter[str] = Counter()
        self._turned_away: dict[str, set[str]] = {}

    @contextmanager
    def through(self, door: str, *, places: int, bell: str) -> Iterator[set[str] | None]:
        """None: the door is shut. Otherwise a set that holds, once inside is left, the bells to ring for others."""
        with self._lock:
            if self._inside[door] >= places:
                self._turned_away.setdefault(door, set()).add(bell)
                may_enter = False
            else:
                self._inside[door] += 1
                may_enter = True
        if not may_enter:
            yield None
            return
        owed: set[str] = set()
        try:
            yield owed
        finally:
            with self._lock:
                self._inside[door] -= 1
                owed |= self._turned_away.pop(door, set())
