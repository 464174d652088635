"""The numbered contract cases of the Paystack gateway, one test each: what is sent, and what an answer means."""

from __future__ import annotations

import json

import pytest
import requests
import responses
from structlog.testing import capture_logs

from payflow.core.errors import (
    AnswerNotUnderstood,
    GatewayRejected,
    GatewayUnavailable,
    InvalidInput,
    OutcomeUnknown,
)
from payflow.core.money import Money
from payflow.gateways.base import Outcome, RefundRef
from tests.contract.official import needs_specs
from tests.contract.paystack_kit import (
    HOST,
    INITIALIZED,
    SECRET,
    a_gateway,
    a_refund,
    a_request,
    an_attempt,
    answers_initialize,
    answers_refund,
    answers_verify,
    golden,
    refunded,
    refused,
    sample,
    sent,
    validate_against_the_spec,
    verified,
)


def seen(status: str = "success", **changes: object) -> Outcome:
    answers_verify(json=verified(status, **changes))
    return a_gateway().verify(an_attempt()).outcome


@responses.activate
def test_case_01_initialize_sends_what_the_official_sdk_sends() -> None:
    """NGN 200.00 is 20000, an integer, under a bearer key; the page is data.authorization_url."""
    answers_initialize()
    opened = a_gateway().initiate(a_request())
    request = responses.calls[0].request
    assert sent() == {
        "email": "customer@email.com",
        "amount": 20_000,
        "currency": "NGN",
        "reference": "PF-1",
        "callback_url": "https://m.example/cb",
    }
    assert type(sent()["amount"]) is int
    assert request.headers["Authorization"] == f"Bearer {SECRET}"
    assert request.headers["Content-Type"] == "application/json"
    assert opened.authorization_url == "https://checkout.paystack.com/3ni8kdavz62431k"
    assert opened.session_id == "3ni8kdavz62431k"


@needs_specs
@responses.activate
def test_case_01_requests_equal_the_golden_ones_and_pass_the_official_spec() -> None:
    """All five calls match the requests recorded from the official SDK, and validate."""
    gateway = a_gateway()
    answers_initialize()
    answers_verify(json=verified())
    answers_refund(json=refunded())
    responses.get(f"{HOST}/refund/3018284", json=refunded())
    responses.get(f"{HOST}/refund", json={"status": True, "data": [], "meta": {"pageCount": 0}})
    calls = {
        0: lambda: gateway.initiate(a_request()),
        1: lambda: gateway.verify(an_attempt()),
        3: lambda: gateway.refund(a_refund()),
        4: lambda: gateway.fetch_refund(
            RefundRef("r-1", an_attempt(), Money(5_000, "NGN"), gateway_refund_id="3018284")
        ),
        5: lambda: gateway.list_refunds(an_attempt(transaction_id="1641")),
    }
    for line, call in calls.items():
        call()
        recorded, request = golden(line), responses.calls[-1].request
        assert (request.method, str(request.path_url).split("?")[0]) == (recorded["method"], recorded["path"])
        ours = sent() if request.body else {}
        theirs = json.loads(recorded["body"] or "{}")
        if "merchant_note" in ours:
            assert ours.pop("merchant_note") == "payflow refund r-1"
            theirs.pop("merchant_note")
        assert ours == theirs
        validate_against_the_spec()


@responses.activate
def test_case_02_xof_is_sent_in_hundredths() -> None:
    """XOF 500 is 50000 although the currency has no subunit."""
    answers_initialize()
    a_gateway().initiate(a_request(500, "XOF"))
    assert sent()["amount"] == 50_000


@pytest.mark.parametrize("reference", ["PF_1", "PF 1"])
@responses.activate
def test_case_03_a_reference_outside_the_alphabet_is_refused_locally(reference: str) -> None:
    """Nothing is sent."""
    with pytest.raises(InvalidInput) as caught:
        a_gateway().initiate(a_request(reference=reference))
    assert caught.value.pointer == "/reference"
    assert len(responses.calls) == 0


@pytest.mark.parametrize("code", ["duplicate_reference", None])
@responses.activate
def test_case_04_a_taken_reference_is_terminal(code: str | None) -> None:
    """duplicate_reference, by code or by sentence: rejected, one request, never "paid"."""
    answers_initialize(status=400, json=refused("Duplicate Transaction Reference", code))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().initiate(a_request())
    assert caught.value.code == "duplicate_reference"
    assert len(responses.calls) == 1


@responses.activate
def test_case_05_an_answer_for_another_reference_is_not_understood() -> None:
    """200 with another reference must not be stored."""
    answers_initialize(json=INITIALIZED | {"data": INITIALIZED["data"] | {"reference": "PF-2"}})  # type: ignore[operator]  # a JSON object
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().initiate(a_request())


@responses.activate
def test_case_16_a_timeout_on_initialize_is_probed_then_resent() -> None:
    """Unknown, and not repeated blindly; verify says "not found", the same reference goes again."""
    gateway = a_gateway()
    answers_initialize(body=requests.ReadTimeout("silence"))
    with pytest.raises(OutcomeUnknown):
        gateway.initiate(a_request())
    assert len(responses.calls) == 1
    answers_verify(status=404, json=refused("Transaction reference not found.", "transaction_not_found"))
    assert gateway.verify(an_attempt()).found is False
    responses.remove(responses.POST, f"{HOST}/transaction/initialize")
    answers_initialize()
    assert gateway.initiate(a_request()).authorization_url


@responses.activate
def test_case_17_a_failing_gateways_page_is_never_success() -> None:
    """5xx as HTML: the command is unknown, the question is repeated."""
    answers_initialize(status=502, body="<html>success</html>", content_type="text/html")
    answers_verify(status=502, body="<html>success</html>", content_type="text/html")
    with pytest.raises(OutcomeUnknown):
        a_gateway().initiate(a_request())
    with pytest.raises(GatewayUnavailable):
        a_gateway().verify(an_attempt())
    assert [call.request.method for call in responses.calls] == ["POST", "GET", "GET", "GET"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Thu, 15 Jan 2026 12:00:07 GMT"}, 7),
        ({"x-ratelimit-reset": "30"}, 30),
        ({}, 180),
    ],
)
@responses.activate
def test_case_18_a_rate_limit_tells_how_long(headers: dict[str, str], seconds: int) -> None:
    """429 did not act; the wait is the header's, or what the sentence says."""
    answers_initialize(status=429, json=refused("Please wait a few minutes and try again."), headers=headers)
    with pytest.raises(GatewayUnavailable) as caught:
        a_gateway().initiate(a_request())
    assert caught.value.retry_after_seconds == seconds


@responses.activate
def test_case_19_a_wrong_key_is_terminal_and_calls_a_person() -> None:
    """401: no retry, one ERROR line."""
    answers_verify(status=401, json=refused("Invalid key", "invalid_Key"))
    with capture_logs() as lines, pytest.raises(GatewayRejected):
        a_gateway().verify(an_attempt())
    assert len(responses.calls) == 1
    assert [line["action"] for line in lines if line["log_level"] == "error"] == ["gateway.refused"]


@responses.activate
def test_case_23_the_fee_on_top_is_not_part_of_the_price() -> None:
    """Official figures: amount 40333, requested 30050, fees 10283 is worth 30050 to the order."""
    answers_verify(json=verified(amount=40_333, requested_amount=30_050, fees=10_283))
    paid = a_gateway().verify(an_attempt(30_050))
    assert (paid.outcome, paid.amount, paid.fee_minor) == (Outcome.SUCCEEDED, Money(30_050, "NGN"), 10_283)


@responses.activate
def test_case_24_one_kobo_short_is_told_as_short() -> None:
    """When less came than was asked, the lesser amount is reported, so the comparison fails."""
    answers_verify(json=verified(amount=19_999))
    assert a_gateway().verify(an_attempt()).amount == Money(19_999, "NGN")


@responses.activate
def test_case_25_another_currency_is_told_as_such() -> None:
    """Success in USD is reported in USD."""
    answers_verify(json=verified(currency="USD"))
    assert a_gateway().verify(an_attempt()).amount == Money(20_000, "USD")


@responses.activate
def test_case_26_the_answers_own_reference_is_told() -> None:
    """Verification carries the reference the answer speaks of, not the one asked for."""
    answers_verify(json=verified(reference="PF-2"))
    assert a_gateway().verify(an_attempt()).reference == "PF-2"


@pytest.mark.parametrize(("domain", "is_test"), [("test", True), ("live", False), ("other", None)])
@responses.activate
def test_case_27_the_mode_is_told(domain: str, is_test: bool | None) -> None:
    """Test money is never mistaken for live money."""
    answers_verify(json=verified(domain=domain))
    assert a_gateway().verify(an_attempt()).is_test is is_test


@pytest.mark.parametrize("status", ["abandoned", "ongoing", "pending", "processing", "queued"])
@responses.activate
def test_case_28_unfinished_states_are_pending(status: str) -> None:
    """`abandoned` too: it is the first status of every transaction."""
    assert seen(status) is Outcome.PENDING


@pytest.mark.parametrize("status", ["reversed", "reversal-pending"])
@responses.activate
def test_case_29_money_that_went_back_is_reversed_with_its_amount(status: str) -> None:
    """Neither failed nor unpaid."""
    answers_verify(json=verified(status))
    told = a_gateway().verify(an_attempt())
    assert (told.outcome, told.amount) == (Outcome.REVERSED, Money(20_000, "NGN"))


@responses.activate
def test_case_30_an_unknown_status_is_unknown_and_logged() -> None:
    """Never guessed; one WARNING."""
    with capture_logs() as lines:
        assert seen("frobnicated") is Outcome.UNKNOWN
    assert ("gateway.unknown_status", "warning") in [(line["action"], line["log_level"]) for line in lines]


@pytest.mark.parametrize("status", [200, 400, 404])
@pytest.mark.parametrize("code", ["transaction_not_found", None])
@responses.activate
def test_case_31_an_unknown_reference_is_pending_and_not_found(status: int, code: str | None) -> None:
    """Under any HTTP status, by code or by sentence."""
    answers_verify(status=status, json=refused("Transaction reference not found.", code))
    told = a_gateway().verify(an_attempt())
    assert (told.outcome, told.found, told.amount, told.reference) == (Outcome.PENDING, False, None, "PF-1")


@responses.activate
def test_case_41_unreadable_answers_leak_nothing() -> None:
    """A captive page is no answer, and its text is shown only shortened and cleaned."""
    page = f"<html>{SECRET} 4084084084084081 {'x' * 5_000}</html>"
    answers_verify(body=page, content_type="text/html")
    with pytest.raises(AnswerNotUnderstood) as caught:
        a_gateway().verify(an_attempt())
    assert len(caught.value.detail) < 200
    assert SECRET not in caught.value.detail
    assert "4084084084084081" not in caught.value.detail


@responses.activate
def test_case_42_a_reference_cannot_leave_its_path_segment() -> None:
    """`../refund?x=` is asked for as it is."""
    responses.get(
        f"{HOST}/transaction/verify/..%2Frefund%3Fx%3D", status=404, json=refused("Transaction reference not found")
    )
    assert a_gateway().verify(an_attempt(reference="../refund?x=")).found is False
    with pytest.raises(InvalidInput):
        a_gateway().verify(an_attempt(reference=".."))


@responses.activate
def test_case_43_a_callback_is_only_a_reason_to_ask() -> None:
    """The visit names a reference; what became of it is the gateway's word."""
    gateway = a_gateway()
    reference = gateway.callback_reference({"reference": "PF-1", "trxref": "PF-1"})
    answers_verify(json=verified("abandoned"))
    assert reference == "PF-1"
    assert gateway.verify(an_attempt(reference=reference)).outcome is Outcome.PENDING


@needs_specs
@responses.activate
def test_case_23_the_official_sample_itself() -> None:
    """Byte for byte as published."""
    answers_verify("re4lyvq3s3", json=sample("api.transactions.verify"))
    paid = a_gateway().verify(an_attempt(30_050, reference="re4lyvq3s3"))
    assert (paid.outcome, paid.amount) == (Outcome.SUCCEEDED, Money(30_050, "NGN"))
