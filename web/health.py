"""`/healthz`, `/readyz`, `/metrics`: for load balancers, orchestrators and Prometheus. No ids, no names, no secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from payflow.core.clock import Clock
from payflow.models.reconciliation import DifferenceKind
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
    """Whether requests can be served: database, schema, broker, cache; which gateways answer; how old the oldest
    unhandled work is; how much was given up and waits for a person (a webhook that fits no payment, a letter); how
    many differences with gateways are open; which invariants the latest audit found broken."""
    checks = web().container.ping()
    is_ready = all(checks[name] == "ok" for name in _NEEDED)
    now = web().container.clock.now()
    is_readable = checks["database"] == checks["migrations"] == "ok"
    status = "not_ready" if not is_ready else "ready" if set(checks.values()) == {"ok"} else "degraded"
    found: dict[str, object] = {"status": status, "checks": checks}
    if is_readable:
        reports, silent = web().reports, web().reports.silent_gateways(now)
        found["gateways"] = {name: "not answering" if name in silent else "ok" for name in web().container.gateways}
        found["oldest_unhandled_seconds"] = {
            kind: _age(work["oldest_at"], now) for kind, work in reports.owed(now).items()
        }
        found["differences"] = sum(reports.differences().values())
        found["parked"] = {kind: work["count"] for kind, work in reports.parked().items()}
        found["broken_invariants"] = reports.broken_invariants()
    return _json(found, 200 if is_ready else 503)


@pages.get("/metrics")
def metrics() -> Response:
    """Gauges read from the database, the same from every process."""
    registry = CollectorRegistry()
    registry.register(_Owed(web().reports, web().container.clock, list(web().container.gateways)))
    return Response(generate_latest(registry), content_type="text/plain; version=0.0.4; charset=utf-8")


class _Owed(Collector):
    """What waits, and for how long."""

    def __init__(self, reports: Reports, clock: Clock, gateways: Sequence[str]) -> None:
        self._reports, self._clock, self._gateways = reports, clock, gateways

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
        differences = GaugeMetricFamily(
            "payflow_reconciliation_differences", "Open differences with gateways.", labels=["kind"]
        )
        open_now = self._reports.differences()
        for one in DifferenceKind:
            differences.add_metric([one.value], open_now.get(one.value, 0))
        compared = GaugeMetricFamily(
            "payflow_reconciliation_age_seconds", "Since the latest moment that was compared.", labels=["gateway"]
        )
        for name, until in self._reports.compared_until().items():
            compared.add_metric([name], _age(until, now) or 0)
        answers = GaugeMetricFamily("payflow_gateway_answers", "0 while a gateway does not answer.", labels=["gateway"])
        silent = self._reports.silent_gateways(now)
        for name in self._gateways:
            answers.add_metric([name], int(name not in silent))
        broken = GaugeMetricFamily("payflow_audit_breaches", "Rows that break an invariant.", labels=["invariant"])
        for invariant, count in self._reports.broken_invariants().items():
            broken.add_metric([invariant], count)
        asked = GaugeMetricFamily("payflow_open_decisions", "Questions about money, for a person.", labels=["kind"])
        for kind, count in self._reports.open_decisions().items():
            asked.add_metric([kind], count)
        disabled = GaugeMetricFamily(
            "payflow_webhook_endpoints_disabled", "Receivers that get nothing any longer.", labels=["reason"]
        )
        for reason, count in self._reports.disabled_endpoints().items():
            disabled.add_metric([reason], count)
        orders = GaugeMetricFamily("payflow_orders", "Orders by status.", labels=["status"])
        for status, count in self._reports.orders_by_status().items():
            orders.add_metric([status], count)
        return (due, age, parked, differences, compared, answers, broken, asked, disabled, orders)


def _age(since: datetime | None, now: datetime) -> int | None:
    return max(0, int((now - since).total_seconds())) if since else None


def _json(found: object, status: int) -> Response:
    response = Response(json.dumps(found), status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
