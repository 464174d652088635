"""What staff do by hand: explain, audit, decide, take parked work up again. Part of the cli. Floor 7."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from datetime import datetime
from getpass import getuser
from typing import Any

from babel.dates import format_timedelta

from payflow import reconcile_cli
from payflow.container import Container
from payflow.core.errors import InvalidInput
from payflow.core.events import timestamp
from payflow.core.money import Money
from payflow.models.decision import DecisionAction
from payflow.models.gateway_call import GatewayCall
from payflow.services.access import Caller
from payflow.services.audit import SLO_SECONDS
from payflow.services.chronicle import call_words
from payflow.services.decision_desk import DecisionDesk
from payflow.services.explain import Explainer, Next, Story
from payflow.services.parked import ParkedService
from payflow.store.audit import invariants
from payflow.store.queries import Cursor, Visibility
from payflow.store.reports import Reports
from payflow.store.timeline import order_id_of

DECISIONS_A_PAGE = 100


def operator() -> Caller:
    """Whoever sits at the keyboard: history names the login."""
    try:
        login = os.environ.get("SUDO_USER") or getuser()
    except (KeyError, OSError):
        login = "unknown"
    return Caller(user_id=f"cli-{login}", is_operator=True)


def explain(container: Container, options: argparse.Namespace) -> int:
    """Tell an order's story."""
    with container.units.reading() as rows:
        order_id = order_id_of(rows, options.order)
    found = Explainer(container.units).story(operator(), order_id)
    print(json.dumps(found.as_json(), indent=2, ensure_ascii=False) if options.json else told(found))
    if options.calls:
        print(*("", "Calls to gateways", *(_call(one) for one in found.record.calls)), sep="\n")
    return 0


def explain_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("order", help="an order's id or number")
    command.add_argument("--json", action="store_true", help="the same as the API's timeline")
    command.add_argument("--calls", action="store_true", help="with what was sent to gateways and what came back")


def told(story: Story) -> str:
    """The story as text for a terminal."""
    order = story.record.order
    title = f"{order.order_number} is {order.status}  (id {order.id})"
    lines = [title, "", story.why, "", "What happens next"]
    lines += [f"  {_when(step):<25}{step.what}" for step in story.next]
    lines += ["", "What happened (UTC)"]
    for entry in story.entries:
        who = "" if entry.actor in (None, "system") else f"  by {entry.actor}"
        task = f"  in {entry.task}" if entry.task else ""
        lines.append(f"  {_moment(entry.at):<25}{entry.kind:<13}{entry.what}{who}{task}")
    return "\n".join(lines)


def _when(step: Next) -> str:
    if step.due_at is not None:
        return _moment(step.due_at)
    return "at its end" if step.is_end else "when somebody acts"


def _call(call: GatewayCall) -> str:
    """One call with its bodies, as far as they are kept."""
    sent, came = (json.dumps(body, ensure_ascii=False) for body in (call.request, call.response))
    return f"  {_moment(call.at)}  {call_words(call)}\n    sent {sent}\n    came {came}"


def audit(container: Container, options: argparse.Namespace) -> int:
    """Ask the database whether every invariant holds; 1 if one does not."""
    found = container.audits.run(slo_seconds=options.slo_seconds)
    if options.json:
        print(json.dumps([{"invariant": one.invariant, "sentence": one.sentence, "ids": one.row_ids} for one in found]))
    else:
        for one in found:
            print(
                f"{one.invariant} is broken: {one.sentence}\n  {len(one.row_ids)} rows: {', '.join(one.row_ids[:20])}"
            )
        print(f"{len(invariants())} invariants checked, {len(found)} broken")
    return 1 if found else 0


def audit_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true")
    command.add_argument(
        "--slo-seconds", type=int, default=SLO_SECONDS, help="work that is due for longer counts as stuck"
    )


def decisions(container: Container, options: argparse.Namespace) -> int:
    """List the questions about money that wait for a person, the oldest first, or answer one."""
    if options.id and options.action:
        action = DecisionAction(options.action)
        DecisionDesk(container.units).resolve(operator(), options.id, action, note=options.note)
        print(f"{options.id} is resolved: {action.value}")
        return 0
    if options.id:
        raise InvalidInput(f"Say what to do: {', '.join(DecisionAction)}.", pointer="/action")
    found = _open_decisions(Reports(container.engine))
    for one in found:
        age = format_timedelta(container.clock.now() - one["created_at"], locale="en")
        money = Money(one["amount"], one["currency"]) if one["currency"] else "no amount known"
        print(f"{one['id']}  {one['order_number'] or 'no order'}  {money}  {one['kind']}, {age} old")
        print(f"    {one['detail']} Suggested: {one['suggested_action']}.")
    print(f"{len(found)} open" + ("; `decisions ID ACTION --note WHY` answers one" if found else ""))
    return 0


def _open_decisions(reports: Reports) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: Cursor | None = None
    while True:
        page = reports.decisions(
            Visibility(everything=True), state="open", workspace=None, size=DECISIONS_A_PAGE, cursor=cursor
        )
        found += page.rows
        cursor = page.next
        if cursor is None:
            return found[::-1]


def decisions_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "id", nargs="?", type=reconcile_cli.row_id, help="the question to answer; none: list what is open"
    )
    command.add_argument("action", nargs="?", choices=[one.value for one in DecisionAction])
    command.add_argument("--note", default="", help="why; kept with the answer")


def replay(container: Container, options: argparse.Namespace) -> int:
    """List what was given up, take it up again, or close it."""
    parked, actor = ParkedService(container.units), operator().actor
    found = parked.list()
    ids = [one.id for one in found] if options.all else options.id
    for row_id in ids:
        (parked.close if options.close else parked.replay)(row_id, actor=actor)
    if ids:
        print(f"{len(ids)} {'closed' if options.close else 'due again'}")
        return 0
    for one in found:
        print(f"{one.id}  {one.kind:<13}{_moment(one.parked_at)}  {one.what}")
    print(f"{len(found)} parked" + ("; `replay ID…` or `replay --all` takes them up again" if found else ""))
    return 0


def replay_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "id", nargs="*", type=reconcile_cli.row_id, help="rows to take up again; none: list what is parked"
    )
    command.add_argument("--all", action="store_true", help="everything that is parked")
    command.add_argument("--close", action="store_true", help="webhooks only: looked at, none of ours")


def reconcile(container: Container, options: argparse.Namespace) -> int:
    """Compare with the gateways."""
    return reconcile_cli.reconcile(container, options, operator())


def _moment(at: datetime) -> str:
    return timestamp(at).replace("T", " ").removesuffix("Z")


Run = Callable[[Container, argparse.Namespace], int]
COMMANDS: tuple[tuple[str, str, Callable[[argparse.ArgumentParser], None], Run], ...] = (
    ("explain", "why an order is where it is, what happens next, and all that happened", explain_options, explain),
    ("audit", "does every invariant hold? exit status 1 if not", audit_options, audit),
    ("decisions", "questions about money: list what is open, answer one", decisions_options, decisions),
    (
        "reconcile",
        "compare payments and refunds with the gateways' lists; exit status 1 if they differ or could not be read",
        reconcile_cli.reconcile_options,
        reconcile,
    ),
    ("replay", "work that was given up: list it, take it up again, close it", replay_options, replay),
)
