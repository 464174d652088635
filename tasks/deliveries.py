"""Outbound webhooks: a queue of their own, and few threads at once, so that slow receivers hold up nobody else."""

from __future__ import annotations

from celery import shared_task

from tasks.base import PayflowTask


@shared_task(name="deliveries.send", base=PayflowTask, bind=True, places=2)
def send(self: PayflowTask) -> None:
    """Send what is due, for as long as a task may run."""
    self.awake()
    if self.container.deliveries.send():
        self.container.bells.ring("deliveries.send")
