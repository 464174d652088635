"""The numbered contract cases of the Stripe gateway, one test each: webhooks."""

from __future__ import annotations

import pytest

from payflow.core.clock import HeldClock
from payflow.gateways.base import HintKind, SignatureInvalid, UnreadableWebhook
from tests.contract.stripe_kit import (
    NOW,
    a_gateway,
    an_event,
    at,
    intent,
    mac,
    paid,
    session,
    signed,
)

# Agreed by openssl and the official Node library; refused and accepted as the official Python library does.
VECTOR_BODY = b'{\n  "id": "evt_test",\n  "object": "event",\n  "type": "checkout.session.completed"\n}'


VECTOR_V1 = "ee42b853ed1b9c52282f98ea0ea9cbea12ec6c2ad5eecefbeb1f601739ca775b"


WRONG_V1 = "0" * 64


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
