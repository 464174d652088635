"""The Flutterwave adapter against the sandbox's Flutterwave on a real port: journeys, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from payflow.core.clock import SystemClock
from payflow.core.errors import (
    AnswerNotUnderstood,
    GatewayRejected,
    GatewayUnavailable,
    OutcomeUnknown,
    PayflowError,
)
from payflow.core.money import Money
from payflow.gateways.base import Outcome
from payflow.gateways.calls import TransportOptions
from payflow.gateways.flutterwave import FlutterwaveGateway
from payflow.sandbox.app import RunningSandbox, SandboxConfig, start
from payflow.sandbox.flutterwave import DEVELOPMENT_HASH, DEVELOPMENT_SECRET
from tests.contract.flutterwave_kit import a_paid_attempt, a_refund, a_refund_ref, a_request, an_attempt


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    running = start(SandboxConfig(refund_seconds=0.2))
    yield running
    running.stop()


def on(sandbox: RunningSandbox, **limits: Any) -> FlutterwaveGateway:
    return FlutterwaveGateway(
        secret_key=DEVELOPMENT_SECRET,
        base_url=f"{sandbox.url}/flutterwave",
        webhook_secrets=(DEVELOPMENT_HASH,),
        clock=SystemClock(),
        options=TransportOptions(sleep=lambda _seconds: None, **limits),
    )


def script(sandbox: RunningSandbox, what: str, **body: Any) -> Any:
    answer = requests.post(f"{sandbox.url}/sandbox/{what}", json=body, timeout=5)
    assert answer.ok, answer.text
    return answer.json()


def paid_on(sandbox: RunningSandbox, gateway: FlutterwaveGateway) -> str:
    """The id of a transaction paid for PF-1."""
    gateway.initiate(a_request(100_000))
    script(sandbox, "pay", reference="PF-1")
    number = gateway.verify(an_attempt()).transaction_id
    assert number is not None
    return number


def test_journey_when_the_customer_pays_then_paid(sandbox: RunningSandbox) -> None:
    """Initiate, nothing yet, pay on the page, come back, verify; more cannot go back."""
    gateway = on(sandbox)
    opened = gateway.initiate(a_request(7_550))
    assert gateway.verify(an_attempt(7_550)).found is False

    back = requests.post(f"{opened.authorization_url}/success", allow_redirects=False, timeout=5)
    query = dict(part.split("=") for part in back.headers["Location"].partition("?")[2].split("&"))
    assert gateway.callback_reference(query) == "PF-1"
    paid = gateway.verify(an_attempt(7_550))
    assert (paid.outcome, paid.amount, paid.extra_successes) == (Outcome.SUCCEEDED, Money(7_550, "NGN"), ())
    assert query["transaction_id"] == paid.transaction_id

    with pytest.raises(GatewayRejected) as caught:
        gateway.refund(a_refund(10_000, attempt=a_paid_attempt(transaction_id=paid.transaction_id)))
    assert caught.value.code == "refund_exceeds_amount"


def test_journey_of_a_refund(sandbox: RunningSandbox) -> None:
    """Created "completed" it is pending; it ends, and the list gives our own id back."""
    gateway = on(sandbox)
    attempt = a_paid_attempt(transaction_id=paid_on(sandbox, gateway))
    made = gateway.refund(a_refund(10_050, attempt=attempt))
    assert (made.outcome, made.amount) == (Outcome.PENDING, Money(10_050, "NGN"))
    asked = a_refund_ref(made.gateway_refund_id, attempt=attempt)
    assert gateway.fetch_refund(asked).outcome is Outcome.PENDING
    script(sandbox, "clock", advance_seconds=1)
    done = gateway.fetch_refund(asked)
    assert (done.outcome, done.refund_id) == (Outcome.SUCCEEDED, "r-1")
    assert [one.refund_id for one in gateway.list_refunds(attempt)] == ["r-1"]


def test_journey_when_a_refund_fails_then_failed(sandbox: RunningSandbox) -> None:
    """`completed` whose disbursement failed is failed."""
    gateway = on(sandbox)
    attempt = a_paid_attempt(transaction_id=paid_on(sandbox, gateway))
    script(sandbox, "faults", fault="refund_fails", reference="PF-1")
    made = gateway.refund(a_refund(attempt=attempt))
    script(sandbox, "clock", advance_seconds=1)
    assert gateway.fetch_refund(a_refund_ref(made.gateway_refund_id, attempt=attempt)).outcome is Outcome.FAILED


def test_journey_when_the_refunds_answer_is_lost_then_it_is_found_and_not_sent_again(sandbox: RunningSandbox) -> None:
    """The time-out comes after the effect; the list shows it, and there is exactly one."""
    gateway = on(sandbox, read_seconds=0.3)
    attempt = a_paid_attempt(transaction_id=paid_on(sandbox, gateway))
    script(sandbox, "faults", fault="timeout_after_effect", operation="refund", params={"seconds": 0.6})
    with pytest.raises(OutcomeUnknown):
        gateway.refund(a_refund(attempt=attempt))
    assert [one.refund_id for one in gateway.list_refunds(attempt)] == ["r-1"]
    refunds = requests.get(f"{sandbox.url}/sandbox/refunds", timeout=5).json()["refunds"]
    assert [(row["amount_minor"], row["details"]) for row in refunds] == [(10_050, {"comments": "payflow refund r-1"})]


def test_journey_when_declined_and_tried_again_then_the_second_transaction_is_the_payment(
    sandbox: RunningSandbox,
) -> None:
    """Verify goes on showing the failed try; the payment behind it is found."""
    gateway = on(sandbox)
    gateway.initiate(a_request(100_000))
    script(sandbox, "pay", reference="PF-1", outcome="decline")
    failed = gateway.verify(an_attempt())
    assert (failed.outcome, failed.message) == (Outcome.FAILED, "Declined")
    script(sandbox, "pay", reference="PF-1")
    paid = gateway.verify(an_attempt())
    assert paid.outcome is Outcome.SUCCEEDED
    assert paid.transaction_id != failed.transaction_id


def test_journey_when_two_links_of_one_reference_are_paid_then_the_second_is_an_extra(sandbox: RunningSandbox) -> None:
    """A blind repeat of initiate would have led here."""
    gateway = on(sandbox)
    links = [gateway.initiate(a_request(100_000)).authorization_url for _ in range(2)]
    for link in links:
        requests.post(f"{link}/success", allow_redirects=False, timeout=5)
    paid = gateway.verify(an_attempt())
    assert (paid.outcome, len(paid.extra_successes)) == (Outcome.SUCCEEDED, 1)
    assert paid.transaction_id != paid.extra_successes[0].transaction_id


@pytest.mark.parametrize(
    ("fault", "params", "error"),
    [
        ("error_500", {"after_effect": True}, OutcomeUnknown),
        ("error_500", {"status": 503}, OutcomeUnknown),
        ("html_error", {}, OutcomeUnknown),
        ("truncated_json", {}, AnswerNotUnderstood),
        ("huge_body", {}, AnswerNotUnderstood),
        ("rate_limit", {"retry_after": 7}, GatewayUnavailable),
        ("refuse_connection", {}, OutcomeUnknown),
        ("timeout_after_effect", {"seconds": 0.6}, OutcomeUnknown),
    ],
)
def test_journey_when_initiate_goes_wrong_then_the_error_says_whether_it_may_have_acted(
    sandbox: RunningSandbox, fault: str, params: dict[str, Any], error: type[PayflowError]
) -> None:
    """A new reference works afterwards; the old one can still be asked after."""
    script(sandbox, "faults", fault=fault, operation="initialize", params=params)
    gateway = on(sandbox, read_seconds=0.4)
    with pytest.raises(PayflowError) as caught:
        gateway.initiate(a_request())
    assert type(caught.value) is error
    assert gateway.initiate(a_request(reference="PF-2")).authorization_url
    assert gateway.verify(an_attempt()).found is False
