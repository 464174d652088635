"""The numbered contract cases of the Paystack gateway, one test each: refunds, and secrets on their way."""

from __future__ import annotations

import pytest
import requests
import responses
from structlog.testing import capture_logs

from payflow.core.errors import (
    GatewayRejected,
    GatewayUnavailable,
    OutcomeUnknown,
)
from payflow.core.money import Money
from payflow.gateways.base import Outcome, RefundRef
from tests.contract.official import SPECS
from tests.contract.paystack_kit import (
    HOST,
    SECRET,
    Kept,
    a_gateway,
    a_refund,
    a_request,
    an_attempt,
    answers_initialize,
    answers_refund,
    answers_verify,
    refunded,
    refused,
    sent,
    validate_against_the_spec,
)


@responses.activate
def test_case_61_a_full_refund_names_its_amount() -> None:
    """The reference as text, the amount always explicit, our id in the note."""
    answers_refund(json=refunded(amount=20_000))
    made = a_gateway().refund(a_refund(20_000))
    assert sent() == {
        "transaction": "PF-1",
        "amount": 20_000,
        "currency": "NGN",
        "merchant_note": "payflow refund r-1",
    }
    assert (made.outcome, made.gateway_refund_id, made.refund_id) == (Outcome.PENDING, "3018284", "r-1")
    if SPECS.is_dir():
        validate_against_the_spec()


@responses.activate
def test_case_62_a_partial_refund_is_in_subunits() -> None:
    """NGN 50.00 is 5000."""
    answers_refund(json=refunded())
    assert a_gateway().refund(a_refund(5_000)).amount == Money(5_000, "NGN")
    assert sent()["amount"] == 5_000


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Total refund amount cannot exceed original transaction amount", "refund_exceeds_amount"),
        ("Transaction has been fully reversed", "already_refunded"),
        ("Transaction currency must match refund currency", "gateway_rejected"),
    ],
)
@responses.activate
def test_case_63_a_refund_too_many_is_terminal(message: str, code: str) -> None:
    """Rejected with a word the caller can act on."""
    answers_refund(status=400, json=refused(message))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().refund(a_refund())
    assert caught.value.code == code


@responses.activate
def test_case_64_a_refund_whose_answer_was_lost_is_found_again() -> None:
    """One POST; the list, read by the numeric transaction id, gives our own id back."""
    gateway = a_gateway()
    answers_refund(body=requests.ReadTimeout("silence"))
    with pytest.raises(OutcomeUnknown):
        gateway.refund(a_refund())
    row = refunded(transaction=1641)["data"]
    responses.get(f"{HOST}/refund", json={"status": True, "data": [row], "meta": {"pageCount": 1, "total": 1}})
    found = gateway.list_refunds(an_attempt(transaction_id="1641"))
    assert [one.refund_id for one in found] == ["r-1"]
    assert [call.request.method for call in responses.calls] == ["POST", "GET"]


@pytest.mark.parametrize(
    ("status", "outcome", "needs_attention"),
    [
        ("pending", Outcome.PENDING, False),
        ("processing", Outcome.PENDING, False),
        ("needs-attention", Outcome.PENDING, True),
        ("failed", Outcome.FAILED, False),
        ("processed", Outcome.SUCCEEDED, False),
        ("frobnicated", Outcome.UNKNOWN, False),
    ],
)
@responses.activate
def test_case_66_each_refund_state_is_told(status: str, outcome: Outcome, needs_attention: bool) -> None:
    """Attention is a flag beside pending, not a failure."""
    responses.get(f"{HOST}/refund/7", json=refunded(status, id=7))
    told = a_gateway().fetch_refund(RefundRef("r-1", an_attempt(), Money(5_000, "NGN"), gateway_refund_id="7"))
    assert (told.outcome, told.needs_attention) == (outcome, needs_attention)


@responses.activate
def test_case_68_an_empty_balance_is_tried_later_and_calls_a_person() -> None:
    """Nothing happened there, so it may be repeated; not at once, and one ERROR line asks for a top-up."""
    answers_refund(status=400, json=refused("Insufficient balance to fulfill this refund. Please top up."))
    with capture_logs() as lines, pytest.raises(GatewayUnavailable) as caught:
        a_gateway().refund(a_refund())
    assert (caught.value.code, caught.value.retry_after_seconds) == ("insufficient_balance", 3_600)
    assert len(responses.calls) == 1
    assert [line["action"] for line in lines if line["log_level"] == "error"] == ["gateway.refused"]


@responses.activate
def test_case_69_a_broken_encryption_is_a_network_error_only() -> None:
    """Never sent unencrypted; the real handshakes are tried in test_transport."""
    answers_initialize(body=requests.exceptions.SSLError("bad record"))
    with pytest.raises(OutcomeUnknown):
        a_gateway().initiate(a_request())
    assert all(str(call.request.url).startswith("https://") for call in responses.calls)


@responses.activate
def test_case_70_the_secret_is_in_the_header_and_nowhere_else() -> None:
    """Neither record, error, repr nor log line holds it."""
    kept, told = Kept(), ""
    gateway = a_gateway(kept)
    answers_verify(status=400, json=refused(f"Key {SECRET} is odd", SECRET))
    with capture_logs() as lines, pytest.raises(GatewayRejected) as caught:
        gateway.verify(an_attempt())
    told = f"{gateway!r}{caught.value!r}{vars(caught.value)}{kept.records}{lines}"
    assert SECRET not in told
    assert SECRET in responses.calls[0].request.headers["Authorization"]
