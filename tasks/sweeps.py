"""What beat starts: the sweep over due rows, and housekeeping. Two beats at once are harmless."""

from __future__ import annotations

from celery import shared_task

from tasks.base import PayflowTask


@shared_task(name="sweeps.due", base=PayflowTask, bind=True)
def due(self: PayflowTask) -> None:
    """Ring for everything that is due."""
    self.container.sweeps.ring_due()


@shared_task(name="sweeps.audit", base=PayflowTask, bind=True)
def audit(self: PayflowTask) -> None:
    """Ask whether every invariant holds; what does not is on record and in the log."""
    self.container.audits.run()


@shared_task(name="sweeps.housekeeping", base=PayflowTask, bind=True)
def housekeeping(self: PayflowTask) -> None:
    """Throw away what is too old to matter."""
    self.container.sweeps.housekeeping()


@shared_task(name="sweeps.digest", base=PayflowTask, bind=True)
def digest(self: PayflowTask) -> None:
    """Tell operators what newly waits for them."""
    self.container.digests.tell()
