"""Fail-points: named places at the edges of steps where a fault campaign may end, freeze, delay or break a process.

Off unless PAYFLOW_FAILPOINTS is set, never in live mode. It holds `name=action@when;…`, or `@FILE` for a file that
holds such a text and may be rewritten while the system runs.

    action   kill9  SIGKILL to this process        raise  an error no step expects
             exit   end at once with status 1      sleepN wait N seconds
             stop   SIGSTOP to this process
    when     nothing: each time    @N: the N-th time only, over all processes    @pX: with probability X

Each time a process comes to a point that is spoken of, a line is added to the journal in the data folder; the journal
is the counter. What must not enter: anything that a rule or a row depends on. Floor 1.
"""

from __future__ import annotations

import fcntl
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

JOURNAL = "failpoints.log"

STEPS: Mapping[str, str] = {
    "web.booking": "booking.BookingService.create",
    "web.order": "order.OrderService.create_order",
    "web.cancel_order": "order.OrderService.cancel",
    "web.cancel_booking": "booking.BookingService.cancel",
    "web.initiate": "payment.PaymentService.initiate_payment",
    "web.check": "payment.PaymentService.refresh",
    "web.callback": "payment.PaymentService.request_check",
    "web.refund": "refund.RefundService.request_refund",
    "web.approve": "refund.RefundService.approve",
    "web.reject": "refund.RefundService.reject",
    "web.decide": "decision_desk.DecisionDesk.resolve",
    "key.claim": "idempotency.IdempotencyService.claim",
    "key.keep": "idempotency.IdempotencyService.keep",
    "key.release": "idempotency.IdempotencyService.release",
    "webhook.receive": "webhook.WebhookService.receive",
    "webhook.process": "webhook.WebhookService.process",
    "initiate.claim": "gateway_calls.GatewayCalls._claim_initiations",
    "initiate.record": "gateway_calls.GatewayCalls._store_initiate",
    "verify.claim": "gateway_calls._claim_questions",
    "settle": "gateway_calls.GatewayCalls._store_answer",
    "order.claim": "order.claim_orders",
    "confirm": "booking._confirm_one",
    "release": "booking._release_one",
    "expire": "expiry._expire_one",
    "expire.later": "expiry._expire_later",
    "refund.claim": "refund_calls.RefundCalls._drive.claim",
    "refund.attempt": "refund_calls._prepare",
    "refund.record": "refund_calls._store",
    "adopt": "refund_adoption._bring_in_line",
    "fanout": "notification.NotificationService.fan_out",
    "deliver.claim": "notification._claim",
    "deliver.record": "notification._record",
    "send.claim": "delivery._claim",
    "send.record": "delivery._store",
    "sweep.give_up_claims": "sweep.SweepService.give_up_claims",
}
"""Transactions: name → the function that is the step. Edges are `before_commit` and `after_commit`, and in the web
`after_publish`, when the bells have been handed over."""

CALLS = ("initiate", "verify", "end_page", "list_transactions", "refund", "fetch_refund", "list_refunds")
"""Calls to gateways by operation: `before_send`, and `after_send` with the effect made and nothing written down."""

TASKS = (
    "payments.initiate",
    "payments.verify",
    "refunds.submit",
    "refunds.verify",
    "refunds.adopt",
    "bookings.confirm",
    "bookings.release",
    "orders.expire",
    "webhooks.process",
    "notifications.fan_out",
    "notifications.deliver",
    "deliveries.send",
    "sweeps.due",
)
"""Tasks: `before_ack` is after the body and the next link's publication, before the message is acknowledged."""

PLACES = ("deliver.before_send", "deliver.after_send", "bell.before_send", "bell.after_send", "sweep.before_ring")
"""Points with a line of their own."""

POINTS: tuple[str, ...] = (
    *(f"{name}.{edge}" for name in STEPS for edge in ("before_commit", "after_commit")),
    *(f"{name}.after_publish" for name in STEPS if name.startswith(("web.", "webhook."))),
    *(f"{name}.{edge}" for name in CALLS for edge in ("before_send", "after_send")),
    *(f"{name}.before_ack" for name in TASKS),
    *PLACES,
)
"""Every name there is."""

_NAMES = {function: name for name, function in STEPS.items()}
_RULE = re.compile(
    r"(?P<name>[a-z_.]+)=(?P<action>kill9|exit|stop|raise|sleep(?P<seconds>[\d.]+))(?:@(?P<when>p?[\d.]+))?"
)


class Injected(RuntimeError):
    """The error of the action `raise`: nobody expects it, as nobody expects a bug."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is to happen at one point."""

    name: str
    action: str
    seconds: float = 0.0
    nth: int | None = None
    chance: float = 1.0


def hit(name: str) -> None:
    """This process is at the point `name`."""
    if _armed is not None:
        _armed.pass_by(name)


def hit_step(step: Callable[..., Any], edge: str) -> None:
    """This process is at an edge of the transaction that `step` is."""
    if _armed is not None:
        name = _NAMES.get(name_of(step))
        if name is not None:
            _armed.pass_by(f"{name}.{edge}")


def name_of(step: Callable[..., Any]) -> str:
    """A step's function as the table writes it: file, then the names it stands under."""
    while isinstance(step, partial):
        step = step.func
    words = step.__qualname__.replace(".<locals>", "").replace(".<lambda>", "").removesuffix(".step")
    return f"{step.__module__.rpartition('.')[2]}.{words}"


def read(text: str) -> dict[str, Rule]:
    """The rules in a text (none yet in a file's name). Raises ValueError naming what cannot be read."""
    rules: dict[str, Rule] = {}
    if text.startswith("@"):
        return rules
    for word in re.split(r"[;\s]+", text.strip()):
        if not word:
            continue
        found = _RULE.fullmatch(word)
        if found is None or found["name"] not in POINTS:
            raise ValueError(f"{word!r} is not a point of payflow/failpoints.py with an action")
        when, seconds = found["when"] or "", float(found["seconds"] or 0)
        action = "sleep" if found["seconds"] else found["action"]
        if when.startswith("p"):
            rules[found["name"]] = Rule(found["name"], action, seconds, chance=float(when[1:]))
        else:
            rules[found["name"]] = Rule(found["name"], action, seconds, nth=int(when) if when else None)
    return rules


class _Armed:
    """The rules in force in this process."""

    def __init__(self, text: str, journal: Path) -> None:
        self._file = Path(text[1:]) if text.startswith("@") else None
        self._rules: Mapping[str, Rule] = read(text)
        self._stamp: tuple[int, int] | None = None
        self._journal = journal

    def pass_by(self, name: str) -> None:
        rule = self._in_force().get(name)
        if rule is None:
            return
        passage = self._note(name)
        if rule.nth is not None and passage != rule.nth:
            return
        if rule.chance < 1 and random.random() >= rule.chance:  # noqa: S311 - a test's dice
            return
        _act(rule)

    def _in_force(self) -> Mapping[str, Rule]:
        if self._file is not None:
            about = self._file.stat()
            if self._stamp != (about.st_mtime_ns, about.st_size):
                self._stamp = (about.st_mtime_ns, about.st_size)
                self._rules = read(self._file.read_text(encoding="ascii"))
        return self._rules

    def _note(self, name: str) -> int:
        """Write the passage down; how many there have been, this one included."""
        with self._journal.open("a+", encoding="ascii") as journal:
            fcntl.flock(journal, fcntl.LOCK_EX)
            journal.seek(0)
            before = sum(line.split(" ", 1)[0] == name for line in journal)
            journal.write(f"{name} {os.getpid()} {time.time():.3f}\n")
        return before + 1


def _act(rule: Rule) -> None:
    if rule.action == "kill9":
        os.kill(os.getpid(), signal.SIGKILL)
    elif rule.action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif rule.action == "exit":
        os._exit(1)
    elif rule.action == "sleep":
        time.sleep(rule.seconds)
    else:
        raise Injected(rule.name)


_armed: _Armed | None = None


def arm(text: str | None, folder: Path) -> None:
    """Put rules in force in this process (none: switch everything off); the journal is kept in `folder`."""
    global _armed  # noqa: PLW0603 - a point can be anywhere, so the switch is the process's
    _armed = _Armed(text, folder / JOURNAL) if text else None


@contextmanager
def armed(text: str, folder: Path) -> Iterator[None]:
    """Rules in force inside, for tests in one process."""
    arm(text, folder)
    try:
        yield
    finally:
        arm(None, folder)
