"""A Celery app of a few lines, so that the nodes and the broker guard are proven apart from payflow's own tasks."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery

from tasks import broker_guard

if os.environ.get("TINY_UNGUARDED") != "1":
    broker_guard.install()

_url = os.environ.get("PAYFLOW_BROKER_URL", "memory://")
app = Celery("tiny", broker=_url, backend=os.environ.get("PAYFLOW_TEST_RESULT_URL"))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    task_default_queue="tiny",
    broker_transport_options={}
    if _url.startswith("amqp")
    else {"visibility_timeout": 6, "unacked_restore_interval": 1, "unacked_restore_throttle": 1},
)


@app.task(name="tiny.add")
def add(one: int, two: int) -> int:
    return one + two


@app.task(name="tiny.total")
def total(numbers: list[int]) -> str:
    return ",".join(str(number) for number in sorted(numbers))


@app.task(name="tiny.note")
def note(folder: str, name: str, seconds: float = 0.0) -> str:
    """Leave a line when it begins and when it ends; in between, work."""
    trace = Path(folder) / name
    with trace.open("a") as file:
        file.write("began\n")
    time.sleep(seconds)
    with trace.open("a") as file:
        file.write("ended\n")
    return name


def new_work_is_done(folder: Path, *, patience_seconds: float) -> bool:
    """Whether a worker takes new work after its broker was restarted, as its traces in the empty `folder` show.

    A message may fall into the restart's gap: kombu's Redis transport pops it before it takes it down as not yet done.
    So one is sent every three seconds until one has run; nothing is read from a result backend that died as well.
    """
    folder.mkdir()
    deadline, next_at, sent = time.monotonic() + patience_seconds, 0.0, 0
    while not any("ended" in trace.read_text() for trace in folder.iterdir()):
        now = time.monotonic()
        if now > deadline:
            return False
        if now >= next_at:
            note.delay(str(folder), f"new-{sent}")
            sent, next_at = sent + 1, now + 3
        time.sleep(0.05)
    return True
