"""The operators' digest: one letter per interval, each matter once, no news no letter."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest

from payflow.core.errors import ConfigurationError
from payflow.models.breach import AuditBreach
from payflow.models.decision import Decision, DecisionAction
from payflow.models.notification import Alert, Notification
from payflow.models.webhook_endpoint import WebhookEndpoint
from payflow.models.webhook_event import WebhookEvent
from payflow.services.decision_desk import DecisionDesk
from payflow.services.digest import DIGEST, MOST_LINES
from payflow.settings import Settings
from tests.house import OPERATOR, WORKSPACE, House
from tests.rows import a_decision, a_webhook
from tests.soundness import assert_sound
from tests.strays import park_a_stray
from tests.unit.test_settings import LEAST

OPS = "ops@payflow.example"
INTERVAL_SECONDS = 900
told = pytest.mark.parametrize("house", [{"PAYFLOW_ALERT_TO": OPS}], indirect=True)


def questions(house: House, count: int) -> list[str]:
    """Open decisions about one order."""
    order = house.order_row(house.order())
    rows = [a_decision(order, created_at=house.clock.now()) for _ in range(count)]

    def step(tx: Any) -> None:
        for row in rows:
            tx.add(row)

    house.container.units.run(step)
    return [row.id for row in rows]


def tell(house: House) -> int:
    """A beat: the digest is written and delivered."""
    count = house.container.digests.tell()
    house.drain()
    return count


def letters(house: House) -> list[dict[str, Any]]:
    return [letter for letter in house.letters() if letter["to"] == [OPS]]


@told
def test_a_hundred_matters_are_one_letter(house: House) -> None:
    """It counts by kind, names the first fifty with their order and says how many more there are."""
    questions(house, 100)
    assert tell(house) == 100
    (letter,) = letters(house)
    assert letter["subject"] == "payflow: 100 matters wait for a person"
    assert "100 x decision" in letter["text"]
    assert letter["text"].count("late_payment") == MOST_LINES
    assert "and 50 more." in letter["text"]
    assert "(ORD-" in letter["text"]
    assert "and 50 more." in letter["html"]
    assert_sound(house)


@told
def test_the_same_matter_is_told_once(house: House) -> None:
    """However often beat comes, and in later intervals too."""
    questions(house, 1)
    assert [tell(house), tell(house)] == [1, 0]
    house.later(INTERVAL_SECONDS)
    assert tell(house) == 0
    assert len(letters(house)) == 1


@told
def test_no_news_is_no_letter(house: House) -> None:
    """An order without trouble, a decision that was resolved before anybody was told."""
    house.paid()
    (question,) = questions(house, 1)

    def resolve(tx: Any) -> None:
        tx.get(Decision, question).resolved_at = tx.act.at

    house.container.units.run(resolve)
    assert tell(house) == 0
    assert letters(house) == []


@told
def test_news_of_one_interval_waits_for_the_next(house: House) -> None:
    """One letter per interval; what came in meanwhile is in the next."""
    questions(house, 1)
    assert tell(house) == 1
    questions(house, 2)
    assert tell(house) == 0
    house.later(INTERVAL_SECONDS)
    assert tell(house) == 2
    assert len(letters(house)) == 2


@told
def test_a_webhook_that_fits_nothing_is_told_as_its_question(house: House) -> None:
    """Once: not as parked work besides; and again when it was looked for in vain."""
    park_a_stray(house, "PF-LOST")
    assert tell(house) == 1
    (letter,) = letters(house)
    assert "1 x decision" in letter["text"]
    assert "unmatched_webhook: paystack tells of charge.success for reference PF-LOST" in letter["text"]
    (asked,) = house.rows(Decision)
    DecisionDesk(house.container.units).resolve(OPERATOR, asked.id, DecisionAction.EXTEND)
    for _ in range(20):
        house.later(3_600)
    assert tell(house) == 1
    assert len(letters(house)) == 2


@told
def test_parked_work_is_told_and_told_again_when_given_up_again(house: House) -> None:
    """A replayed row that is parked anew is news."""
    row = a_webhook(parked_at=house.clock.now(), handled_at=None, outcome="parked", reference="PF-lost")

    def park(tx: Any, again: bool = False) -> None:
        if again:
            tx.get(WebhookEvent, row.id).parked_at = tx.act.at
        else:
            tx.add(row)

    house.container.units.run(park)
    assert tell(house) == 1
    assert "paystack charge.success could not be handled" in letters(house)[0]["text"]
    house.later(INTERVAL_SECONDS)
    house.container.units.run(lambda tx: park(tx, again=True))
    assert tell(house) == 1


@told
def test_a_broken_invariant_is_told(house: House) -> None:
    """What the hourly audit put on record is in the next letter."""
    now = house.clock.now()
    breach = AuditBreach(
        invariant="I01", sentence="money adds up", row_count=2, row_ids=[], created_at=now, last_seen_at=now
    )
    house.container.units.run(lambda tx: tx.add(breach))
    assert tell(house) == 1
    assert "broken invariant: I01 money adds up: 2 rows" in letters(house)[0]["text"]


@told
def test_failing_and_disabled_endpoints_are_told(house: House) -> None:
    """After an hour of nothing but failures, and when it was given up; what was switched off by hand is no news."""
    now = house.clock.now()
    fields = {
        "workspace_id": WORKSPACE, "url": "https://shop.example/hook", "secret": "whsec_x", "retired_secrets": {},
        "created_at": now, "updated_at": now, "subscribed_at": now, "last_sequence": 0, "events": "", "description": "",
    }  # fmt: skip
    off = {"enabled": False, "disabled_at": now}

    def plant(tx: Any) -> None:
        tx.add(WebhookEndpoint(**fields, enabled=True, failing_since=now))
        tx.add(WebhookEndpoint(**fields, **off, disabled_reason="gone"))
        tx.add(WebhookEndpoint(**fields, **off, disabled_reason="by_hand"))

    house.container.units.run(plant)
    assert tell(house) == 1
    assert "was disabled: gone" in letters(house)[0]["text"]
    house.clock.advance(3_600)
    assert tell(house) == 1
    assert "nothing has reached the webhook endpoint" in letters(house)[0]["text"]


@told
def test_what_reconciliation_cannot_repair_is_told(house: House) -> None:
    """A day that could not be compared; a difference, about an order or money of nobody, is told as its decision."""
    order_id = house.paid()
    house.pay_nobody()
    reference = house.attempts(order_id)[0].reference
    for fault in ("not_listed", "not_found_on_verify"):
        house.fault(fault, reference=reference, times=None)
    house.fault("error_500", gateway="stripe", times=None)
    until = house.clock.now() + timedelta(seconds=1)
    service = house.container.reconciliation
    service.run(service.open(since=until - timedelta(hours=1), until=until, actor="user:u-op", in_foreground=True))
    assert tell(house) == 3
    (letter,) = letters(house)
    for words in ("2 x decision", "1 x day not compared", "that no order here knows", "is not known to paystack"):
        assert words in letter["text"], words


@told
def test_two_beats_at_once_send_one(house: House) -> None:
    """The letter's row is unique per interval, the matter's for ever."""
    questions(house, 3)
    start, counts = Barrier(4), []

    def beat() -> None:
        start.wait()
        counts.append(house.container.digests.tell())

    threads = [Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    house.drain()
    assert sorted(counts) == [0, 0, 0, 3]
    assert len(letters(house)) == 1
    assert len(house.rows(Alert)) == 3


@told
def test_the_digest_is_delivered_like_any_letter(house: House) -> None:
    """Refused for now it goes out later, once."""
    house.fault("mail_rejected", params={"code": 451})
    questions(house, 1)
    tell(house)
    assert letters(house) == []
    house.later(120)
    assert len(letters(house)) == 1
    (row,) = [row for row in house.rows(Notification) if row.event == DIGEST]
    assert row.sent_at is not None


@told
def test_nothing_in_a_matter_runs_or_breaks_the_letter(house: House) -> None:
    """A gateway's words are shown, not run; no line becomes a header."""
    order = house.order_row(house.order())
    detail = "<script>alert(1)</script>\r\nBcc: evil@example.com"
    house.container.units.run(lambda tx: tx.add(a_decision(order, detail=detail)))
    tell(house)
    (letter,) = letters(house)
    assert "<script" not in letter["html"]
    assert letter["to"] == [OPS]
    assert "Bcc" not in letter["headers"]


def test_nobody_is_told_without_an_address(house: House) -> None:
    """The default: nothing is written."""
    questions(house, 1)
    assert house.container.digests.tell() == 0
    assert house.rows(Alert) == []


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"PAYFLOW_ALERT_TO": OPS}, "PAYFLOW_SMTP_URL"),
        ({"PAYFLOW_ALERT_TO": f"{OPS}, more@example.com"}, "PAYFLOW_ALERT_TO"),
        ({"PAYFLOW_ALERT_TO": "nobody"}, "PAYFLOW_ALERT_TO"),
        ({"PAYFLOW_ALERT_EVERY_SECONDS": "5"}, "PAYFLOW_ALERT_EVERY_SECONDS"),
    ],
)
def test_a_digest_that_cannot_work_stops_the_start(environ: dict[str, str], named: str) -> None:
    """The sentence names what to set."""
    with pytest.raises(ConfigurationError, match=named):
        Settings.from_environ({**LEAST, **environ})
