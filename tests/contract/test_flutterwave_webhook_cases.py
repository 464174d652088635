"""The numbered contract cases of the Flutterwave gateway, one test each: webhooks."""

from __future__ import annotations

import json

import pytest
import responses

from payflow.core.errors import (
    ConfigurationError,
)
from payflow.gateways.base import HintKind, Outcome, SignatureInvalid, UnreadableWebhook
from tests.contract.flutterwave_kit import (
    FIRST,
    HASH,
    NOT_FOUND,
    REFUND_CALLBACK,
    VECTOR_BODY,
    a_gateway,
    a_transaction,
    an_attempt,
    answers_list,
    answers_verify,
    charge_completed,
    shown,
    signed,
    verified,
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
