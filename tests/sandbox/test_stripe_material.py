"""The Stripe dialect against Stripe's own specification, samples, recorded requests and signatures."""

import base64
import json

import pytest

from payflow.sandbox import stripe_shapes
from tests.contract.official import needs_specs
from tests.sandbox.stripe_side import KEY, NOW, Stripe, check, text


@needs_specs
def test_golden_requests_of_the_official_library_are_accepted(stripe: Stripe) -> None:
    """What Stripe's own library really sends is understood; ids are those the sandbox gave out."""
    names: dict[str, str] = {}
    statuses = []
    for line in text("golden/golden-stripe.jsonl").splitlines():
        golden = json.loads(line)
        if golden["path"].endswith("/cancel") or golden["path"].startswith("/v1/events"):
            continue  # not spoken here
        path, body = golden["path"], golden["body"]
        for theirs, ours in names.items():
            path, body = path.replace(theirs, ours), body.replace(theirs, ours)
        headers = {**golden["headers"], "authorization": KEY["Authorization"]}
        answer = stripe.client.open("/stripe" + path, method=golden["method"], headers=headers, data=body)
        statuses.append((golden["method"], answer.status_code))
        if not names:
            stripe.pay()
            session = stripe.session(answer.json["id"])
            names = {"cs_test_1": session["id"], "pi_1": session["payment_intent"]["id"]}
        elif "/refunds" in path and golden["method"] == "POST":
            names["re_1"] = answer.json["id"]
    # only expiring a session that is paid is refused
    assert [status for _, status in statuses] == [200, 200, 400, 200, 200, 200, 200, 200]


@needs_specs
def test_signature_of_official_bytes_then_equals_the_vectors() -> None:
    """The signature is the one openssl, Python and Stripe's Node library agree on, over time and raw bytes."""
    for vector in json.loads(text("signature-vectors.json"))["stripe"]:
        body = base64.b64decode(vector["body_b64"])
        assert stripe_shapes.signature(body, vector["secret"], vector["timestamp"]) == vector["value"]


def test_signature_of_a_fixed_body_then_is_the_known_hex() -> None:
    """v1 is hex HMAC-SHA256 of time, dot and body, checked without the specs."""
    body = b'{\n  "id": "evt_test",\n  "object": "event",\n  "type": "checkout.session.completed"\n}'
    assert stripe_shapes.signature(body, "whsec_vector_0001", 1_800_000_000) == (
        "t=1800000000,v1=ee42b853ed1b9c52282f98ea0ea9cbea12ec6c2ad5eecefbeb1f601739ca775b"
    )


@needs_specs
@pytest.mark.parametrize("outcome", [None, "success", "decline", "late"])
def test_answers_then_satisfy_the_specification(stripe: Stripe, outcome: str | None) -> None:
    """Sessions, intents, refunds, charges and events hold against Stripe's schema in every state."""
    created = stripe.create(expires_at=str(NOW + 3_600)).json
    check(created, "checkout.session")
    if outcome:
        stripe.pay(outcome=outcome)
        session = stripe.session(created["id"])
        check(session, "checkout.session")
        check(stripe.get(f"/v1/payment_intents/{session['payment_intent']['id']}").json, "payment_intent")
    if outcome == "success":
        refund = stripe.refund(session["payment_intent"]["id"], amount="500").json
        check(refund, "refund")
        stripe.later(5)
        check(stripe.get(f"/v1/refunds/{refund['id']}").json, "refund")
    for event in stripe.sent():
        check(event, "event")
        if event["data"]["object"]["object"] in ("charge", "refund", "payment_intent", "checkout.session"):
            check(event["data"]["object"], event["data"]["object"]["object"])


@needs_specs
def test_answer_fields_then_are_those_of_the_official_samples(stripe: Stripe) -> None:
    """An adapter that reads any field of an official sample finds it in the sandbox's answer."""
    session = stripe.paid()
    refund = stripe.refund(session["payment_intent"]["id"]).json
    charge = next(event["data"]["object"] for event in stripe.sent() if event["type"] == "charge.refunded")
    for name, mine in (
        ("checkout.session", session),
        ("payment_intent", session["payment_intent"]),
        ("refund", refund),
        ("charge", charge),
        ("event", stripe.sent()[0]),
    ):
        assert set(json.loads(text(f"samples/stripe/{name}.json"))) <= set(mine), name
