"""The Paystack adapter on official samples; webhooks, callbacks, what is kept, and the registry's row."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import responses

from payflow.core.clock import HeldClock
from payflow.core.errors import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidInput,
    PayflowError,
)
from payflow.core.money import Money
from payflow.gateways.base import (
    HintKind,
    Outcome,
    RefundRef,
    SignatureInvalid,
    UnreadableWebhook,
)
from payflow.gateways.registry import build_gateways, choose
from payflow.settings import Settings
from tests.contract.official import needs_specs
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
    sample,
    signed,
    spec_text,
    verified,
)


@needs_specs
@responses.activate
def test_official_samples_parse_to_the_right_outcome() -> None:
    """Every official Paystack answer, as published, reads as what it says."""
    gateway = a_gateway()
    answers_initialize(json=sample("api.transactions.initialize"))
    assert gateway.initiate(a_request(reference="re4lyvq3s3")).session_id == "3ni8kdavz62431k"

    answers_verify("re4lyvq3s3", json=sample("api.transactions.verify"))
    paid = gateway.verify(an_attempt(reference="re4lyvq3s3"))
    assert (paid.outcome, paid.amount, paid.fee_minor) == (Outcome.SUCCEEDED, Money(30_050, "NGN"), 10_283)
    assert (paid.transaction_id, paid.payment_method, paid.is_test) == ("4099260516", "card", True)
    assert paid.paid_at == datetime(2024, 8, 22, 9, 15, 2, tzinfo=UTC)

    created = sample("api.refunds.create")
    answers_refund(json=created)
    made = gateway.refund(a_refund(10_000, attempt=an_attempt(reference="T685312322670591")))
    assert (made.outcome, made.gateway_refund_id, made.amount) == (Outcome.PENDING, "3018284", Money(10_000, "NGN"))

    responses.get(f"{HOST}/refund/1", json=sample("api.refunds.fetch"))
    done = gateway.fetch_refund(RefundRef("r-1", an_attempt(), Money(500_000, "NGN"), gateway_refund_id="1"))
    assert (done.outcome, done.amount, done.refund_id) == (Outcome.SUCCEEDED, Money(500_000, "NGN"), None)

    responses.get(f"{HOST}/refund", json=sample("api.refunds.list"))
    listed = gateway.list_refunds(an_attempt(transaction_id="1641"))
    assert [(one.gateway_refund_id, one.outcome) for one in listed] == [("1", Outcome.SUCCEEDED)]


@needs_specs
@pytest.mark.parametrize(
    ("name", "kind", "reference", "transaction_id", "refund_id"),
    [
        ("charge.success", HintKind.PAYMENT, "qTPrJoy9Bx", "302961", None),
        ("refund.pending", HintKind.REFUND, None, None, None),
        ("refund.processing", HintKind.REFUND, None, None, None),
        ("refund.processed", HintKind.REFUND, None, None, None),
        ("refund.failed", HintKind.REFUND, None, None, None),
        ("refund.needs-attention", HintKind.REFUND, "88bfa94509eb96aa9785641c26cc57cc", None, "123456"),
        ("charge.dispute.create", HintKind.DISPUTE, "v3mjfgbnc19v97x", "896467688", None),
        ("charge.dispute.remind", HintKind.DISPUTE, "v3mjfgbnc19v97x", "896467688", None),
        ("charge.dispute.resolve", HintKind.DISPUTE, "5qm4pv2mxs9rltp", "896467592", None),
    ],
)
def test_official_webhooks_parse(
    name: str, kind: HintKind, reference: str | None, transaction_id: str | None, refund_id: str | None
) -> None:
    """Every official webhook body points where it should; four samples carry references with `_`, made by Paystack."""
    body = spec_text(f"samples/paystack/webhook.{name}.json").encode()
    hint = a_gateway().read_webhook(signed(body), body)
    told = json.loads(body)["data"].get("transaction_reference")
    assert (hint.kind, hint.event_type) == (kind, name)
    assert hint.reference == (reference or told)
    assert (hint.transaction_id, hint.gateway_refund_id) == (transaction_id, refund_id)
    assert hint.event_key == hashlib.sha256(body).hexdigest()
    assert all(word not in str(hint.raw) for word in ("@", "'8877'", "539999", "41.242.49.37", "AUTH_f5rnfq9p"))


@needs_specs
def test_official_signature_vectors_hold() -> None:
    """Both vectors are accepted as raw bytes and refused as soon as the body is written anew."""
    for vector in json.loads(spec_text("signature-vectors.json"))["paystack"]:
        body = base64.b64decode(vector["body_b64"])
        headers = {vector["header"]: vector["signature"]}
        gateway = a_gateway(secret=vector["secret"])
        assert gateway.read_webhook(headers, body).kind is HintKind.PAYMENT
        if vector["reserialised_differs"]:
            with pytest.raises(SignatureInvalid):
                gateway.read_webhook(headers, json.dumps(json.loads(body)).encode())


def test_read_webhook_when_one_of_several_secrets_fits_then_accepted() -> None:
    """While a key is rolled, both sign; a third does not."""
    body = b'{"event": "charge.success", "data": {"reference": "PF-1"}}'
    gateway = a_gateway(webhook_secrets=("sk_test_old", "sk_test_new"))
    for secret in ("sk_test_old", "sk_test_new"):
        assert gateway.read_webhook(signed(body, secret), body).reference == "PF-1"
    with pytest.raises(SignatureInvalid):
        gateway.read_webhook(signed(body, SECRET), body)


@pytest.mark.parametrize("secrets", [("",), ("sk_test_a", "")])
def test_adapter_when_a_webhook_secret_is_empty_then_it_refuses_to_start(secrets: tuple[str, ...]) -> None:
    """Anybody could sign with an empty key."""
    with pytest.raises(ConfigurationError):
        a_gateway(webhook_secrets=secrets)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"event": 1, "data": {}}',
        b'{"event": "x"}',
        b'{"event": "x", "data": []}',
        b"\xff",
    ],
)
def test_read_webhook_when_signed_but_unreadable_then_told_apart(body: bytes) -> None:
    """The signature comes first, then the parsing."""
    with pytest.raises(UnreadableWebhook):
        a_gateway().read_webhook(signed(body), body)
    with pytest.raises(SignatureInvalid):
        a_gateway().read_webhook({}, body)


@pytest.mark.parametrize("reference", [None, 7, "", "..", "a/../b", "x\u0000", "PF 1", ["PF-1"]])
def test_read_webhook_when_reference_is_odd_then_none(reference: Any) -> None:
    """A signed body still holds text from outside: only what can be a reference is passed on."""
    body = json.dumps({"event": "charge.success", "data": {"reference": reference, "id": 5}}).encode()
    assert a_gateway().read_webhook(signed(body), body).reference is None


@pytest.mark.parametrize(
    ("query", "reference"),
    [
        ({"reference": "PF-1"}, "PF-1"),
        ({"trxref": "PF-1"}, "PF-1"),
        ({"trxref": "PF-2", "reference": "PF-1"}, "PF-1"),
        ({"reference": "../x"}, None),
        ({"reference": ""}, None),
        ({}, None),
    ],
)
def test_callback_reference(query: dict[str, str], reference: str | None) -> None:
    """`reference` or `trxref`, and nothing that could not be one of ours."""
    assert a_gateway().callback_reference(query) == reference


@responses.activate
def test_answers_are_kept_redacted() -> None:
    """Nothing that is kept, logged or shown holds card data, addresses or keys; the record has each exchange."""
    kept = Kept()
    answer = copy.deepcopy(verified())
    answer["data"] |= {
        "authorization": {
            "authorization_code": "AUTH_planted",
            "bin": "408408",
            "last4": "4081",
            "signature": "SIG_planted",
        },
        "customer": {"id": 1, "email": "planted@private.example", "phone": "08012345678"},
        "ip_address": "197.210.54.33",
        "gateway_response": "Declined 4084084084084081 for planted@private.example",
    }
    answers_verify(json=answer)
    seen = a_gateway(kept).verify(an_attempt())
    told = f"{seen!r}{kept.records!r}"
    assert not [
        word
        for word in ("AUTH_planted", "408408", "4081", "SIG_planted", "planted@", "08012345678", "197.210", SECRET)
        if word in told
    ]
    assert (kept.records[0].operation, kept.records[0].route) == ("verify", "/transaction/verify/{reference}")
    assert seen.raw["data"]["reference"] == "PF-1"


def settings(tmp_path: Path, **more: str) -> Settings:
    environ = {
        "PAYFLOW_JWT_SECRET": "x" * 32,
        "PAYFLOW_BROKER_URL": "redis://127.0.0.1",
        "PAYFLOW_DATA_DIR": str(tmp_path),
    }
    return Settings.from_environ(environ | more)


def test_registry_when_a_gateway_is_enabled_then_it_is_built_and_chosen(tmp_path: Path) -> None:
    """The settings decide which gateways there are; `auto` takes the first that takes the request."""
    gateways = build_gateways(
        settings(tmp_path, PAYSTACK_SECRET_KEY="sk_test_x", PAYFLOW_GATEWAYS="paystack"), HeldClock()
    )
    assert list(gateways) == ["paystack"]
    paystack = gateways["paystack"]
    assert choose(gateways, "NGN") is paystack
    assert choose(gateways, "NGN", "paystack", request=a_request()) is paystack


@pytest.mark.parametrize(
    ("currency", "wanted", "amount_minor", "pointer"),
    [
        ("KWD", "auto", None, "/currency"),
        ("KWD", "paystack", None, "/currency"),
        ("NGN", "stripe", None, "/gateway"),
        ("NGN", "auto", 10, "/amount"),
    ],
)
def test_choose_when_none_fits_then_the_field_at_fault_is_named(
    currency: str, wanted: str, amount_minor: int | None, pointer: str
) -> None:
    """The caller learns which field kept every gateway from taking it."""
    request = None if amount_minor is None else a_request(amount_minor)
    with pytest.raises(InvalidInput) as caught:
        choose({"paystack": a_gateway()}, currency, wanted, request=request)
    assert caught.value.pointer == pointer


@responses.activate
def test_errors_are_all_of_one_tree() -> None:
    """Whatever Paystack answers, only payflow's errors come out."""
    for status in (100, 204, 302, 400, 404, 409, 418, 422, 429, 500, 599):
        for body in ("", "null", "{}", '{"status": true}', '{"status": false, "message": {"a": 1}, "code": ["x"]}'):
            responses.reset()
            answers_verify(status=status, body=body, content_type="application/json")
            with pytest.raises(PayflowError) as caught:
                a_gateway().verify(an_attempt())
            assert status != 429 or isinstance(caught.value, GatewayUnavailable)
