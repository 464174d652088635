"""A guard for kombu 5.7.0 on Redis: without it a lost connection can end the worker. Decision in docs/decisions.

When a connection drops while a worker holds a message with a countdown, Celery 5.7.0 closes the connection a second
time after kombu has taken it apart; kombu then asks a client that is gone for its host name and the worker exits with
an AttributeError. A late acknowledgement on the closed channel ends the same way. The guard turns both into the
ordinary lost-connection error that Celery knows how to live through. Delete it when the test that shows an unguarded
worker dying (tests/acceptance/test_broker_guard.py) stops passing.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from kombu.transport.redis import Channel
from redis.exceptions import ConnectionError as RedisConnectionError

GUARDED_SERIES = "5.7.0"


def install() -> bool:
    """Put the guard in place, once; True when this kombu needs it. Called by worker.py before the app connects."""
    if not version("kombu").startswith(GUARDED_SERIES):
        return False
    channel_class: Any = Channel  # its _connparams is private, and the one place where a closed channel can be told
    original = channel_class._connparams  # noqa: SLF001 - kombu has no other hook
    if getattr(original, "is_guard", False):
        return True

    def guarded(self: Any, asynchronous: bool = False) -> Any:
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("The broker's channel is closed.")
        return original(self, asynchronous)

    guarded.is_guard = True  # type: ignore[attr-defined]  # a mark on a function
    channel_class._connparams = guarded  # noqa: SLF001 - kombu has no other hook
    return True
