"""The nodes under pytest-celery's cluster API are real: they answer, die, come back and finish what was theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from celery import chain, chord
from pytest_celery import CeleryTestSetup

from tests.acceptance.tiny_app import add, new_work_is_done, note, total
from tests.nodes import wait_until

PATIENCE_SECONDS = 30


@pytest.fixture
def celery_app_module() -> str:
    return "tests.acceptance.tiny_app"


@pytest.fixture
def celery_worker_queues() -> Sequence[str]:
    return ("tiny",)


def lines(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text().split() if path.exists() else []


def test_setup_is_ready_by_task_by_control_and_by_process(celery_setup: CeleryTestSetup) -> None:
    """All three of pytest-celery's readiness questions are answered by local processes."""
    assert celery_setup.ready(ping=True, control=True, docker=True)
    assert len(celery_setup) == 3


def test_chain_and_chord_run_on_the_worker(celery_setup: CeleryTestSetup) -> None:
    """Links and a chord's body come back through the result backend."""
    assert chain(add.s(1, 2), add.s(3)).apply_async().get(timeout=PATIENCE_SECONDS) == 6
    body = chord([add.s(1, 1), add.s(2, 2)])(total.s())
    assert body.get(timeout=PATIENCE_SECONDS) == "2,4"


def test_sigkill_of_a_worker_then_restart_finishes_the_task(celery_setup: CeleryTestSetup, tmp_path: Path) -> None:
    """A task in hand when its worker is killed -9 is delivered again and ends, once more from its beginning."""
    result = note.delay(str(tmp_path), "killed", 3.0)
    wait_until(lambda: lines(tmp_path, "killed") == ["began"], PATIENCE_SECONDS, "the task's beginning")
    celery_setup.worker.kill()
    assert celery_setup.worker.container.status == "exited"
    celery_setup.worker.restart()
    assert result.get(timeout=PATIENCE_SECONDS) == "killed"
    assert lines(tmp_path, "killed") == ["began", "began", "ended"]


def test_sigterm_lets_the_worker_finish_what_it_holds(celery_setup: CeleryTestSetup, tmp_path: Path) -> None:
    """A warm stop is warm: the task in hand ends first."""
    note.delay(str(tmp_path), "warm", 1.5)
    wait_until(lambda: lines(tmp_path, "warm") == ["began"], PATIENCE_SECONDS, "the task's beginning")
    celery_setup.worker.kill("SIGTERM")
    wait_until(lambda: celery_setup.worker.container.status == "exited", PATIENCE_SECONDS, "the worker's end")
    assert lines(tmp_path, "warm") == ["began", "ended"]


def test_worker_log_can_be_read(celery_setup: CeleryTestSetup) -> None:
    """Log assertions work on the worker's own output."""
    add.delay(1, 1).get(timeout=PATIENCE_SECONDS)
    celery_setup.worker.assert_log_exists("tiny.add")


def test_broker_restart_is_survived(celery_setup: CeleryTestSetup, tmp_path: Path) -> None:
    """The broker dies by kill -9 and comes back; the same worker takes the next task."""
    assert add.delay(1, 1).get(timeout=PATIENCE_SECONDS) == 2
    celery_setup.broker.restart()
    assert new_work_is_done(tmp_path / "new", patience_seconds=PATIENCE_SECONDS)
    assert celery_setup.worker.container.status == "running"
