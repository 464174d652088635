"""The sandbox's time: a clock that is passed in, and one that can be pushed forward by a script.

Nothing else in this package asks the operating system for the time.
"""

import threading
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Whoever can tell the time."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return datetime.now(UTC)


class OffsetClock:
    """Another clock plus an offset that only grows, so that "pay in an hour" need not take one."""

    def __init__(self, base: Clock | None = None) -> None:
        """Start in step with `base`, the machine's clock by default."""
        self._base = base or SystemClock()
        self._offset = timedelta()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the base clock's time moved by the offset."""
        with self._lock:
            return self._base.now() + self._offset

    @property
    def offset_seconds(self) -> float:
        """How far this clock runs ahead of its base, in seconds."""
        with self._lock:
            return self._offset.total_seconds()

    def advance(self, seconds: float) -> None:
        """Push the clock forward by `seconds`; time never runs backwards here."""
        if seconds < 0:
            raise ValueError("the sandbox clock only moves forward")
        with self._lock:
            self._offset += timedelta(seconds=seconds)
