"""Explaining an order: a sentence for every state, what is owed and when, in a fixed number of queries."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from itertools import product
from typing import Any

import pytest
from sqlalchemy import event

from payflow import logs
from payflow.core.errors import Conflict
from payflow.core.states import AttemptStatus, DisputeStatus, OrderStatus, PaymentStatus, RefundStatus
from payflow.models.decision import Decision, DecisionAction
from payflow.models.notification import Notification
from payflow.models.outbox import OutboxEvent
from payflow.models.refund import RefundReason
from payflow.models.webhook_event import WebhookEvent
from payflow.services import explain
from payflow.services.decision_desk import DecisionDesk
from payflow.services.explain import Explainer, Story
from payflow.services.parked import ParkedService
from payflow.services.policy import PolicyService
from payflow.store.timeline import OrderRecord
from payflow.store.unit_of_work import Transaction
from tests.builders import Client
from tests.house import ADA, ADMIN, BEN, OPERATOR, WORKSPACE, House
from tests.rows import NOW, a_dispute, a_payment, a_refund, an_attempt, an_order
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


# -- what is next, and when ----------------------------------------------------------------------------------------


def steps(house: House, order_id: str) -> list[tuple[str, datetime | None]]:
    """What is next. Nothing is due in the past, and something is always said, over the API too."""
    told = story(house, order_id)
    assert told.next
    assert [one["what"] for one in told.as_json()["next"]] == [one.what for one in told.next]
    assert not [one for one in told.next if one.due_at is not None and one.due_at < house.clock.now()]
    return [(one.what, one.due_at) for one in told.next]


def when(house: House, order_id: str, words: str) -> datetime | None:
    """When the one step that says so is due."""
    (due_at,) = [due_at for what, due_at in steps(house, order_id) if words in what]
    return due_at


def questions(house: House, order_id: str) -> list[Decision]:
    return [row for row in house.rows(Decision) if row.order_id == order_id and row.resolved_at is None]


def close_questions(house: House, order_id: str) -> None:
    """Somebody looks at all that is asked, and has nothing done."""
    for row in questions(house, order_id):
        DecisionDesk(house.container.units).resolve(OPERATOR, row.id, DecisionAction.IGNORE)
    house.drain()


def come_back(house: House, order_id: str) -> None:
    """A refund the gateway had called done fails after all, and its webhook says so."""
    house.later(6)
    house.clock.advance(60)
    house.control("GET", "/sandbox/refunds")
    for told in house.webhooks():
        house.receive(told)
    house.drain()


def test_an_order_whose_gateway_is_down_at_expiry_says_when_it_is_asked_again(house: House) -> None:
    """Ten minutes late and thirty hours late alike; a person who was asked meanwhile is told first."""
    order_id, _ = house.initiated()
    house.fault("error_500", gateway="paystack", times=None, params={"status": 500})
    for _ in range(20):
        house.later(120)
    assert when(house, order_id, "has not answered; paystack is asked again") == house.order_row(order_id).due_at
    for _ in range(30):
        house.later(3_600)
    assert when(house, order_id, "has not answered; paystack is asked again") == house.order_row(order_id).due_at
    assert steps(house, order_id)[0][0].startswith("A person decides: paystack has not said for a day")
    assert not [what for what, _ in steps(house, order_id) if "expires unless" in what]


def test_money_that_does_not_fit_holds_the_order_until_it_is_decided(house: House) -> None:
    """Before its expiry and after it; no time is told, for it depends on a person."""
    order_id, reference = house.initiated()
    house.fault("wrong_amount", reference=reference, params={"delta": -100})
    house.pay(reference)
    house.ask(reference)
    for _ in range(3):
        assert when(house, order_id, "held until the question is answered") is None
        assert not [what for what, _ in steps(house, order_id) if "expires unless" in what]
        house.later(1_000)


def test_a_failed_order_may_be_paid_until_it_expires_and_not_after(house: House) -> None:
    """As initiating answers: a new try before, `order_expired` afterwards."""
    order_id, reference = house.initiated()
    house.pay(reference, "decline")
    house.ask(reference)
    assert when(house, order_id, "may try again until then") == house.order_row(order_id).expires_at
    house.later(7_200)
    with pytest.raises(Conflict, match="time to pay is over"):
        house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    assert when(house, order_id, "its time to pay is over") is None
    assert "try again" not in story(house, order_id).why + " ".join(what for what, _ in steps(house, order_id))


def test_a_dispute_waits_for_the_bank_whoever_has_looked_at_it(house: House) -> None:
    """Also when its question was answered; a refund asked for before waits with it."""
    order_id = house.paid()
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADMIN, payment.id, amount_minor=50_000, reason=RefundReason.OTHER)
    house.fault("dispute", reference=house.attempts(order_id)[0].reference)
    for told in house.webhooks():
        house.receive(told)
    house.step("webhooks.process")
    house.drain()
    close_questions(house, order_id)
    assert steps(house, order_id) == [
        ("The refund of NGN 500.00 is held until the dispute ends.", None),
        ("The bank gives its verdict on the dispute over NGN 3,000.00; paystack tells it.", None),
    ]


def test_a_lost_slot_is_told_with_what_was_taken_and_where_the_money_goes(house: House) -> None:
    """Its bookings will never be confirmed, and nobody is told to wait for that."""
    start = house.clock.now()
    first, second = (house.booking(one, resource_id="room-x", starts_at=start) for one in (ADA, BEN))
    _, early = house.initiated(ADA, first)
    order_id, late = house.initiated(BEN, second)
    for reference in (early, late):
        house.pay(reference)
        house.ask(reference)
    told = story(house, order_id).why
    assert "its bookings will not be confirmed. The slot was taken" in told
    assert "room-x from 2026-01-15T12:00:00.000Z to 2026-01-15T13:00:00.000Z" in told
    assert "the money is being given back" in told
    assert when(house, order_id, "asked about the refund of NGN 1,500.00") is not None
    house.later(60)
    assert steps(house, order_id) == [("Nothing more: its money was given back.", None)]


def test_a_lost_page_is_told_the_same_way_in_both_places(house: House) -> None:
    """There may be one, or not; the call that finds out has its time."""
    order_id = house.order()
    house.fault("timeout_after_effect", gateway="paystack", operation="initialize", times=1, params={"seconds": 1})
    reference = house.container.payments.initiate_payment(ADA, order_id, gateway="paystack").reference
    house.drain()
    assert f"for a page got no clear answer ({reference}); there may be one." in story(house, order_id).why
    assert when(house, order_id, f"called again for {reference}: for its page, or for what became of it") is not None


def test_a_whole_refund_that_came_back_says_that_no_booking_is_left(house: House) -> None:
    """Money here, slots free: the person who is asked learns both."""
    order_id = house.paid()
    house.fault("refund_fails_after_success", reference=house.attempts(order_id)[0].reference, params={"seconds": 30})
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADMIN, payment.id, amount_minor=None, reason=RefundReason.OTHER)
    house.drain()
    come_back(house, order_id)
    told = story(house, order_id).why
    assert "is paid. Bookings confirmed: 0; released again: 2." in told
    assert "A refund of NGN 3,000.00 was done and came back" in told
    (asked,) = questions(house, order_id)
    assert "2 of the order's bookings were released with it: their slots are free." in asked.detail
    close_questions(house, order_id)
    assert steps(house, order_id) == [("Nothing more: it is paid and every step on it has been taken.", None)]


def test_one_booking_of_two_given_back_is_counted(house: House) -> None:
    """One is confirmed, one was released."""
    order_id = house.paid()
    house.container.bookings.cancel(ADA, house.order_row(order_id).items[0].booking_id)
    house.drain()
    house.later(10)
    assert "is paid. Bookings confirmed: 1; released again: 1." in story(house, order_id).why


def test_a_booking_that_moved_away_before_the_payment_is_not_counted(house: House) -> None:
    """It is on another order and was never this one's to confirm."""
    booking, other = house.booking(ADA), house.booking(ADA)
    order_id = house.order(ADA, booking, other)
    house.order(ADA, other)
    reference = house.container.payments.initiate_payment(ADA, order_id, gateway="paystack").reference
    house.drain()
    house.pay(reference)
    house.ask(reference)
    assert "is paid and its bookings are confirmed." in story(house, order_id).why


def test_being_paid_is_told_of_the_current_try(house: House) -> None:
    """Not of the newest: a second transaction on one reference is a row of its own, made later."""
    payment = a_payment(order := an_order(), status="processing")
    current, newest = an_attempt(payment, status="initiated"), an_attempt(payment, status="abandoned")
    payment.current_attempt_id = current.id
    told = explain.why(record("processing", order=order, payment=payment, attempts=(current, newest)))
    assert f"is being paid: {explain.attempt_words(current)}" in told


@pytest.mark.parametrize("status", list(OrderStatus))
def test_something_is_always_said_about_what_is_next(house: House, status: OrderStatus) -> None:
    """Where nothing more happens, that and why."""
    told = explain._next(record(status.value), NOW)
    assert told
    assert all(one.what.startswith("Nothing more: ") == one.is_end for one in told)
    ends = {OrderStatus.PAID, OrderStatus.COMPLETED, OrderStatus.REFUNDED, OrderStatus.EXPIRED, OrderStatus.CANCELLED}
    assert told[0].is_end is (status in ends)


def test_a_step_nobody_takes_is_called_overdue(house: House) -> None:
    """A worker is down: the time is past, and it is said that it is."""
    order_id, _ = house.initiated()
    house.clock.advance(60)
    (late,) = [one for one in story(house, order_id).next if "asked about" in one.what]
    assert late.what.endswith("It is due; no worker has finished it yet.")


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
