"""The promises, kept by the whole system in real processes: one charge, one effect, nothing lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from payflow.services.access import Caller
from tests.live import WORKSPACE, Live, all_told, completed, one_effect_each, running
from tests.receivers import a_receiver

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("live")) as system:
        yield system


def test_twenty_parallel_initiations_are_one_try_and_one_charge(live: Live) -> None:
    """20 clients press at once: the same reference for all, one initialize at the gateway, one charge."""
    order_id = live.order()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: live.initiate(order_id), range(20)))
    references = {answer["reference"] for answer in answers}
    assert len(references) == 1
    pages = {answer["authorization_url"] for answer in answers} - {None}  # who was answered with 202 asks again
    assert len(pages) == 1
    (page,) = pages
    assert live.initiate(order_id)["authorization_url"] == page
    (reference,) = references
    live.pay(reference)
    live.wait_for(lambda: completed(live, [order_id]), 20, "the order is completed")
    assert live.charges()[reference] == 1
    opened = live.control("GET", f"/sandbox/calls?operation=initialize&reference={reference}")["calls"]
    assert len(opened) == 1
    one_effect_each(live, [order_id])


def test_ten_parallel_deliveries_of_one_webhook_are_one_effect(live: Live) -> None:
    """10 copies at once: one inbox row, one ledger posting, one message per recipient and channel."""
    order_id = live.order()
    reference = live.initiate(order_id)["reference"]
    live.control("POST", "/sandbox/faults", {"fault": "webhook_missing", "reference": reference, "times": None})
    live.pay(reference)
    body = live.charge_success(reference)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: live.webhook(body), range(10)))
    assert {answer.status_code for answer in answers} == {200}
    live.wait_for(lambda: completed(live, [order_id]), 20, "the order is completed")
    stored = live.rows("SELECT id FROM webhook_events WHERE reference = :reference", reference=reference)
    assert len(stored) == 1
    one_effect_each(live, [order_id])


def test_a_forged_webhook_changes_nothing(live: Live) -> None:
    """A wrong signature is 401 and leaves no row."""
    order_id = live.order()
    reference = live.initiate(order_id)["reference"]
    answer = requests.post(
        f"{live.api}/payment/webhooks/paystack/",
        data=live.charge_success(reference),
        headers={"x-paystack-signature": "0" * 128},
        timeout=10,
    )
    assert answer.status_code == 401
    assert not live.rows("SELECT id FROM webhook_events WHERE reference = :reference", reference=reference)
    assert live.statuses([order_id])[order_id] == "processing"


def test_receivers_that_hang_hold_up_neither_money_nor_bookings_nor_letters(live: Live) -> None:
    """Five endpoints that do not answer have all the places there are; an order is paid and told as ever. Then they
    answer, and each event arrives at each of them."""
    platform, desk = Caller(user_id="live-platform", is_service=True), live.container.webhook_endpoints
    live.order()  # the workspace is known from here on
    live.wait_for(lambda: all_told(live), 20, "the order is told")
    with a_receiver() as slow:
        slow.hold = threading.Event()
        endpoints = [desk.create(platform, WORKSPACE, url=slow.url)[0] for _ in range(5)]
        for _ in range(4):
            live.order()
        live.wait_for(lambda: len(slow.arrived) >= 16, 20, "every place is taken")
        order_id = live.order()
        live.pay(live.initiate(order_id)["reference"])
        live.wait_for(lambda: completed(live, [order_id]), 20, "the order is completed")
        one_effect_each(live, [order_id])
        slow.hold.set()
        owed = "SELECT id FROM webhook_deliveries WHERE delivered_at IS NULL"
        live.wait_for(lambda: not live.rows(owed), 60, "every webhook is delivered")
        for endpoint_id in endpoints:
            desk.delete(platform, endpoint_id)
    told = {(one.headers["webhook-id"], one.body["sequence"]) for one in slow.arrived}
    assert len(told) == len({event for event, _ in told}) == 4 + 5
