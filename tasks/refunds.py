"""Refunds at gateways: send once, ask until the end is known."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from payflow.services.gateway_calls import BATCH
from tasks import pipelines
from tasks.base import AT_A_GATEWAY, PayflowTask

_TAKES_OVER = ("bookings.release", "notifications.fan_out")


@shared_task(name="refunds.submit", base=PayflowTask, bind=True, places=AT_A_GATEWAY, takes_over=_TAKES_OVER)
def submit(self: PayflowTask, gateway: str, ids: list[str] | None = None) -> None:
    """Send refunds that wait for it."""
    if ids is None:
        self.awake(gateway)
    _go_on(self, "refunds.submit", gateway, self.container.refund_calls.submit(gateway, ids))


@shared_task(name="refunds.verify", base=PayflowTask, bind=True, places=AT_A_GATEWAY, takes_over=_TAKES_OVER)
def verify(self: PayflowTask, gateway: str, ids: list[str] | None = None) -> None:
    """Ask the gateway about refunds it has."""
    if ids is None:
        self.awake(gateway)
    _go_on(self, "refunds.verify", gateway, self.container.refund_calls.verify(gateway, ids))


class _Adopting(PayflowTask):
    """Reads lists for inbox rows that `webhooks.process` has claimed."""

    abstract = True

    def turned_away(self, *args: Any) -> None:
        _gateway, event_ids, _attempt_ids = args
        self.container.webhooks.give_back(event_ids)


@shared_task(
    name="refunds.adopt",
    base=_Adopting,
    bind=True,
    places=AT_A_GATEWAY,
    bell="webhooks.process",
    takes_over=_TAKES_OVER,
)
def adopt(self: PayflowTask, gateway: str, event_ids: list[str], attempt_ids: list[str]) -> None:
    """Read the gateway's list after refund webhooks and bring our refunds in line."""
    hints = list(zip(event_ids, attempt_ids, strict=True))
    _go_on(self, "refunds.adopt", gateway, self.container.refund_adoption.adopt(gateway, hints))


def _go_on(task: PayflowTask, name: str, gateway: str, order_ids: list[str]) -> None:
    if order_ids:
        pipelines.after_refund(order_ids)
    if len(order_ids) >= BATCH and name != "refunds.adopt":
        task.container.bells.ring(f"{name}:{gateway}")
