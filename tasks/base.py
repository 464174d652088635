"""What every task shares: the container, log context, muted bells, what an error means. Retries are decided here."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, ClassVar

from celery import Celery, Task

from payflow import dispatch, failpoints, logs
from payflow.container import Container
from payflow.core.errors import PayflowError
from tasks.doors import Doors

_log = logs.get(__name__)
_doors = Doors()
AT_A_GATEWAY = 4
"""Of a worker's threads, so many at most wait for one gateway."""
BESIDES_PAYMENTS = 2
"""Work that can wait enters only while fewer than so many are inside: the other places stay with payments."""


class PayflowApp(Celery):
    """The Celery app, with a container per process, built on first use (never before a fork)."""

    _lock = threading.Lock()
    _container: Container | None = None

    @property
    def container(self) -> Container:
        with self._lock:
            if self._container is None:
                self._container = self.build_container()
            return self._container

    def build_container(self) -> Container:
        """Replaced by worker.py, which knows where the settings come from."""
        raise NotImplementedError


class PayflowTask(Task[Any, Any]):
    """A task that may run twice, late or never; what it leaves undone is due again, so an error needs no retry here."""

    abstract = True
    takes_over: ClassVar[Sequence[str]] = ()
    """Bells that need not ring while this task runs: the next links of its chain take those steps."""

    @property
    def container(self) -> Container:
        app = self.app
        assert isinstance(app, PayflowApp)
        return app.container

    places: ClassVar[int | None] = None
    """How many tasks may be behind this task's door at once in a process; None: it has no door. The door of a task with
    a queue per gateway is the gateway's, shared by all such tasks."""
    bell: ClassVar[str | None] = None
    """What is rung for this task if it was turned away; None: its own name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with logs.bound(task=self.name, task_id=self.request.id), dispatch.muted(self.takes_over):
            try:
                return super().__call__(*args, **kwargs) if self.places is None else self._through_door(*args)
            except PayflowError as error:
                _log.error("a step failed; it stays due", action="task.failed", code=error.code, error=error.detail)
                raise

    def _through_door(self, *args: Any) -> Any:
        gateway = str(args[0]) if args else None
        bell = self.bell or (f"{self.name}:{gateway}" if gateway else self.name)
        assert self.places is not None
        with _doors.through(gateway or self.name, places=self.places, bell=bell) as owed:
            if owed is None:
                self.turned_away(*args)
                return None
            result = super().__call__(*args)
        for kind in owed:
            self.container.bells.ring(kind)
        return result

    def turned_away(self, *_args: Any) -> None:
        """The door was shut: here goes back what another task has claimed for this one."""

    def after_return(self, *_given: Any) -> None:
        """Celery is done but for the acknowledgement: a chain's next link is on its way."""
        failpoints.hit(f"{self.name}.before_ack")

    def awake(self, gateway: str | None = None) -> None:
        """The wake-up has arrived: from here on the next commit may ring again. Called before looking for work."""
        self.container.cache.rung(f"{self.name}:{gateway}" if gateway else self.name)
