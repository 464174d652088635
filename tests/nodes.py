"""pytest-celery's cluster API on local processes: no Docker, the same `celery_setup`, real brokers and real workers.

Load it with `pytest_plugins = ["tests.nodes"]`. Then `celery_setup.worker.kill()`, `.restart()`, `.logs()`,
`celery_setup.broker.restart()` and the rest work as pytest-celery documents them. What a test file may override:

- `celery_app_module`        module holding `app` (default `worker`, payflow's own)
- `celery_worker_arguments`  extra arguments (default: a threads pool of four)
- `celery_worker_queues`     queues consumed; the first takes pytest-celery's ping
- `celery_worker_environ`    environment of the worker process

The broker is an embedded valkey for the whole session, or the server PAYFLOW_TEST_BROKER_URL names. It is emptied after
each test. Results are kept in an embedded valkey in either case. The base class is pytest-docker-tools' container
wrapper, entered below its constructor: that is what pytest-celery asks of a node, and why its version is pinned.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from amqp.exceptions import NotFound
from celery import Celery
from kombu import Connection
from pytest_celery import (
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestBackend,
    CeleryTestBroker,
    CeleryTestContainer,
    CeleryTestSetup,
    CeleryTestWorker,
)

from payflow.core.gateways import GATEWAYS
from payflow.embedded import EmbeddedBroker, kill_group, spawn

ROOT = Path(__file__).resolve().parent.parent
RESULT_DB = 1


def wait_until(question: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll with a deadline; fails the test with `what` when the time is up."""
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {seconds:g} s")
        time.sleep(0.05)


class LocalNode(CeleryTestContainer):
    """What pytest-celery calls a container. Deliberately does not run the Docker wrapper's constructor."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self.node_name, self._config = name, dict(config)

    @property
    def name(self) -> str:
        return self.node_name

    @property
    def id(self) -> str:
        return socket.gethostname()

    @property
    def celeryconfig(self) -> dict[str, Any]:
        return dict(self._config)

    @property
    def status(self) -> str:
        return "running" if self.is_running() else "exited"

    def is_running(self) -> bool:
        raise NotImplementedError

    def reload(self) -> None:
        """State is read fresh each time."""


class ServerNode(LocalNode):
    """A broker or backend: an embedded one of ours, or somebody else's that is only used."""

    def __init__(self, name: str, url: str, server: EmbeddedBroker | None) -> None:
        super().__init__(name, {"url": url, "host_url": url, "local_url": url, "vhost": "/"})
        self.url, self._server = url, server

    @property
    def server(self) -> EmbeddedBroker:
        if self._server is None:
            pytest.skip("this broker was named by PAYFLOW_TEST_BROKER_URL: it is not ours to kill or restart")
        return self._server

    def is_running(self) -> bool:
        return self._server is None or self._server.is_up()

    def ready(self) -> bool:
        return self.is_running()

    def logs(self) -> str:
        log = None if self._server is None else self._server.folder / "server.log"
        return log.read_text(encoding="utf-8", errors="replace") if log and log.exists() else ""

    def kill(self, signal: str | int = "SIGKILL") -> None:
        self.server.kill()

    def restart(self, timeout: int = 10) -> None:
        self.server.kill()
        self.server.start(timeout)

    def teardown(self) -> None:
        """A test may leave it dead; the next one finds it up."""
        if self._server is not None and not self._server.is_up():
            self._server.start()


class WorkerNode(LocalNode):
    """One `celery worker` as a process group of its own."""

    def __init__(
        self,
        *,
        app_module: str,
        name: str,
        queues: Sequence[str],
        arguments: Sequence[str],
        environ: Mapping[str, str],
        log_path: Path,
    ) -> None:
        super().__init__(name, {})
        self._queue = queues[0]
        self._command = [
            *(sys.executable, "-m", "celery", "-A", app_module, "worker", "-n", f"{name}@%h", "-l", "INFO"),
            *("-Q", ",".join(queues), "-I", "pytest_celery.vendors.worker.tasks"),
            *("--without-mingle", "--without-gossip", *arguments),
        ]
        self._environ, self._log_path = dict(environ), log_path
        self.process: subprocess.Popen[bytes] | None = None
        self._ready_lines_before = 0

    def start(self) -> None:
        self._ready_lines_before = self.logs().count(" ready.")
        with self._log_path.open("ab") as log:
            self.process = spawn(self._command, log=log, environ=self._environ)

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ready(self, timeout: float = 40) -> bool:
        wait_until(
            lambda: not self.is_running() or self.logs().count(" ready.") > self._ready_lines_before,
            timeout,
            f"{self.name}: the worker's own word that it is ready",
        )
        if not self.is_running():
            pytest.fail(f"{self.name} ended while starting:\n{self.logs()[-3000:]}")
        return True

    def logs(self) -> str:
        return self._log_path.read_text(encoding="utf-8", errors="replace") if self._log_path.exists() else ""

    def kill(self, signal: str | int = "SIGKILL") -> None:
        assert self.process is not None
        number = _number(signal)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        if number == _number("SIGKILL"):
            self.process.wait()

    def restart(self, timeout: int = 20) -> None:
        """Warm shutdown, then a new process with the same name; returns when it is ready."""
        assert self.process is not None
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        kill_group(self.process)
        self.start()
        self.ready()

    def teardown(self) -> None:
        if self.process is not None:
            kill_group(self.process)
            self.process = None

    def version(self) -> str:
        return str(importlib.import_module("celery").__version__)

    def log_level(self) -> str:
        return "INFO"

    def worker_name(self) -> str:
        return self.name

    def worker_queue(self) -> str:
        return self._queue


def _number(name: str | int) -> int:
    return int(signal.Signals[name]) if isinstance(name, str) else int(name)


class LocalSetup(CeleryTestSetup):
    """The test's end of the cluster is the app under test itself, pointed at the nodes."""

    app_module = "worker"

    @classmethod
    def create_setup_app(cls, celery_setup_config: dict[str, Any], celery_setup_app_name: str) -> Celery:
        app: Celery = importlib.import_module(cls.app_module).app
        app.conf.update(celery_setup_config)
        app.set_current()
        return app


def empty(broker_url: str, queues: Sequence[str]) -> None:
    """Throw away what a test left in its broker. A broker named for tests is for tests only."""
    with Connection(broker_url) as connection:
        if connection.transport.driver_type == "redis":
            connection.default_channel.client.flushdb()
            return
        for queue in queues:
            with contextlib.suppress(NotFound), connection.channel() as channel:
                channel.queue_purge(queue)


# fixtures of the session


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """One embedded server for the session: database 0 broker, 1 results, 2 cache. Its address never changes."""
    broker = EmbeddedBroker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def broker_url(request: pytest.FixtureRequest) -> str:
    """Where the tests' messages go: PAYFLOW_TEST_BROKER_URL, else the embedded broker."""
    given = os.environ.get("PAYFLOW_TEST_BROKER_URL", "").strip()
    return given or str(request.getfixturevalue("embedded_broker").url)


# pytest-celery's fixtures, without parameters


@pytest.fixture
def celery_broker(
    request: pytest.FixtureRequest, broker_url: str, celery_worker_queues: Sequence[str]
) -> Iterator[CeleryTestBroker]:
    is_ours = not os.environ.get("PAYFLOW_TEST_BROKER_URL", "").strip()
    server = request.getfixturevalue("embedded_broker") if is_ours else None
    node = CeleryTestBroker(ServerNode("broker", broker_url, server))
    yield node
    node.teardown()
    empty(broker_url, celery_worker_queues)


@pytest.fixture
def celery_backend(embedded_broker: EmbeddedBroker) -> Iterator[CeleryTestBackend]:
    url = f"{embedded_broker.url.rpartition('/')[0]}/{RESULT_DB}"
    node = CeleryTestBackend(ServerNode("backend", url, embedded_broker))
    yield node
    node.teardown()


@pytest.fixture
def celery_app_module() -> str:
    return "worker"


@pytest.fixture
def celery_worker_queues() -> Sequence[str]:
    return ("sweeps", "webhooks", "bookings", "notifications", "deliveries", *(gateway.queue for gateway in GATEWAYS))


@pytest.fixture
def celery_worker_arguments() -> Sequence[str]:
    return ("-P", "threads", "-c", "4")


@pytest.fixture
def celery_worker_environ(
    celery_broker_cluster: CeleryBrokerCluster, celery_backend_cluster: CeleryBackendCluster
) -> dict[str, str]:
    """Broker and result addresses on top of the tests' own environment."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PAYFLOW_BROKER_URL": str(celery_broker_cluster[0].config()["url"]),
        "PAYFLOW_TEST_RESULT_URL": str(celery_backend_cluster[0].config()["url"]),
    }


@pytest.fixture
def make_worker(
    celery_app_module: str,
    celery_worker_queues: Sequence[str],
    celery_worker_arguments: Sequence[str],
    celery_worker_environ: dict[str, str],
    tmp_path: Path,
) -> Iterator[Callable[..., WorkerNode]]:
    """Start workers by name; `make_worker("second", environ={...}, arguments=[...])`. All end with the test."""
    made: list[WorkerNode] = []

    def make(name: str, *, arguments: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> WorkerNode:
        node = WorkerNode(
            app_module=celery_app_module,
            name=name,
            queues=celery_worker_queues,
            arguments=[*celery_worker_arguments, *arguments],
            environ={**celery_worker_environ, **(environ or {})},
            log_path=tmp_path / f"{name}.log",
        )
        made.append(node)
        node.start()
        return node

    yield make
    for node in made:
        node.teardown()


@pytest.fixture
def celery_worker(make_worker: Callable[..., WorkerNode], celery_setup_app: Celery) -> CeleryTestWorker:
    worker = CeleryTestWorker(make_worker("worker"), app=celery_setup_app)
    worker.ready()
    return worker


@pytest.fixture
def celery_setup_cls(celery_app_module: str) -> type[CeleryTestSetup]:
    return type("LocalSetup", (LocalSetup,), {"app_module": celery_app_module})
