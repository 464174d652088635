"""The promises, kept by the whole system in real processes: one charge, one effect, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.live import Live, completed, one_effect_each, running

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
    assert {answer["authorization_url"] for answer in answers} != {None}
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
