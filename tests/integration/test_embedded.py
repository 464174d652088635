"""The embedded broker: one per folder, keeps what it was given, leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from payflow.core.errors import ConfigurationError
from payflow.embedded import EmbeddedBroker, is_port_free


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


def until(question: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


def test_start_gives_an_address_that_answers(broker: EmbeddedBroker) -> None:
    """The address works with an ordinary client; broker and cache are different databases of one server."""
    with redis.Redis.from_url(broker.url) as client, redis.Redis.from_url(broker.cache_url) as cache:
        assert client.ping()
        client.set("a", "1")
        assert cache.get("a") is None


def test_second_run_on_one_folder_is_refused(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Two runs on one folder would share files: the second gets a plain sentence and the first goes on."""
    with pytest.raises(ConfigurationError, match=r"in use by another payflow run \(process \d+\).*PAYFLOW_DATA_DIR"):
        EmbeddedBroker(tmp_path).start()
    assert broker.is_up()


def test_port_is_remembered_over_a_stop(tmp_path: Path) -> None:
    """A new start on the same folder listens where the old one did, so addresses in shells stay right."""
    broker = EmbeddedBroker(tmp_path)
    first = broker.start()
    broker.stop()
    assert broker.start() == first
    broker.stop()


def test_busy_port_that_was_asked_for_is_refused(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """A fixed port is never silently exchanged for another."""
    with pytest.raises(ConfigurationError, match=f"Port {broker.port}"):
        EmbeddedBroker(tmp_path / "other", port=broker.port).start()


def test_sigkill_then_start_keeps_what_had_reached_the_disk(broker: EmbeddedBroker) -> None:
    """Append-only with a sync each second: a message more than a second old survives kill -9."""
    with redis.Redis.from_url(broker.url) as client:
        client.rpush("queue", "message")
        until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0)
        broker.kill()
        broker.start()
        assert client.lrange("queue", 0, -1) == [b"message"]


def test_wipe_forgets_everything_running_or_not(broker: EmbeddedBroker) -> None:
    """`wipe` is how the fault tests lose every message at once."""
    with redis.Redis.from_url(broker.url) as client:
        client.set("a", "1")
        broker.wipe()
        assert client.dbsize() == 0
        client.set("a", "1")
        broker.kill()
        broker.wipe()
        broker.start()
        assert client.dbsize() == 0


def test_sigkill_of_the_parent_leaves_no_server(tmp_path: Path) -> None:
    """The kernel ends the server with its parent, even when the parent had no chance to."""
    script = (
        "import sys, time; from pathlib import Path; from payflow.embedded import EmbeddedBroker\n"
        "broker = EmbeddedBroker(Path(sys.argv[1])); broker.start()\n"
        "print(broker.process.pid, broker.port, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, port = (int(word) for word in parent.stdout.readline().split())
        os.kill(parent.pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    until(lambda: is_port_free(port))


def test_leftover_server_of_this_folder_is_ended_first(tmp_path: Path) -> None:
    """Where the kernel offers no such service a server may outlive its run: the next start ends it and takes over."""
    old = EmbeddedBroker(tmp_path)
    old.start()
    old.release()
    new = EmbeddedBroker(tmp_path)
    new.start()
    assert old.process is not None
    assert old.process.wait(5) == 0
    assert new.is_up()
    new.stop()
