"""Rings the bells: the one place outside tasks/ that knows Celery, and only to send a task's name after a commit.

A bell carries no work: its task looks for what is due. At most one per kind is outstanding (a mark in the cache that
the task takes away before it looks), so a flood of commits costs few messages. A bell that is lost is rung again by the
sweep, so a failure here is a log line, never an error; a broker that does not answer is left alone for a moment.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from payflow import failpoints, logs
from payflow.cache import Cache

_log = logs.get(__name__)
_muted: contextvars.ContextVar[frozenset[str]] = contextvars.ContextVar("muted_bells", default=frozenset())
BELL_SECONDS = 5
"""After this long an outstanding bell counts as lost."""
BROKER_REST_SECONDS = 2.0


@contextmanager
def muted(kinds: Iterable[str]) -> Iterator[None]:
    """Inside, these bells are not rung: the chain that is running takes their steps itself."""
    token = _muted.set(_muted.get() | frozenset(kinds))
    try:
        yield
    finally:
        _muted.reset(token)


class CeleryBells:
    """Sends wake-ups by task name, from a thread of its own: a slow or frozen broker never holds up a request.

    A kind is `noun.verb` or `noun.verb:gateway`. Kinds rung again before the thread has come round are one bell.
    """

    def __init__(self, app: Celery, cache: Cache) -> None:
        self.app, self._cache = app, cache
        self._waiting: dict[str, None] = {}
        self._changed = threading.Condition()
        self._ringer: threading.Thread | None = None
        self._pid = 0
        self._busy = False

    def ring(self, kind: str) -> None:
        if kind.partition(":")[0] in _muted.get():
            return
        with self._changed:
            self._waiting[kind] = None
            if self._ringer is None or self._pid != os.getpid() or not self._ringer.is_alive():  # a fork ends threads
                self._pid = os.getpid()
                self._ringer = threading.Thread(target=self._ring_for_ever, name="bells", daemon=True)
                self._ringer.start()
            self._changed.notify()

    def flush(self, *, timeout_seconds: float) -> bool:
        """Wait until nothing is waiting to be rung; for tools that are about to end."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout_seconds)

    def _ring_for_ever(self) -> None:
        resting_until = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                kinds, self._waiting, self._busy = list(self._waiting), {}, True
            for kind in kinds:
                if time.monotonic() >= resting_until and not self._send(kind):
                    resting_until = time.monotonic() + BROKER_REST_SECONDS
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _send(self, kind: str) -> bool:
        name, _, gateway = kind.partition(":")
        if not self._cache.first_to_ring(kind, seconds=BELL_SECONDS):
            return True
        queue = f"gateway.{gateway}" if gateway else None
        try:
            failpoints.hit("bell.before_send")
            self.app.send_task(name, args=[gateway] if gateway else [], queue=queue, retry=False, ignore_result=True)
            failpoints.hit("bell.after_send")
        except (KombuError, OSError, RedisError, AMQPError) as error:
            self._cache.rung(kind)
            _log.warning(
                "broker not reached; the sweep will find the work",
                action="bell.lost",
                kind=kind,
                error=type(error).__name__,
            )
            return False
        return True


def celery_bells(broker_url: str, cache: Cache) -> CeleryBells:
    """Bells on a broker, with the same queues and routes the workers have."""
    app = Celery("payflow", broker=broker_url, config_source="celeryconfig", set_as_current=False)
    return CeleryBells(app, cache)


def broker_answers(bells: object) -> bool:
    """Whether the broker behind some bells takes a connection now (silent bells need none)."""
    if not isinstance(bells, CeleryBells):
        return True
    try:
        with bells.app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=0, timeout=2)
    except (KombuError, OSError, RedisError, AMQPError):
        return False
    return True


class SilentBells:
    """Rings nothing: for tools that only write, and for tests that drive the steps themselves."""

    def ring(self, kind: str) -> None:
        return None
