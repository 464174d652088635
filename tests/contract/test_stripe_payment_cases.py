"""The numbered contract cases of the Stripe gateway, one test each: how a page is opened."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import responses
from structlog.testing import capture_logs

from payflow.core.clock import HeldClock
from payflow.core.errors import (
    GatewayRejected,
    GatewayUnavailable,
    InvalidInput,
    OutcomeUnknown,
)
from payflow.core.money import Money
from payflow.gateways.stripe_amounts import to_wire
from tests.contract.official import needs_specs
from tests.contract.stripe_kit import (
    NOW,
    REFUNDS,
    SECRET,
    SESSIONS,
    Kept,
    a_gateway,
    a_refund,
    a_refund_ref,
    a_request,
    an_attempt,
    answers_initiate,
    answers_list,
    answers_refund,
    answers_verify,
    at,
    golden,
    headers,
    paid,
    refunded,
    refused,
    sent,
    session,
    validate_against_the_spec,
)


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
