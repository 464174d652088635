"""The Stripe adapter: tables, shapes, odd answers, and what a page is opened with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import responses
from structlog.testing import capture_logs

from payflow.core.errors import (
    AnswerNotUnderstood,
    GatewayRejected,
    InvalidInput,
)
from payflow.core.money import Money
from payflow.gateways.base import Gateway, LostInitiate, Outcome
from payflow.gateways.stripe_words import DELAYED_OUTCOMES, METHODS, PAYMENT_OUTCOMES, REFUND_OUTCOMES
from tests.contract.official import SPECS, needs_specs
from tests.contract.stripe_kit import (
    NOW,
    a_gateway,
    a_request,
    an_attempt,
    answers_initiate,
    answers_list,
    answers_verify,
    at,
    headers,
    intent,
    paid,
    refused,
    sent,
    session,
    spec,
    validate_against_the_spec,
)

SESSION_WORDS, PAID_WORDS = {"open", "complete", "expired"}, {"paid", "unpaid", "no_payment_required"}


INTENT_WORDS = {
    "requires_payment_method", "requires_confirmation", "requires_action", "processing", "requires_capture",
    "canceled", "succeeded",
}  # fmt: skip


REFUND_WORDS = {"pending", "requires_action", "succeeded", "failed", "canceled"}


def test_adapter_keeps_the_protocol() -> None:
    """The adapter is a Gateway whose commands may be sent again."""
    gateway: Gateway = a_gateway()
    assert (gateway.name, gateway.refund_is_idempotent, gateway.lost_initiate) == ("stripe", True, LostInitiate.RESEND)


def test_status_tables_hold_every_documented_word() -> None:
    """Stripe API: all words of session, intent and refund, in every pairing, and no other."""
    assert set(PAYMENT_OUTCOMES) == {(one, other) for one in SESSION_WORDS for other in PAID_WORDS}
    assert set(DELAYED_OUTCOMES) == INTENT_WORDS
    assert set(REFUND_OUTCOMES) == REFUND_WORDS


@needs_specs
def test_status_tables_equal_the_official_enumerations() -> None:
    """The words above are those of the published specification; so are the payment methods."""
    shapes = spec()["components"]["schemas"]
    assert set(shapes["checkout.session"]["properties"]["status"]["enum"]) == SESSION_WORDS
    assert set(shapes["checkout.session"]["properties"]["payment_status"]["enum"]) == PAID_WORDS
    assert set(shapes["payment_intent"]["properties"]["status"]["enum"]) == INTENT_WORDS
    told = shapes["refund"]["properties"]["status"]["description"]
    assert all(f"`{word}`" in told for word in REFUND_WORDS)
    form = spec()["paths"]["/v1/checkout/sessions"]["post"]["requestBody"]["content"]
    fields = form["application/x-www-form-urlencoded"]["schema"]["properties"]
    assert set(fields["payment_method_types"]["items"]["enum"]) == METHODS


@pytest.mark.parametrize(("pair", "outcome"), PAYMENT_OUTCOMES.items(), ids=str)
@responses.activate
def test_verify_then_each_pair_of_statuses_has_its_outcome(pair: tuple[str, str], outcome: Outcome) -> None:
    """Money is there when Stripe says so; that none was needed is never taken for money."""
    answers_verify(json=session(*pair))
    assert a_gateway().verify(an_attempt()).outcome is outcome
    assert outcome is not Outcome.SUCCEEDED or pair[1] == "paid"
    assert outcome is not Outcome.REVERSED


@pytest.mark.parametrize(("status", "outcome"), DELAYED_OUTCOMES.items())
@responses.activate
def test_verify_then_each_intent_of_a_delayed_payment_has_its_outcome(status: str, outcome: Outcome) -> None:
    """The intent is asked only when the session is complete and unpaid; an open page stays pending."""
    answers_verify(json=session("complete", payment_intent=intent(status)))
    assert a_gateway().verify(an_attempt()).outcome is outcome
    responses.reset()
    answers_verify(json=session("open", payment_intent=intent(status)))
    assert a_gateway().verify(an_attempt()).outcome is Outcome.PENDING


@pytest.mark.parametrize(
    "answer",
    [
        session("frobnicated"),
        session("open", "frobnicated"),
        session("complete", payment_intent=intent("frobnicated")),
        session("complete", "no_payment_required"),
    ],
    ids=["status", "payment_status", "intent", "nothing to pay"],
)
@responses.activate
def test_verify_when_a_status_is_unknown_then_unknown_and_logged(answer: dict[str, Any]) -> None:
    """Never guessed; one WARNING."""
    answers_verify(json=answer)
    with capture_logs() as lines:
        assert a_gateway().verify(an_attempt()).outcome is Outcome.UNKNOWN
    assert ("gateway.unknown_status", "warning") in [(line["action"], line["log_level"]) for line in lines]


@responses.activate
def test_verify_when_no_session_is_known_then_pending_and_nothing_is_asked() -> None:
    """The answer to initiate was lost, so nobody has the page's address: nothing can have been paid."""
    told = a_gateway().verify(an_attempt(session_id=None))
    assert (told.outcome, told.found, told.reference, told.transaction_id) == (Outcome.PENDING, False, "PF-1", None)
    assert len(responses.calls) == 0


@responses.activate
def test_verify_when_the_session_is_unknown_then_pending_and_not_found() -> None:
    """404 resource_missing; any other refusal is raised."""
    answers_verify(status=404, json=refused("No such checkout.session: 'cs_test_1'", "resource_missing"))
    told = a_gateway().verify(an_attempt())
    assert (told.outcome, told.found, told.amount) == (Outcome.PENDING, False, None)
    for status, code in ((404, None), (400, "resource_missing"), (403, None)):
        responses.reset()
        answers_verify(status=status, json=refused("No.", code))
        with pytest.raises(GatewayRejected):
            a_gateway().verify(an_attempt())


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_total": None},
        {"amount_total": -1},
        {"amount_total": 20.5},
        {"amount_total": True},
        {"amount_total": [2_000]},
        {"currency": None},
        {"currency": "zzz"},
        {"currency": "jpx"},
        {"currency": 840},
        {"amount_total": 550, "currency": "ugx"},
        {"status": None},
        {"payment_status": None},
        {"id": None},
    ],
    ids=str,
)
@responses.activate
def test_verify_when_an_essential_field_is_odd_then_not_understood(changes: dict[str, Any]) -> None:
    """No amount, currency or state of a paid session is ever filled in by us."""
    answers_verify(json=paid(**changes))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().verify(an_attempt())


@responses.activate
def test_verify_when_lesser_fields_are_odd_then_they_are_left_out() -> None:
    """Method, mode and reason are extras: nonsense there does not lose a payment."""
    odd = {"livemode": "no", "payment_method_types": "card", "metadata": 7, "payment_intent": intent()}
    answers_verify(json=paid(**odd))
    seen = a_gateway().verify(an_attempt())
    assert (seen.outcome, seen.amount, seen.reference) == (Outcome.SUCCEEDED, Money(2_000, "USD"), "PF-1")
    assert (seen.is_test, seen.payment_method, seen.message, seen.fee_minor, seen.paid_at) == (None,) * 5
    responses.reset()
    answers_verify(json=paid(payment_method_types=["card", "klarna"]))
    assert a_gateway().verify(an_attempt()).payment_method is None


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"amount": Money(1_000, "IQD")}, "/currency"),
        ({"payment_method": "cheque"}, "/payment_method"),
        ({"customer_email": "nobody"}, "/customer"),
        ({"reference": ""}, "/reference"),
        ({"reference": "PF-é"}, "/reference"),
        ({"reference": "PF 1"}, "/reference"),
        ({"reference": "PF-1\n"}, "/reference"),
        ({"reference": "P" * 201}, "/reference"),
        ({"metadata": {f"k{number}": "v" for number in range(50)}}, "/metadata"),
        ({"metadata": {"a[b]": "v"}}, "/metadata"),
        ({"metadata": {"k" * 41: "v"}}, "/metadata"),
        ({"metadata": {"k": "v" * 501}}, "/metadata"),
    ],
)
def test_check_when_a_field_cannot_be_taken_then_it_is_named(changes: dict[str, Any], pointer: str) -> None:
    """Each local refusal points at its field."""
    with pytest.raises(InvalidInput) as caught:
        a_gateway().check(a_request(**changes))
    assert caught.value.pointer == pointer


def test_supports_then_says_which_currencies_can_be_charged() -> None:
    """Stripe's list, in ISO codes."""
    gateway = a_gateway()
    assert all(gateway.supports(currency) for currency in ("USD", "NGN", "XOF", "KWD", "UGX"))
    assert not any(gateway.supports(currency) for currency in ("usd", "IQD", "XXX", ""))


@responses.activate
def test_initiate_when_method_and_metadata_are_given_then_they_are_sent() -> None:
    """The method narrows the page; metadata stands in the session and in the payment intent, our reference last."""
    answers_initiate()
    a_gateway().initiate(a_request(payment_method="card", metadata={"order_id": "o-1", "reference": "not ours"}))
    form = sent()
    assert form["payment_method_types[0]"] == "card"
    for where in ("metadata", "payment_intent_data[metadata]"):
        assert (form[f"{where}[order_id]"], form[f"{where}[reference]"]) == ("o-1", "PF-1")
    if SPECS.is_dir():
        validate_against_the_spec()


@responses.activate
def test_initiate_when_callback_has_a_query_then_it_is_kept() -> None:
    """The braces reach Stripe as they are; a fragment stays at the end."""
    answers_initiate()
    a_gateway().initiate(a_request(callback_url="https://m.example/cb?a=1&b=%20#top"))
    assert sent()["success_url"] == "https://m.example/cb?a=1&b=%20&session_id={CHECKOUT_SESSION_ID}#top"
    assert sent()["cancel_url"] == "https://m.example/cb?a=1&b=%20&reference=PF-1#top"


@responses.activate
def test_initiate_when_little_is_known_then_empty_fields_are_not_sent() -> None:
    """No address, no deadline, a blank description: Stripe refuses empty text, so it is left out or replaced."""
    answers_initiate()
    a_gateway().initiate(a_request(customer_email="", description="  "))
    assert not {"customer_email", "expires_at", "payment_method_types[0]"} & set(sent())
    assert sent()["line_items[0][price_data][product_data][name]"] == "PF-1"


@pytest.mark.parametrize("minutes_left", [0, 1, 29, 30, 31, 120, 1_380])
@responses.activate
def test_initiate_then_the_page_lives_at_least_half_an_hour_and_at_most_a_day(minutes_left: int) -> None:
    """Whenever in the order's life it is opened, and the same moment each time."""
    answers_initiate()
    ends = at(NOW + minutes_left * 60)
    a_gateway().initiate(a_request(expires_at=ends))
    closes = int(sent()["expires_at"])
    assert NOW + 1_800 <= closes <= NOW + 86_400
    assert closes == int((ends + timedelta(minutes=35)).timestamp())


@pytest.mark.parametrize("hours_left", [24, 72])
@responses.activate
def test_initiate_when_the_order_lives_longer_than_a_page_may_then_stripes_own_day(hours_left: int) -> None:
    """Without `expires_at` a session lives 24 hours, the longest there is."""
    answers_initiate()
    a_gateway().initiate(a_request(expires_at=at(NOW + hours_left * 3_600)))
    assert "expires_at" not in sent()


@pytest.mark.parametrize(
    "changes",
    [
        {"client_reference_id": "PF-2"},
        {"client_reference_id": None},
        {"id": None},
        {"id": "pi_1"},
        {"id": "cs_test_1/../x"},
        {"url": None},
        {"url": "http://checkout.stripe.com/c/pay"},
        {"url": "javascript:1"},
    ],
    ids=str,
)
@responses.activate
def test_initiate_when_the_answer_is_odd_then_not_understood(changes: dict[str, Any]) -> None:
    """Another reference, no session, or an address no customer may be sent to."""
    answers_initiate(json=session(**changes))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().initiate(a_request())


@responses.activate
def test_a_declined_card_is_a_refusal() -> None:
    """402 card_error: rejected, with the reason."""
    answers_initiate(status=402, json=refused("Your card was declined.", "card_declined", "card_error"))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().initiate(a_request())
    assert (caught.value.http_status, caught.value.gateway_code) == (402, "card_declined")


@responses.activate
def test_questions_carry_the_version_and_no_key() -> None:
    """The pinned version goes with every request; a key only with a command."""
    gateway = a_gateway()
    answers_verify(json=paid())
    answers_list()
    gateway.verify(an_attempt())
    gateway.list_refunds(an_attempt())
    for index in (0, 1):
        assert headers(index)["Stripe-Version"] == "2026-10-28.endive"
        assert "Idempotency-Key" not in headers(index)
