"""The Stripe adapter against the sandbox over a real connection: whole journeys, and what goes wrong on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests

from payflow.core.errors import OutcomeUnknown
from payflow.core.money import Money
from payflow.gateways.base import AttemptRef, HintKind, Initiated, Outcome, RefundRef, RefundResult, SignatureInvalid
from payflow.gateways.stripe import StripeGateway
from payflow.sandbox.app import RunningSandbox, SandboxConfig, start
from tests.contract.hostile_server import HostileServer, http
from tests.contract.stripe_kit import Kept, a_gateway, a_refund, a_request

CALLBACK = "https://shop.example/back?basket=7"


class Shop:
    """A merchant with the adapter, and hands at the counterparty."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox, self.kept = sandbox, Kept()
        self.clock = sandbox.rooms.party.clock
        self.gateway = self.adapter()

    def adapter(self, **limits: Any) -> StripeGateway:
        return a_gateway(
            self.kept,
            base_url=f"{self.sandbox.url}/stripe",
            secret="sk_test_sandbox_stripe",
            webhook_secrets=("whsec_sandbox",),
            clock=self.clock,
            **limits,
        )

    def control(self, method: str, path: str, **body: Any) -> Any:
        answer = requests.request(method, f"{self.sandbox.url}/sandbox/{path}", json=body or None, timeout=5)
        assert answer.ok, answer.text
        return answer.json()

    def open(self, reference: str = "PF-1", money: Money | None = None) -> AttemptRef:
        money = money or Money(2_000, "USD")
        opened = self.gateway.initiate(
            a_request(money.amount_minor, money.currency, reference=reference, callback_url=CALLBACK)
        )
        return AttemptRef(reference, money, session_id=opened.session_id)

    def pay(self, reference: str = "PF-1", outcome: str = "success") -> None:
        self.control("POST", "pay", reference=reference, outcome=outcome)

    def later(self, seconds: float) -> None:
        self.control("POST", "clock", advance_seconds=seconds)

    def fault(self, name: str, operation: str | None = None, times: int = 1, **params: Any) -> None:
        self.control("POST", "faults", fault=name, operation=operation, times=times, params=params)

    def count(self, what: str) -> int:
        return len(self.control("GET", what)[what])


@pytest.fixture
def shop() -> Iterator[Shop]:
    sandbox = start(SandboxConfig(refund_seconds=2))
    try:
        yield Shop(sandbox)
    finally:
        sandbox.stop()


def test_the_whole_way_from_page_to_refund(shop: Shop) -> None:
    """A customer pays at the page and is sent back with the session; part of it is given back and arrives."""
    opened = shop.gateway.initiate(a_request(callback_url=CALLBACK, expires_at=shop.clock.now()))
    attempt = AttemptRef("PF-1", Money(2_000, "USD"), session_id=opened.session_id)
    assert shop.gateway.verify(attempt).outcome is Outcome.PENDING
    assert "USD 20.00" in requests.get(opened.authorization_url, timeout=5).text
    sent_back = requests.post(f"{opened.authorization_url}/success", allow_redirects=False, timeout=5)
    assert sent_back.headers["Location"] == f"{CALLBACK}&session_id={opened.session_id}"
    assert shop.gateway.callback_reference({"basket": "7", "session_id": opened.session_id or ""}) == opened.session_id

    paid = shop.gateway.verify(attempt)
    assert (paid.outcome, paid.reference, paid.amount) == (Outcome.SUCCEEDED, "PF-1", Money(2_000, "USD"))
    assert (paid.is_test, paid.payment_method, paid.found) == (True, "card", True)

    attempt = AttemptRef("PF-1", Money(2_000, "USD"), opened.session_id, paid.transaction_id)
    made = shop.gateway.refund(a_refund(500, attempt=attempt))
    assert (made.outcome, made.refund_id, made.amount) == (Outcome.PENDING, "R-1", Money(500, "USD"))
    ref = RefundRef("R-1", attempt, Money(500, "USD"), gateway_refund_id=made.gateway_refund_id)
    assert shop.gateway.fetch_refund(ref).outcome is Outcome.PENDING
    shop.later(2)
    assert shop.gateway.fetch_refund(ref).outcome is Outcome.SUCCEEDED
    assert [one.refund_id for one in shop.gateway.list_refunds(attempt)] == ["R-1"]
    assert shop.gateway.verify(attempt).outcome is Outcome.SUCCEEDED
    assert {record.error_code for record in shop.kept.records} == {None}


@pytest.mark.parametrize(
    "money",
    [
        Money(500, "JPY"), Money(5, "UGX"), Money(5, "ISK"), Money(5_120, "KWD"), Money(20_045, "HUF"),
        Money(1_045, "TWD"), Money(500, "XOF"), Money(500, "MGA"), Money(2_000, "NGN"),
    ],
    ids=str,
)  # fmt: skip
def test_every_kind_of_amount_comes_back_as_it_was_asked_for(shop: Shop, money: Money) -> None:
    """Paid and given back whole, by each currency's own rule."""
    attempt = shop.open(money=money)
    shop.pay()
    assert shop.gateway.verify(attempt).amount == money
    made = shop.gateway.refund(a_refund(money.amount_minor, money.currency, attempt=attempt))
    assert made.amount == money


def test_a_lost_answer_to_initiate_is_resent_to_one_session(shop: Shop) -> None:
    """Silence after the effect: unknown; sent again, even minutes later, the same page comes back."""
    request = a_request(expires_at=shop.clock.now() + timedelta(minutes=30))
    shop.fault("timeout_after_effect", "initialize", seconds=0.6)
    with pytest.raises(OutcomeUnknown):
        shop.adapter(read_seconds=0.3, tries=1).initiate(request)
    shop.later(300)
    first, second = shop.gateway.initiate(request), shop.gateway.initiate(request)
    assert (first.session_id, first.authorization_url) == (second.session_id, second.authorization_url)
    assert shop.count("charges") == 1


@pytest.mark.parametrize(
    ("fault", "params"),
    [
        ("timeout_after_effect", {"seconds": 0.6}),
        ("error_500", {"after_effect": True}),
        ("html_error", {"after_effect": True}),
        ("refuse_connection", {}),
        ("rate_limit", {"retry_after": 1}),
    ],
)
def test_a_spoilt_answer_is_repeated_within_the_call(shop: Shop, fault: str, params: dict[str, Any]) -> None:
    """Whatever became of the first try, the key makes the second one safe: one session."""
    shop.fault(fault, "initialize", **params)
    opened: Initiated = shop.adapter(read_seconds=0.3).initiate(a_request())
    assert opened.session_id
    assert shop.count("charges") == 1


def test_a_request_that_is_still_worked_on_is_waited_for(shop: Shop) -> None:
    """The first try has timed out here but is alive there: 409, and then its answer; one session."""
    shop.fault("slow", "initialize", seconds=1.0)
    gateway = shop.adapter(read_seconds=0.3, tries=1)
    with pytest.raises(OutcomeUnknown):
        gateway.initiate(a_request())
    waiting = shop.adapter(tries=50, sleep=lambda _seconds: time.sleep(0.05))
    assert waiting.initiate(a_request()).session_id
    statuses = [call["status"] for call in shop.control("GET", "calls")["calls"] if call["operation"] == "initialize"]
    assert 409 in statuses
    assert shop.count("charges") == 1


def test_a_lost_answer_to_refund_makes_one_refund(shop: Shop) -> None:
    """Sent again at once, or two days later when Stripe has forgotten the key: the same refund each time."""
    attempt = shop.open()
    shop.pay()
    shop.fault("timeout_after_effect", "refund", seconds=0.6)
    with pytest.raises(OutcomeUnknown):
        shop.adapter(read_seconds=0.3, tries=1).refund(a_refund(attempt=attempt))
    made: list[RefundResult] = [shop.gateway.refund(a_refund(attempt=attempt))]
    shop.later(172_800)
    made.append(shop.gateway.refund(a_refund(attempt=attempt)))
    assert len({one.gateway_refund_id for one in made}) == 1
    assert [one.outcome for one in made] == [Outcome.PENDING, Outcome.SUCCEEDED]
    assert shop.count("refunds") == 1


def test_a_declined_payment_fails_and_a_declined_card_does_not(shop: Shop) -> None:
    """A delayed payment that is refused is over; after a refused card the customer may pay with another."""
    attempt = shop.open()
    shop.pay(outcome="decline")
    told = shop.gateway.verify(attempt)
    assert (told.outcome, told.message) == (Outcome.FAILED, "Declined")
    other = shop.open("PF-2")
    shop.fault("decline", reason="card_declined")
    shop.pay("PF-2")
    told = shop.gateway.verify(other)
    assert (told.outcome, told.message) == (Outcome.PENDING, "Your card was declined.")
    shop.pay("PF-2")
    assert shop.gateway.verify(other).outcome is Outcome.SUCCEEDED


def test_a_page_nobody_pays_at_expires(shop: Shop) -> None:
    """After the order's time and the half hour more that Stripe demands, this try has failed."""
    ends = shop.clock.now() + timedelta(minutes=10)
    opened = shop.gateway.initiate(a_request(expires_at=ends))
    attempt = AttemptRef("PF-1", Money(2_000, "USD"), session_id=opened.session_id)
    shop.later(44 * 60)
    assert shop.gateway.verify(attempt).outcome is Outcome.PENDING
    shop.later(2 * 60)
    told = shop.gateway.verify(attempt)
    assert (told.outcome, told.message) == (Outcome.FAILED, "The page expired before it was paid.")


def test_what_is_off_is_told(shop: Shop) -> None:
    """Less money, another currency, another reference, a word nobody knows, a session Stripe forgot."""
    for number, (fault, params) in enumerate(
        [("wrong_amount", {}), ("wrong_amount", {"field": "amount"}), ("wrong_currency", {"currency": "EUR"})]
    ):
        attempt = shop.open(f"PF-{number}")
        shop.fault(fault, **params)
        shop.pay(f"PF-{number}")
        assert shop.gateway.verify(attempt).amount in (Money(1_999, "USD"), Money(2_000, "EUR"))
    shop.fault("fee_on_customer")
    attempt = shop.open("PF-9")
    shop.pay("PF-9")
    assert shop.gateway.verify(attempt).amount == Money(2_000, "USD")
    shop.fault("wrong_reference", "verify")
    assert shop.gateway.verify(attempt).reference == "SOMEBODY-ELSE"
    shop.fault("unknown_status", "verify")
    assert shop.gateway.verify(attempt).outcome is Outcome.UNKNOWN
    shop.fault("not_found_on_verify", "verify")
    assert shop.gateway.verify(attempt).found is False
    for fault in ("truncated_json", "huge_body", "html_error", "refuse_connection"):  # one more, and it is left alone
        shop.fault(fault, "verify")
    assert shop.adapter(tries=9).verify(attempt).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("fault", "outcomes"),
    [
        ("refund_fails", [Outcome.FAILED, Outcome.FAILED]),
        ("refund_fails_after_success", [Outcome.SUCCEEDED, Outcome.FAILED]),
        ("refund_stuck_pending", [Outcome.PENDING, Outcome.PENDING]),
        ("refund_needs_attention", [Outcome.PENDING, Outcome.PENDING]),
    ],
)
def test_a_refund_that_goes_wrong_is_told(shop: Shop, fault: str, outcomes: list[Outcome]) -> None:
    """Failed, failed after it had succeeded, stuck, or waiting for the customer; the payment stays paid."""
    attempt = shop.open()
    shop.pay()
    shop.fault(fault)
    made = shop.gateway.refund(a_refund(attempt=attempt))
    ref = RefundRef("R-1", attempt, Money(500, "USD"), gateway_refund_id=made.gateway_refund_id)
    seen = []
    for _ in range(2):
        shop.later(2.5)
        seen.append(shop.gateway.fetch_refund(ref))
    assert [one.outcome for one in seen] == outcomes
    assert {one.needs_attention for one in seen} == {fault == "refund_needs_attention"}
    assert shop.gateway.verify(attempt).outcome is Outcome.SUCCEEDED


def test_the_sandboxs_webhooks_are_read_off_the_wire(shop: Shop) -> None:
    """True signatures over true bytes: payment, refund and dispute each point at the try."""
    with HostileServer(http(200, b"{}")) as receiver:
        shop.control("PUT", "webhooks/targets", stripe=f"{receiver.base_url}/hook")
        attempt = shop.open()
        shop.pay()
        shop.gateway.refund(a_refund(attempt=attempt))
        shop.control("POST", "faults", fault="dispute", reference="PF-1")
        shop.control("POST", "webhooks", reference="PF-1", event="charge_paid", signature="forged")
        deadline = time.monotonic() + 10
        while len(receiver.requests) < 7 and time.monotonic() < deadline:
            time.sleep(0.05)
        arrived = list(receiver.requests)
    transaction_id = shop.gateway.verify(attempt).transaction_id
    hints, refused = [], 0
    for raw in arrived:
        head, _, body = raw.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
        try:
            hints.append(shop.gateway.read_webhook({name: value for name, _, value in lines}, body))
        except SignatureInvalid:
            refused += 1
    assert refused == 2  # the two events a forger made up
    assert {hint.event_type: (hint.kind, hint.reference) for hint in hints} == {
        "payment_intent.succeeded": (HintKind.PAYMENT, "PF-1"),
        "checkout.session.completed": (HintKind.PAYMENT, "PF-1"),
        "refund.created": (HintKind.REFUND, None),
        "charge.refunded": (HintKind.REFUND, "PF-1"),
        "charge.dispute.created": (HintKind.DISPUTE, None),
    }
    assert {hint.transaction_id for hint in hints} == {transaction_id}
    assert len({hint.event_key for hint in hints}) == 5
