"""The Paystack adapter: tables, requests, shapes and odd answers."""

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
from payflow.gateways.base import (
    Gateway,
    LostInitiate,
    Outcome,
    RefundRef,
)
from payflow.gateways.paystack_amounts import MINIMUM_SUBUNITS
from payflow.gateways.paystack_words import PAYMENT_OUTCOMES, REFUND_OUTCOMES
from tests.contract.official import SPECS
from tests.contract.paystack_kit import (
    HOST,
    INITIALIZED,
    a_gateway,
    a_refund,
    a_request,
    an_attempt,
    answers_initialize,
    answers_refund,
    answers_verify,
    refused,
    sent,
    validate_against_the_spec,
    verified,
)

OFFICIAL_PAYMENT_WORDS = {
    "success", "failed", "abandoned", "ongoing", "pending", "processing", "queued", "reversed", "reversal-pending",
}  # fmt: skip


OFFICIAL_REFUND_WORDS = {"pending", "processing", "needs-attention", "failed", "processed"}


def test_adapter_keeps_the_protocol() -> None:
    """The adapter is a Gateway, and says that its refunds are not idempotent and its initiates are probed."""
    gateway: Gateway = a_gateway()
    assert (gateway.name, gateway.refund_is_idempotent, gateway.lost_initiate) == (
        "paystack",
        False,
        LostInitiate.PROBE,
    )


def test_status_tables_hold_every_documented_word() -> None:
    """Paystack docs, Verify payments and Refunds: all words, and no other."""
    assert set(PAYMENT_OUTCOMES) == OFFICIAL_PAYMENT_WORDS
    assert set(REFUND_OUTCOMES) == OFFICIAL_REFUND_WORDS


@pytest.mark.parametrize("currency", ["JPY", "KWD", "EUR", "UGX"])
def test_check_when_currency_is_not_paystacks_then_refused_locally(currency: str) -> None:
    """Zero- and three-decimal currencies outside its list never reach a ×100."""
    with pytest.raises(InvalidInput) as caught:
        a_gateway().initiate(a_request(100_000, currency))
    assert caught.value.pointer == "/currency"


@pytest.mark.parametrize(("currency", "subunits"), MINIMUM_SUBUNITS.items())
def test_check_when_amount_is_at_or_below_the_minimum(currency: str, subunits: int) -> None:
    """The least amount passes, one unit less is refused and named (Paystack docs, Supported currency)."""
    least = subunits // 100 if currency == "XOF" else subunits
    a_gateway().check(a_request(least, currency))
    with pytest.raises(InvalidInput) as caught:
        a_gateway().check(a_request(least - 1, currency))
    assert caught.value.pointer == "/amount"


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_check_when_amount_is_not_positive_then_refused(amount_minor: int) -> None:
    """Nothing and less than nothing cannot be collected."""
    with pytest.raises(InvalidInput):
        a_gateway().check(a_request(amount_minor))


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"payment_method": "cheque"}, "/payment_method"),
        ({"customer_email": "nobody"}, "/customer"),
        ({"reference": "PF-é"}, "/reference"),
        ({"reference": "PF-1\n"}, "/reference"),
        ({"reference": ""}, "/reference"),
        ({"reference": ".."}, "/reference"),
    ],
)
def test_check_when_a_field_cannot_be_taken_then_it_is_named(changes: dict[str, Any], pointer: str) -> None:
    """Each local refusal points at its field."""
    with pytest.raises(InvalidInput) as caught:
        a_gateway().check(a_request(**changes))
    assert caught.value.pointer == pointer


@responses.activate
def test_initiate_when_method_and_metadata_are_given_then_they_are_sent() -> None:
    """`channels` narrows the page, `metadata` travels as an object."""
    answers_initialize()
    a_gateway().initiate(a_request(payment_method="card", metadata={"order": "ORD-1"}))
    assert sent()["channels"] == ["card"]
    assert sent()["metadata"] == {"order": "ORD-1"}
    if SPECS.is_dir():
        validate_against_the_spec()


@pytest.mark.parametrize(
    "data",
    [
        {"authorization_url": None},
        {"authorization_url": "http://checkout.paystack.com/x"},
        {"authorization_url": "javascript:1"},
    ],
    ids=["none", "not encrypted", "no address"],
)
@responses.activate
def test_initiate_when_page_address_is_unusable_then_not_understood(data: dict[str, Any]) -> None:
    """A customer is only ever sent to an https page."""
    answers_initialize(json=INITIALIZED | {"data": {"reference": "PF-1"} | data})
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().initiate(a_request())


@pytest.mark.parametrize(
    "body",
    [{}, {"status": True}, {"status": "success", "data": {}}, {"status": True, "data": "x"}, {"status": 1, "data": {}}],
)
@responses.activate
def test_calls_when_envelope_is_odd_then_not_understood(body: dict[str, Any]) -> None:
    """Only `status: true` with an object is an answer; nothing is guessed."""
    answers_initialize(json=body)
    answers_verify(json=body)
    answers_refund(json=body)
    responses.get(f"{HOST}/refund/1", json=body)
    responses.get(f"{HOST}/refund", json=body)
    gateway, refund = a_gateway(), RefundRef("r-1", an_attempt(), Money(1, "NGN"), gateway_refund_id="1")
    for call in (
        lambda: gateway.initiate(a_request()),
        lambda: gateway.verify(an_attempt()),
        lambda: gateway.refund(a_refund()),
        lambda: gateway.fetch_refund(refund),
        lambda: gateway.list_refunds(an_attempt(transaction_id="1641")),
    ):
        with pytest.raises(AnswerNotUnderstood):
            call()


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": None},
        {"amount": -1},
        {"amount": "1e3"},
        {"amount": 20000.5},
        {"amount": True},
        {"requested_amount": "x"},
        {"currency": None},
        {"currency": "ngn"},
        {"status": None},
        {"status": 1},
        {"reference": None},
    ],
    ids=str,
)
@responses.activate
def test_verify_when_an_essential_field_is_odd_then_not_understood(changes: dict[str, Any]) -> None:
    """No amount, currency, state or reference is ever filled in by us."""
    answers_verify(json=verified(**changes))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().verify(an_attempt())


@responses.activate
def test_verify_when_lesser_fields_are_odd_then_they_are_left_out() -> None:
    """Fees, time, channel, mode and reason are extras: `null` or nonsense there does not lose a payment."""
    answers_verify(
        json=verified(fees=None, paid_at="soon", channel=7, domain=None, gateway_response=None, amount="20000")
    )
    seen = a_gateway().verify(an_attempt())
    assert seen.outcome is Outcome.SUCCEEDED
    assert seen.amount == Money(20_000, "NGN")
    assert (seen.fee_minor, seen.paid_at, seen.payment_method, seen.is_test, seen.message) == (None,) * 5


@responses.activate
def test_verify_when_currency_has_no_subunit_then_hundredths_are_undone() -> None:
    """XOF 500 comes back as 50000 and is 500 again."""
    answers_verify(json=verified(amount=50_000, requested_amount=50_000, currency="XOF", fees=750))
    seen = a_gateway().verify(an_attempt(500, "XOF"))
    assert seen.amount == Money(500, "XOF")
    assert seen.fee_minor == 8


@responses.activate
def test_verify_when_no_requested_amount_then_amount_counts() -> None:
    """`requested_amount` is used only when it is there."""
    answers_verify(json=verified(amount=19_000, requested_amount=None))
    assert a_gateway().verify(an_attempt()).amount == Money(19_000, "NGN")


@responses.activate
def test_verify_when_the_key_is_wrong_then_rejected_and_not_read_as_unknown_reference() -> None:
    """A 401 says nothing of the payment."""
    answers_verify(status=401, json=refused("Invalid key", "invalid_Key"))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().verify(an_attempt())
    assert caught.value.gateway_code == "invalid_Key"
