"""The numbered contract cases of the Flutterwave gateway, one test each: refunds, and secrets on their way."""

from __future__ import annotations

import json
from decimal import Decimal

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
from payflow.gateways.base import Outcome, SignatureInvalid
from tests.contract.flutterwave_kit import (
    HASH,
    SECRET,
    VECTOR_BODY,
    Kept,
    a_gateway,
    a_paid_attempt,
    a_refund,
    a_refund_ref,
    a_refund_row,
    a_request,
    an_attempt,
    answers_by_id,
    answers_fetch_refund,
    answers_initiate,
    answers_refund,
    answers_refunds,
    answers_verify,
    paths,
    refunded,
    refused,
    sent,
    validate_against_the_spec,
    verified,
)
from tests.contract.official import SPECS


@pytest.mark.parametrize(("amount_minor", "text"), [(500_000, "5000"), (10_050, "100.5"), (10_005, "100.05")])
@responses.activate
def test_case_62_a_refund_is_in_major_units(amount_minor: int, text: str) -> None:
    """NGN 5000 is 5000, not 500000; our id travels in `comments`."""
    answers_refund(json=refunded(amount_refunded=float(text)))
    made = a_gateway().refund(a_refund(amount_minor))
    assert sent() == {"amount": Decimal(text), "comments": "payflow refund r-1"}
    assert f'"amount": {text},'.encode() in responses.calls[0].request.body
    assert (made.gateway_refund_id, made.amount) == ("8612", Money(amount_minor, "NGN"))
    if SPECS.is_dir():
        validate_against_the_spec()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Transaction has already been refunded", "already_refunded"),
        ("Refund amount cannot exceed the transaction amount", "refund_exceeds_amount"),
        ("Refund is not possible", "gateway_rejected"),
    ],
)
@responses.activate
def test_case_63_a_refund_too_many_is_terminal(message: str, code: str) -> None:
    """Rejected with a word the caller can act on where there is one."""
    answers_refund(status=400, json=refused(message))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().refund(a_refund())
    assert caught.value.code == code


@responses.activate
def test_case_64_a_refund_whose_answer_was_lost_is_found_again() -> None:
    """One POST; the list, kept to the transaction, gives our own id back."""
    gateway = a_gateway()
    answers_refund(body=requests.ReadTimeout("silence"))
    with pytest.raises(OutcomeUnknown):
        gateway.refund(a_refund())
    answers_by_id(json=verified())
    answers_refunds(a_refund_row(id=9, transaction_id=7), a_refund_row(), a_refund_row(id=7, comment=None))
    found = gateway.list_refunds(a_paid_attempt())
    assert [(one.gateway_refund_id, one.refund_id) for one in found] == [("8612", "r-1"), ("7", None)]
    assert [method for method, _ in paths()] == ["POST", "GET", "GET"]
    assert responses.calls[2].request.path_url == "/v3/refunds?from=2026-01-14&to=2026-01-16"


@pytest.mark.parametrize("status", ["completed", "complete", "successful"])
@responses.activate
def test_case_65_a_created_refund_is_pending_though_it_says_completed(status: str) -> None:
    """The same answer says "refund initiated"."""
    answers_refund(json=refunded(status))
    assert a_gateway().refund(a_refund()).outcome is Outcome.PENDING


@pytest.mark.parametrize(
    ("status", "disbursed", "outcome"),
    [
        ("completed", None, Outcome.SUCCEEDED),
        ("complete", None, Outcome.SUCCEEDED),
        ("completed", "pending", Outcome.PENDING),
        ("completed", "failed", Outcome.FAILED),
        ("completed", "successful", Outcome.SUCCEEDED),
        ("completed-mpgs", None, Outcome.SUCCEEDED),
        ("completed-bank-transfer", "pending", Outcome.SUCCEEDED),
        ("completed-momo", "failed", Outcome.UNKNOWN),
        ("pending-momo", "pending", Outcome.PENDING),
        ("pending-momo", "failed", Outcome.FAILED),
        ("processing", None, Outcome.PENDING),
        ("failed", None, Outcome.FAILED),
        ("frobnicated", None, Outcome.UNKNOWN),
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
@responses.activate
def test_case_65_later_the_status_and_its_disbursement_are_told(
    status: str, disbursed: str | None, outcome: Outcome, as_text: bool
) -> None:
    """`meta` is JSON in a text, sometimes an object; a contradiction is unknown, never a reason to pay again."""
    meta = {"source": "availablebalance"} | ({"disburse_status": disbursed} if disbursed else {})
    answers_fetch_refund(status, meta=json.dumps(meta) if as_text else meta)
    with capture_logs() as lines:
        told = a_gateway().fetch_refund(a_refund_ref())
    assert told.outcome is outcome
    assert ("gateway.unknown_status" in [line["action"] for line in lines]) is (outcome is Outcome.UNKNOWN)


@responses.activate
def test_case_68_an_empty_balance_is_tried_later_and_calls_a_person() -> None:
    """Nothing happened there, so it may be repeated; not at once, and one ERROR line asks for a top-up."""
    answers_refund(status=400, json=refused("Insufficient balance to process this refund"))
    with capture_logs() as lines, pytest.raises(GatewayUnavailable) as caught:
        a_gateway().refund(a_refund())
    assert (caught.value.code, caught.value.retry_after_seconds) == ("insufficient_balance", 3_600)
    assert len(responses.calls) == 1
    assert [line["action"] for line in lines if line["log_level"] == "error"] == ["gateway.refused"]


@responses.activate
def test_case_69_a_broken_encryption_is_a_network_error_only() -> None:
    """Never sent unencrypted, and no page of another scheme is believed."""
    answers_initiate(body=requests.exceptions.SSLError("bad record"))
    with pytest.raises(OutcomeUnknown):
        a_gateway().initiate(a_request())
    assert all(str(call.request.url).startswith("https://") for call in responses.calls)


@responses.activate
def test_case_70_the_secrets_are_in_the_header_and_nowhere_else() -> None:
    """Neither record, error, repr nor log line holds key or hash."""
    kept = Kept()
    gateway = a_gateway(kept)
    answers_verify(status=400, json=refused(f"Key {SECRET} is odd"))
    with capture_logs() as lines, pytest.raises(GatewayRejected) as caught:
        gateway.verify(an_attempt())
    told = f"{gateway!r}{caught.value!r}{vars(caught.value)}{kept.records}{lines}"
    with pytest.raises(SignatureInvalid) as refusal:
        gateway.read_webhook({"flutterwave-signature": HASH}, VECTOR_BODY)
    assert SECRET not in told
    assert HASH not in f"{told}{refusal.value!r}"
    assert SECRET in responses.calls[0].request.headers["Authorization"]
