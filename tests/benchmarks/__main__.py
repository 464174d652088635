"""`make bench`: the workload of one payment, end to end over HTTP, on the whole running system.

One payment = order from two pending bookings, initiate at the sandbox gateway, signed webhook, verification, ledger,
confirmation, messages. Prints payments per second, CPU per payment by process, and the wait from webhook to confirmed;
writes the same as JSON. Compare figures only within one run: machines drift.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from sqlalchemy import text
from sqlalchemy.engine import Engine

from payflow import demo_data
from payflow.container import Container, build
from payflow.dispatch import SilentBells
from payflow.launcher import Launcher
from payflow.models.booking import Booking
from payflow.settings import Settings
from payflow.system import Ports
from tests.benchmarks.driver import Driver, Observed, confirmation_seconds

MEASURED = ("web", "money", "core", "beat")


def main() -> int:
    options = _options()
    report: dict[str, object] = {"at": datetime.now(UTC).isoformat(timespec="seconds")}
    with running_bench() as bench:
        report["database"], report["broker"] = bench.engine.dialect.name, bench.broker
        bench.phase("warm-up", bench.driver.saturate, 30, in_flight=8)
        phases = [bench.phase("saturation", bench.driver.saturate, options.payments, in_flight=options.in_flight)]
        for rate in options.rates:
            count = max(20, int(rate * options.seconds))
            phases.append(bench.phase(f"{rate:g}/s", bench.driver.open_loop, count, per_second=rate))
        report["phases"] = phases
    print_report(report)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1))
    print(f"\nwritten to {options.json}")
    return 0


@contextmanager
def running_bench() -> Iterator[Bench]:
    """The whole system on free ports in a folder of its own; stopped at the end."""
    environ = {
        key: value for key, value in os.environ.items() if not key.startswith(("PAYSTACK_", "STRIPE_", "FLUTTERWAVE_"))
    }
    environ["PAYFLOW_LOG_LEVEL"] = "WARNING"
    environ["PAYFLOW_RATE_LIMITS"] = "off"
    with tempfile.TemporaryDirectory(prefix="payflow-bench-") as folder:
        launcher = Launcher(
            data_dir=Path(folder),
            environ=environ,
            ports=Ports.free(),
            parts=("sandbox", *MEASURED),
            say=lambda line: print(line, file=sys.stderr),
        )
        with launcher:
            container = build(Settings.from_environ(launcher.environ), bells=SilentBells())
            bench = Bench(launcher, container)
            yield bench
            bench.driver.watch.stop()
            container.engine.dispose()


class Bench:
    """One running system, its driver and its accounts of CPU."""

    def __init__(self, launcher: Launcher, container: Container) -> None:
        self._launcher, self._container = launcher, container
        self.engine: Engine = container.engine
        self.broker = launcher.environ["PAYFLOW_BROKER_URL"].split(":")[0]
        places = launcher.addresses
        self.sandbox = places["sandbox"].rstrip("/")
        token = subprocess.run(
            [sys.executable, "-m", "payflow", "token", "--user", "bench", "--email", "bench@example.com"],
            env=launcher.environ, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        self.driver = Driver(places["web"].rstrip("/"), self.sandbox, token, self.engine)
        self._made = 0

    def phase(self, name: str, run: object, payments: int, **how: float) -> dict[str, object]:
        """Run one phase and account for it."""
        bookings = self.bookings(payments)
        print(f"{name}: {payments} payments …", file=sys.stderr)
        before = self._cpu()
        seen: Observed = run(bookings, **how)  # type: ignore[operator]  # from a table of runs
        spent = {part: after - before[part] for part, after in self._cpu().items() if part in before}
        waits = confirmation_seconds(self.engine, seen.completed)
        done = len(seen.completed)
        return {
            "phase": name,
            "payments": seen.started,
            "completed": done,
            "errors": seen.errors[:5],
            "seconds": round(seen.seconds, 2),
            "payments_per_second": round(done / seen.seconds, 1),
            "cpu_ms_per_payment": {part: round(1000 * value / max(done, 1), 1) for part, value in spent.items()},
            "confirmed_ms": {"p50": percentile(waits, 50), "p99": percentile(waits, 99)},
            "order_ms": {
                "p50": percentile(sorted(seen.order_seconds), 50),
                "p99": percentile(sorted(seen.order_seconds), 99),
            },
            "initiate_ms": {
                "p50": percentile(sorted(seen.initiate_seconds), 50),
                "p99": percentile(sorted(seen.initiate_seconds), 99),
            },
        }

    def bookings(self, payments: int, amount_minor: int = 150_000) -> list[list[str]]:
        """Pairs of pending bookings in free slots, made before the clock starts."""
        start = datetime(2030, 1, 1, tzinfo=UTC)
        now = datetime.now(UTC)

        def step(tx: object) -> list[str]:
            tx.upsert_user("bench", email="bench@example.com", name="Bench", at=now)  # type: ignore[attr-defined]  # a Transaction
            tx.upsert_workspace(demo_data.WORKSPACE_ID, name=demo_data.WORKSPACE_NAME, at=now)  # type: ignore[attr-defined]  # a Transaction
            rows = [
                Booking(
                    user_id="bench", workspace_id=demo_data.WORKSPACE_ID, resource_id=f"r{self._made + number}",
                    starts_at=start, ends_at=start + timedelta(hours=1), amount_minor=amount_minor, currency="NGN",
                    status="pending", moves=0, created_at=now, updated_at=now,
                )
                for number in range(payments * 2)
            ]  # fmt: skip
            for row in rows:
                tx.add(row)  # type: ignore[attr-defined]  # a Transaction
            tx.flush()  # type: ignore[attr-defined]  # a Transaction
            return [row.id for row in rows]

        ids = self._container.units.run(step)
        self._made += len(ids)
        if self.engine.dialect.name == "postgresql":
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("ANALYZE"))
        return [ids[number : number + 2] for number in range(0, len(ids), 2)]

    def _cpu(self) -> dict[str, float]:
        """CPU seconds by part, whole process trees; PostgreSQL and the broker apart, where they run here."""
        spent = {part: _tree_seconds(self._launcher.pid(part)) for part in MEASURED}
        spent["payflow in all"] = sum(spent.values())
        if self._launcher.broker is not None:
            spent["broker"] = sum(_seconds(one) for one in psutil.process_iter() if "valkey" in _name(one))
        if self.engine.dialect.name == "postgresql":
            spent["postgresql"] = sum(_seconds(one) for one in psutil.process_iter() if _name(one) == "postgres")
        spent["sandbox (outside)"] = _tree_seconds(self._launcher.pid("sandbox"))
        return spent


def _tree_seconds(pid: int | None) -> float:
    if pid is None:
        return 0.0
    parent = psutil.Process(pid)
    return sum(_seconds(one) for one in (parent, *parent.children(recursive=True)))


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    if not ordered:
        return None
    return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1)


def print_report(report: dict[str, object]) -> None:
    print(f"\npayflow on {report['database']} with {report['broker']}, {report['at']}\n")
    phases = report["phases"]
    assert isinstance(phases, list)
    print(
        f"{'phase':<12}{'done':>11}{'per s':>8}{'confirmed p50':>15}{'p99 ms':>9}{'order p50':>11}{'initiate p50':>14}"
    )
    for one in phases:
        print(
            f"{one['phase']:<12}{one['completed']:>6}/{one['payments']:<4}{one['payments_per_second']:>8}"
            f"{one['confirmed_ms']['p50']!s:>15}{one['confirmed_ms']['p99']!s:>9}{one['order_ms']['p50']!s:>11}"
            f"{one['initiate_ms']['p50']!s:>14}"
        )
        for error in one["errors"]:
            print(f"            {error}")
    parts = list(phases[0]["cpu_ms_per_payment"])
    print("\nCPU ms per payment " + "".join(f"{one['phase']:>12}" for one in phases))
    for part in parts:
        print(f"  {part:<17}" + "".join(f"{one['cpu_ms_per_payment'].get(part, '')!s:>12}" for one in phases))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--payments", type=int, default=300, help="payments at saturation")
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--rates", type=float, nargs="*", default=[8.0], help="open-loop rates, payments per second")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each open-loop rate runs")
    parser.add_argument("--json", type=Path, default=Path(".payflow/bench.json"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
