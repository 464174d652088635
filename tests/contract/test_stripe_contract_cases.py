"""The numbered contract cases of the Stripe gateway, one test each: what is sent, and what an answer means."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import responses
from structlog.testing import capture_logs

from payflow.core.clock import HeldClock
from payflow.core.errors import (
    AnswerNotUnderstood,
    GatewayRejected,
    GatewayUnavailable,
    InvalidInput,
    OutcomeUnknown,
)
from payflow.core.money import Money
from payflow.gateways.base import HintKind, Outcome, SignatureInvalid, UnreadableWebhook
from payflow.gateways.stripe_amounts import to_wire
from tests.contract.official import SPECS, needs_specs
from tests.contract.stripe_kit import (
    NOW,
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
    at,
    golden,
    headers,
    intent,
    mac,
    paid,
    refunded,
    refused,
    sent,
    session,
    signed,
    validate_against_the_spec,
)

# Agreed by openssl and the official Node library; refused and accepted as the official Python library does.
VECTOR_BODY = b'{\n  "id": "evt_test",\n  "object": "event",\n  "type": "checkout.session.completed"\n}'
VECTOR_V1 = "ee42b853ed1b9c52282f98ea0ea9cbea12ec6c2ad5eecefbeb1f601739ca775b"
WRONG_V1 = "0" * 64


def seen(**answer: Any) -> Outcome:
    answers_verify(json=answer)
    return a_gateway().verify(an_attempt()).outcome


@responses.activate
def test_case_08_initiate_sends_what_the_official_sdk_sends() -> None:
    """USD 20.00 is 2000 in a form with brackets, under the reference as key and the pinned version."""
    answers_initiate()
    clock = HeldClock(at(NOW - 3_600))
    ends = at(NOW) - timedelta(minutes=35)
    opened = a_gateway(clock=clock).initiate(a_request(expires_at=ends))
    assert sent() == {
        "mode": "payment",
        "success_url": "https://m.example/cb?session_id={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://m.example/cb?reference=PF-1",
        "client_reference_id": "PF-1",
        "customer_email": "ada@example.com",
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": "usd",
        "line_items[0][price_data][unit_amount]": "2000",
        "line_items[0][price_data][product_data][name]": "Order PF-1",
        "metadata[reference]": "PF-1",
        "payment_intent_data[metadata][reference]": "PF-1",
        "expires_at": "1800000000",
    }
    told = headers()
    assert told["Authorization"] == f"Bearer {SECRET}"
    assert told["Idempotency-Key"] == "PF-1"
    assert told["Stripe-Version"] == "2026-10-28.endive"
    assert told["Content-Type"] == "application/x-www-form-urlencoded"
    assert opened.authorization_url == "https://checkout.stripe.com/c/pay/cs_test_1#abc"
    assert opened.session_id == "cs_test_1"


@needs_specs
@responses.activate
def test_case_08_requests_equal_the_golden_ones_and_pass_the_official_spec() -> None:
    """All five calls match the requests recorded from the official SDK, and validate; ours are keys and cancel_url."""
    gateway = a_gateway(clock=HeldClock(at(NOW - 3_600)))
    answers_initiate()
    answers_verify(json=paid())
    answers_list()
    answers_refund(json=refunded())
    responses.get(f"{REFUNDS}/re_1", json=refunded())
    calls = {
        0: lambda: gateway.initiate(a_request(expires_at=at(NOW) - timedelta(minutes=35))),
        1: lambda: gateway.verify(an_attempt()),
        6: lambda: gateway.refund(a_refund()),
        7: lambda: gateway.fetch_refund(a_refund_ref()),
        8: lambda: gateway.list_refunds(an_attempt()),
    }
    for line, call in calls.items():
        call()
        recorded, request = golden(line), responses.calls[-1].request
        assert request.method == recorded["method"]
        theirs, ours = urlsplit(recorded["path"]), urlsplit(str(request.url))
        assert (ours.path, parse_qsl(ours.query)) == (theirs.path, parse_qsl(theirs.query))
        form = sent() if request.body else {}
        expected = dict(parse_qsl(recorded["body"]))
        if "cancel_url" in expected:
            form.pop("cancel_url")
            expected.pop("cancel_url")
        assert form == expected
        for name in ("Stripe-Version", "Content-Type"):
            assert request.headers.get(name) == recorded["headers"].get(name.lower())
        assert ("Idempotency-Key" in request.headers) == ("idempotency-key" in recorded["headers"])
        validate_against_the_spec()


def assert_goes_out_and_comes_back(currency: str, amount_minor: int, wire: str) -> None:
    """This wire amount is sent, and read back it is the same money."""
    answers_initiate()
    a_gateway().initiate(a_request(amount_minor, currency))
    assert sent()["line_items[0][price_data][unit_amount]"] == wire
    answers_verify(json=paid(amount_total=int(wire), currency=currency.lower(), payment_intent="pi_1"))
    told = a_gateway().verify(an_attempt(amount_minor, currency))
    assert told.amount == Money(amount_minor, currency)


@pytest.mark.parametrize(("currency", "amount_minor", "wire"), [("JPY", 500, "500"), ("XOF", 500, "500")])
@responses.activate
def test_case_09_a_currency_without_decimals_is_sent_as_it_is(currency: str, amount_minor: int, wire: str) -> None:
    """JPY 500 is 500, and so is XOF 500, which Paystack counts in hundredths."""
    assert_goes_out_and_comes_back(currency, amount_minor, wire)


@responses.activate
def test_case_10_the_shilling_is_sent_in_hundredths() -> None:
    """UGX 5 is 500, though the currency has no decimals."""
    assert_goes_out_and_comes_back("UGX", 5, "500")


@responses.activate
def test_case_11_the_icelandic_crown_is_sent_in_hundredths() -> None:
    """ISK 5 is 500."""
    assert_goes_out_and_comes_back("ISK", 5, "500")


@pytest.mark.parametrize(("currency", "amount_minor", "wire"), [("KWD", 5_120, "5120"), ("MGA", 50_000, "500")])
@responses.activate
def test_case_12_what_stripe_can_express_is_exact(currency: str, amount_minor: int, wire: str) -> None:
    """Three decimals whose last is 0; and the ariary, which has two by ISO 4217 and none here."""
    assert_goes_out_and_comes_back(currency, amount_minor, wire)


@pytest.mark.parametrize("currency", ["HUF", "TWD"])
@responses.activate
def test_case_13_forints_are_charged_with_two_decimals(currency: str) -> None:
    """HUF 204.50 is 20450 (and 10.45 would be 1045, were it not below the least charge)."""
    assert to_wire(Money(1_045, currency)) == 1_045
    assert_goes_out_and_comes_back(currency, 20_450, "20450")


@pytest.mark.parametrize("currency", ["JPY", "UGX", "KWD", "HUF", "NGN"])
@responses.activate
def test_case_14_the_currency_is_sent_in_small_letters(currency: str) -> None:
    """Ours are capitals, Stripe's are not."""
    answers_initiate()
    a_gateway().initiate(a_request(500_000, currency))
    assert sent()["line_items[0][price_data][currency]"] == currency.lower()


def test_case_10_a_fraction_of_a_shilling_does_not_exist() -> None:
    """UGX 5.50 never becomes money: the currency has no decimals."""
    with pytest.raises(InvalidInput):
        Money.from_major(Decimal("5.50"), "UGX")


@pytest.mark.parametrize(("currency", "amount_minor"), [("KWD", 5_124), ("BHD", 1), ("TND", 9_999), ("MGA", 550)])
@responses.activate
def test_case_12_an_amount_stripe_cannot_express_is_refused_at_the_field(currency: str, amount_minor: int) -> None:
    """KWD 5.124 is neither rounded nor sent."""
    with pytest.raises(InvalidInput) as caught:
        a_gateway().initiate(a_request(amount_minor, currency))
    assert (caught.value.pointer, caught.value.code) == ("/amount", "invalid_amount")
    assert currency in caught.value.detail
    assert len(responses.calls) == 0


@responses.activate
def test_case_15_too_small_is_refused_here_or_there() -> None:
    """USD 0.10 is known to be too small and not sent; NGN 1.00 is not, and Stripe's refusal is terminal."""
    with pytest.raises(InvalidInput) as known:
        a_gateway().initiate(a_request(10))
    assert (known.value.pointer, known.value.code) == ("/amount", "amount_too_small")
    assert len(responses.calls) == 0
    answers_initiate(status=400, json=refused("must convert to at least 50 cents", "amount_too_small"))
    with pytest.raises(GatewayRejected) as told:
        a_gateway().initiate(a_request(100, "NGN"))
    assert told.value.code == "amount_too_small"
    assert len(responses.calls) == 1


@responses.activate
def test_case_16_a_timeout_on_initiate_is_resent_under_the_same_key() -> None:
    """However often and however late: the same key and the same form, byte for byte."""
    clock = HeldClock(at(NOW))
    gateway = a_gateway(clock=clock, tries=1)
    request = a_request(expires_at=at(NOW + 1_800), metadata={"order_id": "o-1"})
    answers_initiate(body=requests.ReadTimeout("silence"))
    with pytest.raises(OutcomeUnknown):
        gateway.initiate(request)
    clock.advance(1_500)
    responses.replace(responses.POST, SESSIONS, json=session())
    assert gateway.initiate(request).session_id == "cs_test_1"
    first, second = responses.calls
    assert first.request.body == second.request.body
    assert headers(0)["Idempotency-Key"] == headers(1)["Idempotency-Key"] == "PF-1"


@responses.activate
def test_case_17_a_proxys_page_is_repeated_and_then_unknown() -> None:
    """A 502 in HTML may have taken effect; the key makes repeating safe, and nothing is read out of the page."""
    answers_initiate(status=502, body="<html>Bad Gateway</html>", content_type="text/html")
    with pytest.raises(OutcomeUnknown):
        a_gateway().initiate(a_request())
    assert len(responses.calls) == 3


@pytest.mark.parametrize("wait", ["7", "Fri, 15 Jan 2027 08:00:07 GMT"])
@responses.activate
def test_case_18_a_rate_limit_tells_how_long(wait: str) -> None:
    """429 did not act; a long wait is the caller's, by seconds or by date."""
    answers_initiate(status=429, json=refused("Slow down.", "rate_limit"), headers={"Retry-After": wait})
    with pytest.raises(GatewayUnavailable) as caught:
        a_gateway().initiate(a_request())
    assert (caught.value.retry_after_seconds, len(responses.calls)) == (7, 1)


@responses.activate
def test_case_18_a_short_wait_is_kept_before_the_next_try() -> None:
    """`Retry-After: 2` is slept through, then the same key goes again."""
    kept = Kept()
    responses.post(SESSIONS, status=429, json=refused("Slow down.", "rate_limit"), headers={"Retry-After": "2"})
    answers_initiate()
    assert a_gateway(kept).initiate(a_request()).session_id == "cs_test_1"
    assert len(kept.slept) == 1
    assert kept.slept[0] >= 2


@responses.activate
def test_case_19_a_wrong_key_is_terminal_and_calls_a_person() -> None:
    """401: no retry, one ERROR line."""
    answers_verify(status=401, json=refused("Invalid API Key provided: sk_test_****"))
    with capture_logs() as lines, pytest.raises(GatewayRejected):
        a_gateway().verify(an_attempt())
    assert len(responses.calls) == 1
    assert [line["action"] for line in lines if line["log_level"] == "error"] == ["gateway.refused"]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (409, "idempotency_key_in_use", "idempotency_error"),
        (429, "lock_timeout", "invalid_request_error"),
        (400, "lock_timeout", "invalid_request_error"),
        (409, None, "invalid_request_error"),
    ],
)
@responses.activate
def test_case_20_a_key_in_use_is_tried_again_with_the_same_key(status: int, code: str | None, kind: str) -> None:
    """Somebody else is at work on it: wait, then ask for the same thing."""
    responses.post(SESSIONS, status=status, json=refused("In use.", code, kind))
    answers_initiate()
    assert a_gateway().initiate(a_request()).session_id == "cs_test_1"
    assert headers(0)["Idempotency-Key"] == headers(1)["Idempotency-Key"]


@responses.activate
def test_case_20_when_the_key_stays_in_use_then_later() -> None:
    """It did not act, and it says so."""
    answers_initiate(status=409, json=refused("In use.", "idempotency_key_in_use", "idempotency_error"))
    with pytest.raises(GatewayUnavailable):
        a_gateway().initiate(a_request())


@responses.activate
def test_case_21_other_parameters_under_one_key_are_our_bug() -> None:
    """400 idempotency_error: terminal, and one ERROR line."""
    answers_initiate(status=400, json=refused("Keys can only be used with …", kind="idempotency_error"))
    with capture_logs() as lines, pytest.raises(GatewayRejected) as caught:
        a_gateway().initiate(a_request())
    assert caught.value.code == "idempotency_error"
    assert len(responses.calls) == 1
    assert [line["action"] for line in lines if line["log_level"] == "error"] == ["gateway.refused"]


@pytest.mark.parametrize(("verdict", "calls"), [("false", 1), (None, 3)])
@responses.activate
def test_case_22_stripes_own_word_on_repeating_is_obeyed(verdict: str | None, calls: int) -> None:
    """`Stripe-Should-Retry: false` on a 500 ends it; without the header a 500 is repeated."""
    told = {"Stripe-Should-Retry": verdict} if verdict else {}
    answers_initiate(status=500, json=refused("Oops", kind="api_error"), headers=told)
    with pytest.raises(OutcomeUnknown):
        a_gateway().initiate(a_request())
    assert len(responses.calls) == calls


@responses.activate
def test_case_22_true_repeats_what_would_else_be_terminal() -> None:
    """`Stripe-Should-Retry: true` on a 400."""
    responses.post(SESSIONS, status=400, json=refused(), headers={"Stripe-Should-Retry": "true"})
    answers_initiate()
    assert a_gateway().initiate(a_request()).session_id == "cs_test_1"


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


@pytest.mark.parametrize(
    ("header", "offset"),
    [
        (f"t={NOW},v1={VECTOR_V1}", 0),
        (f"t={NOW},v1={VECTOR_V1}", 300),
        (f"t={NOW},v1={VECTOR_V1}", -300),
        (f"t={NOW},v1={WRONG_V1},v1={VECTOR_V1}", 0),
        (f"t={NOW},v1={VECTOR_V1},v0={WRONG_V1}", 0),
        (f"v1={VECTOR_V1}, t={NOW}", 0),
    ],
    ids=["fresh", "300 s old", "300 s ahead", "second of two", "v0 beside", "other order"],
)
def test_case_52_the_signature_vector_is_accepted(header: str, offset: int) -> None:
    """Right key, right bytes, a time near ours; the header's name in any case."""
    gateway = a_gateway(clock=HeldClock(at(NOW + offset)))
    for name in ("Stripe-Signature", "stripe-signature"):
        hint = gateway.read_webhook({name: header}, VECTOR_BODY)
        assert (hint.event_type, hint.event_key) == ("checkout.session.completed", "evt_test")


@pytest.mark.parametrize(
    ("given", "offset"),
    [
        ({"Stripe-Signature": f"t={NOW},v1={VECTOR_V1}"}, 301),
        ({"Stripe-Signature": f"t={NOW},v1={VECTOR_V1}"}, -301),
        ({"Stripe-Signature": f"t={NOW},v1={VECTOR_V1}"}, -3_600),
        ({"Stripe-Signature": f"t={NOW},v0={VECTOR_V1}"}, 0),
        ({"Stripe-Signature": f"v1={VECTOR_V1}"}, 0),
        ({"Stripe-Signature": f"t={NOW},t={NOW + 1},v1={VECTOR_V1}"}, 0),
        ({"Stripe-Signature": f"t={NOW}.0,v1={VECTOR_V1}"}, 0),
        ({"Stripe-Signature": f"t=+{NOW},v1={VECTOR_V1}"}, 0),
        ({"Stripe-Signature": f"t={NOW},v1={VECTOR_V1.upper()}"}, 0),
        ({"Stripe-Signature": f"t={NOW},v1={WRONG_V1}"}, 0),
        ({"Stripe-Signature": f"t={NOW},v1={'é' * 64}"}, 0),
        ({"Stripe-Signature": f"t={NOW}," + f"v1={WRONG_V1}," * 20 + f"v1={VECTOR_V1}"}, 0),
        ({"Stripe-Signature": ""}, 0),
        ({"x-paystack-signature": VECTOR_V1}, 0),
        ({}, 0),
    ],
)
def test_case_52_a_wrong_signature_is_refused(given: dict[str, str], offset: int) -> None:
    """SignatureInvalid for each; the official library lets a time in the future pass, we do not."""
    with pytest.raises(SignatureInvalid):
        a_gateway(clock=HeldClock(at(NOW + offset))).read_webhook(given, VECTOR_BODY)


def test_case_52_body_time_and_key_are_bound() -> None:
    """Another body, time or secret does not fit; while a secret is rolled either one does."""
    given = {"Stripe-Signature": f"t={NOW},v1={VECTOR_V1}"}
    with pytest.raises(SignatureInvalid):
        a_gateway().read_webhook(given, VECTOR_BODY + b" ")
    with pytest.raises(SignatureInvalid):
        a_gateway().read_webhook({"Stripe-Signature": f"t={NOW + 1},v1={VECTOR_V1}"}, VECTOR_BODY)
    with pytest.raises(SignatureInvalid):
        a_gateway(webhook_secrets=("whsec_other",)).read_webhook(given, VECTOR_BODY)
    rolled = a_gateway(webhook_secrets=("whsec_new", "whsec_vector_0001"))
    for secret in ("whsec_new", "whsec_vector_0001"):
        header = {"Stripe-Signature": f"t={NOW},v1={mac(VECTOR_BODY, NOW, secret)}"}
        assert rolled.read_webhook(header, VECTOR_BODY).event_key == "evt_test"


def test_case_53_a_replay_has_the_same_key_and_a_second_event_the_same_target() -> None:
    """The event id is the key; two events of one fact both only point at the same try."""
    gateway = a_gateway()
    bodies = [an_event("checkout.session.completed", paid(), event_id) for event_id in ("evt_1", "evt_1", "evt_2")]
    hints = [gateway.read_webhook(signed(body), body) for body in bodies]
    assert [hint.event_key for hint in hints] == ["evt_1", "evt_1", "evt_2"]
    assert {(hint.reference, hint.transaction_id) for hint in hints} == {("PF-1", "pi_1")}


def test_case_54_events_out_of_order_only_point() -> None:
    """A hint carries no outcome: `expired` after `completed` is one more reason to ask."""
    for kind in ("checkout.session.completed", "checkout.session.expired"):
        body = an_event(kind, session("expired"))
        hint = a_gateway().read_webhook(signed(body), body)
        assert (hint.kind, hint.reference) == (HintKind.PAYMENT, "PF-1")
        assert not hasattr(hint, "outcome")


@pytest.mark.parametrize("kind", ["plan.created", "customer.created", "charge.succeeded", "brand.new"])
def test_case_58_an_event_of_no_interest_is_other(kind: str) -> None:
    """Stored and let be."""
    body = an_event(kind, {"id": "x_1", "metadata": {"reference": "PF-1"}})
    hint = a_gateway().read_webhook(signed(body), body)
    assert (hint.kind, hint.event_type, hint.reference) == (HintKind.OTHER, kind, None)


def test_case_59_an_unknown_reference_is_still_a_hint() -> None:
    """Whether we know it is not the adapter's to say."""
    body = an_event("payment_intent.succeeded", intent(metadata={"reference": "somebody-else"}))
    assert a_gateway().read_webhook(signed(body), body).reference == "somebody-else"


@pytest.mark.parametrize("body", [b"hello", b"", b"[]", b"null", b"\xff", b'{"type": "x"}', b'{"id": "evt_1"}'])
def test_case_60_signed_but_unreadable_is_told_apart(body: bytes) -> None:
    """The web answers 400 to it, not 401; the signature comes first."""
    with pytest.raises(UnreadableWebhook):
        a_gateway().read_webhook(signed(body), body)
    with pytest.raises(SignatureInvalid):
        a_gateway().read_webhook({}, body)


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
