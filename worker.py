"""The Celery app for worker, beat and Flower: `celery -A worker worker …`."""

from __future__ import annotations

import os
from typing import Any

from celery.signals import celeryd_init, setup_logging, worker_ready

from payflow import logs
from payflow.container import Container, build
from payflow.settings import Settings
from tasks import (
    bookings,
    broker_guard,
    deliveries,
    notifications,
    payments,
    reconciliation,
    refunds,
    sweeps,
    webhooks,
)
from tasks.base import PayflowApp

TASKS = (bookings, deliveries, notifications, payments, reconciliation, refunds, sweeps, webhooks)
"""Importing these rooms registers their tasks."""


class WorkerApp(PayflowApp):
    """The app of a worker process: settings come from the environment, its name from the command line."""

    worker_name: str | None = None

    def build_container(self) -> Container:
        return build(Settings.from_environ(os.environ), worker=self.worker_name)


@celeryd_init.connect
def _name(sender: str, **_: Any) -> None:
    app.worker_name = sender


@setup_logging.connect
def _logs(**_: Any) -> None:
    logs.configure(os.environ.get("PAYFLOW_LOG_LEVEL", "INFO"))


@worker_ready.connect
def _sweep_once(**_: Any) -> None:
    """What a dead worker of this name had claimed is free again; what became due meanwhile is rung for at once."""
    if app.worker_name:
        app.container.sweeps.give_up_claims(app.worker_name)
    app.container.sweeps.ring_due()


broker_guard.install()
app = WorkerApp("payflow", config_source="celeryconfig")
