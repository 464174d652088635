"""The numbered contract cases of the Flutterwave gateway, one test each: pages, questions, callbacks."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

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
from payflow.gateways.base import LostInitiate, Outcome
from tests.contract.flutterwave_kit import (
    FIRST,
    HOST,
    LINK,
    NOT_FOUND,
    SECOND,
    SECRET,
    a_gateway,
    a_paid_attempt,
    a_refund,
    a_refund_ref,
    a_request,
    a_transaction,
    an_attempt,
    answers_by_id,
    answers_fetch_refund,
    answers_initiate,
    answers_list,
    answers_refund,
    answers_refunds,
    answers_verify,
    charge_completed,
    golden,
    paths,
    refunded,
    refused,
    sample,
    sent,
    shown,
    validate_against_the_spec,
    verified,
)
from tests.contract.official import SPECS, needs_specs


@responses.activate
def test_case_06_the_amount_is_sent_in_major_units_exactly() -> None:
    """NGN 75.50 is the number 75.5, never 7550; the currency is named; the page is data.link."""
    answers_initiate()
    opened = a_gateway().initiate(a_request(7_550))
    request = responses.calls[0].request
    assert sent() == {
        "tx_ref": "PF-1",
        "amount": Decimal("75.5"),
        "currency": "NGN",
        "redirect_url": "https://m.example/cb",
        "customer": {"email": "customer@email.com", "name": "Ada"},
        "customizations": {"description": "Two nights"},
    }
    assert b'"amount": 75.5,' in request.body
    assert request.headers["Authorization"] == f"Bearer {SECRET}"
    assert request.headers["Content-Type"] == "application/json"
    assert opened.authorization_url == LINK
    if SPECS.is_dir():
        validate_against_the_spec()


@needs_specs
@responses.activate
def test_case_06_requests_equal_the_golden_ones_and_pass_the_spec() -> None:
    """The four calls the official library makes too are the same up to ids and dates; every call of ours validates."""
    gateway = a_gateway()
    answers_verify(json=verified())
    answers_by_id(json=verified())
    answers_list(a_transaction())
    answers_refund(json=refunded(amount_refunded=10.5))
    answers_refunds()
    answers_fetch_refund()
    gateway.verify(an_attempt())  # 1, 3
    gateway.refund(a_refund(105_0, "USD"))  # 2
    gateway.list_refunds(a_paid_attempt())  # 0
    gateway.fetch_refund(a_refund_ref())
    by_path = {call.request.path_url.split("?")[0]: call.request for call in responses.calls}
    for line in (0, 1, 2, 3):
        recorded = golden(line)
        path, _, query = recorded["path"].partition("?")
        request = by_path[path]
        ours = set(request.path_url.partition("?")[2].replace("&", " ").replace("=", " ").split()[::2])
        theirs = set(query.replace("&", " ").replace("=", " ").split()[::2])
        assert (request.method, ours) == (recorded["method"], theirs)
        if recorded["body"]:
            body = json.loads(request.body)
            assert body.pop("comments") == "payflow refund r-1"
            assert body | {"id": str(FIRST)} == json.loads(recorded["body"])
    assert by_path["/v3/transactions/verify_by_reference"].path_url.endswith("?tx_ref=PF-1")
    for index in range(len(responses.calls)):
        validate_against_the_spec(index)


@responses.activate
def test_case_07_an_error_in_a_200_is_a_failure() -> None:
    """`status: error` refuses, whatever the HTTP status."""
    answers_initiate(json=refused("Invalid currency"))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().initiate(a_request())
    assert "Invalid currency" in caught.value.detail


@responses.activate
def test_case_16_a_timeout_on_initiate_is_unknown_and_calls_for_a_new_reference() -> None:
    """One POST; the adapter says a lost one is renewed, and the old reference can still be asked after."""
    gateway = a_gateway()
    answers_initiate(body=requests.ReadTimeout("silence"))
    with pytest.raises(OutcomeUnknown):
        gateway.initiate(a_request())
    assert paths() == [("POST", "/payments")]
    assert gateway.lost_initiate is LostInitiate.RENEW
    answers_verify(json=verified())
    answers_list(a_transaction())
    assert gateway.verify(an_attempt()).outcome is Outcome.SUCCEEDED


@responses.activate
def test_case_17_a_failing_gateways_page_is_never_success() -> None:
    """5xx as HTML: the command is unknown, the question is repeated."""
    answers_initiate(status=502, body="<html>success</html>", content_type="text/html")
    answers_verify(status=502, body="<html>success</html>", content_type="text/html")
    with pytest.raises(OutcomeUnknown):
        a_gateway().initiate(a_request())
    with pytest.raises(GatewayUnavailable):
        a_gateway().verify(an_attempt())
    assert [method for method, _ in paths()] == ["POST", "GET", "GET", "GET"]


@pytest.mark.parametrize(
    "body",
    [
        refused("An error occurred. Please contact support"),
        {"error_id": "ERRNO1", "message": "Application error. Please contact support", "code": "app_error"},
    ],
    ids=["503 after 28 s", "500 without status"],
)
@responses.activate
def test_case_17_its_own_server_errors_are_no_refusal(body: dict[str, Any]) -> None:
    """A time-out there "does not always mean request failure" (Handling error timeouts)."""
    answers_refund(status=503, json=body)
    with pytest.raises(OutcomeUnknown):
        a_gateway().refund(a_refund())
    assert len(responses.calls) == 1


@pytest.mark.parametrize("header", ["7", "Thu, 15 Jan 2026 12:00:07 GMT"])
@responses.activate
def test_case_18_a_rate_limit_tells_how_long(header: str) -> None:
    """429 did not act; the wait is the header's."""
    answers_initiate(status=429, json=refused("Too many requests"), headers={"Retry-After": header})
    with pytest.raises(GatewayUnavailable) as caught:
        a_gateway().initiate(a_request())
    assert caught.value.retry_after_seconds == 7


@responses.activate
def test_case_19_a_wrong_key_is_terminal_and_calls_a_person() -> None:
    """401: no retry, one ERROR line, and nothing said of the payment."""
    answers_verify(status=401, json=refused("Authorization required"))
    with capture_logs() as lines, pytest.raises(GatewayRejected):
        a_gateway().verify(an_attempt())
    assert len(responses.calls) == 1
    assert [line["action"] for line in lines if line["log_level"] == "error"] == ["gateway.refused"]


@pytest.mark.parametrize(
    ("changes", "worth"),
    [
        ({}, 100_000),
        ({"charged_amount": 1014}, 100_000),
        ({"amount": 999, "charged_amount": 999}, 99_900),
        ({"amount": 1000.01, "charged_amount": 1000.01}, 100_001),
        ({"charged_amount": 999.99}, 99_999),
        ({"charged_amount": None}, 100_000),
    ],
    ids=["as asked", "fees on top", "short", "over", "charged less", "not told"],
)
@responses.activate
def test_case_32_what_a_payment_is_worth(changes: dict[str, Any], worth: int) -> None:
    """Fees the customer bears are no part of it, and never more than was charged."""
    answers_verify(json=verified(**changes))
    answers_list(a_transaction(**changes))
    paid = a_gateway().verify(an_attempt())
    assert (paid.outcome, paid.amount) == (Outcome.SUCCEEDED, Money(worth, "NGN"))


@needs_specs
@responses.activate
def test_case_32_the_official_sample_itself() -> None:
    """Byte for byte as published: NGN 1000, fee 14."""
    answers_verify(body=sample("get.v3.transactions.verify_by_reference.200"), content_type="application/json")
    answers_list()
    paid = a_gateway().verify(an_attempt(reference="1710840858755-RND_83"))
    assert (paid.outcome, paid.amount, paid.fee_minor) == (Outcome.SUCCEEDED, Money(100_000, "NGN"), 1_400)
    assert (paid.transaction_id, paid.payment_method, paid.is_test) == ("4975363", "bank_transfer", None)


@pytest.mark.parametrize("status", [200, 400, 404])
@responses.activate
def test_case_33_no_transaction_yet_is_pending(status: int) -> None:
    """The normal answer until the customer starts paying, under any HTTP status; the list is not asked."""
    answers_verify(status=status, json=NOT_FOUND)
    told = a_gateway().verify(an_attempt())
    assert (told.outcome, told.found, told.amount, told.reference) == (Outcome.PENDING, False, None, "PF-1")
    assert len(responses.calls) == 1


@pytest.mark.parametrize("status", ["failed", "pending", "frobnicated"])
@responses.activate
def test_case_34_a_success_behind_another_try_is_found(status: str) -> None:
    """The reference's list is read, and what it calls paid is asked for by its own id."""
    answers_verify(json=verified(status))
    answers_list(a_transaction(id=SECOND), a_transaction(status))
    answers_by_id(SECOND, json=verified(id=SECOND))
    paid = a_gateway().verify(an_attempt())
    assert (paid.outcome, paid.transaction_id, paid.extra_successes) == (Outcome.SUCCEEDED, str(SECOND), ())
    assert paths()[1:] == [("GET", "/transactions"), ("GET", f"/transactions/{SECOND}/verify")]


@responses.activate
def test_case_34_two_successes_are_one_payment_and_an_extra() -> None:
    """Paid twice on one page: the second is reported, not lost."""
    answers_verify(json=verified())
    answers_list(a_transaction(id=SECOND), a_transaction())
    answers_by_id(SECOND, json=verified(id=SECOND))
    paid = a_gateway().verify(an_attempt())
    assert (paid.outcome, paid.transaction_id) == (Outcome.SUCCEEDED, str(FIRST))
    assert [(one.transaction_id, one.amount) for one in paid.extra_successes] == [(str(SECOND), Money(100_000, "NGN"))]


@responses.activate
def test_case_34_of_two_successes_the_one_that_covers_the_price_is_the_payment() -> None:
    """A short one first does not hide the whole one."""
    answers_verify(json=verified(amount=10, charged_amount=10))
    answers_list(a_transaction(id=SECOND), a_transaction(amount=10, charged_amount=10))
    answers_by_id(SECOND, json=verified(id=SECOND))
    paid = a_gateway().verify(an_attempt())
    assert paid.transaction_id == str(SECOND)
    assert [one.amount for one in paid.extra_successes] == [Money(1_000, "NGN")]


@responses.activate
def test_case_35_decimals_stay_exact() -> None:
    """0.1 + 0.2 as the wire may carry it is 30 kobo, not nearly 30; more decimals than kobo are not understood."""
    answers_verify(body=json.dumps(verified()).replace("1000", "0.30"), content_type="application/json")
    answers_list()
    assert a_gateway().verify(an_attempt(30)).amount == Money(30, "NGN")
    responses.reset()
    answers_verify(body=json.dumps(verified()).replace("1000", "0.30000000000000004"), content_type="application/json")
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().verify(an_attempt(30))


@responses.activate
def test_case_36_successful_inside_an_error_is_not_paid() -> None:
    """The envelope refuses, so its content says nothing."""
    answers_verify(json=verified() | {"status": "error"})
    with pytest.raises(GatewayRejected):
        a_gateway().verify(an_attempt())


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"status": "success", "da', "application/json"),
        (b"", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b"<html>Log in to the hotel</html>", "text/html"),
        (b'{"status": "success"}', "text/plain"),
        (b" " * 2_000_000, "application/json"),
    ],
    ids=["truncated", "empty", "array", "null", "captive page", "wrong type", "huge"],
)
@responses.activate
def test_case_41_unreadable_answers_are_not_understood(body: bytes, kind: str) -> None:
    """Whatever came, it is one error; a command is not sent again."""
    answers_initiate(body=body, content_type=kind)
    answers_verify(body=body, content_type=kind)
    answers_refund(body=body, content_type=kind)
    gateway = a_gateway(tries=1)
    for call in (
        lambda: gateway.initiate(a_request()),
        lambda: gateway.verify(an_attempt()),
        lambda: gateway.refund(a_refund()),
    ):
        with pytest.raises(AnswerNotUnderstood):
            call()
    assert [method for method, _ in paths()] == ["POST", "GET", "POST"]


@responses.activate
def test_case_41_unreadable_answers_leak_nothing() -> None:
    """The text of a page is shown only shortened and cleaned."""
    page = f"<html>{SECRET} 4084084084084081 {'x' * 5_000}</html>"
    answers_verify(body=page, content_type="text/html")
    with pytest.raises(AnswerNotUnderstood) as caught:
        a_gateway().verify(an_attempt())
    assert len(caught.value.detail) < 200
    assert SECRET not in caught.value.detail
    assert "4084084084084081" not in caught.value.detail


@responses.activate
def test_case_42_a_reference_cannot_leave_its_place() -> None:
    """`../refund?x=` stays a value in the query; an id with dots or slashes stays one path segment."""
    answers_verify(status=400, json=NOT_FOUND)
    assert a_gateway().verify(an_attempt(reference="../refund?x=&tx_ref=PF-2")).found is False
    assert responses.calls[0].request.path_url == (
        "/v3/transactions/verify_by_reference?tx_ref=..%2Frefund%3Fx%3D%26tx_ref%3DPF-2"
    )
    responses.get(f"{HOST}/refunds/..%2Ftransactions", status=400, json=refused("Refund not found"))
    with pytest.raises(GatewayRejected):
        a_gateway().fetch_refund(a_refund_ref("../transactions"))
    with pytest.raises(InvalidInput):
        a_gateway().fetch_refund(a_refund_ref(".."))


@responses.activate
def test_case_44_a_callback_is_followed_by_our_reference_only() -> None:
    """Its status and its transaction_id, maybe somebody else's, are not looked at."""
    query = {"status": "successful", "tx_ref": "PF-1", "transaction_id": "999"}
    gateway = a_gateway()
    reference = gateway.callback_reference(query)
    assert reference == "PF-1"
    answers_verify(json=verified("pending"))
    answers_list(a_transaction("pending"))
    assert gateway.verify(an_attempt(reference=reference)).outcome is Outcome.PENDING
    assert all("999" not in str(call.request.url) for call in responses.calls)


@responses.activate
def test_case_44_an_answer_for_another_reference_is_told_as_such() -> None:
    """The caller compares; nothing more is asked about it."""
    answers_verify(json=verified(tx_ref="PF-2"))
    assert a_gateway().verify(an_attempt()).reference == "PF-2"
    assert len(responses.calls) == 1


@pytest.mark.parametrize(
    "query",
    [
        {"status": "cancelled", "tx_ref": "PF-1"},
        {"status": "cancelled", "tx_ref": "PF-1", "transaction_id": "null"},
        {"status": "completed", "tx_ref": "PF-1", "transaction_id": ""},
    ],
    ids=["missing", "the text null", "empty"],
)
@responses.activate
def test_case_45_a_cancelled_callback_is_pending(query: dict[str, str]) -> None:
    """Leaving the page is no failure: the reference is asked after, and not known yet."""
    reference = a_gateway().callback_reference(query)
    assert reference == "PF-1"
    answers_verify(status=400, json=NOT_FOUND)
    assert a_gateway().verify(an_attempt(reference=reference)).outcome is Outcome.PENDING


@responses.activate
def test_case_47_callback_and_webhook_lead_to_the_same_question() -> None:
    """Either way round, both name the reference and neither an outcome; the answers are equal."""
    gateway, body = a_gateway(), charge_completed()
    hint = gateway.read_webhook(shown(), body)
    reference = gateway.callback_reference({"tx_ref": "PF-1", "status": "successful"})
    assert hint.reference == reference
    answers_verify(json=verified())
    answers_list(a_transaction())
    first, second = (gateway.verify(an_attempt(reference=name)) for name in (hint.reference, reference))
    assert first == second
