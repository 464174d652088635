"""The Flutterwave adapter: tables, requests, shapes, lists and odd answers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import responses
from structlog.testing import capture_logs

from payflow.core.clock import HeldClock
from payflow.core.errors import (
    AnswerNotUnderstood,
    GatewayRejected,
    GatewayUnavailable,
    InvalidInput,
)
from payflow.core.money import Money
from payflow.gateways.answers import json_text
from payflow.gateways.base import Gateway, LostInitiate, Outcome
from payflow.gateways.flutterwave_reading import CURRENCIES, PAYMENT_OUTCOMES, REFUND_OUTCOMES
from tests.contract.flutterwave_kit import (
    HOST,
    OPENED,
    SECOND,
    a_gateway,
    a_paid_attempt,
    a_refund,
    a_refund_ref,
    a_request,
    a_transaction,
    an_attempt,
    answers_by_id,
    answers_initiate,
    answers_list,
    answers_refund,
    answers_refunds,
    answers_verify,
    refused,
    sent,
    validate_against_the_spec,
    verified,
)
from tests.contract.official import SPECS

DOCUMENTED_REFUND_WORDS = {
    "completed", "complete", "completed-bank-transfer", "completed-momo", "completed-mpgs", "completed-offline",
    "completed-preauth", "pending-momo", "processing", "successful", "failed",
}  # fmt: skip


def test_adapter_keeps_the_protocol() -> None:
    """The adapter is a Gateway; its refunds are not idempotent and a lost initiate is renewed."""
    gateway: Gateway = a_gateway()
    assert (gateway.name, gateway.refund_is_idempotent, gateway.lost_initiate) == (
        "flutterwave",
        False,
        LostInitiate.RENEW,
    )


def test_status_tables_hold_every_documented_word() -> None:
    """Flutterwave docs, Transaction verification and Refunds: all words, and no other."""
    assert set(PAYMENT_OUTCOMES) == {"successful", "failed", "pending"}
    assert set(REFUND_OUTCOMES) == DOCUMENTED_REFUND_WORDS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("75.50"), "75.5"),
        (Decimal(1000), "1000"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.30"), "0.3"),
        (Decimal("999999999.99"), "999999999.99"),
        ({"a": [1, Decimal("0.10"), None, True], "ü": '"'}, '{"a": [1, 0.1, null, true], "\\u00fc": "\\""}'),
    ],
)
def test_json_text_writes_decimals_as_numbers_exactly(value: Any, text: str) -> None:
    """No float in between, no exponent, no trailing zeros."""
    assert json_text(value) == text


def test_json_text_when_given_a_float_then_it_refuses() -> None:
    """An amount that went through a float is a mistake of ours."""
    with pytest.raises(TypeError):
        json_text({"amount": 75.5})


@pytest.mark.parametrize("currency", ["JPY", "KWD", "CHF"])
def test_check_when_currency_is_not_flutterwaves_then_refused_locally(currency: str) -> None:
    """The field is named and nothing is sent."""
    with pytest.raises(InvalidInput) as caught:
        a_gateway().initiate(a_request(100_000, currency))
    assert (caught.value.pointer, caught.value.code) == ("/currency", "unsupported_currency")
    assert not a_gateway().supports(currency)


@pytest.mark.parametrize("currency", sorted(CURRENCIES))
@responses.activate
def test_initiate_when_currency_is_supported_then_its_own_decimals_are_used(currency: str) -> None:
    """500 minor units are 500 francs and 5 naira; there and back is the same money."""
    answers_initiate()
    amount = Money(500, currency)
    a_gateway().initiate(a_request(500, currency))
    assert (sent()["amount"], sent()["currency"]) == (amount.to_major(), currency)
    assert Money.from_major(sent()["amount"], currency) == amount


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_check_when_amount_is_not_positive_then_refused(amount_minor: int) -> None:
    """Nothing and less than nothing can be neither collected nor given back."""
    for call in (
        lambda: a_gateway().check(a_request(amount_minor)),
        lambda: a_gateway().refund(a_refund(amount_minor)),
    ):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.pointer == "/amount"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"payment_method": "cheque"}, "/payment_method"),
        ({"customer_email": "nobody"}, "/customer"),
        ({"reference": "PF é"}, "/reference"),
        ({"reference": "PF-1\n"}, "/reference"),
        ({"reference": "PF.1"}, "/reference"),
        ({"reference": "P" * 65}, "/reference"),
        ({"reference": ""}, "/reference"),
    ],
)
def test_check_when_a_field_cannot_be_taken_then_it_is_named(changes: dict[str, Any], pointer: str) -> None:
    """Each local refusal points at its field."""
    with pytest.raises(InvalidInput) as caught:
        a_gateway().check(a_request(**changes))
    assert caught.value.pointer == pointer


@responses.activate
def test_initiate_when_method_metadata_and_deadline_are_given_then_they_are_sent() -> None:
    """`payment_options` narrows the page, `meta` travels as an object, the session ends with the order."""
    answers_initiate()
    deadline = HeldClock().now() + timedelta(seconds=61)
    a_gateway().initiate(a_request(payment_method="mpesa", metadata={"order": "ORD-1"}, expires_at=deadline))
    assert (sent()["payment_options"], sent()["meta"], sent()["session_duration"]) == ("mpesa", {"order": "ORD-1"}, 2)
    if SPECS.is_dir():
        validate_against_the_spec()


@pytest.mark.parametrize(("seconds", "minutes"), [(-5, 1), (0, 1), (60, 1), (1_800, 30), (10**6, 1_440)])
@responses.activate
def test_initiate_when_deadline_is_near_or_far_then_the_session_stays_in_its_bounds(seconds: int, minutes: int) -> None:
    """Whole minutes, at least one, at most a day (Flutterwave Standard)."""
    answers_initiate()
    a_gateway().initiate(a_request(expires_at=HeldClock().now() + timedelta(seconds=seconds)))
    assert sent()["session_duration"] == minutes


@pytest.mark.parametrize(
    "data",
    [{}, {"link": None}, {"link": "http://checkout.flutterwave.com/x"}, {"link": "javascript:1"}],
    ids=["missing", "none", "not encrypted", "no address"],
)
@responses.activate
def test_initiate_when_link_is_unusable_then_not_understood(data: dict[str, Any]) -> None:
    """A customer is only ever sent to an https page."""
    answers_initiate(json=OPENED | {"data": data})
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().initiate(a_request())


@responses.activate
def test_initiate_when_the_reference_is_taken_then_the_caller_can_tell() -> None:
    """Flutterwave publishes no sentence for it; one that says so is told by a code of ours."""
    answers_initiate(status=400, json=refused("Duplicate transaction reference"))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().initiate(a_request())
    assert caught.value.code == "duplicate_reference"


@pytest.mark.parametrize(
    "body",
    [{}, {"status": "success"}, {"status": True, "data": {}}, {"status": "success", "data": "x"}, {"data": {"id": 1}}],
)
@responses.activate
def test_calls_when_envelope_is_odd_then_not_understood(body: dict[str, Any]) -> None:
    """Only `status: success` with the expected data is an answer; nothing is guessed."""
    answers_initiate(json=body)
    answers_verify(json=body)
    answers_by_id(json=body)
    answers_refund(json=body)
    responses.get(f"{HOST}/refunds/8612", json=body)
    answers_refunds(json=body)
    gateway = a_gateway()
    for call in (
        lambda: gateway.initiate(a_request()),
        lambda: gateway.verify(an_attempt()),
        lambda: gateway.refund(a_refund()),
        lambda: gateway.fetch_refund(a_refund_ref()),
        lambda: gateway.list_refunds(a_paid_attempt()),
    ):
        with pytest.raises(AnswerNotUnderstood):
            call()


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": None},
        {"amount": -1},
        {"amount": "1e3"},
        {"amount": "٣"},
        {"amount": 1000.001},
        {"amount": True},
        {"charged_amount": "x"},
        {"currency": None},
        {"currency": "ngn"},
        {"status": None},
        {"status": 1},
        {"tx_ref": None},
        {"id": None},
        {"id": {}},
    ],
    ids=str,
)
@responses.activate
def test_verify_when_an_essential_field_is_odd_then_not_understood(changes: dict[str, Any]) -> None:
    """No amount, currency, state, id or reference is ever filled in by us."""
    answers_verify(json=verified(**changes))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().verify(an_attempt())


@responses.activate
def test_verify_when_lesser_fields_are_odd_then_they_are_left_out() -> None:
    """Fees, time, method and reason are extras: `null` or nonsense there does not lose a payment."""
    answers_verify(
        json=verified(app_fee="n/a", created_at="soon", payment_type=7, processor_response=None, amount="1000.00")
    )
    answers_list()
    seen = a_gateway().verify(an_attempt())
    assert (seen.outcome, seen.amount) == (Outcome.SUCCEEDED, Money(100_000, "NGN"))
    assert (seen.fee_minor, seen.paid_at, seen.payment_method, seen.is_test, seen.message) == (None,) * 5


@responses.activate
def test_verify_when_currency_has_no_decimals_then_none_are_added() -> None:
    """XOF 500 is 500; its fee of 14.2 is rounded up, not down."""
    answers_verify(json=verified(amount=500, charged_amount=500, currency="XOF", app_fee=14.2))
    answers_list()
    seen = a_gateway().verify(an_attempt(500, "XOF"))
    assert (seen.amount, seen.fee_minor) == (Money(500, "XOF"), 15)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("successful", Outcome.SUCCEEDED), ("pending", Outcome.PENDING), ("failed", Outcome.FAILED)],
)
@responses.activate
def test_verify_each_status(status: str, outcome: Outcome) -> None:
    """The table's words, told of the one transaction there is."""
    answers_verify(json=verified(status))
    answers_list(a_transaction(status))
    assert a_gateway().verify(an_attempt()).outcome is outcome


@responses.activate
def test_verify_when_status_is_unknown_then_unknown_and_logged() -> None:
    """Never guessed; one WARNING."""
    answers_verify(json=verified("frobnicated"))
    answers_list(a_transaction("failed", id=SECOND))
    with capture_logs() as lines:
        assert a_gateway().verify(an_attempt()).outcome is Outcome.UNKNOWN
    assert ("gateway.unknown_status", "warning") in [(line["action"], line["log_level"]) for line in lines]


@responses.activate
def test_verify_when_one_try_failed_and_another_is_open_then_pending() -> None:
    """Failed only when every try has failed: money may still come."""
    answers_verify(json=verified("failed"))
    answers_list(a_transaction("pending", id=SECOND), a_transaction("failed"))
    assert a_gateway().verify(an_attempt()).outcome is Outcome.PENDING


@responses.activate
def test_verify_when_the_list_holds_strangers_then_they_are_left_out() -> None:
    """Rows of other references do not count even if the filter is ignored."""
    answers_verify(json=verified("failed"))
    answers_list(a_transaction(id=7, tx_ref="PF-2"), a_transaction("failed"))
    assert a_gateway().verify(an_attempt()).outcome is Outcome.FAILED


@responses.activate
def test_verify_when_the_list_says_paid_but_the_transaction_does_not_then_it_is_not() -> None:
    """The list is a pointer; the transaction's own answer counts."""
    answers_verify(json=verified("failed"))
    answers_list(a_transaction(id=SECOND))
    answers_by_id(SECOND, json=verified("pending", id=SECOND))
    assert a_gateway().verify(an_attempt()).outcome is Outcome.PENDING


@responses.activate
def test_verify_when_the_list_fails_then_a_payment_stands_and_a_failure_does_not() -> None:
    """Without the list a paid reference is paid; that a reference has failed cannot be said."""
    answers_list(status=500, json={})
    answers_verify(json=verified())
    with capture_logs() as lines:
        assert a_gateway().verify(an_attempt()).outcome is Outcome.SUCCEEDED
    assert "gateway.list_failed" in [line["action"] for line in lines]
    responses.remove(responses.GET, f"{HOST}/transactions/verify_by_reference")
    answers_verify(json=verified("failed"))
    with pytest.raises(GatewayUnavailable):
        a_gateway().verify(an_attempt())


@responses.activate
def test_verify_when_listing_then_the_days_around_the_payment_are_asked_for() -> None:
    """`from` and `to` are required and wide enough for any zone."""
    answers_verify(json=verified())
    answers_list(a_transaction())
    a_gateway().verify(an_attempt())
    assert responses.calls[1].request.path_url == "/v3/transactions?from=2025-12-16&to=2026-01-16&tx_ref=PF-1"


@responses.activate
def test_verify_when_the_key_is_wrong_then_rejected_and_not_read_as_unknown_reference() -> None:
    """A 401 says nothing of the payment."""
    answers_verify(status=401, json=refused("Invalid authorization key"))
    with pytest.raises(GatewayRejected):
        a_gateway().verify(an_attempt())
