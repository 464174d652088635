"""The numbered contract cases of the Paystack gateway, one test each: webhooks."""

from __future__ import annotations

import base64
import json

import pytest
import responses

from payflow.gateways.base import HintKind, SignatureInvalid, UnreadableWebhook
from tests.contract.paystack_kit import (
    a_gateway,
    signed,
)

# Agreed by openssl and Python; the escaped slashes do not survive being parsed and written again.
VECTOR_BODY = base64.b64decode(
    "eyJldmVudCI6ImNoYXJnZS5zdWNjZXNzIiwiZGF0YSI6eyJyZWZlcmVuY2UiOiJQRi0xIiwiYW1vdW50IjoyMDAwMCwibWV0YWRhdGEiOnsidXJs"
    "IjoiaHR0cHM6XC9cL20uZXhhbXBsZVwvbyIsIm5hbWUiOiJBZFx1MDBlMSDigqYiLCJyYXRpbyI6MS4wfX19"
)


VECTOR_SIGNATURE = (
    "68b6e9d6e6f1a27c8808019720d7816c006c24a834d8eab957c53d19cf89e007"
    "4c545cb5eb96afdbd85b4af385fdc747d95a945d653317297f5f01a940855450"
)


def test_case_48_the_signature_vector_is_accepted() -> None:
    """Right key, right bytes; the header's name in any case."""
    for name in ("x-paystack-signature", "X-Paystack-Signature"):
        hint = a_gateway().read_webhook({name: VECTOR_SIGNATURE}, VECTOR_BODY)
        assert (hint.kind, hint.event_type, hint.reference) == (HintKind.PAYMENT, "charge.success", "PF-1")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-paystack-signature": ""},
        {"x-paystack-signature": VECTOR_SIGNATURE.upper()},
        {"x-paystack-signature": VECTOR_SIGNATURE[:-1] + "1"},
        {"x-paystack-signature": VECTOR_SIGNATURE + "\n"},
        {"x-paystack-signature": "é" * 128},
        {"x-paystack-signature": "٠" * 128},
        {"verif-hash": VECTOR_SIGNATURE},
    ],
    ids=["missing", "empty", "uppercase", "one digit", "newline", "not ascii", "foreign digits", "other header"],
)
def test_case_48_a_wrong_signature_is_refused(headers: dict[str, str]) -> None:
    """SignatureInvalid for each, never another error."""
    with pytest.raises(SignatureInvalid):
        a_gateway().read_webhook(headers, VECTOR_BODY)


def test_case_48_a_changed_byte_or_another_key_is_refused() -> None:
    """The signature binds body and key."""
    headers = {"x-paystack-signature": VECTOR_SIGNATURE}
    with pytest.raises(SignatureInvalid):
        a_gateway().read_webhook(headers, VECTOR_BODY.replace(b"20000", b"20001"))
    with pytest.raises(SignatureInvalid):
        a_gateway(secret="sk_test_other").read_webhook(headers, VECTOR_BODY)


def test_case_49_a_body_written_anew_is_refused() -> None:
    """The raw bytes are signed, not what they mean."""
    anew = json.dumps(json.loads(VECTOR_BODY), separators=(",", ":")).encode()
    with pytest.raises(SignatureInvalid):
        a_gateway().read_webhook({"x-paystack-signature": VECTOR_SIGNATURE}, anew)


def test_case_53_a_replay_has_the_same_key() -> None:
    """The same bytes are the same fact; other bytes are another."""
    first, second = (a_gateway().read_webhook(signed(VECTOR_BODY), VECTOR_BODY).event_key for _ in range(2))
    other = VECTOR_BODY + b" "
    assert first == second != a_gateway().read_webhook(signed(other), other).event_key


@responses.activate
def test_case_54_events_out_of_order_only_point() -> None:
    """A hint carries no outcome: after refund.processed then refund.pending the gateway's own answer counts."""
    for event in ("refund.processed", "refund.pending"):
        body = json.dumps({"event": event, "data": {"transaction_reference": "PF-1"}}).encode()
        hint = a_gateway().read_webhook(signed(body), body)
        assert (hint.kind, hint.reference) == (HintKind.REFUND, "PF-1")
        assert not hasattr(hint, "outcome")


@pytest.mark.parametrize("amount", ["5000", 20_000])
def test_case_57_refund_events_parse_whatever_the_amounts_type(amount: str | int) -> None:
    """Text and number both come; neither is believed."""
    body = json.dumps(
        {"event": "refund.processed", "data": {"transaction_reference": "PF-1", "amount": amount}}
    ).encode()
    assert a_gateway().read_webhook(signed(body), body).reference == "PF-1"


@pytest.mark.parametrize("event", ["transfer.success", "subscription.create", "brand.new"])
def test_case_58_an_event_of_no_interest_is_other(event: str) -> None:
    """Stored and let be."""
    body = json.dumps({"event": event, "data": {"reference": "PF-1"}}).encode()
    hint = a_gateway().read_webhook(signed(body), body)
    assert (hint.kind, hint.event_type, hint.reference) == (HintKind.OTHER, event, None)


def test_case_59_an_unknown_reference_is_still_a_hint() -> None:
    """Whether we know it is not the adapter's to say."""
    body = b'{"event": "charge.success", "data": {"reference": "somebody-else", "id": 5}}'
    assert a_gateway().read_webhook(signed(body), body).reference == "somebody-else"


def test_case_60_signed_but_unreadable_is_told_apart() -> None:
    """The web answers 400 to it, not 401."""
    with pytest.raises(UnreadableWebhook):
        a_gateway().read_webhook(signed(b"hello"), b"hello")
