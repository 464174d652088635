"""Explaining an order: a sentence for every state, and its story in a fixed number of queries."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from itertools import product
from typing import Any

import pytest
from sqlalchemy import event

from payflow import logs
from payflow.core.states import AttemptStatus, DisputeStatus, OrderStatus, PaymentStatus, RefundStatus
from payflow.models.notification import Notification
from payflow.models.outbox import OutboxEvent
from payflow.models.refund import RefundReason
from payflow.models.webhook_event import WebhookEvent
from payflow.services import explain
from payflow.services.explain import Explainer, Story
from payflow.services.parked import ParkedService
from payflow.services.policy import PolicyService
from payflow.store.timeline import OrderRecord
from payflow.store.unit_of_work import Transaction
from tests.builders import Client
from tests.house import ADA, ADMIN, OPERATOR, WORKSPACE, House
from tests.rows import a_dispute, a_payment, a_refund, an_attempt, an_order
from web.demo.story import order_story


def story(house: House, order_id: str) -> Story:
    return Explainer(house.container.units).story(OPERATOR, order_id)


def record(status: str = "pending", **rows: Any) -> OrderRecord:
    """An order in some status, with whatever hangs on it."""
    order = rows.pop("order", None) or an_order()
    order.status = status
    names = (
        "attempts", "refunds", "disputes", "decisions", "transitions", "calls", "webhooks", "events", "messages",
        "deliveries", "delivery_tries", "acts",
    )  # fmt: skip
    return OrderRecord(order=order, **({"payment": None, "postings": ()} | dict.fromkeys(names, ()) | rows))


def sentences(kind: type[StrEnum]) -> dict[StrEnum, str]:
    """What is said of each state of one thing."""
    payment = a_payment(an_order())
    attempt = an_attempt(payment)
    say = {
        OrderStatus: lambda state: explain.why(record(state.value)),
        PaymentStatus: lambda state: explain.payment_words(a_payment(an_order(), status=state.value)),
        AttemptStatus: lambda state: explain.attempt_words(an_attempt(payment, status=state.value)),
        RefundStatus: lambda state: explain.refund_words(a_refund(payment, attempt, status=state.value)),
        DisputeStatus: lambda state: explain.dispute_words(a_dispute(payment, status=state.value)),
    }[kind]
    return {state: say(state) for state in kind}


@pytest.mark.parametrize("kind", [OrderStatus, PaymentStatus, AttemptStatus, RefundStatus, DisputeStatus])
def test_every_state_has_a_sentence_of_its_own(kind: type[StrEnum]) -> None:
    """None is without words, and none borrows another's; nothing is left unfilled."""
    said = sentences(kind)
    shapes = {words.replace(words.split(" ")[0], "", 1) if kind is OrderStatus else words for words in said.values()}
    assert len(shapes) == len(kind)
    assert all(words.endswith(".") and "{" not in words and "None" not in words for words in said.values())


@pytest.mark.parametrize(("order", "payment"), list(product(OrderStatus, PaymentStatus)))
def test_an_order_and_its_payment_are_told_together(order: OrderStatus, payment: PaymentStatus) -> None:
    """Whatever they are, both are said."""
    row = an_order()
    money = a_payment(row, status=payment.value)
    told = explain.why(record(order.value, order=row, payment=money, attempts=(an_attempt(money),)))
    assert explain.payment_words(money) in told
    assert told.startswith((row.order_number, "The "))


def test_a_refund_that_waits_says_for_whom() -> None:
    """Approval and attention come before the status."""
    payment = a_payment(an_order())
    attempt = an_attempt(payment)
    assert "waits for approval" in explain.refund_words(a_refund(payment, attempt, approval="waiting"))
    stuck = a_refund(payment, attempt, status="processing", needs_attention=True)
    assert "needs a person" in explain.refund_words(stuck)


def queries_of(house: House, order_id: str) -> int:
    """How many statements one story takes."""
    seen: list[str] = []

    def count(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("SELECT"):
            seen.append(statement)

    event.listen(house.container.engine, "before_cursor_execute", count)
    try:
        story(house, order_id)
    finally:
        event.remove(house.container.engine, "before_cursor_execute", count)
    return len(seen)


def test_a_long_story_takes_no_more_queries_than_a_short_one(house: House) -> None:
    """Sixteen at most, whether one try was made or several with refunds."""
    long, reference = house.initiated()
    for _ in range(4):
        house.pay(reference, "decline")
        house.ask(reference)
        reference = house.container.payments.initiate_payment(ADA, long, gateway="paystack").reference
        house.drain()
    house.pay(reference)
    house.ask(reference)
    for _ in range(3):
        house.container.refunds.request_refund(
            ADMIN, house.payment_row(long).id, amount_minor=1_000, reason=RefundReason.OTHER
        )
        house.drain()
    short = house.paid()
    assert len(story(house, long).entries) > 2 * len(story(house, short).entries)
    assert queries_of(house, long) == queries_of(house, short) <= 16


def test_a_refund_is_told_from_request_to_webhook(house: House, operator: Client) -> None:
    """Who asked for it, that it was about to be sent, its calls, what the gateway told of it; over the API too."""
    order_id = house.paid()
    house.container.refunds.request_refund(
        ADMIN, house.payment_row(order_id).id, amount_minor=50_000, reason=RefundReason.OTHER
    )
    with logs.bound(task="refunds.submit", task_id="5e1f"):
        house.step("refunds.submit:paystack")
    (refund,) = house.refunds(order_id)
    pending = story(house, order_id)
    assert "A refund of " in pending.why
    assert [(step.what, step.due_at) for step in pending.next if "refund" in step.what] == [
        (f"paystack is asked about the refund of {refund.amount}.", refund.due_at)
    ]
    house.later(60)
    for told in house.webhooks():
        house.receive(told)
    house.drain()
    entries = operator.get(f"/payment/orders/{order_id}/timeline/").get_json()["entries"]
    assert (f"refund of {refund.amount} recorded (api, other)", ADMIN.actor) in [
        (one["what"], one["actor"]) for one in entries
    ]
    assert {one["task"] for one in entries if one["what"].startswith("POST /refund at")} == {"refunds.submit 5e1f"}
    whats = [one["what"] for one in entries]
    assert whats.index("paystack sent refund.processed") > whats.index(
        f"the refund of {refund.amount} was about to be sent"
    )
    assert "refund.processed matched" in whats


def test_the_demo_page_shows_the_same_record(house: House) -> None:
    """In plain JSON, row for row; nothing moves any more once all is told."""
    order_id = house.paid()
    one = story(house, order_id).record
    shown = order_story(one, now=house.clock.now())
    assert json.loads(json.dumps(shown)) == shown
    assert shown["moving"] is False
    for name in ("attempts", "transitions", "events", "messages", "webhooks", "decisions", "refunds"):
        assert [row["id"] for row in shown[name]] == [row.id for row in getattr(one, name)]
    assert [row["id"] for row in shown["ledger"]] == [row.id for row in one.postings]


def test_what_was_given_up_says_how_to_take_it_up(house: House) -> None:
    """A parked row is the next thing that happens only when a person acts."""
    order_id = house.order()
    row = next(one for one in house.rows(OutboxEvent) if one.order_id == order_id)

    def park(tx: Transaction) -> None:
        one = tx.get(OutboxEvent, row.id)
        one.parked_at, one.due_at, one.tries = tx.act.at, None, 9

    house.container.units.run(park)
    told = [step for step in story(house, order_id).next if "replay" in step.what]
    assert [(f"replay {row.id}" in step.what, step.due_at) for step in told] == [(True, None)]


# -- who did it, and in which task ---------------------------------------------------------------------------------


def acts(house: House, order_id: str) -> list[tuple[str, str, str | None, datetime]]:
    return [(one.kind, one.what, one.actor, one.at) for one in story(house, order_id).entries]


@pytest.mark.parametrize("verdict", ["approved", "rejected"])
def test_who_approved_or_rejected_a_refund_is_told_with_its_time(house: House, verdict: str) -> None:
    """A person's act among all that happened."""
    order_id = house.paid()
    PolicyService(house.container.units, gateways=()).change(ADMIN, WORKSPACE, {"refund_needs_approval": True})
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=50_000, reason=RefundReason.OTHER)
    (refund,) = house.refunds(order_id)
    house.clock.advance(600)
    if verdict == "approved":
        house.container.refunds.approve(ADMIN, refund.id)
        house.container.refunds.approve(ADMIN, refund.id)
        words = "refund of NGN 500.00 approved"
    else:
        house.container.refunds.reject(ADMIN, refund.id, note="too late")
        words = "refund pending → failed: rejected: too late"
    found = [one for one in acts(house, order_id) if one[1] == words]
    assert found == [("refund", words, ADMIN.actor, house.clock.now())]


def test_taking_parked_work_up_again_is_a_persons_act_on_record(house: House) -> None:
    """A letter, and a gateway's webhook, which names no order of its own."""
    order_id = house.paid()
    for told in house.webhooks():
        house.receive(told)
    house.drain()
    letter = next(row for row in house.rows(Notification) if row.order_id == order_id and row.channel == "email")
    webhook = house.rows(WebhookEvent)[0]

    def park(tx: Transaction) -> None:
        for model, row_id in ((Notification, letter.id), (WebhookEvent, webhook.id)):
            tx.get(model, row_id).parked_at = tx.act.at

    house.container.units.run(park)
    house.clock.advance(60)
    for row_id in (letter.id, webhook.id):
        ParkedService(house.container.units).replay(row_id, actor="user:cli-eve")
    by_hand = [(kind, at) for kind, what, actor, at in acts(house, order_id) if actor == "user:cli-eve"]
    assert by_hand == [("notification", house.clock.now()), ("webhook", house.clock.now())]


def test_webhooks_events_and_messages_tell_the_task_that_saw_to_them(house: House) -> None:
    """By name and id, as moves and calls do."""
    order_id, reference = house.initiated()
    house.pay(reference)
    for told in house.webhooks():
        house.receive(told)
    kinds = (
        "webhooks.process", "payments.verify:paystack", "bookings.confirm", "notifications.fan_out",
        "notifications.deliver",
    )  # fmt: skip
    for kind in kinds:
        with logs.bound(task=kind, task_id="5e1f"):
            house.step(kind)
    told_in = {(one.kind, one.task) for one in story(house, order_id).entries if one.task}
    assert {
        ("webhook", "webhooks.process 5e1f"),
        ("event", "notifications.fan_out 5e1f"),
        ("notification", "notifications.fan_out 5e1f"),
        ("notification", "notifications.deliver 5e1f"),
    } <= told_in
