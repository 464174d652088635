"""`python -m payflow reconcile`: compare with the gateways now, and show what was found. Part of the cli. Floor 7."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from payflow.container import Container
from payflow.core.events import timestamp
from payflow.services.access import Caller
from payflow.services.reconciliation_report import ReconciliationReport

SHOWN = 500


def reconcile(container: Container, options: argparse.Namespace, caller: Caller) -> int:
    """Compare, or show or close what is open. 0: all was compared and nothing is open; 1 otherwise."""
    report = ReconciliationReport(container.units)
    if options.close:
        container.reconciliation.close(caller, options.close, note=options.note)
        print(f"closed {options.close}")
        return 0
    if options.open:
        found, count = report.differences("open", SHOWN).rows, report.unsettled()
        print(_json(found) if options.json else "\n".join([*_table(found), f"{count} open"]))
        return 1 if count else 0
    until = options.until or container.clock.now()
    run_id = container.reconciliation.open(
        since=options.since or until - timedelta(days=1),
        until=until,
        gateways=options.gateway or (),
        actor=caller.actor,
        in_foreground=True,
    )
    container.reconciliation.run(run_id)
    run = report.run(run_id)
    print(_json(run) if options.json else told(run))
    return 0 if run["state"] == "complete" and not report.unsettled(run_id) else 1


def reconcile_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--gateway", action="append", help="only this one; repeatable; all without it")
    command.add_argument("--since", type=_moment_of, metavar="TIME", help="RFC 3339, or a day (UTC)")
    command.add_argument("--until", type=_moment_of, metavar="TIME", help="not included; now without it")
    command.add_argument("--json", action="store_true")
    command.add_argument("--open", action="store_true", help="compare nothing; list the differences that are open")
    command.add_argument("--close", type=row_id, metavar="ID", help="a difference was looked into: close it")
    command.add_argument("--note", default="", help="with --close: what was found out")


def told(run: dict[str, Any]) -> str:
    """A run as text for a terminal."""
    window = f"{_words(run['since'])} to {_words(run['until'])}"
    lines = [f"{window} UTC: {run['state']}  (run {run['id']})", ""]
    lines.append(f"{'gateway':<14}{'payments':>9}{'refunds':>9}{'asked for':>11}{'differ':>8}  state")
    for one in run["gateways"]:
        state = f"{one['state']}: {one['error']}" if one["error"] else one["state"]
        numbers = f"{one['payments_listed']:>9}{one['refunds_listed']:>9}{one['asked']:>11}{one['found']:>8}"
        lines.append(f"{one['gateway']:<14}{numbers}  {state}")
    if run["differences"]:
        lines += ["", *_table(run["differences"])]
    if any(one["state"] == "repairing" for one in run["differences"]):
        lines += ["", "What is being repaired is looked at again in two minutes, by a worker: reconcile --open tells."]
    return "\n".join(lines)


def _table(found: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"{one['id']}  {one['kind']:<22}{_state(one):<11}{one['order_number'] or 'no order':<21}{one['detail']}"
        for one in found
    ]


def _state(one: dict[str, Any]) -> str:
    """A repair that helped is worth more than the bare word."""
    return "repaired" if one["settled_by"] == "repair" else str(one["state"])


def _json(found: Any) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False, default=timestamp)


def _words(at: datetime) -> str:
    return timestamp(at).replace("T", " ").removesuffix(".000Z").removesuffix("Z")


def _moment_of(word: str) -> datetime:
    at = datetime.fromisoformat(word)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def row_id(word: str) -> str:
    """An id as a command's option; argparse tells the error."""
    try:
        return str(UUID(word))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is no id; copy it from the list, it has 36 characters") from None
