"""The read cache: generation stamps in Redis, so that a write forgets whole families without scanning.

A cached answer's key holds the current stamp of its family (`orders:user:{id}`, `orders:workspace:{id}`,
`payments:user:{id}`, `refunds:user:{id}`, …). Forgetting a family is one INCR of its stamp; old entries run out by
themselves. An outage costs speed only: every failure reads as a miss.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol

import redis

from payflow import logs

_log = logs.get(__name__)
_STAMP_TTL_SECONDS = 7 * 86_400


class Cache(Protocol):
    """What readers and writers need of a cache."""

    def get(self, family: str, name: str) -> bytes | None: ...
    def put(self, family: str, name: str, value: bytes, *, seconds: int, stamp: str) -> None: ...
    def stamp(self, family: str) -> str | None: ...
    def forget(self, families: Iterable[str]) -> None: ...
    def first_to_ring(self, kind: str, *, seconds: int) -> bool: ...
    def rung(self, kind: str) -> None: ...
    def ping(self) -> bool: ...


class NoCache:  # every method takes what the protocol says
    """No cache configured: everything is a miss, every bell is rung."""

    def get(self, family: str, name: str) -> bytes | None:
        return None

    def put(self, family: str, name: str, value: bytes, *, seconds: int, stamp: str) -> None:
        return None

    def stamp(self, family: str) -> str | None:
        return None

    def forget(self, families: Iterable[str]) -> None:
        return None

    def first_to_ring(self, kind: str, *, seconds: int) -> bool:
        return True

    def rung(self, kind: str) -> None:
        return None

    def ping(self) -> bool:
        return True


class RedisCache:
    """The cache on a Redis-compatible server; short time-outs, never an error to the caller."""

    def __init__(self, url: str, *, of: str = "") -> None:
        """`of` is the address of the database whose rows are cached: two systems may share one server."""
        self._redis = redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5)
        self._prefix = f"payflow:cache:{hashlib.sha256(of.encode()).hexdigest()[:12]}:"

    def _stamp_key(self, family: str) -> str:
        return f"{self._prefix}stamp:{family}"

    def stamp(self, family: str) -> str | None:
        """The family's present stamp; read it *before* the database, so that a racing write wins."""
        try:
            value = self._redis.get(self._stamp_key(family))
        except redis.RedisError:
            return None
        return value.decode() if isinstance(value, bytes) else "0"

    def get(self, family: str, name: str) -> bytes | None:
        stamp = self.stamp(family)
        if stamp is None:
            return None
        try:
            value = self._redis.get(f"{self._prefix}{family}:{stamp}:{name}")
        except redis.RedisError:
            return None
        return value if isinstance(value, bytes) else None

    def put(self, family: str, name: str, value: bytes, *, seconds: int, stamp: str) -> None:
        try:
            self._redis.set(f"{self._prefix}{family}:{stamp}:{name}", value, ex=seconds)
        except redis.RedisError:
            _log.warning("cache write failed", action="cache.unavailable")

    def forget(self, families: Iterable[str]) -> None:
        try:
            pipe = self._redis.pipeline(transaction=False)
            for family in sorted(set(families)):
                pipe.incr(self._stamp_key(family))
                pipe.expire(self._stamp_key(family), _STAMP_TTL_SECONDS)
            pipe.execute()
        except redis.RedisError:
            _log.warning("cache could not be invalidated; entries run out by themselves", action="cache.unavailable")

    def first_to_ring(self, kind: str, *, seconds: int) -> bool:
        """Whether no wake-up of this kind is outstanding; marks one as outstanding for `seconds` at most."""
        try:
            return bool(self._redis.set(f"{self._prefix}bell:{kind}", b"1", nx=True, ex=seconds))
        except redis.RedisError:
            return True

    def rung(self, kind: str) -> None:
        """The wake-up has arrived; the next commit may ring again. Called before looking for work."""
        try:
            self._redis.delete(f"{self._prefix}bell:{kind}")
        except redis.RedisError:
            return

    def ping(self) -> bool:
        try:
            return bool(self._redis.ping())
        except redis.RedisError:
            return False
