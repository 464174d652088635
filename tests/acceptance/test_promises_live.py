"""The promises, kept by the whole system in real processes: one charge, one effect, nothing lost."""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live import Live, running

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("live")) as system:
        yield system


def completed(live: Live, order_ids: list[str]) -> bool:
    return set(live.statuses(order_ids).values()) == {"completed"}


def one_effect_each(live: Live, order_ids: list[str]) -> None:
    """One capture per order, each message once, each charge once."""
    for order_id in order_ids:
        key = order_id if live.container.engine.dialect.name == "postgresql" else order_id.replace("-", "")
        kinds = Counter(
            row.kind for row in live.rows("SELECT kind FROM ledger_postings WHERE order_id = :order_id", order_id=key)
        )
        assert kinds["capture"] == 1, kinds
        sent = Counter(
            (row.event, row.channel, row.recipient)
            for row in live.rows(
                "SELECT event, channel, recipient FROM notifications WHERE order_id = :order_id", order_id=key
            )
        )
        assert sent["PAYMENT_COMPLETED", "email", "live-ada@example.com"] == 1, sent
        assert sent["PAYMENT_COMPLETED", "in_app", "live-ada"] == 1, sent
        assert max(sent.values()) == 1, sent


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
    live.wait_for(
        lambda: not live.rows("SELECT id FROM notifications WHERE sent_at IS NULL AND parked_at IS NULL"),
        20,
        "letters out",
    )
    stored = live.rows("SELECT id FROM webhook_events WHERE reference = :reference", reference=reference)
    assert len(stored) == 1
    one_effect_each(live, [order_id])


def test_a_forged_webhook_changes_nothing(live: Live) -> None:
    """A wrong signature is 401 and leaves no row."""
    order_id = live.order()
    reference = live.initiate(order_id)["reference"]
    import requests

    answer = requests.post(
        f"{live.api}/payment/webhooks/paystack/",
        data=live.charge_success(reference),
        headers={"x-paystack-signature": "0" * 128},
        timeout=10,
    )
    assert answer.status_code == 401
    assert not live.rows("SELECT id FROM webhook_events WHERE reference = :reference", reference=reference)
    assert live.statuses([order_id])[order_id] == "processing"


@pytest.mark.faults
@pytest.mark.slow
def test_fifty_payments_survive_the_death_of_all_workers_and_of_the_broker(tmp_path: Path) -> None:
    """kill -9 of every worker and of the broker in the middle of 50 payments, broker data deleted: all 50 end right."""
    with running(tmp_path / "system") as live:
        order_ids = [live.order() for _ in range(50)]
        with ThreadPoolExecutor(16) as pool:
            references = [
                answer["reference"] for answer in pool.map(lambda one: live.initiate(one, wait=0), order_ids[:25])
            ]
            later = pool.map(lambda one: live.initiate(one, wait=0), order_ids[25:])
            _pay_what_is_open(live, references[:12])
            down = ["money", "core"] + (["broker"] if live.launcher.broker is not None else [])
            for part in down:
                live.launcher.kill(part, signal.SIGKILL)
                live.launcher.hold(part)
            if live.launcher.broker is not None:
                shutil.rmtree(live.launcher.broker.folder / "appendonlydir", ignore_errors=True)
            references += [answer["reference"] for answer in later]
        killed_at = time.monotonic()
        for part in reversed(down):
            live.launcher.resume(part)
        _pay_the_rest(live, order_ids)
        live.wait_for(lambda: completed(live, order_ids), 150, "all 50 are completed")
        print(f"\n50 of 50 completed {time.monotonic() - killed_at:.1f} s after the kill")
        live.wait_for(
            lambda: not live.rows("SELECT id FROM notifications WHERE sent_at IS NULL AND parked_at IS NULL"),
            60,
            "letters",
        )
        live.wait_for(
            lambda: not live.rows("SELECT id FROM outbox_events WHERE fanned_out_at IS NULL"), 60, "events fanned out"
        )
        one_effect_each(live, order_ids)
        taken = live.charges()
        assert max(taken.values()) == 1
        assert sum(taken.values()) == 50, "one charge for each of the 50, and no other"


def _pay_what_is_open(live: Live, references: list[str]) -> None:
    """Customers pay as soon as their page is there."""
    for reference in references:
        known = lambda one=reference: one in live.charges()  # noqa: E731 - a question for wait_for
        live.wait_for(known, 60, f"{reference} has a page")
        live.pay(reference)


def _pay_the_rest(live: Live, order_ids: list[str]) -> None:
    """After the restart every order still has one page that can be paid; customers pay there."""
    paid = {reference for reference, charges in live.charges().items() if charges}
    waiting = set(order_ids)
    deadline = time.monotonic() + 150
    while waiting and time.monotonic() < deadline:
        for order_id in sorted(waiting):
            payment = live.call("GET", f"/payment/orders/{order_id}/").json()["payment"]
            if payment["reference"] in paid or payment["status"] == "success":
                waiting.discard(order_id)
            elif payment["authorization_url"]:
                live.pay(payment["reference"])
                waiting.discard(order_id)
        time.sleep(0.2)
    assert not waiting, f"{len(waiting)} orders never got a page"
