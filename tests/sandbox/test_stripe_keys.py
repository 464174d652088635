"""The sandbox's Stripe dialect: idempotency keys."""

import threading
from pathlib import Path

import requests

from payflow.core.clock import HeldClock
from payflow.sandbox.app import SandboxConfig, create_app, start
from payflow.sandbox.clock import OffsetClock
from tests.sandbox.stripe_side import AT, KEY, ORDER, PRICE, Stripe


def test_key_when_repeated_then_the_first_answer_again(stripe: Stripe) -> None:
    """Status and body as they were, though the session has been paid since; one session, and the order is no matter."""
    first = stripe.create("k-1")
    stripe.pay()
    again = stripe.client.post(
        "/stripe/v1/checkout/sessions", data=dict(reversed(ORDER.items())), headers=KEY | {"Idempotency-Key": "k-1"}
    )
    assert (again.status_code, again.data) == (200, first.data)
    assert (again.headers["Idempotent-Replayed"], again.headers["Idempotency-Key"]) == ("true", "k-1")
    assert "Idempotent-Replayed" not in first.headers
    assert len(stripe.client.get("/sandbox/charges").json["charges"]) == 1


def test_key_when_anything_differs_then_idempotency_error(stripe: Stripe) -> None:
    """Another amount, or the same form elsewhere, under a key that is taken."""
    stripe.create("k-1")
    for answer in (stripe.create("k-1", **{f"{PRICE}[unit_amount]": "2001"}), stripe.refund("pi_1", "k-1")):
        assert (answer.status_code, answer.json["error"]["type"]) == (400, "idempotency_error")
    assert len(stripe.client.get("/sandbox/charges").json["charges"]) == 1


def test_key_when_absent_or_too_long(stripe: Stripe) -> None:
    """Without a key each request makes a session; a key has 255 characters at most."""
    assert stripe.create().json["id"] != stripe.create().json["id"]
    assert stripe.create("k" * 256).status_code == 400


def test_key_when_a_day_has_passed_then_forgotten(stripe: Stripe) -> None:
    """Stripe may drop a key after 24 hours, and then the same request acts again."""
    first = stripe.create("k-1").json["id"]
    stripe.later(86_399)
    assert stripe.create("k-1").json["id"] == first
    stripe.later(1)
    assert stripe.create("k-1").json["id"] != first


def test_key_when_the_work_was_refused_then_the_refusal_again(stripe: Stripe) -> None:
    """A refusal of the endpoint itself is remembered, even when the reason has gone."""
    stripe.create()
    stripe.pay(outcome="decline")
    intent = stripe.get("/v1/checkout/sessions").json["data"][0]["payment_intent"]
    refused = stripe.refund(intent, "r-1")
    assert refused.status_code == 400
    stripe.pay()
    again = stripe.refund(intent, "r-1")
    assert (again.status_code, again.data, again.headers["Idempotent-Replayed"]) == (400, refused.data, "true")


def test_key_when_the_sandbox_is_reset_then_forgotten(stripe: Stripe) -> None:
    """What nobody remembers cannot be answered again."""
    first = stripe.create("k-1").json["id"]
    stripe.client.post("/sandbox/reset")
    assert stripe.create("k-1").json["id"] != first


def test_key_over_a_restart_then_still_known(tmp_path: Path) -> None:
    """Sessions, refunds and their keys survive the sandbox."""
    config = SandboxConfig(state_path=tmp_path / "sandbox.jsonl")
    clock = OffsetClock(HeldClock(AT))
    before = create_app(config, clock=clock)
    merchant = Stripe(before.test_client(), before.extensions["sandbox"])
    first = merchant.create("k-1")
    merchant.pay()
    intent = merchant.session(first.json["id"])["payment_intent"]["id"]
    refund = merchant.refund(intent, "r-1", amount="500")
    merchant.rooms.party.state.close()

    after = create_app(config, clock=clock)
    merchant = Stripe(after.test_client(), after.extensions["sandbox"])
    assert merchant.create("k-1").json == first.json
    assert merchant.create("k-1", customer_email=None).json["error"]["type"] == "idempotency_error"
    merchant.later(10)
    assert merchant.refund(intent, "r-1", amount="500").json == refund.json
    assert merchant.get(f"/v1/refunds/{refund.json['id']}").json["status"] == "succeeded"
    assert len(merchant.client.get("/sandbox/refunds").json["refunds"]) == 1
    merchant.rooms.party.state.close()


def test_key_when_in_flight_then_409_and_afterwards_the_answer() -> None:
    """While the first request is worked on a second one is turned away; when it has acted, it is answered alike."""
    sandbox = start(SandboxConfig())
    try:
        url, headers = f"{sandbox.url}/stripe/v1/checkout/sessions", KEY | {"Idempotency-Key": "k-1"}
        requests.post(f"{sandbox.url}/sandbox/faults", json={"fault": "slow", "params": {"seconds": 0.6}}, timeout=5)
        answers: list[requests.Response] = []
        slow = threading.Thread(
            target=lambda: answers.append(requests.post(url, data=ORDER, headers=headers, timeout=5))
        )
        slow.start()
        while not requests.get(f"{sandbox.url}/sandbox/faults", timeout=5).json()["faults"][0]["used"]:
            assert slow.is_alive()
        turned_away = requests.post(url, data=ORDER, headers=headers, timeout=5)
        slow.join()
        assert (turned_away.status_code, turned_away.json()["error"]["code"]) == (409, "idempotency_key_in_use")
        assert turned_away.headers["Stripe-Should-Retry"] == "true"
        again = requests.post(url, data=ORDER, headers=headers, timeout=5)
        assert again.json() == answers[0].json()
        assert len(requests.get(f"{sandbox.url}/sandbox/charges", timeout=5).json()["charges"]) == 1
    finally:
        sandbox.stop()
