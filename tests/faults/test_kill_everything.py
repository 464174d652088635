"""kill -9 of everything in the middle of fifty payments: all of them end right after the restart, without help.

In a file of its own, so that no other system of the suite is up on the same broker at the time.
"""

from __future__ import annotations

import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live import Live, completed, one_effect_each, running

pytestmark = pytest.mark.faults


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
