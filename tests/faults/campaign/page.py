"""docs/fault-campaign.md: what the last whole runs found, from their JSON (report.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.faults.campaign.faults import FAULTS
from tests.faults.campaign.report import KINDS

_NAMES = {
    "sqlite": "SQLite, embedded broker",
    "redis": "PostgreSQL, Redis",
    "rabbitmq": "PostgreSQL, RabbitMQ",
}
_HEAD = """# The fault campaign's figures

Written by `make faults ARGS="--write"` from the last runs' results. How a row comes about, what the columns mean and
how to repeat it: [howto/run-the-fault-campaign.md](howto/run-the-fault-campaign.md).

A cell holds: payments and refunds in flight when the fault struck · **lost doubled wrong stuck** · seconds from the end
of the fault until everything was settled. The machine had two cores for payflow, its servers, the gateways, the
customers and the judge, so the seconds are upper bounds. An empty cell is a fault that the stack cannot have. A row
that was run again alone stands with its last run.
"""


def page(results: Path) -> str:
    """The whole page, from the JSON files in a folder."""
    found = {name: _read(results / f"{name}.json") for name in _NAMES}
    whole = {name: one for name, one in found.items() if one}
    rows = {name: {row["fault"]: row for row in one["rows"]} for name, one in whole.items()}
    order = {fault: None for of_stack in rows.values() for fault in of_stack}
    lines = [_HEAD, _line("", *(_NAMES[name] for name in whole)), _line("---", *("---" for _ in whole))]
    lines.append(_line("seed", *(str(one["about"]["seed"]) for one in whole.values())))
    lines.append(_line("**all**", *(f"**{_cell(one['all'])}**" for one in whole.values())))
    ordered = [*(name for name in FAULTS if name in order), *(name for name in order if name not in FAULTS)]
    for fault in ordered:
        cells = (_cell(of_stack[fault]) if fault in of_stack else "" for of_stack in rows.values())
        lines.append(_line(f"`{fault}`", *cells))
    for name in _NAMES:
        if random := _read(results / f"{name}-random.json"):
            lines += _random(name, random)
    return "\n".join(lines) + "\n"


def _random(name: str, one: dict[str, Any]) -> list[str]:
    about, every = one["about"], one["all"]
    minutes = round(about["random_seconds"] / 60)
    verdict = ", ".join(f"{kind} {every[kind]}" for kind in KINDS)
    return [
        f"\n## Pairs at random, {_NAMES[name]}\n",
        f"Seed {about['seed']}, {minutes} minutes, {every['runs']} faults; {verdict};",
        f"settled {every['seconds']:.1f} s after the last.\n",
        _line("fault", "times", "in flight, all times together"),
        _line("---", "---", "---"),
        *(_line(f"`{row['fault']}`", str(row["runs"]), str(_in_flight(row))) for row in one["rows"] if row["runs"]),
    ]


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _cell(row: dict[str, Any]) -> str:
    return f"{_in_flight(row)} · {' '.join(str(row[kind]) for kind in KINDS)} · {row['seconds']:.1f}"


def _in_flight(row: dict[str, Any]) -> int:
    return int(row["payments_in_flight"]) + int(row["refunds_in_flight"])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
