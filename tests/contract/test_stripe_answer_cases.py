"""The numbered contract cases of the Stripe gateway, one test each: what an answer means, and ending a page."""

from __future__ import annotations

from typing import Any

import pytest
import responses

from payflow.core.errors import (
    AnswerNotUnderstood,
    GatewayRejected,
    InvalidInput,
)
from payflow.core.money import Money
from payflow.gateways.base import Outcome
from tests.contract.official import needs_specs
from tests.contract.stripe_kit import (
    SECRET,
    SESSIONS,
    a_gateway,
    a_request,
    an_attempt,
    answers_verify,
    intent,
    paid,
    refused,
    session,
    validate_against_the_spec,
)


def seen(**answer: Any) -> Outcome:
    answers_verify(json=answer)
    return a_gateway().verify(an_attempt()).outcome


@pytest.mark.parametrize(("livemode", "is_test"), [(False, True), (True, False), (None, None)])
@responses.activate
def test_case_27_the_mode_is_told(livemode: bool | None, is_test: bool | None) -> None:
    """Test money is never mistaken for live money."""
    answers_verify(json=paid(livemode=livemode))
    assert a_gateway().verify(an_attempt()).is_test is is_test


@responses.activate
def test_case_37_a_delayed_payment_ends_either_way() -> None:
    """Complete and unpaid waits; then paid, or failed when the intent has lost its method."""
    assert seen(**session("complete", payment_intent=intent("processing"))) is Outcome.PENDING
    responses.reset()
    assert seen(**paid()) is Outcome.SUCCEEDED
    responses.reset()
    lost = intent("requires_payment_method", last_payment_error={"message": "The bank declined."})
    answers_verify(json=session("complete", payment_intent=lost))
    told = a_gateway().verify(an_attempt())
    assert (told.outcome, told.message) == (Outcome.FAILED, "The bank declined.")


@responses.activate
def test_case_37_a_declined_card_on_an_open_page_is_not_final() -> None:
    """The customer may try another card there: pending, with the reason."""
    declined = intent("requires_payment_method", last_payment_error={"message": "Your card was declined."})
    answers_verify(json=session(payment_intent=declined))
    told = a_gateway().verify(an_attempt())
    assert (told.outcome, told.message) == (Outcome.PENDING, "Your card was declined.")


@responses.activate
def test_case_38_an_expired_page_brought_nothing() -> None:
    """Failed for this try, and the reason says why."""
    answers_verify(json=session("expired", url=None))
    told = a_gateway().verify(an_attempt())
    assert (told.outcome, told.message) == (Outcome.FAILED, "The page expired before it was paid.")


def answers_end_page(**answer: Any) -> None:
    responses.upsert("POST", f"{SESSIONS}/cs_test_1/expire", **answer)


@needs_specs
@responses.activate
def test_a_page_is_ended_by_a_call_of_the_official_shape() -> None:
    """POST …/expire, as the specification has it."""
    answers_end_page(json=session("expired", url=None))
    a_gateway().end_page(an_attempt())
    validate_against_the_spec()


@responses.activate
def test_a_page_is_ended_by_one_call() -> None:
    """No key, which would keep a 500 alive; ended already: a refusal; a try without a session: nothing is sent."""
    answers_end_page(json=session("expired", url=None))
    a_gateway().end_page(an_attempt())
    assert "Idempotency-Key" not in responses.calls[0].request.headers
    a_gateway().end_page(an_attempt(session_id=None))
    assert len(responses.calls) == 1
    error = {"type": "invalid_request_error", "message": "Only an open session can be expired."}
    answers_end_page(status=400, json={"error": error})
    with pytest.raises(GatewayRejected):
        a_gateway().end_page(an_attempt())


@pytest.mark.parametrize(
    ("changes", "money"),
    [
        ({"amount_total": 1_999}, Money(1_999, "USD")),
        ({"currency": "eur"}, Money(2_000, "EUR")),
        ({"payment_intent": intent(amount_received=1_999)}, Money(1_999, "USD")),
        ({"payment_intent": intent(amount_received=2_058)}, Money(2_000, "USD")),
        ({"payment_intent": intent(amount_received=1_850, currency="eur")}, Money(2_000, "USD")),
    ],
    ids=["less", "other currency", "less received", "fee on top", "shown in euro"],
)
@responses.activate
def test_case_39_what_came_is_told_as_it_is(changes: dict[str, Any], money: Money) -> None:
    """The comparison with what was asked is the caller's; the least of what is told is what it compares."""
    answers_verify(json=paid(**changes))
    assert a_gateway().verify(an_attempt()).amount == money


@pytest.mark.parametrize(
    ("told", "transaction_id"),
    [(None, None), ("pi_1", "pi_1"), (intent(), "pi_1"), ({"id": None}, None), (7.5, None)],
    ids=["null", "text", "object", "odd object", "odd"],
)
@responses.activate
def test_case_40_the_payment_intent_in_every_form(told: Any, transaction_id: str | None) -> None:
    """Null until the customer pays, an id, or the whole object."""
    answers_verify(json=paid(payment_intent=told))
    seen_now = a_gateway().verify(an_attempt())
    assert (seen_now.outcome, seen_now.transaction_id) == (Outcome.SUCCEEDED, transaction_id)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"id": "cs_test_1", "stat', "application/json"),
        ("", "application/json"),
        ("[]", "application/json"),
        ("null", "application/json"),
        (f"<html>{SECRET} 4084084084084081</html>", "text/html"),
        (" " * 2_000_000, "application/json"),
    ],
    ids=["cut", "empty", "list", "null", "captive page", "huge"],
)
@responses.activate
def test_case_41_unreadable_answers_leak_nothing(body: str, kind: str) -> None:
    """Not understood, to be asked again; its text is shown only shortened and cleaned."""
    answers_verify(body=body, content_type=kind)
    with pytest.raises(AnswerNotUnderstood) as caught:
        a_gateway().verify(an_attempt())
    assert caught.value.retryable
    assert SECRET not in caught.value.detail
    assert "4084084084084081" not in caught.value.detail
    assert len(caught.value.detail) < 200


@responses.activate
def test_case_42_an_id_cannot_leave_its_path_segment() -> None:
    """`../refunds?x=` is asked for as it is, or refused."""
    responses.get(f"{SESSIONS}/..%2Frefunds%3Fx%3D", status=404, json=refused("No such", "resource_missing"))
    assert a_gateway().verify(an_attempt(session_id="../refunds?x=")).found is False
    with pytest.raises(InvalidInput):
        a_gateway().verify(an_attempt(session_id=".."))
    with pytest.raises(InvalidInput):
        a_gateway().initiate(a_request(reference="PF-1\r\nStripe-Account: acct_1"))


@responses.activate
def test_case_46_a_session_of_another_payment_is_told_by_its_own_reference() -> None:
    """Never by the one asked for; one that carries none is not ours, and another session's answer is no answer."""
    answers_verify(json=paid(client_reference_id="PF-2", metadata={"reference": "PF-2"}))
    assert a_gateway().verify(an_attempt()).reference == "PF-2"
    responses.reset()
    answers_verify(json=paid(client_reference_id=None, metadata={}))
    assert a_gateway().verify(an_attempt()).reference == ""
    responses.reset()
    answers_verify(json=paid(id="cs_test_2"))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().verify(an_attempt())
