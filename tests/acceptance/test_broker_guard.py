"""A worker lives through broker restarts with the guard for kombu 5.7.0, and would not without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pytest_celery import CeleryTestSetup

from tasks import broker_guard
from tests.acceptance.tiny_app import new_work_is_done, note
from tests.nodes import WorkerNode, wait_until

PATIENCE_SECONDS = 40


@pytest.fixture
def celery_app_module() -> str:
    return "tests.acceptance.tiny_app"


@pytest.fixture
def celery_worker_queues() -> Sequence[str]:
    return ("tiny",)


@pytest.fixture
def setup(celery_setup: CeleryTestSetup) -> CeleryTestSetup:
    if not str(celery_setup.broker.config()["url"]).startswith("redis"):
        pytest.skip("the fault is in kombu's Redis transport")
    return celery_setup


def endings(folder: Path) -> dict[str, int]:
    return {trace.name: trace.read_text().count("ended") for trace in folder.iterdir() if trace.suffix == ".trace"}


def test_worker_holding_a_countdown_survives_a_broker_restart(setup: CeleryTestSetup, tmp_path: Path) -> None:
    """Messages that wait in the worker when the broker dies run after it is back, none lost."""
    names = [f"{number}.trace" for number in range(5)]
    for name in names:
        note.apply_async((str(tmp_path), name), countdown=5)
    wait_until(lambda: setup.worker.logs().count("received") >= 5, PATIENCE_SECONDS, "the worker holding all five")
    setup.broker.restart()
    wait_until(
        lambda: set(endings(tmp_path)) == set(names) and all(endings(tmp_path).values()),
        PATIENCE_SECONDS,
        "every held task's end",
    )
    assert setup.worker.container.status == "running"


def test_worker_in_the_middle_of_a_task_survives_a_broker_restart(setup: CeleryTestSetup, tmp_path: Path) -> None:
    """A late acknowledgement on the old channel is a lost connection, not the worker's end."""
    note.delay(str(tmp_path), "running.trace", 4.0)
    wait_until((tmp_path / "running.trace").exists, PATIENCE_SECONDS, "the task's beginning")
    setup.broker.restart()
    wait_until(lambda: endings(tmp_path)["running.trace"] > 0, PATIENCE_SECONDS, "the running task's end")
    assert new_work_is_done(tmp_path / "new", patience_seconds=PATIENCE_SECONDS)
    assert setup.worker.container.status == "running"


def test_three_restarts_with_all_kinds_of_work_are_survived(setup: CeleryTestSetup, tmp_path: Path) -> None:
    """Idle, waiting and running together, three times over: the same process serves to the end."""
    pid = setup.worker.container.process.pid
    for turn in range(3):
        note.apply_async((str(tmp_path), f"held-{turn}.trace"), countdown=2)
        note.delay(str(tmp_path), f"running-{turn}.trace", 1.0)
        wait_until(lambda turn=turn: (tmp_path / f"running-{turn}.trace").exists(), PATIENCE_SECONDS, "a beginning")
        setup.broker.restart()
        assert new_work_is_done(tmp_path / f"new-{turn}", patience_seconds=PATIENCE_SECONDS)
    wait_until(
        lambda: len(endings(tmp_path)) == 6 and all(endings(tmp_path).values()), PATIENCE_SECONDS, "every task's end"
    )
    assert setup.worker.container.process.pid == pid
    assert setup.worker.container.status == "running"


def test_unguarded_worker_dies_which_is_why_the_guard_exists(
    setup: CeleryTestSetup, make_worker: Callable[..., WorkerNode], tmp_path: Path
) -> None:
    """When this stops failing in the library, delete the guard."""
    setup.worker.kill()
    bare = make_worker("bare", environ={"TINY_UNGUARDED": "1"})
    bare.ready()
    note.apply_async((str(tmp_path), "bare.trace"), countdown=60)
    wait_until(lambda: "received" in bare.logs(), PATIENCE_SECONDS, "the worker holding the message")
    setup.broker.restart()
    wait_until(lambda: bare.status == "exited", PATIENCE_SECONDS, "the unguarded worker's end")
    assert "Unrecoverable error: AttributeError" in bare.logs()


def test_guard_is_put_in_once() -> None:
    """Installing twice does not wrap twice."""
    assert broker_guard.install() == broker_guard.install()
