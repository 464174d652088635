"""The oracle: what customers were promised, what the gateway's own log says, what payflow's rows say; do they agree?

Every difference is one of four kinds. *Lost*: money taken or a promise given that payflow does not know. *Doubled*:
taken, given back or told twice. *Wrong*: a state, a sum or an invariant that does not hold. *Stuck*: not settled within
the limit.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import requests
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from payflow.core.errors import PayflowError
from payflow.core.states import OPEN_REFUND
from payflow.models.decision import Decision
from payflow.models.notification import Channel, Notification
from payflow.models.order import Order
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund
from payflow.models.webhook_endpoint import WebhookDelivery
from payflow.models.webhook_event import WebhookEvent
from payflow.store.audit import breaches
from tests.faults.campaign.customers import Track
from tests.faults.campaign.report import KINDS
from tests.live import Live
from tests.receivers import OK, Receiver

_A_LONG_TIME = 10_000_000
_OVERDUE_SECONDS = 120


@dataclass
class Verdict:
    """Findings by kind, each a sentence."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    letters_repeated: int = 0
    """Letters the mail server took twice; told apart, since SMTP cannot promise once."""
    webhooks_repeated: int = 0
    """Webhooks the receiver took twice, under one `webhook-id`; told apart, since HTTP cannot promise once either."""

    def counts(self) -> dict[str, int]:
        return {kind: len(getattr(self, kind)) for kind in KINDS}

    @property
    def is_clean(self) -> bool:
        return not any(self.counts().values())

    def sentences(self) -> list[str]:
        return [f"{kind}: {one}" for kind in KINDS for one in getattr(self, kind)]


class Books:
    """All rows that matter, read in one go, with the gateway's log beside them."""

    def __init__(self, live: Live) -> None:
        with live.container.units.reading() as rows:
            self.orders: dict[str, Order] = {one.id: one for one in rows.all_of(Order)}
            self.attempts: dict[str, PaymentAttempt] = {one.reference: one for one in rows.all_of(PaymentAttempt)}
            self.refunds: dict[str, Refund] = {one.id: one for one in rows.all_of(Refund)}
            self.events: list[OutboxEvent] = rows.all_of(OutboxEvent)
            self.messages: list[Notification] = rows.all_of(Notification)
            self.inbox: list[WebhookEvent] = rows.all_of(WebhookEvent)
            self.in_question = {one.order_id for one in rows.all_of(Decision) if one.resolved_at is None}
            columns = (WebhookDelivery.id, WebhookDelivery.event_id, WebhookDelivery.type)
            ends = (WebhookDelivery.delivered_at, WebhookDelivery.parked_at)
            self.webhooks = list(rows.session.execute(select(*columns, *ends)))
        self.there: dict[str, dict[str, Any]] = live.control("GET", "/sandbox/charges")["by_reference"]

    def of_order(self, order_id: str | None) -> dict[str, PaymentAttempt]:
        return {reference: one for reference, one in self.attempts.items() if one.order_id == order_id}


class Oracle:
    """Judges one run. It remembers what it found, so that each finding is told once."""

    def __init__(self, live: Live, receiver: Receiver) -> None:
        self._live, self._receiver = live, receiver
        self._known: set[str] = set()
        self._letters: Counter[str] = Counter()
        self._seen_letters: set[tuple[str, int]] = set()
        self._repeated_before = self._webhooks_repeated_before = 0

    def unsettled(self, tracks: Iterable[Track]) -> list[str]:
        """What is not at its end yet, as sentences; a database or gateway out of reach is one of them.

        What an earlier run was blamed for is not waited for again.
        """
        try:
            self.read_letters()
            books = Books(self._live)
        except (SQLAlchemyError, PayflowError, requests.RequestException, AssertionError) as error:
            return [f"the books cannot be read: {type(error).__name__}"]
        left = [*_unsettled_tracks(books, tracks), *_unsettled_rows(books)]
        return [one for one in left if f"stuck {one}" not in self._known]

    def judge(self, tracks: Sequence[Track], left: Sequence[str]) -> Verdict:
        """Everything that is not as it should be and was not told before; `left` is what did not settle in time."""
        self.read_letters()
        tracks = [replace(one, refunds=dict(one.refunds)) for one in tracks]  # as it stood before the books were read
        books, found = Books(self._live), Verdict()
        for track in tracks:
            _judge_track(books, track, found)
        _judge_gateway(books, found)
        self._judge_messages(books, found)
        self._judge_webhooks(books, found)
        with self._live.container.units.reading() as rows:
            found.wrong += [
                f"{one.invariant} {one.sentence}: {row_id}"
                for one in breaches(rows, self._live.container.clock.now(), _OVERDUE_SECONDS)
                for row_id in one.row_ids
            ]
        found.stuck += left
        for kind in KINDS:
            fresh = [one for one in getattr(found, kind) if f"{kind} {one}" not in self._known]
            self._known |= {f"{kind} {one}" for one in fresh}
            setattr(found, kind, fresh)
        return found

    def read_letters(self) -> None:
        """Take down what the mail catcher holds; it keeps the newest thousand only."""
        for letter in self._live.control("GET", "/mail/messages"):
            message_id = letter["headers"].get("Message-ID", "").strip("<>").partition("@")[0]
            mark = (message_id, letter["id"])
            if mark not in self._seen_letters:
                self._seen_letters.add(mark)
                self._letters[message_id] += 1

    def _judge_messages(self, books: Books, found: Verdict) -> None:
        copies = Counter((one.event_id, one.channel, one.recipient) for one in books.messages)
        found.doubled += [f"message {event_id} by {channel}" for (event_id, channel, _), n in copies.items() if n > 1]
        sent = [one for one in books.messages if one.channel == Channel.EMAIL and one.sent_at is not None]
        found.lost += [f"letter {one.id} counts as sent" for one in sent if not self._letters[one.id]]
        repeated = sum(count - 1 for count in self._letters.values() if count > 1)
        found.letters_repeated, self._repeated_before = repeated - self._repeated_before, repeated
        found.lost += [f"letter {one.id} was given up" for one in books.messages if one.parked_at is not None]
        found.lost += [f"event {one.type} {one.id} was given up" for one in books.events if one.parked_at is not None]
        told = {(one.order_id, one.event, one.channel) for one in books.messages}
        for event, ids in (
            ("PAYMENT_COMPLETED", {one.id for one in books.orders.values() if one.completed_at is not None}),
            ("REFUND_COMPLETED", {one.order_id for one in books.refunds.values() if one.status == "completed"}),
        ):
            for channel in (Channel.IN_APP, Channel.EMAIL):
                untold = [one for one in ids if (one, event, channel) not in told]
                found.lost += [f"nobody was told {event} of order {one} by {channel}" for one in untold]

    def _judge_webhooks(self, books: Books, found: Verdict) -> None:
        """What counts as delivered was taken by the receiver, and each time it was the same."""
        taken, bodies = Counter[str](), defaultdict[str, set[bytes]](set)
        for one in list(self._receiver.arrived):
            taken[one.headers["webhook-id"]] += one.status == OK
            bodies[one.headers["webhook-id"]].add(one.raw)
        for row in books.webhooks:
            if row.parked_at is not None:
                found.lost.append(f"webhook {row.type} {row.id} was given up")
            elif row.delivered_at is not None and not taken[row.event_id or row.id]:
                found.lost.append(f"webhook {row.type} {row.id} counts as delivered")
        found.wrong += [f"webhook {name} says now this, now that" for name, said in bodies.items() if len(said) > 1]
        repeated = sum(count - 1 for count in taken.values() if count > 1)
        found.webhooks_repeated = repeated - self._webhooks_repeated_before
        self._webhooks_repeated_before = repeated


class Sampler(threading.Thread):
    """Asks the invariants that hold at every instant, about once a second, while things break."""

    def __init__(self, live: Live) -> None:
        super().__init__(name="sampler", daemon=True)
        self._live, self._over = live, threading.Event()
        self.samples = 0
        self.found: set[str] = set()

    def stop(self) -> set[str]:
        """The breaches seen, as sentences."""
        self._over.set()
        self.join(60)
        return self.found

    def run(self) -> None:
        while not self._over.wait(1.0):
            try:
                with self._live.container.units.reading() as rows:
                    now = self._live.container.clock.now()
                    for one in breaches(rows, now, _A_LONG_TIME):
                        self.found |= {f"during the fault {one.invariant} {one.sentence}: {row}" for row in one.row_ids}
                self.samples += 1
            except (SQLAlchemyError, PayflowError):
                time.sleep(0.2)  # the database is what is broken at the moment


def _is_open(refund: Refund) -> bool:
    return refund.status in OPEN_REFUND and refund.approval != "waiting"


def _owes(order: Order, books: Books) -> bool:
    """Whether an order that is settled otherwise still has a step ahead that nobody but payflow takes."""
    return (
        order.status in ("paid", "completed", "refunded")
        and order.due_at is not None
        and order.id not in books.in_question
    )


def _is_known(attempt: PaymentAttempt | None) -> bool:
    return attempt is not None and attempt.status in ("succeeded", "mismatched")


def _is_untold(event: OutboxEvent) -> bool:
    return event.fanned_out_at is None and event.parked_at is None


def _unsettled_tracks(books: Books, tracks: Iterable[Track]) -> list[str]:
    found = []
    for track in tracks:
        order = books.orders.get(track.order_id or "")
        if track.order_id is None or order is None:
            continue
        if track.trouble is not None:
            found.append(f"customer {track.number} gave up: {track.trouble}")
        elif order.status not in track.goal:
            found.append(f"order {order.id} ({track.gateway}) is {order.status}")
        for refund_id in list(track.refunds):
            refund = books.refunds.get(refund_id)
            if refund is not None and refund.status != "completed":
                found.append(f"refund {refund_id} ({track.gateway}) is {refund.status}: {refund.error}")
    return found


def _unsettled_rows(books: Books) -> Iterator[str]:
    yield from (f"refund {one.id} is {one.status}" for one in books.refunds.values() if _is_open(one))
    yield from (f"{one.status} order {one.id} is owed a step" for one in books.orders.values() if _owes(one, books))
    yield from (f"event {one.type} {one.id} is not told" for one in books.events if _is_untold(one))
    ends = ((one.id, one.sent_at or one.parked_at or one.withdrawn_at) for one in books.messages)
    yield from (f"message {message_id} is not out" for message_id, end in ends if not end)
    for row in books.webhooks:
        if row.delivered_at is None and row.parked_at is None:
            yield f"webhook {row.type} {row.id} is not delivered"
    for reference, sums in books.there.items():
        if sums["charges"] and not _is_known(books.attempts.get(reference)):
            yield f"charge {reference} is not on record"
    for event in books.inbox:
        if not event.handled_at and not event.parked_at and event.outcome != "unmatched":
            yield f"webhook {event.event_type} {event.id} is not handled"


def _judge_track(books: Books, track: Track, found: Verdict) -> None:
    """One customer: what they hold an answer for exists, and their money is where they think."""
    if track.order_id is None:
        if track.trouble is not None:
            found.stuck.append(f"customer {track.number} was never answered: {track.trouble}")
        return
    order = books.orders.get(track.order_id)
    if order is None:
        found.lost.append(f"order {track.order_id} was acknowledged and is gone")
        return
    found.lost += [
        f"refund {one} was acknowledged and is gone" for one in list(track.refunds) if one not in books.refunds
    ]
    sums = [books.there[reference] for reference in books.of_order(order.id) if reference in books.there]
    taken = sum(one["taken_minor"] for one in sums)
    back = sum(one["returned_minor"] + one["returning_minor"] for one in sums)
    if track.trouble is not None:
        return
    kept = track.paid_minor - sum(track.refunds.values()) if track.kept_minor is None else track.kept_minor
    if taken > track.paid_minor:
        found.doubled.append(f"order {order.id}: {taken} was taken for {track.paid_minor}")
    elif taken < track.paid_minor:
        found.wrong.append(f"order {order.id}: the customer paid {track.paid_minor}, the gateway took {taken}")
    elif taken - back < kept:
        found.doubled.append(f"order {order.id}: {back} went back of {taken}, {kept} was to stay")
    elif taken - back > kept:
        found.lost.append(f"order {order.id}: only {back} went back of {taken}, {kept} was to stay")


def _judge_gateway(books: Books, found: Verdict) -> None:
    """Each charge and each return at the gateway against our rows."""
    for reference, sums in books.there.items():
        attempt = books.attempts.get(reference)
        if sums["charges"] > 1:
            found.doubled.append(f"{reference} was charged {sums['charges']} times")
        if sums["charges"] and not _is_known(attempt):
            found.lost.append(f"{reference} is paid at the gateway and {attempt.status if attempt else 'unknown'} here")
        if attempt is None:
            continue
        back = sum(
            one.amount_minor
            for one in books.refunds.values()
            if one.attempt_id == attempt.id and one.status == "completed"
        )
        if back < sums["returned_minor"]:
            found.doubled.append(f"{reference}: {sums['returned_minor']} went back there, {back} here")
        elif back > sums["returned_minor"]:
            found.wrong.append(f"{reference}: {back} counts as given back, {sums['returned_minor']} was")
