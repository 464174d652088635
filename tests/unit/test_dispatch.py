"""Bells: few messages for many commits, and never an error or a wait for whoever rings, also with the broker gone."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from payflow.cache import NoCache, RedisCache
from payflow.dispatch import BROKER_REST_SECONDS, CeleryBells, SilentBells, broker_answers, celery_bells, muted
from payflow.embedded import EmbeddedBroker

SOON = 0.25
"""Ringing must be over within this many seconds, whatever the broker does."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def bells(server: EmbeddedBroker) -> Iterator[CeleryBells]:
    made = celery_bells(server.url, RedisCache(server.cache_url))
    yield made
    made.app.close()


def messages(server: EmbeddedBroker, queue: str) -> list[dict[str, Any]]:
    """What waits in a queue, oldest first."""
    with redis.Redis.from_url(server.url) as client:
        return [json.loads(one) for one in reversed(client.lrange(f"payflow:{queue}", 0, -1))]


def until(question: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


def ring_quickly(bells: CeleryBells, *kinds: str) -> None:
    began = time.monotonic()
    for kind in kinds:
        bells.ring(kind)
    assert time.monotonic() - began < SOON


def test_bell_is_a_message_with_a_task_name_and_at_most_a_gateway(bells: CeleryBells, server: EmbeddedBroker) -> None:
    """`noun.verb` goes to its room's queue, `noun.verb:gateway` to the gateway's; no ids, no amounts travel."""
    ring_quickly(bells, "notifications.fan_out", "payments.verify:paystack")
    assert bells.flush(timeout_seconds=10)
    (told,) = messages(server, "notifications")
    (asked,) = messages(server, "gateway.paystack")
    assert told["headers"]["task"] == "notifications.fan_out"
    assert asked["headers"]["task"] == "payments.verify"
    assert (told["headers"]["argsrepr"], asked["headers"]["argsrepr"]) == ("()", "['paystack']")


def test_flood_of_commits_costs_one_message_per_kind(bells: CeleryBells, server: EmbeddedBroker) -> None:
    """500 rings of two kinds before the task came round: two messages."""
    ring_quickly(bells, *["notifications.fan_out", "bookings.confirm"] * 250)
    assert bells.flush(timeout_seconds=10)
    assert (len(messages(server, "notifications")), len(messages(server, "bookings"))) == (1, 1)


def test_bell_may_ring_again_once_its_task_has_come_round(bells: CeleryBells, server: EmbeddedBroker) -> None:
    """The task takes the mark away before it looks for work, so no commit after that goes unheard."""
    ring_quickly(bells, "bookings.confirm")
    assert bells.flush(timeout_seconds=10)
    RedisCache(server.cache_url).rung("bookings.confirm")
    ring_quickly(bells, "bookings.confirm")
    assert bells.flush(timeout_seconds=10)
    assert len(messages(server, "bookings")) == 2


def test_two_processes_share_one_outstanding_bell(bells: CeleryBells, server: EmbeddedBroker) -> None:
    """The mark is in the cache, not in a process."""
    other = celery_bells(server.url, RedisCache(server.cache_url))
    ring_quickly(bells, "bookings.confirm")
    assert bells.flush(timeout_seconds=10)
    ring_quickly(other, "bookings.confirm")
    assert other.flush(timeout_seconds=10)
    other.app.close()
    assert len(messages(server, "bookings")) == 1


def test_muted_kinds_are_not_rung_inside_only(bells: CeleryBells, server: EmbeddedBroker) -> None:
    """A running chain takes those steps itself; muting nests, and ends with its block."""
    with muted(["bookings.confirm"]):
        bells.ring("bookings.confirm")
        with muted(["payments.verify"]):
            bells.ring("payments.verify:paystack")
            bells.ring("bookings.confirm")
        bells.ring("webhooks.process")
    assert bells.flush(timeout_seconds=10)
    assert messages(server, "bookings") == messages(server, "gateway.paystack") == []
    assert len(messages(server, "webhooks")) == 1
    ring_quickly(bells, "bookings.confirm")
    assert bells.flush(timeout_seconds=10)
    assert len(messages(server, "bookings")) == 1


@pytest.mark.parametrize("how", ["frozen", "gone"])
def test_broker_outage_neither_blocks_nor_raises_and_bells_ring_again_afterwards(
    server: EmbeddedBroker, how: str
) -> None:
    """Ringing stays instant while the broker is away; what is lost is the sweep's; later bells get through."""
    bells = celery_bells(server.url, NoCache())
    ring_quickly(bells, "webhooks.process")
    assert bells.flush(timeout_seconds=10)
    assert server.process is not None
    if how == "frozen":
        os.kill(server.process.pid, signal.SIGSTOP)
    else:
        server.kill()
    for _ in range(20):
        ring_quickly(bells, "bookings.confirm", "notifications.fan_out", "payments.verify:paystack")
    if how == "frozen":
        os.kill(server.process.pid, signal.SIGCONT)
    else:
        server.start()
    assert bells.flush(timeout_seconds=20)

    def rings() -> bool:
        ring_quickly(bells, "sweeps.due")
        return bool(messages(server, "sweeps"))

    until(rings, seconds=BROKER_REST_SECONDS + 10)
    bells.app.close()


def test_lost_bell_leaves_no_mark_behind(server: EmbeddedBroker) -> None:
    """The broker is gone but the cache is not: the next commit may ring at once, not after the mark has run out."""
    cache = RedisCache(server.cache_url)
    bells = celery_bells("redis://127.0.0.1:1/0", cache)
    bells.app.conf.broker_connection_timeout = 0.2
    ring_quickly(bells, "bookings.confirm")
    assert bells.flush(timeout_seconds=20)
    assert cache.first_to_ring("bookings.confirm", seconds=5)
    bells.app.close()


def test_broker_answers_tells_the_truth(bells: CeleryBells) -> None:
    """For readiness: a broker that takes connections, one that does not, and none needed."""
    assert broker_answers(bells)
    nobody = celery_bells("redis://127.0.0.1:1/0", NoCache())
    assert not broker_answers(nobody)
    nobody.app.close()
    silent = SilentBells()
    silent.ring("bookings.confirm")
    assert broker_answers(silent)


def test_bells_ring_after_a_fork(bells: CeleryBells, server: EmbeddedBroker) -> None:
    """The ringing thread does not survive a fork: the child starts its own."""
    ring_quickly(bells, "webhooks.process")
    assert bells.flush(timeout_seconds=10)
    child = os.fork()
    if child == 0:
        bells.ring("bookings.confirm")
        os._exit(0 if bells.flush(timeout_seconds=10) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(messages(server, "bookings")) == 1
