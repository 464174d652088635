"""The numbered contract cases of the Flutterwave gateway, 50 to 70: webhooks, refunds, secrets."""

from __future__ import annotations

import base64
import json
from decimal import Decimal

import pytest
import requests
import responses
from structlog.testing import capture_logs

from payflow.core.errors import (
    ConfigurationError,
    GatewayRejected,
    GatewayUnavailable,
    OutcomeUnknown,
)
from payflow.core.money import Money
from payflow.gateways.base import HintKind, Outcome, SignatureInvalid, UnreadableWebhook
from tests.contract.flutterwave_kit import (
    FIRST,
    HASH,
    NOT_FOUND,
    REFUND_CALLBACK,
    SECRET,
    Kept,
    a_gateway,
    a_paid_attempt,
    a_refund,
    a_refund_ref,
    a_refund_row,
    a_request,
    a_transaction,
    an_attempt,
    answers_by_id,
    answers_fetch_refund,
    answers_initiate,
    answers_list,
    answers_refund,
    answers_refunds,
    answers_verify,
    charge_completed,
    paths,
    refunded,
    refused,
    sent,
    shown,
    signed,
    validate_against_the_spec,
    verified,
)
from tests.contract.official import SPECS

# Agreed by openssl and Python.
VECTOR_BODY = base64.b64decode(
    "eyJldmVudCI6ImNoYXJnZS5jb21wbGV0ZWQiLCJkYXRhIjp7ImlkIjoyODU5NTk4NzUsInR4X3JlZiI6IlBGLTEiLCJhbW91bnQiOjEwMCwiY3Vy"
    "cmVuY3kiOiJOR04iLCJzdGF0dXMiOiJzdWNjZXNzZnVsIn19"
)
VECTOR_SIGNATURE = "iuWzgQddRoj+bpYl1WXsXmNGAO5MkW7kd/BQk4rqBa8="


@responses.activate
def test_case_50_the_static_proof_does_not_bind_the_body() -> None:
    """A raised amount under the right hash is let in, and says nothing: the gateway's own answer counts."""
    gateway, forged = a_gateway(), charge_completed(amount=9_999_999)
    hint = gateway.read_webhook(shown(), forged)
    assert (hint.kind, hint.reference, hint.transaction_id) == (HintKind.PAYMENT, "PF-1", str(FIRST))
    assert not hasattr(hint, "outcome")
    answers_verify(status=400, json=NOT_FOUND)
    assert gateway.verify(an_attempt()).outcome is Outcome.PENDING


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"verif-hash": ""},
        {"verif-hash": HASH.upper()},
        {"verif-hash": HASH + " "},
        {"verif-hash": "flw-secret-hash-2"},
        {"verif-hash": "é"},
        {"x-paystack-signature": HASH},
    ],
    ids=["missing", "empty", "uppercase", "blank", "another", "not ascii", "other header"],
)
def test_case_50_a_wrong_static_proof_is_refused(headers: dict[str, str]) -> None:
    """SignatureInvalid for each, never another error."""
    with pytest.raises(SignatureInvalid):
        a_gateway().read_webhook(headers, VECTOR_BODY)


def test_case_51_the_signature_vectors_are_accepted() -> None:
    """Both schemes, the header's name in any case."""
    for headers in (
        {"verif-hash": HASH},
        {"Verif-Hash": HASH},
        {"flutterwave-signature": VECTOR_SIGNATURE},
        {"Flutterwave-Signature": VECTOR_SIGNATURE},
    ):
        hint = a_gateway().read_webhook(headers, VECTOR_BODY)
        assert (hint.kind, hint.event_type, hint.reference) == (HintKind.PAYMENT, "charge.completed", "PF-1")


@pytest.mark.parametrize(
    "given",
    [HASH, "", VECTOR_SIGNATURE[:-1], VECTOR_SIGNATURE.lower(), VECTOR_SIGNATURE + "\n", "é", "8ae5b381075d4688"],
    ids=["the static secret", "empty", "cut", "lowercase", "newline", "not ascii", "hex"],
)
def test_case_51_a_wrong_signature_is_refused_even_beside_a_right_static_proof(given: str) -> None:
    """The static secret in the newer header is refused: one copy of the docs compares it so, which is a slip."""
    for more in ({}, shown()):
        with pytest.raises(SignatureInvalid):
            a_gateway().read_webhook({"flutterwave-signature": given} | more, VECTOR_BODY)


def test_case_51_a_changed_byte_or_another_hash_is_refused() -> None:
    """The newer proof binds body and secret."""
    headers = {"flutterwave-signature": VECTOR_SIGNATURE}
    with pytest.raises(SignatureInvalid):
        a_gateway().read_webhook(headers, VECTOR_BODY.replace(b"100", b"101"))
    with pytest.raises(SignatureInvalid):
        a_gateway(webhook_secrets=("another",)).read_webhook(headers, VECTOR_BODY)


@pytest.mark.parametrize(
    ("configured", "takes_static", "takes_signed"),
    [(HASH, True, True), (f"static:{HASH}", True, False), (f"hmac:{HASH}", False, True)],
)
def test_case_51_the_scheme_is_configured(configured: str, takes_static: bool, takes_signed: bool) -> None:
    """A prefix before the hash allows one scheme only; without it both are taken."""
    gateway = a_gateway(webhook_secrets=(configured,))
    for headers, is_taken in ((shown(), takes_static), (signed(VECTOR_BODY), takes_signed)):
        if is_taken:
            assert gateway.read_webhook(headers, VECTOR_BODY).reference == "PF-1"
        else:
            with pytest.raises(SignatureInvalid):
                gateway.read_webhook(headers, VECTOR_BODY)


@pytest.mark.parametrize("secrets", [(), ("",), (HASH, ""), ("hmac:",), ("static: ",)], ids=str)
def test_case_51_an_empty_hash_refuses_to_start(secrets: tuple[str, ...]) -> None:
    """Anybody could send with it."""
    with pytest.raises(ConfigurationError):
        a_gateway(webhook_secrets=secrets)


@responses.activate
def test_case_55_a_completed_charge_may_have_failed() -> None:
    """`charge.completed` comes for failures too: a hint, then the answer says failed."""
    body = charge_completed(status="failed")
    assert a_gateway().read_webhook(shown(), body).kind is HintKind.PAYMENT
    answers_verify(json=verified("failed", processor_response="Insufficient Funds"))
    answers_list(a_transaction("failed"))
    told = a_gateway().verify(an_attempt())
    assert (told.outcome, told.message) == (Outcome.FAILED, "Insufficient Funds")


def test_case_56_a_flat_refund_body_is_matched_by_its_ids() -> None:
    """No envelope, PascalCase: TransactionId finds the payment, id the refund; a text or a number."""
    for transaction_id in (FIRST, str(FIRST)):
        body = json.dumps(REFUND_CALLBACK | {"TransactionId": transaction_id}).encode()
        hint = a_gateway().read_webhook(signed(body), body)
        assert (hint.kind, hint.event_type) == (HintKind.REFUND, "refund")
        assert (hint.transaction_id, hint.gateway_refund_id, hint.reference) == (str(FIRST), "8612", None)


@pytest.mark.parametrize("owner", ["TransactionId", "transaction_id", "tx_id"])
def test_case_56_a_refund_in_an_envelope_is_matched_too(owner: str) -> None:
    """Some accounts get `refund.completed` with `data`."""
    body = json.dumps({"event": "refund.completed", "data": {"id": 8612, owner: FIRST}}).encode()
    hint = a_gateway().read_webhook(shown(), body)
    assert (hint.kind, hint.event_type) == (HintKind.REFUND, "refund.completed")
    assert (hint.transaction_id, hint.gateway_refund_id) == (str(FIRST), "8612")


@pytest.mark.parametrize("event", ["transfer.completed", "subscription.cancelled", "brand.new"])
def test_case_58_an_event_of_no_interest_is_other(event: str) -> None:
    """Stored and let be."""
    body = json.dumps({"event": event, "data": {"tx_ref": "PF-1"}}).encode()
    hint = a_gateway().read_webhook(shown(), body)
    assert (hint.kind, hint.event_type, hint.reference) == (HintKind.OTHER, event, None)


def test_case_58_a_flat_body_of_another_kind_is_other() -> None:
    """Card debits have no envelope (Flutterwave docs, Webhooks): no error, no guess."""
    for body, name in ((b'{"CardId": "1", "Amount": 5}', "unnamed"), (b'{"event.type": "X"}', "X"), (b"{}", "unnamed")):
        hint = a_gateway().read_webhook(shown(), body)
        assert (hint.kind, hint.event_type) == (HintKind.OTHER, name)


def test_case_59_an_unknown_reference_is_still_a_hint() -> None:
    """Whether we know it is not the adapter's to say."""
    body = charge_completed(tx_ref="somebody-else")
    assert a_gateway().read_webhook(shown(), body).reference == "somebody-else"


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"null", b"\xff", b'{"event": "charge.completed", "data": []}'])
def test_case_60_proven_but_unreadable_is_told_apart(body: bytes) -> None:
    """The web answers 400 to it, not 401; without a proof it is 401."""
    for headers in (shown(), signed(body)):
        with pytest.raises(UnreadableWebhook):
            a_gateway().read_webhook(headers, body)
    with pytest.raises(SignatureInvalid):
        a_gateway().read_webhook({}, body)


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
