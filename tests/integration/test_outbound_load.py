"""Many webhooks: what a thousand endpoints cost, and whom a receiver that hangs can hold up."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event

from payflow.core.errors import Conflict
from payflow.core.identifiers import new_id
from payflow.models.outbox import OutboxEvent
from payflow.models.webhook_endpoint import WebhookDelivery, WebhookEndpoint, new_secret
from payflow.store.outgoing import AT_ONE_RECEIVER
from payflow.store.unit_of_work import Transaction
from tests.house import ADMIN, WORKSPACE, House
from tests.receivers import a_receiver

pytestmark = pytest.mark.parametrize("house", [{"PAYFLOW_WEBHOOK_ALLOW_PRIVATE": "1"}], indirect=True)


def subscribe(house: House, url: str, *, count: int = 1) -> None:
    """Endpoints that want everything."""

    def step(tx: Transaction) -> None:
        at = tx.act.at
        for _ in range(count):
            tx.add(
                WebhookEndpoint(
                    id=new_id(), workspace_id=WORKSPACE, url=url, secret=new_secret(), retired_secrets={},
                    subscribed_at=at, created_at=at, updated_at=at,
                )
            )  # fmt: skip

    house.container.units.run(step)


def publish(house: House, *, count: int, fan_out: bool = True) -> None:
    """Facts about nothing, cheaply made, and fanned out."""

    def step(tx: Transaction) -> None:
        at, payload = tx.act.at, {"order_number": "ORD-1", "total_amount": 1, "currency": "NGN", "timestamp": "then"}
        for _ in range(count):
            key = new_id()
            tx.add(
                OutboxEvent(
                    id=key, type="ORDER_CREATED", dedupe_key=key, subject_id=key, user_id="u-ada", payload=payload,
                    workspace_id=WORKSPACE, created_at=at, due_at=at, tries=0,
                )
            )  # fmt: skip

    house.container.units.run(step)
    if fan_out:
        house.step("notifications.fan_out")


def test_a_thousand_endpoints_take_no_more_statements_than_one(house: House) -> None:
    """Fan-out writes them in bulk; each gets its row and its own number. More than that a workspace may not have."""
    statements: list[str] = []

    def note(*given: Any) -> None:
        statements.append(given[2])

    sqlalchemy_event.listen(house.container.engine, "before_cursor_execute", note)
    counts = []
    for more in (1, 999):
        subscribe(house, "https://hooks.example.com/", count=more)
        statements.clear()
        publish(house, count=1)
        counts.append(len(statements))
    sqlalchemy_event.remove(house.container.engine, "before_cursor_execute", note)
    assert counts[0] == counts[1]
    rows: list[WebhookDelivery] = house.rows(WebhookDelivery)
    assert len(rows) == 1_001
    assert sorted(row.sequence for row in rows) == [1] * 1_000 + [2]
    with pytest.raises(Conflict, match="1000"):
        house.container.webhook_endpoints.create(ADMIN, WORKSPACE, url="https://hooks.example.com/")


def test_a_receiver_that_hangs_holds_few_places_and_its_neighbour_is_served(house: House) -> None:
    """Forty webhooks wait for one that does not answer; the neighbour's one goes out meanwhile, and none is lost."""
    with a_receiver() as slow, a_receiver() as quick:
        slow.hold = threading.Event()
        subscribe(house, slow.url)
        publish(house, count=40)
        subscribe(house, quick.url)
        publish(house, count=1)
        stuck = [threading.Thread(target=house.container.deliveries.send) for _ in range(3)]
        for one in stuck:
            one.start()
        for _ in range(500):
            if quick.arrived and len(slow.arrived) >= AT_ONE_RECEIVER:
                break
            threading.Event().wait(0.01)
        in_flight, served = len(slow.arrived), len(quick.arrived)
        slow.hold.set()
        for one in stuck:
            one.join(20)
        assert (in_flight, served) == (AT_ONE_RECEIVER, 1)
        house.drain()
        assert sorted(one.body["sequence"] for one in slow.arrived) == list(range(1, 42))


def test_numbers_follow_the_events_whoever_fans_them_out(house: House) -> None:
    """Four workers race over events published one after the other: for each endpoint a later event has a higher number,
    and no number is missing."""
    subscribe(house, "https://hooks.example.com/", count=2)
    is_over = threading.Event()

    def fan_out() -> None:
        while not is_over.is_set():
            house.container.notifications.fan_out()

    workers = [threading.Thread(target=fan_out) for _ in range(4)]
    for worker in workers:
        worker.start()
    for _ in range(40):
        publish(house, count=1, fan_out=False)
    is_over.set()
    for worker in workers:
        worker.join(20)
    house.step("notifications.fan_out")
    rows: list[WebhookDelivery] = house.rows(WebhookDelivery)
    for endpoint in house.rows(WebhookEndpoint):
        told = sorted((row for row in rows if row.endpoint_id == endpoint.id), key=lambda row: str(row.event_id))
        assert [row.sequence for row in told] == list(range(1, 41))
