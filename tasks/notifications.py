"""Messages: from events to letters."""

from __future__ import annotations

from celery import shared_task

from payflow.services.notification import BATCH
from tasks import pipelines
from tasks.base import PayflowTask


@shared_task(name="notifications.fan_out", base=PayflowTask, bind=True, takes_over=("notifications.deliver",))
def fan_out(self: PayflowTask, order_ids: list[str] | None = None) -> None:
    """Write the messages of published events; without ids, relay the whole outbox."""
    if order_ids is None:
        self.awake()
    owed = self.container.notifications.fan_out(order_ids)
    if owed:
        pipelines.deliver(owed)
    if len(owed) >= BATCH:
        self.container.bells.ring("notifications.fan_out")


@shared_task(name="notifications.deliver", base=PayflowTask, bind=True)
def deliver(self: PayflowTask, ids: list[str] | None = None) -> None:
    """Send letters; without ids, all that are due."""
    if ids is None:
        self.awake()
    if self.container.notifications.deliver(ids):
        self.container.bells.ring("notifications.deliver")
