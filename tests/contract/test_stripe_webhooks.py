"""The Stripe adapter's webhooks: signatures as the official library judges them, and what each event points at."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

import pytest

from payflow.core.clock import HeldClock
from payflow.gateways.base import HintKind, SignatureInvalid
from tests.contract.official import needs_specs
from tests.contract.stripe_kit import NOW, a_gateway, an_event, at, intent, paid, refunded, session, signed, spec_text


@pytest.mark.parametrize(
    ("kind", "about", "expected"),
    [
        ("checkout.session.completed", paid(), (HintKind.PAYMENT, "PF-1", "pi_1", None)),
        ("checkout.session.async_payment_succeeded", paid(), (HintKind.PAYMENT, "PF-1", "pi_1", None)),
        ("checkout.session.async_payment_failed", session(), (HintKind.PAYMENT, "PF-1", None, None)),
        ("checkout.session.expired", session(client_reference_id=None), (HintKind.PAYMENT, "PF-1", None, None)),
        (
            "checkout.session.expired",
            session(client_reference_id=None, metadata={}),
            (HintKind.PAYMENT, "cs_test_1", None, None),
        ),
        (
            "payment_intent.payment_failed",
            intent(metadata={"reference": "PF-1"}),
            (HintKind.PAYMENT, "PF-1", "pi_1", None),
        ),
        ("payment_intent.canceled", intent(), (HintKind.PAYMENT, None, "pi_1", None)),
        ("refund.created", refunded(), (HintKind.REFUND, None, "pi_1", "re_1")),
        ("refund.updated", refunded(payment_intent=intent()), (HintKind.REFUND, None, "pi_1", "re_1")),
        ("refund.failed", refunded("failed"), (HintKind.REFUND, None, "pi_1", "re_1")),
        ("charge.refund.updated", refunded(), (HintKind.REFUND, None, "pi_1", "re_1")),
        (
            "charge.refunded",
            {"id": "ch_1", "payment_intent": "pi_1", "metadata": {"reference": "PF-1"}},
            (HintKind.REFUND, "PF-1", "pi_1", None),
        ),
        (
            "charge.dispute.created",
            {"id": "dp_1", "charge": "ch_1", "payment_intent": "pi_1", "metadata": {}},
            (HintKind.DISPUTE, None, "pi_1", None),
        ),
        ("charge.dispute.closed", {"id": "dp_1", "payment_intent": None}, (HintKind.DISPUTE, None, None, None)),
    ],
)
def test_read_webhook_then_each_event_points_where_it_should(
    kind: str, about: dict[str, Any], expected: tuple[HintKind, str | None, str | None, str | None]
) -> None:
    """Sessions by our reference, everything else by the payment intent too."""
    body = an_event(kind, about)
    hint = a_gateway().read_webhook(signed(body), body)
    assert (hint.kind, hint.reference, hint.transaction_id, hint.gateway_refund_id) == expected
    assert (hint.event_type, hint.event_key) == (kind, "evt_1")


def test_read_webhook_when_the_event_is_thin_then_other() -> None:
    """Events of the newer kind carry no object: signed, stored, and nothing to ask."""
    body = json.dumps({"id": "evt_2", "type": "v2.core.event_destination.ping", "related_object": {}}).encode()
    assert a_gateway().read_webhook(signed(body), body).kind is HintKind.OTHER


@pytest.mark.parametrize("reference", [None, 7, "", "a/../b", "x\u0000", "PF 1", ["PF-1"], "P" * 201])
def test_read_webhook_when_reference_is_odd_then_only_the_session_counts(reference: Any) -> None:
    """A signed body still holds text from outside: only what can be a reference is passed on."""
    body = an_event(
        "checkout.session.completed", paid(client_reference_id=reference, metadata={"reference": reference})
    )
    assert a_gateway().read_webhook(signed(body), body).reference == "cs_test_1"


@needs_specs
def test_official_signature_vectors_hold() -> None:
    """The cross-checked vector is accepted, and refused as soon as body or time changes."""
    for vector in json.loads(spec_text("signature-vectors.json"))["stripe"]:
        body, given_headers = base64.b64decode(vector["body_b64"]), {vector["header"]: vector["value"]}
        gateway = a_gateway(webhook_secrets=(vector["secret"],), clock=HeldClock(at(vector["timestamp"])))
        assert gateway.read_webhook(given_headers, body).event_key == "evt_test"
        with pytest.raises(SignatureInvalid):
            gateway.read_webhook(given_headers, json.dumps(json.loads(body)).encode())


@needs_specs
def test_official_verifiers_judgements_are_ours_but_for_the_future() -> None:
    """What the official Python library accepts and rejects, case by case; a time to come is where we part."""
    judged = json.loads(spec_text("signature-vectors.json"))["stripe_official_python_behaviour_tolerance_300"]
    body = an_event("plan.created", {})

    def header(seconds: int = NOW, name: str = "v1", secret: str = "whsec_vector_0001") -> str:
        return signed(body, at_seconds=seconds, secret=secret)["Stripe-Signature"].replace("v1=", f"{name}=")

    mine = {
        "fresh": header(),
        "299s old": header(NOW - 299),
        "301s old": header(NOW - 301),
        "1h in the future": header(NOW + 3_600),
        "only v0": header(name="v0"),
        "wrong secret": header(secret="whsec_other"),
        "rolled secret: two v1, second matches": f"{header(secret='whsec_old')},{header().partition(',')[2]}",
        "no t": header().partition(",")[2],
        "empty": "",
        "uppercase hex": header().replace("v1=", "v1=*").partition("*")[0] + header().partition("v1=")[2].upper(),
    }
    assert set(mine) == set(judged)
    for name, value in mine.items():
        is_accepted = judged[name] == "accept" and name != "1h in the future"
        if is_accepted:
            assert a_gateway().read_webhook({"Stripe-Signature": value}, body).event_key == "evt_1"
        else:
            with pytest.raises(SignatureInvalid):
                a_gateway().read_webhook({"Stripe-Signature": value}, body)


def test_the_clock_that_is_passed_in_is_the_one_that_counts() -> None:
    """A webhook of long ago is accepted at its own time, so recorded ones can be replayed in tests."""
    body = an_event("plan.created", {})
    then = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
    gateway = a_gateway(clock=HeldClock(then))
    assert gateway.read_webhook(signed(body, at_seconds=int(then.timestamp())), body).event_key == "evt_1"
