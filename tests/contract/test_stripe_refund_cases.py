"""The numbered contract cases of the Stripe gateway, one test each: refunds, and secrets on their way."""

from __future__ import annotations

import json

import pytest
import requests
import responses
from structlog.testing import capture_logs

from payflow.core.errors import (
    AnswerNotUnderstood,
    GatewayRejected,
    OutcomeUnknown,
)
from payflow.core.money import Money
from payflow.gateways.base import HintKind, Outcome
from tests.contract.official import SPECS
from tests.contract.stripe_kit import (
    REFUNDS,
    SECRET,
    SESSIONS,
    Kept,
    a_gateway,
    a_list,
    a_refund,
    a_refund_ref,
    a_request,
    an_attempt,
    an_event,
    answers_initiate,
    answers_list,
    answers_refund,
    answers_verify,
    headers,
    paid,
    refunded,
    refused,
    sent,
    session,
    signed,
    validate_against_the_spec,
)


@responses.activate
def test_case_62_a_partial_refund_names_payment_amount_and_key() -> None:
    """USD 50.00 is 5000 of pi_1, under our refund id as key and in the metadata."""
    answers_list()
    answers_refund(json=refunded(amount=5_000))
    made = a_gateway().refund(a_refund(5_000))
    assert sent() == {
        "payment_intent": "pi_1",
        "amount": "5000",
        "reason": "requested_by_customer",
        "metadata[refund_id]": "R-1",
    }
    assert headers()["Idempotency-Key"] == "R-1"
    assert (made.outcome, made.gateway_refund_id, made.refund_id) == (Outcome.PENDING, "re_1", "R-1")
    assert made.amount == Money(5_000, "USD")
    if SPECS.is_dir():
        validate_against_the_spec()


@pytest.mark.parametrize(
    ("message", "given", "code"),
    [
        ("Charge ch_1 has already been refunded.", "charge_already_refunded", "already_refunded"),
        ("Refund amount ($9.00) is greater than unrefunded amount on charge ($5.00)", None, "refund_exceeds_amount"),
        ("Charge ch_1 has been charged back; cannot issue a refund.", "charge_disputed", "charge_disputed"),
        ("No such payment_intent: 'pi_1'", "resource_missing", "transaction_not_found"),
    ],
)
@responses.activate
def test_case_63_a_refund_too_many_is_terminal(message: str, given: str | None, code: str) -> None:
    """Rejected with a word the caller can act on."""
    answers_list()
    answers_refund(status=400, json=refused(message, given))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().refund(a_refund())
    assert caught.value.code == code


@responses.activate
def test_case_64_a_refund_whose_answer_was_lost_is_sent_under_the_same_key() -> None:
    """The first answer comes again: same key, same form, same refund."""
    answers_list()
    responses.post(REFUNDS, body=requests.ReadTimeout("silence"))
    responses.post(REFUNDS, json=refunded(), headers={"Idempotent-Replayed": "true"})
    assert a_gateway().refund(a_refund()).gateway_refund_id == "re_1"
    first, second = [call.request for call in responses.calls if call.request.method == "POST"]
    assert first.body == second.body
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] == "R-1"


@responses.activate
def test_case_64_long_after_the_key_is_forgotten_the_refund_is_found_instead() -> None:
    """Stripe remembers a key for a day; a refund that carries our id is taken for ours, and nothing is sent."""
    responses.get(REFUNDS, json=a_list(refunded("succeeded", id="re_7")))
    made = a_gateway().refund(a_refund())
    assert (made.gateway_refund_id, made.outcome) == ("re_7", Outcome.SUCCEEDED)
    assert [call.request.method for call in responses.calls] == ["GET"]


@responses.activate
def test_case_67_a_refund_may_fail_after_it_succeeded() -> None:
    """Each answer is told as it stands; the payment stays paid whatever its refunds do."""
    gateway = a_gateway()
    for status, outcome in (("succeeded", Outcome.SUCCEEDED), ("failed", Outcome.FAILED)):
        responses.reset()
        answers_verify(json=paid())
        responses.get(f"{REFUNDS}/re_1", json=refunded(status, failure_reason="lost_or_stolen_card"))
        assert gateway.fetch_refund(a_refund_ref()).outcome is outcome
        assert gateway.verify(an_attempt()).outcome is Outcome.SUCCEEDED
    body = an_event("refund.failed", refunded("failed"))
    hint = gateway.read_webhook(signed(body), body)
    assert (hint.kind, hint.transaction_id, hint.gateway_refund_id) == (HintKind.REFUND, "pi_1", "re_1")


@responses.activate
def test_case_69_a_broken_encryption_is_a_network_error_only() -> None:
    """Never sent unencrypted; the real handshakes are tried in test_transport."""
    answers_initiate(body=requests.exceptions.SSLError("bad record"))
    with pytest.raises(OutcomeUnknown):
        a_gateway().initiate(a_request())
    assert all(str(call.request.url).startswith("https://") for call in responses.calls)
    answers_verify(json=session(url="http://checkout.stripe.com/c"))
    responses.replace(responses.POST, SESSIONS, json=session(url="http://checkout.stripe.com/c"))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().initiate(a_request())


@responses.activate
def test_case_70_the_secret_is_in_the_header_and_nowhere_else() -> None:
    """Neither record, error, repr nor log line holds it, nor the webhook's secret, nor a client secret."""
    kept = Kept()
    gateway = a_gateway(kept)
    answers_verify(status=400, json=refused(f"Key {SECRET} is odd", SECRET))
    answers_initiate(json=session(client_secret="cs_secret_planted", customer_email="planted@private.example"))
    with capture_logs() as lines, pytest.raises(GatewayRejected) as caught:
        gateway.verify(an_attempt())
    opened = gateway.initiate(a_request())
    told = f"{gateway!r}{caught.value!r}{vars(caught.value)}{kept.records}{lines}{opened!r}"
    assert not [word for word in (SECRET, "whsec_vector", "secret_planted", "planted@", "ada@") if word in told]
    assert SECRET in headers(0)["Authorization"]
    assert json.dumps(opened.raw)
