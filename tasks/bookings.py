"""Bookings and orders: confirm what is paid, release what is given back, expire what was never paid."""

from __future__ import annotations

from celery import shared_task

from payflow.services.order import BATCH
from tasks import pipelines
from tasks.base import PayflowTask


@shared_task(name="bookings.confirm", base=PayflowTask, bind=True, takes_over=("notifications.fan_out",))
def confirm(self: PayflowTask, order_ids: list[str] | None = None) -> None:
    """Confirm the bookings of paid orders. With ids a link of the settle chain; without, it drains what is due."""
    if order_ids is not None:
        self.container.bookings.confirm(order_ids)
        return
    self.awake()
    _go_on(self, self.container.bookings.confirm())


@shared_task(name="bookings.release", base=PayflowTask, bind=True, takes_over=("notifications.fan_out",))
def release(self: PayflowTask, order_ids: list[str] | None = None) -> None:
    """Cancel the bookings whose money went back. With ids a link of the refund chain; without, it drains."""
    if order_ids is not None:
        self.container.bookings.release(order_ids)
        return
    self.awake()
    _go_on(self, self.container.bookings.release())


@shared_task(
    name="orders.expire",
    base=PayflowTask,
    bind=True,
    places=2,
    takes_over=("bookings.confirm", "notifications.fan_out"),
)
def expire(self: PayflowTask) -> None:
    """End orders whose time is over, after asking their gateways."""
    self.awake()
    order_ids = self.container.expiry.expire()
    if order_ids:
        pipelines.after_verify(order_ids)
    if len(order_ids) >= BATCH:
        self.container.bells.ring("orders.expire")


def _go_on(task: PayflowTask, order_ids: list[str]) -> None:
    if order_ids:
        pipelines.tell(order_ids)
    if len(order_ids) >= BATCH:
        task.container.bells.ring(str(task.name))
