"""`make faults`, the campaign's command. Exit status 1: something was lost, doubled, wrong, stuck or left running."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom

from payflow.failpoints import POINTS
from tests import servers
from tests.faults.campaign import NAIVE_BUILDS
from tests.faults.campaign.faults import FAULTS
from tests.faults.campaign.page import page
from tests.faults.campaign.report import Row, heading, table, total, write_json
from tests.faults.campaign.runner import Campaign, keep_logs
from tests.faults.campaign.stage import STACKS, Stage, busy_standard_ports, left_running

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "fault-campaign.md"
_WIDTH = 44
_AGAIN = 2
"""So often a row is run once more when too little was in flight to show anything."""


def main(arguments: Sequence[str]) -> int:
    """Parse, run stack after stack, sum up."""
    given = _options().parse_args(arguments)
    if given.list:
        for fault in FAULTS.values():
            print(f"{fault.name:<32} {fault.does}  ({', '.join(fault.stacks)})")
        print(*POINTS, sep="\n")
        return 0
    results = Path(given.results).resolve()
    if given.write:
        PAGE.write_text(page(results), encoding="utf-8")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    stacks = [given.stack] if given.stack else _installed()
    seed = given.seed if given.seed is not None else SystemRandom().randrange(1 << 32)
    print(f"seed {seed}; stacks {', '.join(stacks)}", flush=True)
    is_clean, text = True, ""
    before, places = busy_standard_ports(), list[Path]()
    try:
        for stack in stacks:
            rows, found = _run_stack(stack, given, seed, results, places)
            text += f"\n\n{stack} ({_spoken(stack)}), seed {seed}\n{table(rows)}"
            is_clean = is_clean and found
    except KeyboardInterrupt:
        text += "\n\ninterrupted"
        is_clean = False
    print(text, flush=True)
    return 0 if _leaves_nothing(places, before) and is_clean else 1


def _run_stack(
    stack: str, given: argparse.Namespace, seed: int, results: Path, places: list[Path]
) -> tuple[list[Row], bool]:
    """One stack's rows, and whether all is well there."""
    began, rows = time.monotonic(), list[Row]()
    with tempfile.TemporaryDirectory(prefix="payflow-campaign-") as name:
        folder = Path(name) / "stage"
        print(f"\n{stack}: starting {_spoken(stack)} ...", flush=True)
        stage = Stage(stack, folder, naive=given.naive, say=print)
        try:
            with stage, Campaign(stage, seed=seed, limit_seconds=given.limit) as campaign:
                print(f"up after {time.monotonic() - began:.0f} s\n{heading(_WIDTH)}", flush=True)
                if given.random:
                    rows = campaign.random(given.random, lambda line: print(line, flush=True))
                else:
                    _run_rows(campaign, _chosen(stack, given), rows)
        finally:
            places += stage.places
            if not total(rows).is_clean:
                keep_logs(stage, results / f"{stack}-logs")
            about = {
                "stack": stack,
                "random_seconds": given.random,
                "seed": seed,
                "naive": given.naive,
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - began),
                "limit_seconds": given.limit,
            }
            write_json(results / f"{stack}{'-random' if given.random else ''}.json", about=about, rows=rows)
    return rows, bool(rows) and total(rows).is_clean


def _run_rows(campaign: Campaign, names: Sequence[str], rows: list[Row]) -> None:
    for name in names:
        row = _run_row(campaign, name)
        for _ in range(_AGAIN):
            if not row.is_shown:
                row = row.and_again(_run_row(campaign, name))
        rows.append(row)
        print(row.line(_WIDTH), *(f"  {one}" for one in row.findings[:12]), sep="\n", flush=True)


def _run_row(campaign: Campaign, name: str) -> Row:
    return campaign.fault(FAULTS[name]) if name in FAULTS else campaign.point(name)


def _chosen(stack: str, given: argparse.Namespace) -> list[str]:
    """The rows to run: those that fit the stack, narrowed by --only (names, or a pattern with *)."""
    names = [
        one.name for one in FAULTS.values() if stack in one.stacks and (given.only or given.slow or not one.is_slow)
    ]
    names += POINTS
    if not given.only:
        return names
    patterns = [re.compile(re.escape(word).replace(r"\*", ".*") + "$") for word in given.only]
    return [name for name in names if any(pattern.match(name) for pattern in patterns)]


def _leaves_nothing(places: Sequence[Path], busy_before: set[int]) -> bool:
    """Say whether a process or a busy standard port is left behind."""
    rest, ports = left_running(places), busy_standard_ports() - busy_before
    for one in rest:
        print(f"left running: {one}")
    if ports:
        print(f"standard ports in use that were not before: {sorted(ports)}")
    if not rest and not ports:
        print("\nNothing is left running, and no standard port was taken.")
    return not rest and not ports


def _installed() -> list[str]:
    """The stacks whose servers this machine has."""
    absent = " ".join(servers.missing())
    found = [stack for stack, needs in STACKS.items() if not any(need in absent for need in needs)]
    for stack in STACKS.keys() - set(found):
        print(f"{stack}: left out, its servers are not installed ({absent})")
    return found


def _spoken(stack: str) -> str:
    words = {"sqlite": "SQLite and the embedded broker", "redis": "PostgreSQL and Redis"}
    return words.get(stack, "PostgreSQL and RabbitMQ")


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="make faults", description="Break payflow on purpose and look at the books.")
    options.add_argument("--stack", choices=STACKS, help="one stack only (default: all whose servers are installed)")
    options.add_argument(
        "--only", action="append", metavar="NAME", help="this fault or fail-point only; * fits anything"
    )
    options.add_argument("--slow", action="store_true", help="the faults that take minutes as well")
    options.add_argument("--seed", type=int, help="repeat a run: its arrivals, choices and random schedule")
    options.add_argument("--random", type=_seconds, metavar="30m", help="random pairs of faults for so long instead")
    options.add_argument("--limit", type=float, default=180, help="seconds until everything must be settled")
    options.add_argument("--naive", choices=NAIVE_BUILDS, help="workers with a usual mistake, to see that it is found")
    options.add_argument("--results", default=ROOT / "tests" / "faults" / "results", help="where the JSON and logs go")
    options.add_argument("--write", action="store_true", help="write docs/fault-campaign.md from --results, and end")
    options.add_argument("--list", action="store_true", help="name all faults and fail-points, and end")
    return options


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smh]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError("say 90s, 30m or 2h")
    return int(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3_600}[found[2]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
