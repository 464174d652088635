"""`/healthz`, `/readyz`, `/metrics`: for load balancers, orchestrators and Prometheus. No ids, no names, no secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from payflow.core.clock import Clock
from payflow.store.reports import Reports
from web.context import web

pages = Blueprint("health", __name__)
_NEEDED = ("database", "migrations")
"""Without the broker or the cache payflow is slower, not broken: orders are taken, work waits in the database."""


@pages.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return _json({"status": "ok"}, 200)


@pages.get("/readyz")
def readyz() -> Response:
    """Whether requests can be served: database, schema, broker, cache; how old the oldest unhandled work is; how much
    was given up and waits for a person (a webhook that fits no payment, a letter nobody takes)."""
    checks = web().container.ping()
    is_ready = all(checks[name] == "ok" for name in _NEEDED)
    now = web().container.clock.now()
    is_readable = checks["database"] == checks["migrations"] == "ok"
    owed, parked = (web().reports.owed(now), web().reports.parked()) if is_readable else ({}, {})
    ages = {kind: _age(found["oldest_at"], now) for kind, found in owed.items()}
    status = "not_ready" if not is_ready else "ready" if set(checks.values()) == {"ok"} else "degraded"
    left = {kind: found["count"] for kind, found in parked.items()}
    found = {"status": status, "checks": checks, "oldest_unhandled_seconds": ages, "parked": left}
    return _json(found, 200 if is_ready else 503)


@pages.get("/metrics")
def metrics() -> Response:
    """Gauges read from the database, the same from every process."""
    registry = CollectorRegistry()
    registry.register(_Owed(web().reports, web().container.clock))
    return Response(generate_latest(registry), content_type="text/plain; version=0.0.4; charset=utf-8")


class _Owed(Collector):
    """What waits, and for how long."""

    def __init__(self, reports: Reports, clock: Clock) -> None:
        self._reports, self._clock = reports, clock

    def collect(self) -> Iterable[Metric]:
        now = self._clock.now()
        due = GaugeMetricFamily("payflow_due_work", "Rows on which a step is due.", labels=["kind"])
        age = GaugeMetricFamily("payflow_due_work_oldest_seconds", "Age of the oldest due row.", labels=["kind"])
        for kind, found in self._reports.owed(now).items():
            due.add_metric([kind], found["count"])
            age.add_metric([kind], _age(found["oldest_at"], now) or 0)
        parked = GaugeMetricFamily("payflow_parked", "Rows given up, for a person to look at.", labels=["kind"])
        for kind, found in self._reports.parked().items():
            parked.add_metric([kind], found["count"])
        orders = GaugeMetricFamily("payflow_orders", "Orders by status.", labels=["status"])
        for status, count in self._reports.orders_by_status().items():
            orders.add_metric([status], count)
        return (due, age, parked, orders)


def _age(since: datetime | None, now: datetime) -> int | None:
    return max(0, int((now - since).total_seconds())) if since else None


def _json(found: object, status: int) -> Response:
    response = Response(json.dumps(found), status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
