"""Every order of events up to a length, without living each of them through: equal states have equal futures.

A word is a sequence of letters, and a letter is an event done to one house. Words are walked letter by letter from a
kept copy of the house (its database, the gateway's memory, the clock). Two words that lead to the same state go on as
one, so the few states there are stand for the many words, and every word up to the length has been gone through. A
state is all that steps read of the rows and of the gateway; left out are names, history, texts and counters that only
say when a question is asked next.
"""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from payflow.models.decision import Decision
from payflow.models.dispute import Dispute
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.order import Order
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund
from payflow.models.webhook_event import WebhookEvent
from payflow.store.repositories import Repositories
from tests.house import House

Facts = TypeVar("Facts", bound=Hashable)
"""What has really happened, as a reference model counts it."""
Letter = Callable[[House, Facts], Facts]
"""An event: does it to the house and says what the facts are then."""

_READ: tuple[tuple[type[Any], tuple[str, ...]], ...] = (
    (Payment, ("status", "captured_minor", "refund_reserved_minor", "refunded_minor", "gateway")),
    (PaymentAttempt, ("status", "application", "captured_minor", "refund_reserved_minor", "due_at", "claimed_until",
                      "called_at")),
    (Refund, ("status", "source", "amount_minor", "gateway_refund_id", "due_at", "claimed_until", "submitted_at",
              "needs_attention")),
    (Dispute, ("status", "amount_minor")),
    (Decision, ("kind", "resolved_at", "action")),
    (WebhookEvent, ("event_key", "outcome", "due_at", "claimed_until")),
    (OutboxEvent, ("type", "fanned_out_at", "due_at")),
    (Notification, ("event", "channel", "sent_at", "due_at")),
    (LedgerPosting, ("kind", "amount_minor", "debit_account", "credit_account")),
)  # fmt: skip
_GATEWAY_MEMORY = (
    "charges", "refunds", "disputes", "deliveries", "pending_deliveries", "_by_reference", "_by_access_code",
    "_gateways", "_refunds_by_charge", "_agenda", "_next_id",
)  # fmt: skip


@dataclass(frozen=True)
class Copy:
    """A house at one moment. SQLite only: a copy is a few pages."""

    database: sqlite3.Connection
    gateway: Mapping[str, Any]
    at: datetime

    @classmethod
    def of(cls, house: House) -> Copy:
        kept = sqlite3.connect(":memory:", check_same_thread=False)
        connection = house.container.engine.raw_connection()
        try:
            connection.driver_connection.backup(kept)  # type: ignore[union-attr]  # it is connected
        finally:
            connection.close()
        state = house.sandbox.rooms.party.state
        memory = copy.deepcopy({name: getattr(state, name) for name in _GATEWAY_MEMORY})
        return cls(kept, memory, house.clock.now())

    def put_back(self, house: House) -> None:
        """Make the house what it was."""
        connection = house.container.engine.raw_connection()
        try:
            self.database.backup(connection.driver_connection)  # type: ignore[arg-type]  # sqlite3's own
        finally:
            connection.close()
        state = house.sandbox.rooms.party.state
        with state.lock:
            for name, value in copy.deepcopy(self.gateway).items():
                setattr(state, name, value)
        house.clock.advance((self.at - house.clock.now()).total_seconds())


@dataclass(frozen=True)
class Node(Generic[Facts]):
    """A state, one of the shortest words that lead to it, and what has really happened by then."""

    word: tuple[str, ...]
    facts: Facts
    kept: Copy


def states_after(house: House, letters: Mapping[str, Letter[Facts]], facts: Facts, length: int) -> list[Node[Facts]]:
    """Every state that a word of at most so many letters leads to from here."""
    start: Node[Facts] = Node((), facts, Copy.of(house))
    seen, edge = {state_of(house, facts): start}, [start]
    for _ in range(length):
        reached = _after(house, edge, letters)
        edge = [node for state, node in reached.items() if state not in seen]
        seen = reached | seen
    return list(seen.values())


def ends_of(house: House, nodes: Sequence[Node[Facts]], *steps: Letter[Facts]) -> list[Node[Facts]]:
    """What becomes of these states when these things happen, one after the other."""
    for step in steps:
        nodes = list(_after(house, nodes, {"…": step}).values())
    return list(nodes)


def wait(seconds: float) -> Letter[Any]:
    """Time passes; what is due is done."""

    def letter(house: House, facts: Facts) -> Facts:
        house.later(seconds)
        return facts

    return letter


def hear(house: House, facts: Facts) -> Facts:
    """Every webhook the gateway has sent comes at last, some of them again."""
    for row in house.webhooks():
        house.receive(row)
    house.drain()
    return facts


def _after(
    house: House, nodes: Sequence[Node[Facts]], letters: Mapping[str, Letter[Facts]]
) -> dict[Hashable, Node[Facts]]:
    """The states that are one letter further, each with a word that leads there."""
    found: dict[Hashable, Node[Facts]] = {}
    for node in nodes:
        for name, letter in letters.items():
            node.kept.put_back(house)
            facts = letter(house, node.facts)
            state = state_of(house, facts)
            if state not in found:
                found[state] = Node((*node.word, name), facts, Copy.of(house))
    return found


def number_of_words(letters: int, length: int) -> int:
    """How many words of up to so many letters there are."""
    return sum(letters**one for one in range(1, length + 1))


def state_of(house: House, facts: Hashable) -> Hashable:
    """All that the next steps depend on, in a form that can be compared."""
    now = house.clock.now()
    with house.container.units.reading() as rows:
        ours = tuple(
            tuple(
                sorted(
                    (tuple(_plain(getattr(row, name), now) for name in names) for row in rows.all_of(model)), key=repr
                )
            )
            for model, names in _READ
        )
        orders = tuple(_order(rows, order, now) for order in rows.all_of(Order))
    state = house.sandbox.rooms.party.state
    theirs = (
        tuple((one.reference, one.status, one.meanwhile, one.charged_back) for one in state.charges.values()),
        tuple(sorted((one.status, one.source, one.amount_minor, len(one.script)) for one in state.refunds.values())),
        tuple(one.status for one in state.disputes.values()),
        tuple(sorted({one.body for one in state.deliveries.values()})),
    )
    return (facts, ours, orders, theirs)


def _order(rows: Repositories, order: Order, now: datetime) -> Hashable:
    payment = rows.payment_of(order.id)
    current = rows.find(PaymentAttempt, payment.current_attempt_id) if payment and payment.current_attempt_id else None
    found = rows.order(order.id)
    items = sorted((item.active, item.booking.status) for item in found.items) if found else []
    times = tuple(
        _plain(getattr(order, name), now) for name in ("due_at", "expires_at", "completed_at", "claimed_until")
    )
    return (order.status, *times, current.status if current else None, tuple(items))


def _plain(value: Any, now: datetime) -> Any:
    """A moment counts as none, come, or to come; everything else as it is. A name counts as being there."""
    if isinstance(value, datetime):
        return "come" if value <= now else "to come"
    return value
