"""The Stripe adapter's refunds: what is sent, odd answers, lists that must be whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
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
from payflow.gateways.base import Outcome
from payflow.gateways.stripe_words import REFUND_OUTCOMES
from tests.contract.stripe_kit import (
    REFUNDS,
    a_gateway,
    a_list,
    a_refund,
    a_refund_ref,
    an_attempt,
    answers_list,
    answers_refund,
    answers_verify,
    paid,
    refunded,
    refused,
    sent,
    session,
)


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("duplicate", "duplicate"),
        ("fraudulent", "fraudulent"),
        ("customer_request", "requested_by_customer"),
        ("requested_by_customer", "requested_by_customer"),
        ("booking_cancelled", None),
        ("service_issue", None),
        ("other", None),
    ],
)
@responses.activate
def test_refund_then_only_stripes_own_reasons_are_sent(reason: str, word: str | None) -> None:
    """Any other word would be refused as a whole."""
    answers_list()
    answers_refund(json=refunded())
    a_gateway().refund(a_refund(reason=reason))
    assert sent().get("reason") == word


@pytest.mark.parametrize(("currency", "minor", "wire"), [("UGX", 5, "500"), ("JPY", 7, "7"), ("KWD", 5_120, "5120")])
@responses.activate
def test_refund_then_its_amount_follows_the_currencys_rule(currency: str, minor: int, wire: str) -> None:
    """Refunds are counted as charges are; there is no least."""
    answers_list()
    answers_refund(json=refunded(amount=int(wire), currency=currency.lower()))
    assert a_gateway().refund(a_refund(minor, currency)).amount == Money(minor, currency)
    assert sent()["amount"] == wire


@responses.activate
def test_refund_when_it_cannot_be_expressed_then_nothing_is_sent() -> None:
    """KWD 1.234, or an id that would not survive a header."""
    for odd in (a_refund(1_234, "KWD"), a_refund(refund_id="R 1"), a_refund(refund_id="R\r\n1")):
        with pytest.raises(InvalidInput):
            a_gateway().refund(odd)
    assert len(responses.calls) == 0


@responses.activate
def test_refund_when_the_payment_intent_is_missing_then_verify_tells_it() -> None:
    """One question learns it; without one there is nothing to refund."""
    answers_verify(json=paid())
    answers_list()
    answers_refund(json=refunded())
    gateway, unknown = a_gateway(), an_attempt(transaction_id=None)
    gateway.refund(a_refund(attempt=unknown))
    assert sent()["payment_intent"] == "pi_1"
    assert len(gateway.list_refunds(unknown)) == 0
    for nothing in (an_attempt(transaction_id=None, session_id=None), unknown):
        responses.reset()
        answers_verify(json=session())
        with pytest.raises(GatewayRejected) as caught:
            gateway.refund(a_refund(attempt=nothing))
        assert caught.value.code == "transaction_not_found"


@responses.activate
def test_refund_when_the_list_cannot_be_read_then_nothing_is_sent() -> None:
    """Without knowing what exists, nothing is given back; it did not act, so it is tried again."""
    responses.get(REFUNDS, status=503, body="<html>", content_type="text/html")
    with pytest.raises(GatewayUnavailable):
        a_gateway().refund(a_refund())
    assert {call.request.method for call in responses.calls} == {"GET"}


@responses.activate
def test_refund_when_stripe_stays_silent_then_unknown() -> None:
    """Whether the money went back is not known; the key answers that when it is sent again."""
    answers_list()
    answers_refund(status=500, json=refused("Oops", kind="api_error"))
    with pytest.raises(OutcomeUnknown):
        a_gateway().refund(a_refund())
    keys = {call.request.headers["Idempotency-Key"] for call in responses.calls if call.request.method == "POST"}
    assert keys == {"R-1"}


@responses.activate
def test_refund_when_the_balance_is_too_low_then_later_and_a_person_is_called() -> None:
    """Nothing happened there; not at once, and one ERROR line asks for a top-up."""
    answers_list()
    answers_refund(status=400, json=refused("Insufficient funds", "balance_insufficient"))
    with capture_logs() as lines, pytest.raises(GatewayUnavailable) as caught:
        a_gateway().refund(a_refund())
    assert (caught.value.code, caught.value.retry_after_seconds) == ("insufficient_balance", 3_600)
    assert len([call for call in responses.calls if call.request.method == "POST"]) == 1
    assert [line["action"] for line in lines if line["log_level"] == "error"] == ["gateway.refused"]


@pytest.mark.parametrize("changes", [{"id": None}, {"amount": None}, {"currency": None}, {"currency": "zz"}], ids=str)
@responses.activate
def test_refund_answers_when_odd_then_not_understood(changes: dict[str, Any]) -> None:
    """An answer that lacks what a refund is, or speaks of another payment or refund, is no answer."""
    gateway = a_gateway()
    answers_list()
    answers_refund(json=refunded(**changes))
    responses.get(f"{REFUNDS}/re_1", json=refunded(**changes))
    for call in (lambda: gateway.refund(a_refund()), lambda: gateway.fetch_refund(a_refund_ref())):
        with pytest.raises(AnswerNotUnderstood):
            call()
    responses.replace(responses.POST, REFUNDS, json=refunded(payment_intent="pi_2"))
    responses.replace(responses.GET, f"{REFUNDS}/re_1", json=refunded(id="re_2"))
    for call in (lambda: gateway.refund(a_refund()), lambda: gateway.fetch_refund(a_refund_ref())):
        with pytest.raises(AnswerNotUnderstood):
            call()


@pytest.mark.parametrize(("status", "outcome"), [*REFUND_OUTCOMES.items(), ("frobnicated", Outcome.UNKNOWN)])
@responses.activate
def test_fetch_refund_then_each_status_is_told(status: str, outcome: Outcome) -> None:
    """Attention is a flag beside pending, not a failure."""
    responses.get(f"{REFUNDS}/re_1", json=refunded(status))
    told = a_gateway().fetch_refund(a_refund_ref())
    assert (told.outcome, told.needs_attention) == (outcome, status == "requires_action")


@responses.activate
def test_fetch_refund_when_status_is_null_or_id_missing() -> None:
    """`status` is nullable in the specification: unknown, not an error. Without Stripe's id nothing is asked."""
    responses.get(f"{REFUNDS}/re_1", json=refunded(status=None, metadata=None))
    told = a_gateway().fetch_refund(a_refund_ref())
    assert (told.outcome, told.refund_id) == (Outcome.UNKNOWN, None)
    with pytest.raises(InvalidInput):
        a_gateway().fetch_refund(a_refund_ref(None))


@responses.activate
def test_list_refunds_then_every_page_is_read() -> None:
    """By the cursor, newest first; rows that moved between two pages count once."""
    first = a_list(refunded(id="re_3"), refunded(id="re_2"), has_more=True)
    second = a_list(refunded(id="re_2"), refunded(id="re_1", metadata={"refund_id": "R-9"}))
    asked = {"payment_intent": "pi_1", "limit": "100"}
    responses.get(REFUNDS, json=first, match=[responses.matchers.query_param_matcher(asked)])
    responses.get(
        REFUNDS, json=second, match=[responses.matchers.query_param_matcher(asked | {"starting_after": "re_2"})]
    )
    found = a_gateway().list_refunds(an_attempt())
    assert [(one.gateway_refund_id, one.refund_id) for one in found] == [
        ("re_3", "R-1"),
        ("re_2", "R-1"),
        ("re_1", "R-9"),
    ]


@pytest.mark.parametrize(
    "page",
    [
        {"data": {}},
        a_list(has_more=None),
        a_list(has_more=True),
        a_list(refunded(), has_more=True),
        a_list(refunded(payment_intent="pi_2")),
        {"data": ["re_1"], "has_more": False},
    ],
    ids=["no list", "no end told", "empty but more", "the same for ever", "another payment", "no refund"],
)
@responses.activate
def test_list_refunds_when_it_is_incomplete_then_not_understood(page: dict[str, Any]) -> None:
    """A missing row would be paid a second time, so there is no partial answer."""
    responses.get(REFUNDS, json=page)
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().list_refunds(an_attempt())


@responses.activate
def test_list_refunds_when_it_never_ends_then_not_understood() -> None:
    """A listing that always has news is cut off, loudly."""
    numbers = iter(range(1_000))
    responses.add_callback(
        responses.GET,
        REFUNDS,
        callback=lambda _request: (200, {}, json.dumps(a_list(refunded(id=f"re_{next(numbers)}"), has_more=True))),
        content_type="application/json",
    )
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().list_refunds(an_attempt())
    assert len(responses.calls) == 50
