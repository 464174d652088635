"""Payments at gateways: open pages, ask what became of them."""

from __future__ import annotations

from celery import shared_task

from payflow.services.gateway_calls import BATCH
from tasks import pipelines
from tasks.base import AT_A_GATEWAY, PayflowTask


@shared_task(
    name="payments.initiate", base=PayflowTask, bind=True, places=AT_A_GATEWAY, takes_over=("notifications.fan_out",)
)
def initiate(self: PayflowTask, gateway: str, ids: list[str] | None = None) -> None:
    """Open hosted pages for tries that wait for one; without ids, for all that are due at this gateway."""
    if ids is None:
        self.awake(gateway)
    order_ids = self.container.gateway_calls.initiate(gateway, ids)
    if order_ids:
        pipelines.tell(order_ids)
    if len(order_ids) >= BATCH:
        self.container.bells.ring(f"payments.initiate:{gateway}")


@shared_task(
    name="payments.verify",
    base=PayflowTask,
    bind=True,
    places=AT_A_GATEWAY,
    takes_over=("bookings.confirm", "notifications.fan_out"),
)
def verify(self: PayflowTask, gateway: str, ids: list[str] | None = None) -> None:
    """Ask the gateway about tries. With ids a link of the settle chain; without, it drains and starts the rest."""
    if ids is not None:
        self.container.gateway_calls.verify(gateway, ids)
        return
    self.awake(gateway)
    order_ids = self.container.gateway_calls.verify(gateway)
    if order_ids:
        pipelines.after_verify(order_ids)
    if len(order_ids) >= BATCH:
        self.container.bells.ring(f"payments.verify:{gateway}")
