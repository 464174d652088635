"""Reconciliation: open the night's run, take slices of runs a few pages on."""

from __future__ import annotations

from celery import shared_task

from tasks import pipelines
from tasks.base import BESIDES_PAYMENTS, PayflowTask


@shared_task(name="reconciliation.run", base=PayflowTask, bind=True)
def run(self: PayflowTask) -> None:
    """Open the run of the night that has begun. Beat rings every hour: a night it slept through is made up for."""
    self.container.reconciliation.open_nightly()


@shared_task(
    name="reconciliation.compare",
    base=PayflowTask,
    bind=True,
    places=BESIDES_PAYMENTS,
    takes_over=("bookings.release", "notifications.fan_out"),
)
def compare(self: PayflowTask, gateway: str) -> None:
    """Take one slice a few pages on; what is left of it is due again and goes behind the payments that wait."""
    self.awake(gateway)
    order_ids = self.container.reconciliation.compare(gateway)
    if order_ids:
        pipelines.after_refund(order_ids)
