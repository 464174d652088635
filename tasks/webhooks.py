"""The inbox: match webhooks with tries and refunds, and start the chains over them."""

from __future__ import annotations

from celery import shared_task

from payflow.services.webhook import BATCH
from tasks import pipelines
from tasks.base import PayflowTask


@shared_task(name="webhooks.process", base=PayflowTask, bind=True)
def process(self: PayflowTask) -> None:
    """Drain the inbox."""
    self.awake()
    owed = self.container.webhooks.process()
    for gateway, attempts in owed.attempts.items():
        pipelines.settle(gateway, attempts)
    for gateway, hints in owed.refunds.items():
        pipelines.adopt_refunds(gateway, hints)
    if sum(map(len, owed.attempts.values())) >= BATCH:
        self.container.bells.ring("webhooks.process")
