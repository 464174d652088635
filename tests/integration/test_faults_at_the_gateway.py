"""What gateways do wrong while money comes in: no wrong state, no second charge, and recovery by itself in time."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from payflow.core.errors import NotFound
from payflow.core.money import Money
from payflow.core.polling import DEFAULT_POLL_PLAN
from payflow.gateways.base import Outcome, SignatureInvalid, UnreadableWebhook, Verification
from payflow.models.decision import Decision
from payflow.models.ledger import LedgerPosting
from payflow.models.payment import PaymentAttempt
from payflow.models.webhook_event import WebhookEvent
from payflow.services.gateway_calls import CALL_LEASE_SECONDS
from payflow.services.payment import initiate_request
from payflow.store.unit_of_work import Transaction
from tests.dying import worker_killed_in
from tests.house import ADA, SECRET, House
from web.app import create_app

pytestmark = pytest.mark.usefixtures("sound_in_the_end")

NOTHING_HAPPENED: list[tuple[str, dict[str, Any]]] = [
    ("error_500", {}),
    ("rate_limit", {"retry_after": 7}),
    ("html_error", {}),
    ("refuse_connection", {}),
]
IT_HAPPENED: list[tuple[str, dict[str, Any]]] = [
    ("timeout_after_effect", {"seconds": 0, "then": "close"}),
    ("error_500", {"after_effect": True}),
    ("html_error", {"after_effect": True}),
    ("truncated_json", {}),
    ("huge_body", {}),
]


def signed(body: dict[str, Any] | bytes, *, key: str = SECRET) -> tuple[dict[str, str], bytes]:
    """A webhook's headers and body, signed as Paystack does."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {"X-Paystack-Signature": hmac.new(key.encode(), raw, hashlib.sha512).hexdigest()}, raw


def success(reference: str, **more: Any) -> dict[str, Any]:
    return {"event": "charge.success", "data": {"reference": reference, **more}}


def assert_pays_in_the_end(house: House, order_id: str) -> None:
    """Exactly one page is open; the customer pays there and everything follows."""
    live = [attempt for attempt in house.attempts(order_id) if attempt.is_live]
    assert [(one.status, bool(one.authorization_url)) for one in live] == [("initiated", True)]
    house.pay(live[0].reference)
    house.ask(live[0].reference)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


# -- opening the page -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "params"), NOTHING_HAPPENED)
def test_initialize_that_had_no_effect_is_sent_again_under_the_same_reference(
    house: House, fault: str, params: dict[str, Any]
) -> None:
    """Nothing was made there (asked for where that is not certain): one try, one reference, a page in the end."""
    house.fault(fault, operation="initialize", times=2, params=params)
    order_id = house.order()
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    house.drain()
    assert house.statuses(order_id)[:2] == ("processing", "pending")
    for _ in range(4):
        house.later(15)
    assert len(house.attempts(order_id)) == 1
    assert_pays_in_the_end(house, order_id)


@pytest.mark.parametrize(("fault", "params"), IT_HAPPENED)
def test_initialize_whose_answer_was_lost_is_asked_about_and_never_charges_twice(
    house: House, fault: str, params: dict[str, Any]
) -> None:
    """The page exists but nobody has its address: unknown, then a new try; paying both pages gives one back."""
    house.fault(fault, operation="initialize", params=params)
    order_id = house.order()
    lost = house.container.payments.initiate_payment(ADA, order_id, gateway="paystack").reference
    house.drain()
    assert [attempt.status for attempt in house.attempts(order_id)] == ["unknown"]
    asked = house.calls("verify")
    house.later(15)
    assert house.calls("verify") > asked, "a lost initialize is probed before anything is sent again"
    first, second = house.attempts(order_id)
    assert (first.reference, first.status, second.status) == (lost, "abandoned", "initiated")
    assert house.calls("initialize") == 2

    house.pay(lost)
    assert_pays_in_the_end(house, order_id)
    house.ask(lost)
    house.later(30)
    applied, surplus = (next(one for one in house.attempts(order_id) if one.application == word)
                        for word in ("applied", "surplus"))  # fmt: skip
    assert {applied.reference, surplus.reference} == {first.reference, second.reference}
    assert [(one.source, one.status, one.amount_minor) for one in house.refunds(order_id)] == [
        ("surplus", "completed", 300_000)
    ]
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_duplicate_reference_is_asked_about_and_replaced(house: House) -> None:
    """Paystack knows the reference already: no failure told to the customer, a new try with a new reference."""
    order_id = house.order()
    reference = house.container.payments.initiate_payment(ADA, order_id, gateway="paystack").reference
    open_page_unseen(house, order_id)
    house.drain()
    house.later(15)
    statuses = {attempt.reference: attempt.status for attempt in house.attempts(order_id)}
    assert statuses.pop(reference) == "abandoned"
    assert list(statuses.values()) == ["initiated"]
    assert_pays_in_the_end(house, order_id)


def open_page_unseen(house: House, order_id: str) -> None:
    """The gateway gets the request and makes the page; nothing of it reaches our records."""
    order, attempt = house.order_row(order_id), house.attempts(order_id)[-1]
    user = house.container.units.run(lambda tx: tx.upsert_user(ADA.user_id, email=ADA.email, name="", at=tx.act.at))
    request = initiate_request(order, user, attempt.reference, house.container.settings.public_url, None)
    house.container.gateways["paystack"].initiate(request)


@pytest.mark.parametrize("page_was_made", [True, False])
def test_worker_killed_around_the_call_is_taken_over_after_its_lease(house: House, page_was_made: bool) -> None:
    """The note "about to call" is all that is left: once the lease is over the gateway is asked, then it goes on."""
    order_id = house.order()
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    with worker_killed_in(house, "initiate", after_effect=page_was_made):
        house.drain()
    house.later(CALL_LEASE_SECONDS - 5)
    assert house.attempts(order_id)[0].status == "created", "nobody else touches it while the lease runs"

    house.fault("error_500", operation="verify", times=3)
    house.later(6)
    assert house.attempts(order_id)[0].called_at is not None, "a probe without an answer does not undo the first call"
    house.later(15)
    assert len(house.attempts(order_id)) == (2 if page_was_made else 1)
    assert_pays_in_the_end(house, order_id)


def test_retry_after_of_the_gateway_is_kept(house: House) -> None:
    """429 with Retry-After 300: nobody asks again before that, and the call counts as never made."""
    house.fault("rate_limit", operation="initialize", params={"retry_after": 300})
    order_id = house.order()
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    house.drain()
    attempt = house.attempts(order_id)[0]
    assert attempt.due_at == house.clock.now() + timedelta(seconds=300)
    assert attempt.called_at is None
    house.later(299)
    assert house.calls("initialize") == 1
    house.later(2)
    assert_pays_in_the_end(house, order_id)


def test_pages_that_are_always_lost_end_in_a_failure_not_in_a_loop(house: House) -> None:
    """A gateway that loses every answer is tried a few times; then the try fails and the customer may go on."""
    house.fault("truncated_json", operation="initialize", times=None)
    order_id = house.order()
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    for _ in range(8):
        house.later(15)
    assert house.statuses(order_id)[:2] == ("failed", "failed")
    assert house.calls("initialize") <= 4
    house.control("DELETE", "/sandbox/faults")
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    house.drain()
    assert_pays_in_the_end(house, order_id)


# -- asking ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "params"),
    [
        *NOTHING_HAPPENED,
        ("truncated_json", {}),
        ("huge_body", {}),
        ("slow", {"seconds": 0.1}),
        ("timeout_after_effect", {"seconds": 0, "then": "close"}),
        ("not_found_on_verify", {"status": 400}),
        ("not_found_on_verify", {"status": 404}),
        ("unknown_status", {}),
    ],
)
def test_verify_that_tells_nothing_changes_nothing(house: House, fault: str, params: dict[str, Any]) -> None:
    """No answer, nonsense, "not found" or a word nobody knows: pending, and paid as soon as the gateway makes sense."""
    order_id, reference = house.initiated()
    house.pay(reference)
    if fault != "slow":
        house.fault(fault, operation="verify", times=None, params=params)
    else:
        house.fault(fault, operation="verify", params=params)
    house.later(6)
    if fault != "slow":
        assert house.statuses(order_id) == ("processing", "processing", {"pending"})
        assert [one.status for one in house.attempts(order_id)] == ["initiated"]
        house.control("DELETE", "/sandbox/faults")
        house.later(15)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_answer_about_another_reference_is_never_success(house: House) -> None:
    """The answer speaks of somebody else's transaction: nothing is paid by it, and it is asked again."""
    order_id, reference = house.initiated()
    house.pay(reference)
    house.fault("wrong_reference", operation="verify")
    house.ask(reference)
    assert house.statuses(order_id) == ("processing", "processing", {"pending"})
    assert [(one.status, one.tries) for one in house.attempts(order_id)] == [("initiated", 1)]
    house.later(10)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_success_after_a_decline_on_the_same_page_completes_the_order(house: House) -> None:
    """Declined, told so, then paid on the page that was still open: paid after all, and told so."""
    order_id, reference = house.initiated()
    house.pay(reference, "decline")
    house.ask(reference)
    assert house.statuses(order_id)[:2] == ("failed", "failed")
    house.pay(reference)
    house.container.webhooks.receive("paystack", *signed(success(reference)))
    house.drain()
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


@pytest.mark.parametrize("order_of_events", list(permutations(["pending", "failed", "succeeded"])), ids="-".join)
def test_answers_in_any_order_end_in_success(house: House, order_of_events: tuple[str, ...]) -> None:
    """A late failure or an old pending never undoes a success; a success undoes a failure."""
    order_id, reference = house.initiated()
    house.pay(reference)
    attempt = house.attempts(order_id)[0]
    for word in order_of_events:
        answer = Verification(Outcome(word), reference, amount=Money(300_000, "NGN"), transaction_id="7")

        def store(tx: Transaction, answer: Verification = answer) -> None:
            house.container.gateway_calls._store_answer(
                tx, attempt_id=attempt.id, answer=answer, seen_due=attempt.due_at
            )

        house.container.units.run(store)
    house.drain()
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert [row.kind for row in house.rows(LedgerPosting)].count("capture") == 1


def test_asking_often_does_not_bring_the_plans_end_nearer(house: House) -> None:
    """A customer who presses the button a hundred times on an unpaid page: the try stays open and is asked on."""
    order_id, reference = house.initiated()
    for _ in range(len(DEFAULT_POLL_PLAN) + 1):
        house.ask(reference)
    (attempt,) = house.attempts(order_id)
    assert (attempt.status, house.rows(Decision)) == ("initiated", [])
    assert attempt.due_at == house.clock.now() + timedelta(seconds=DEFAULT_POLL_PLAN[-1])


@pytest.mark.parametrize("house", [{"PAYFLOW_POLL_PLAN_PAYSTACK": "1,2,3"}], indirect=True)
def test_poll_plan_exhausted_gives_an_explicit_verdict(house: House) -> None:
    """The gateway never says how it ended: the try is given up in so many words and a person is asked; no expiry."""
    order_id, reference = house.initiated()
    for _ in range(6):
        house.later(5)
    assert [(one.status, one.due_at) for one in house.attempts(order_id)] == [("abandoned", None)]
    assert [row.kind for row in house.rows(Decision)] == ["poll_plan_exhausted"]
    assert house.calls("verify") == 3
    house.later(1_801)
    assert house.order_row(order_id).status == "processing", "an order with an open question does not expire"
    house.pay(reference)
    house.ask(reference)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


# -- being told --------------------------------------------------------------------------------------------------------


def test_forged_webhook_stores_and_changes_nothing(house: House) -> None:
    """Another key, a changed byte, no signature, an upper-case one, one over other bytes: refused, nothing stored."""
    order_id, reference = house.initiated()
    headers, body = signed(success(reference))
    forged = [
        signed(success(reference), key="sk_test_somebody"),
        signed(success(reference), key=""),
        (headers, body.replace(b"success", b"succes5")),
        (headers, body + b" "),
        ({}, body),
        ({"X-Paystack-Signature": ""}, body),
        ({"X-Paystack-Signature": headers["X-Paystack-Signature"].upper()}, body),
        ({"X-Paystack-Signature": "é" * 128}, body),
    ]
    for their_headers, their_body in forged:
        with pytest.raises(SignatureInvalid):
            house.container.webhooks.receive("paystack", their_headers, their_body)
    with pytest.raises(SignatureInvalid):
        house.container.webhooks.receive("stripe", headers, body)
    with pytest.raises(NotFound):
        house.container.webhooks.receive("a-gateway-that-is-off", headers, body)
    with pytest.raises(UnreadableWebhook):
        house.container.webhooks.receive("paystack", *signed(b"{not json"))
    assert house.rows(WebhookEvent) == []
    assert house.statuses(order_id) == ("processing", "processing", {"pending"})


def test_true_webhook_about_unpaid_money_only_asks(house: House) -> None:
    """charge.success with any amount in it, but nothing paid: a question to the gateway, no success."""
    order_id, reference = house.initiated()
    asked = house.calls("verify")
    house.container.webhooks.receive("paystack", *signed(success(reference, amount=300_000, status="success")))
    house.drain()
    assert house.calls("verify") == asked + 1
    assert house.statuses(order_id) == ("processing", "processing", {"pending"})


def test_replayed_and_late_webhooks_after_success_change_nothing(house: House) -> None:
    """The same body again is known; another body about the same success, or a late failure, is matched and inert."""
    order_id, reference = house.initiated()
    house.pay(reference)
    first = signed(success(reference))
    assert house.container.webhooks.receive("paystack", *first)
    house.drain()
    before = [(row.id, row.moves) for row in house.attempts(order_id)]
    assert not house.container.webhooks.receive("paystack", *first)
    for event in ("charge.success", "charge.failed", "charge.pending"):
        house.container.webhooks.receive(
            "paystack", *signed({"event": event, "data": {"reference": reference, "n": 2}})
        )
    house.drain()
    assert [row.outcome for row in house.rows(WebhookEvent)] == ["matched"] * 4
    assert [(row.id, row.moves) for row in house.attempts(order_id)] == before
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_webhook_before_its_row_waits_unmatched_and_is_matched_later(house: House) -> None:
    """The gateway was faster than our commit: stored, visible as unmatched, tried again and then handled."""
    reference = "PF-WEBHOOKFASTERTHANCOMMIT234"
    house.container.webhooks.receive("paystack", *signed(success(reference)))
    house.drain()
    row = house.rows(WebhookEvent)[0]
    assert (row.outcome, row.handled_at, row.tries) == ("unmatched", None, 1)
    assert row.due_at is not None

    order_id = house.order()
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")

    def rename(tx: Transaction) -> None:
        tx.get(PaymentAttempt, tx.attempts_of(tx.payment_of(order_id).id)[0].id).reference = reference  # type: ignore[union-attr]  # it has one

    house.container.units.run(rename)
    house.drain()
    house.pay(reference)
    house.later(3)
    assert house.rows(WebhookEvent)[0].outcome == "matched"
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_webhook_nobody_can_place_is_parked_in_sight(house: House) -> None:
    """Never dropped: after its last try it is parked, still unmatched, and asked about no more."""
    house.container.webhooks.receive("paystack", *signed(success("SOMEBODY-ELSES")))
    house.drain()
    house.clock.advance(600)
    probe = create_app(house.container).test_client()
    assert probe.get("/readyz").get_json()["oldest_unhandled_seconds"]["webhooks"] == 600
    for _ in range(20):
        house.later(3_600)
    row = house.rows(WebhookEvent)[0]
    assert (row.outcome, row.due_at, row.handled_at) == ("unmatched", None, None)
    assert row.parked_at is not None
    assert probe.get("/readyz").get_json()["parked"] == {
        "webhooks": 1, "events": 0, "notifications": 0, "deliveries": 0,
    }  # fmt: skip
    assert 'payflow_parked{kind="webhooks"} 1.0' in probe.get("/metrics").get_data(as_text=True)


def test_webhooks_about_other_things_are_kept_and_ignored(house: House) -> None:
    """A transfer or a subscription is no payment of ours: stored once, marked ignored."""
    house.container.webhooks.receive("paystack", *signed({"event": "transfer.success", "data": {"reference": "T-1"}}))
    house.drain()
    assert [row.outcome for row in house.rows(WebhookEvent)] == ["ignored"]
