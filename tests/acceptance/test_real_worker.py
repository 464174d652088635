"""payflow's own worker as a pytest-celery node: it takes the chains off a real broker, and picks up after its death."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from payflow.services.reconciliation_report import ReconciliationReport
from tests.live import Live, completed, one_effect_each, running
from tests.nodes import WorkerNode

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def live(tmp_path: Path, broker_url: str) -> Iterator[Live]:
    """Web, beat and sandbox by the launcher; the workers are nodes of the test."""
    with running(tmp_path / "system", parts=("sandbox", "web", "beat"), PAYFLOW_BROKER_URL=broker_url) as system:
        yield system


def own_environment(live: Live) -> dict[str, str]:
    """What the launcher told the other parts."""
    return {key: value for key, value in live.launcher.environ.items() if key not in os.environ or key == "PYTHONPATH"}


def test_a_worker_node_takes_an_order_from_request_to_letter(
    live: Live, make_worker: Callable[..., WorkerNode]
) -> None:
    """One worker on all queues: page opened, webhook processed, verified, confirmed, letter sent, each once."""
    make_worker("all", environ=own_environment(live))
    order_id = live.order()
    reference = live.initiate(order_id)["reference"]
    live.pay(reference)
    live.wait_for(lambda: completed(live, [order_id]), 30, "the order is completed")
    live.wait_for(lambda: live.control("GET", "/mail/messages"), 30, "the letter is out")
    one_effect_each(live, [order_id])


def test_a_worker_node_compares_with_the_gateways(live: Live, make_worker: Callable[..., WorkerNode]) -> None:
    """A run's slices come off the gateways' queues and end: what was paid is listed, and all agree."""
    make_worker("all", environ=own_environment(live))
    order_id = live.order()
    live.pay(live.initiate(order_id)["reference"])
    live.wait_for(lambda: completed(live, [order_id]), 30, "the order is completed")

    until = datetime.now(UTC)
    run_id = live.container.reconciliation.open(since=until - timedelta(hours=1), until=until, actor="user:op")
    report = ReconciliationReport(live.container.units)
    live.wait_for(lambda: report.run(run_id)["state"] == "complete", 60, "every gateway has been compared")
    run = report.run(run_id)
    assert (sum(one["payments_listed"] for one in run["gateways"]), run["differences"]) == (1, [])


def test_a_worker_node_killed_in_the_middle_is_followed_by_another(
    live: Live, make_worker: Callable[..., WorkerNode]
) -> None:
    """SIGKILL while pages are being opened and payments verified: the restarted node ends all of them."""
    node = make_worker("all", environ=own_environment(live))
    order_ids = [live.order() for _ in range(8)]
    references = [live.initiate(order_id, wait=0)["reference"] for order_id in order_ids]
    live.wait_for(lambda: len(live.charges()) >= 2, 30, "some pages are open")
    node.kill()
    node.restart()
    live.wait_for(lambda: set(references) <= set(live.charges()), 120, "all pages are open")
    for reference in references:
        live.pay(reference)
    live.wait_for(lambda: completed(live, order_ids), 60, "all orders are completed")
    one_effect_each(live, order_ids)
    taken = live.charges()
    assert (max(taken.values()), sum(taken.values())) == (1, 8), "a page that was lost is replaced, and never paid for"
