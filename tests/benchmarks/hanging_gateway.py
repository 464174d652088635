"""`make bench-hang`: what one gateway that hangs costs the customers of the others.

Customers pay at two gateways as fast as they are served, while others keep arriving at a third. The same is run with
the third answering, then hanging (every answer takes 30 s), then answering again; what the others got is compared
within this run. Figures to look at are the two ratios at the end: 1.0 means that nobody noticed.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from itertools import cycle

import requests

from tests.benchmarks.__main__ import Bench, percentile, running_bench
from tests.benchmarks.driver import Observed, confirmation_seconds

OTHERS = ("flutterwave", "stripe")
HANGING = "paystack"
AMOUNT_MINOR = 1_500_000
"""NGN 15,000: above every gateway's least."""


def main() -> int:
    options = _options()
    with running_bench() as bench:
        bench.driver.gateways = cycle(OTHERS)
        bench.phase("warm-up", bench.driver.saturate, 20, in_flight=8)
        rows = [_phase(bench, phase, options) for phase in ("answering", "hanging", "answering again")]
    print_rows(rows)
    return 0


def _phase(bench: Bench, name: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of payments at the others, while the third gateway's customers come at a fixed rate."""
    print(f"{name}: {options.seconds:g} s …", file=sys.stderr)
    plan = None
    if name == "hanging":
        plan = _control(bench, "POST", {"fault": "slow", "gateway": HANGING, "times": None, "params": {"seconds": 30}})
    bookings = bench.bookings(options.most, AMOUNT_MINOR)
    beside = bench.bookings(int(options.seconds * options.rate), AMOUNT_MINOR)
    stop = threading.Event()
    visitors = threading.Thread(target=_visit, args=(bench, beside, options.rate, stop))
    visitors.start()
    seen: Observed = bench.driver.saturate_for(bookings, in_flight=options.in_flight, seconds=options.seconds)
    stop.set()
    visitors.join()
    if plan is not None:
        _control(bench, "DELETE", None)
    waits = confirmation_seconds(bench.engine, seen.completed)
    return {
        "phase": name,  # type: ignore[dict-item]  # the one name among figures
        "completed": len(seen.completed),
        "failed": len(seen.errors),
        "per_second": len(seen.completed) / seen.seconds,
        "p50": percentile(waits, 50) or 0.0,
        "p99": percentile(waits, 99) or 0.0,
    }


def _visit(bench: Bench, bookings: Sequence[Sequence[str]], rate: float, stop: threading.Event) -> None:
    """Customers of the third gateway ask for its page, one after another, and are not waited for."""
    began = time.monotonic()
    for number, pair in enumerate(bookings):
        if stop.wait(max(0.0, began + number / rate - time.monotonic())):
            return
        bench.driver.start(pair, HANGING)


def _control(bench: Bench, method: str, body: object) -> object:
    answer = requests.request(method, f"{bench.sandbox}/sandbox/faults", json=body, timeout=10)
    answer.raise_for_status()
    return answer.json()


def print_rows(rows: Sequence[dict[str, float]]) -> None:
    print(f"\n{'the third gateway is':<22}{'paid':>6}{'failed':>8}{'per s':>8}{'confirmed p50 ms':>18}{'p99 ms':>9}")
    for row in rows:
        print(
            f"{row['phase']!s:<22}{row['completed']:>6}{row['failed']:>8}{row['per_second']:>8.2f}"
            f"{row['p50']:>18}{row['p99']:>9}"
        )
    usual = (rows[0]["per_second"] + rows[2]["per_second"]) / 2
    usual_wait = (rows[0]["p50"] + rows[2]["p50"]) / 2
    print(f"\nthroughput while hanging / usual: {rows[1]['per_second'] / usual:.3f}")
    print(f"median wait while hanging / usual: {rows[1]['p50'] / usual_wait:.3f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-hang", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each of the three phases runs")
    parser.add_argument("--rate", type=float, default=2.0, help="customers per second of the gateway that hangs")
    parser.add_argument("--in-flight", type=int, default=8, help="customers at the others at a time")
    parser.add_argument("--most", type=int, default=1_500, help="payments prepared for each phase")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
