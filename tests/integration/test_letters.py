"""Letters on their way: each on record as soon as it is sent, whoever dies, is slow or comes in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from payflow.channels.email import LETTER_SECONDS, TIMEOUT_SECONDS, EmailSender, Letter
from payflow.core.events import EventType
from payflow.models.notification import Notification
from payflow.services import notification
from payflow.services.notification import LETTER_LEASE_SECONDS, LETTERS_AT_ONCE, NotificationService
from payflow.services.side_by_side import SideBySide
from tests.dying import Killed
from tests.house import House
from tests.mail_servers import MailServer, a_mail_server
from tests.rows import a_notification, an_event
from tests.unit.test_in_app import payload

PATIENCE_SECONDS = 20


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with a_mail_server() as server:
        yield server


def a_worker(house: House, sender: EmailSender, *, threads: int = LETTERS_AT_ONCE) -> NotificationService:
    """A process of its own that sends letters."""
    return NotificationService(house.container.units, house.clock, sender, SideBySide(threads=threads))


def a_sender(mail: MailServer) -> EmailSender:
    return EmailSender(mail.url, mail_from="payflow <no-reply@payflow.example>")


def owe(house: House, count: int, *, event: str = EventType.PAYMENT_COMPLETED) -> list[str]:
    """Letters that are due now, the first of them first; their Message-IDs."""
    due_at = house.clock.now()
    events = [an_event(type=event, payload=payload(EventType.PAYMENT_COMPLETED)) for _ in range(count)]
    times = {"created_at": due_at, "due_at": due_at, "sent_at": None}
    letters = [a_notification(one, channel="email", recipient="ada@example.com", **times) for one in events]
    for rows in (events, letters):
        house.container.units.run(lambda tx, rows=rows: tx.session.add_all(rows))
    house.clock.advance(0.001)
    return [message_id(row.id) for row in letters]


def message_id(notification_id: str) -> str:
    return f"<{notification_id}@payflow>"


def sent(house: House) -> list[str]:
    """Letters that count as sent here."""
    return [message_id(row.id) for row in house.rows(Notification) if row.sent_at is not None]


def until(holds: Callable[[], bool]) -> None:
    """Waits for other threads to make it so; the assertion that follows says whether they did."""
    over, ends_at = threading.Event(), time.monotonic() + PATIENCE_SECONDS
    while not holds() and time.monotonic() < ends_at:
        over.wait(0.01)


class Held:
    """A mail server's hold on the first copy of every letter: it has come, and is not answered yet."""

    def __init__(self, mail: MailServer, only: str | None = None) -> None:
        self._only, self._go, self.here = only, threading.Event(), threading.Event()
        self.seen: set[str] = set()
        mail.on_letter = self

    def __call__(self, letter: str) -> None:
        is_first = letter not in self.seen
        self.seen.add(letter)
        if is_first and self._only in (None, letter):
            self.here.set()
            self._go.wait(PATIENCE_SECONDS)

    def let_go(self) -> None:
        self._go.set()


class DyingSender(EmailSender):
    """Its process dies when the server has taken the letter of that number, and nothing of it is written down."""

    def __init__(self, mail: MailServer, *, at: int, before: Callable[[], None]) -> None:
        super().__init__(mail.url, mail_from="payflow <no-reply@payflow.example>")
        self._at, self._before, self._count, self._lock = at, before, 0, threading.Lock()

    def send(self, letter: Letter) -> None:
        with self._lock:
            self._count += 1
            is_the_one = self._count == self._at
        super().send(letter)
        if is_the_one:
            self._before()
            raise Killed


class FumblingSender(EmailSender):
    """Has a bug that one letter brings out."""

    def __init__(self, mail: MailServer, letter: str) -> None:
        super().__init__(mail.url, mail_from="payflow <no-reply@payflow.example>")
        self._letter = letter

    def send(self, letter: Letter) -> None:
        if letter.message_id == self._letter:
            raise AttributeError("'NoneType' object has no attribute 'casefold'")
        super().send(letter)


def test_a_lease_is_longer_than_four_letters_one_after_another() -> None:
    """So many may have to leave a thread one by one before a claimed letter is on record, with a minute to spare."""
    longest = max(LETTER_SECONDS, 3 * TIMEOUT_SECONDS)
    assert LETTERS_AT_ONCE * longest + 60 <= LETTER_LEASE_SECONDS


def test_a_slow_mail_server_gets_each_letter_once_though_others_look_for_work(house: House, mail: MailServer) -> None:
    """Three minutes into a send another worker sweeps: what the first has in hand stays with it."""
    letters, held = owe(house, 6), Held(mail)
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(a_worker(house, a_sender(mail)).deliver)
        until(lambda: len(held.seen) == LETTERS_AT_ONCE)
        house.clock.advance(180)
        other = threads.submit(a_worker(house, a_sender(mail)).deliver)
        until(lambda: other.done() or len(held.seen) == len(letters))
        held.let_go()
        slow.result(PATIENCE_SECONDS)
        other.result(PATIENCE_SECONDS)
    assert mail.taken == dict.fromkeys(letters, 1)
    assert sent(house) == letters


def test_a_process_that_dies_at_a_letter_repeats_that_one_only(house: House, mail: MailServer) -> None:
    """The sixth of six was taken and not written down; the five before it stand on record."""
    letters = owe(house, 6)
    dying = DyingSender(mail, at=6, before=lambda: until(lambda: len(sent(house)) == 5))
    with pytest.raises(Killed):
        a_worker(house, dying).deliver()
    assert len(sent(house)) == 5
    house.clock.advance(LETTER_LEASE_SECONDS)
    a_worker(house, a_sender(mail)).deliver()
    assert sorted(mail.taken[one] for one in letters) == [1, 1, 1, 1, 1, 2]
    assert sent(house) == letters


def test_a_worker_whose_claim_is_over_leaves_the_record_to_the_next(house: House, mail: MailServer) -> None:
    """Its letter was taken after all, but somebody else has it in hand now: what is on record is theirs."""
    owe(house, 1)
    held = Held(mail)
    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(a_worker(house, a_sender(mail)).deliver)
        assert held.here.wait(PATIENCE_SECONDS)
        house.clock.advance(LETTER_LEASE_SECONDS)
        (draft,) = house.container.units.run(partial(notification._claim, ids=None, limit=LETTERS_AT_ONCE))
        held.let_go()
        slow.result(PATIENCE_SECONDS)
    (row,) = house.rows(Notification)
    assert (row.claimed_until, row.sent_at, row.tries) == (draft.held_until, None, 0)


def test_a_worker_whose_claim_is_over_before_the_letter_leaves_sends_nothing(house: House, mail: MailServer) -> None:
    """It waited for a thread for so long that another worker has sent it meanwhile."""
    first, second = owe(house, 2)
    held = Held(mail, only=first)
    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(a_worker(house, a_sender(mail), threads=1).deliver)
        assert held.here.wait(PATIENCE_SECONDS)
        house.clock.advance(LETTER_LEASE_SECONDS)
        a_worker(house, a_sender(mail)).deliver()
        held.let_go()
        slow.result(PATIENCE_SECONDS)
    assert mail.taken[second] == 1
    assert sent(house) == [first, second]


def test_letters_that_are_true_no_longer_do_not_hold_up_those_behind_them(house: House, mail: MailServer) -> None:
    """Many are withdrawn one after another; the true ones go out in the same run."""
    untrue = owe(house, 3 * LETTERS_AT_ONCE, event=EventType.PAYMENT_FAILED)
    true = owe(house, 2)
    assert a_worker(house, a_sender(mail)).deliver() is False, "nothing is left to do"
    assert mail.taken == dict.fromkeys(true, 1)
    assert sum(row.withdrawn_at is not None for row in house.rows(Notification)) == len(untrue)


def test_a_letter_that_failed_is_not_tried_again_in_the_same_run(house: House, mail: MailServer) -> None:
    """Asked for by id or not: it is due later, and nobody is pressed."""
    (letter,) = owe(house, 1)
    (row,) = house.rows(Notification)
    mail.on_letter = lambda _: "451 not now"
    for ids in (None, [row.id]):
        a_worker(house, a_sender(mail)).deliver(ids)
        assert [one.tries for one in house.rows(Notification)] == [1]
    mail.on_letter = lambda _: None
    house.clock.advance(60)
    a_worker(house, a_sender(mail)).deliver([row.id])
    assert mail.taken == {letter: 1}


def test_a_letter_whose_writing_fails_by_a_bug_counts_a_try_and_stops_nobody(house: House, mail: MailServer) -> None:
    """It is due later, and given up in the end like any other; the letters beside it go out."""
    letters = owe(house, 3)
    a_worker(house, FumblingSender(mail, letters[0])).deliver()
    first, *others = house.rows(Notification)
    assert (first.sent_at, first.tries, first.claimed_until) == (None, 1, None)
    assert first.due_at > house.clock.now()
    assert mail.taken == dict.fromkeys(letters[1:], 1)
    assert all(row.sent_at is not None for row in others)
