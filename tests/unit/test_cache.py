"""The read cache on a real server: whole families are forgotten at once, a slow reader cannot bring old news back, and
an outage is a miss."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from payflow.cache import NoCache, RedisCache
from payflow.embedded import EmbeddedBroker

FAMILY = "orders:user:u-ada"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(tmp_path_factory.mktemp("cache"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def cache(server: EmbeddedBroker) -> RedisCache:
    server.wipe()
    return RedisCache(server.cache_url)


def put(cache: RedisCache, value: bytes, *, name: str = "page-1", family: str = FAMILY) -> None:
    """Read the stamp, then store: what a reader does around its query."""
    stamp = cache.stamp(family)
    assert stamp is not None
    cache.put(family, name, value, seconds=60, stamp=stamp)


def test_what_was_put_is_found_under_its_family_and_name(cache: RedisCache) -> None:
    """And nowhere else."""
    put(cache, b"one")
    put(cache, b"two", name="page-2")
    assert (cache.get(FAMILY, "page-1"), cache.get(FAMILY, "page-2")) == (b"one", b"two")
    assert cache.get(FAMILY, "page-3") is None
    assert cache.get("orders:user:u-ben", "page-1") is None


def test_forgetting_a_family_forgets_all_of_it_and_nothing_else(cache: RedisCache) -> None:
    """One step per family, whatever it holds."""
    for number in range(20):
        put(cache, b"x", name=str(number))
    put(cache, b"bens", family="orders:user:u-ben")
    cache.forget([FAMILY, FAMILY, "never:seen"])
    assert {cache.get(FAMILY, str(number)) for number in range(20)} == {None}
    assert cache.get("orders:user:u-ben", "page-1") == b"bens"


def test_put_that_lost_a_race_with_a_write_is_never_seen(cache: RedisCache) -> None:
    """A reader took the stamp, read the old rows, and stores them after the write was announced: too late."""
    stamp = cache.stamp(FAMILY)
    assert stamp is not None
    cache.forget([FAMILY])
    cache.put(FAMILY, "page-1", b"old news", seconds=60, stamp=stamp)
    assert cache.get(FAMILY, "page-1") is None
    put(cache, b"fresh")
    assert cache.get(FAMILY, "page-1") == b"fresh"


def test_first_write_after_a_wiped_server_is_announced_too(cache: RedisCache, server: EmbeddedBroker) -> None:
    """A server that lost its stamps holds no entries either; the race is still lost by the slow reader."""
    put(cache, b"before")
    server.wipe()
    stamp = cache.stamp(FAMILY)
    assert cache.get(FAMILY, "page-1") is None
    cache.forget([FAMILY])
    cache.put(FAMILY, "page-1", b"old news", seconds=60, stamp=stamp or "")
    assert cache.get(FAMILY, "page-1") is None


def test_entries_run_out_by_themselves(cache: RedisCache, server: EmbeddedBroker) -> None:
    """Every key has an end, so nothing piles up."""
    put(cache, b"one")
    cache.forget([FAMILY])
    cache.first_to_ring("payments.verify", seconds=5)
    keys = cache._redis.keys("*")
    assert len(keys) == 3
    assert all(0 < cache._redis.ttl(key) <= 7 * 86_400 for key in keys)


def test_two_systems_on_one_server_do_not_see_each_other(server: EmbeddedBroker) -> None:
    """What is cached of one database is not shown for another, nor forgotten with it."""
    one, other = (RedisCache(server.cache_url, of=f"sqlite:///{name}") for name in "ab")
    put(one, b"a's")
    assert other.get(FAMILY, "page-1") is None
    other.forget([FAMILY])
    assert one.get(FAMILY, "page-1") == b"a's"
    assert one.first_to_ring("a", seconds=5)
    assert other.first_to_ring("a", seconds=5)


def test_bell_is_outstanding_once_until_it_has_arrived(cache: RedisCache) -> None:
    """The first one rings; the next only after the task has come round. Kinds do not mix."""
    assert [cache.first_to_ring("a", seconds=5) for _ in range(3)] == [True, False, False]
    assert cache.first_to_ring("b", seconds=5)
    cache.rung("a")
    assert cache.first_to_ring("a", seconds=5)


def test_ping_tells_whether_the_server_answers(cache: RedisCache) -> None:
    """For readiness."""
    assert cache.ping()
    assert not RedisCache("redis://127.0.0.1:1/0").ping()


@pytest.mark.parametrize("how", ["frozen", "gone"])
def test_outage_is_a_miss_and_soon_over(tmp_path: Path, how: str) -> None:
    """A frozen or dead server: no error, no answer, little waiting; bells ring; afterwards it works again."""
    server = EmbeddedBroker(tmp_path)
    server.start()
    cache = RedisCache(server.cache_url)
    put(cache, b"one")
    assert server.process is not None
    if how == "frozen":
        os.kill(server.process.pid, signal.SIGSTOP)
    else:
        server.kill()
    began = time.monotonic()
    assert cache.get(FAMILY, "page-1") is None
    cache.put(FAMILY, "page-1", b"x", seconds=60, stamp="0")
    cache.forget([FAMILY])
    assert cache.first_to_ring("a", seconds=5), "a bell is rather rung twice than never"
    assert not cache.ping()
    assert time.monotonic() - began < 5 * 1.0, "each call gives up within a second"
    if how == "frozen":
        os.kill(server.process.pid, signal.SIGCONT)
    else:
        server.start()
    assert cache.ping()
    put(cache, b"two")
    assert cache.get(FAMILY, "page-1") == b"two"
    server.stop()


def test_no_cache_is_always_a_miss() -> None:
    """Without a cache everything works, slower."""
    cache = NoCache()
    cache.put("f", "n", b"x", seconds=1, stamp="0")
    cache.forget(["f"])
    cache.rung("a")
    assert (cache.get("f", "n"), cache.stamp("f"), cache.first_to_ring("a", seconds=5), cache.ping()) == (
        None, None, True, True,
    )  # fmt: skip
