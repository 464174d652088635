"""The Flutterwave adapter on official samples; webhooks, callbacks, what is kept, and the registry's row."""

from __future__ import annotations

import base64
import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import responses

from payflow.core.clock import HeldClock
from payflow.core.errors import (
    GatewayUnavailable,
    PayflowError,
)
from payflow.core.money import Money
from payflow.gateways.base import HintKind, Outcome
from payflow.gateways.registry import build_gateways, choose
from payflow.settings import Settings
from tests.contract.flutterwave_kit import (
    HASH,
    HOST,
    SECRET,
    Kept,
    a_gateway,
    a_paid_attempt,
    a_refund,
    a_refund_ref,
    a_request,
    an_attempt,
    answers_by_id,
    answers_list,
    answers_refund,
    answers_refunds,
    answers_verify,
    charge_completed,
    sample,
    shown,
    spec_text,
    verified,
)
from tests.contract.official import needs_specs


@needs_specs
@responses.activate
def test_official_samples_parse_to_the_right_outcome() -> None:
    """Every official Flutterwave answer, byte for byte, reads as what it says."""
    gateway, kind = a_gateway(), "application/json"
    attempt = an_attempt(reference="1710840858755-RND_83")

    answers_verify(body=sample("get.v3.transactions.verify_by_reference.200"), content_type=kind)
    answers_list(body=sample("get.v3.transactions.200"), content_type=kind)
    paid = gateway.verify(attempt)
    assert (paid.outcome, paid.amount, paid.fee_minor) == (Outcome.SUCCEEDED, Money(100_000, "NGN"), 1_400)
    assert paid.paid_at == datetime(2024, 3, 19, 9, 34, 27, tzinfo=UTC)

    answers_by_id(4_975_363, body=sample("get.v3.transactions.id.verify.200"), content_type=kind)
    refunds = json.loads(sample("get.v3.refunds.200"), parse_float=str)
    assert (refunds["meta"]["page_info"]["total"], refunds["meta"]["page_info"]["total_pages"]) == (43, 3)
    answers_refunds(body=sample("get.v3.refunds.200").replace('"total": 43', '"total": 20').replace(
        '"total_pages": 3', '"total_pages": 1'), content_type=kind)  # fmt: skip
    assert gateway.list_refunds(an_attempt(reference="1710840858755-RND_83", transaction_id="4975363")) == []

    answers_refund(908_790, body=sample("post.v3.transactions.id.refund.200"), content_type=kind)
    made = gateway.refund(a_refund(500_000, attempt=a_paid_attempt(transaction_id="908790")))
    assert (made.outcome, made.gateway_refund_id, made.amount) == (Outcome.PENDING, "8612", Money(500_000, "NGN"))

    responses.remove(responses.GET, f"{HOST}/transactions/verify_by_reference")
    answers_verify(status=400, body=sample("get.v3.transactions.verify_by_reference.400"), content_type=kind)
    assert gateway.verify(attempt).found is False


@needs_specs
@responses.activate
def test_official_list_of_refunds_parses_row_by_row() -> None:
    """Each published refund, its decimals exact, its state by status and disbursement."""
    rows = json.loads(sample("get.v3.refunds.200"))["data"]
    assert len(rows) == 20
    told = {}
    for row in rows:
        responses.reset()
        body = json.dumps({"status": "success", "message": "Refund fetched", "data": row})
        responses.get(f"{HOST}/refunds/{row['id']}", body=body, content_type="application/json")
        attempt = a_paid_attempt(transaction_id=str(row["transaction_id"]))
        told[row["id"]] = a_gateway().fetch_refund(a_refund_ref(str(row["id"]), attempt=attempt))
    assert (told[74896].outcome, told[74896].amount) == (Outcome.PENDING, Money(6_500, "NGN"))
    assert (told[33525].outcome, told[33525].amount) == (Outcome.SUCCEEDED, Money(150, "NGN"))
    assert [told[number].amount for number in (30560, 30554)] == [Money(10_010, "NGN"), Money(10_888, "NGN")]
    assert {one.outcome for one in told.values()} <= {Outcome.SUCCEEDED, Outcome.PENDING, Outcome.FAILED}


@needs_specs
def test_official_signature_vectors_hold() -> None:
    """Both vectors are accepted on the raw bytes; the signed one is refused once the body is written anew."""
    for vector in json.loads(spec_text("signature-vectors.json"))["flutterwave"]:
        body = base64.b64decode(vector["body_b64"])
        headers = {vector["header"]: vector["signature"]}
        gateway = a_gateway(webhook_secrets=(vector["secret"],))
        assert gateway.read_webhook(headers, body).kind is HintKind.PAYMENT


def test_read_webhook_when_one_of_several_secrets_fits_then_accepted() -> None:
    """While a hash is changed, both hold; a third does not."""
    gateway = a_gateway(webhook_secrets=("old", "hmac:new"))
    body = charge_completed()
    assert gateway.read_webhook(shown("old"), body).reference == "PF-1"
    for secret in ("new", "third", "hmac:new"):
        with pytest.raises(PayflowError):
            gateway.read_webhook(shown(secret), body)


@pytest.mark.parametrize("reference", [None, 7, "", "..", "a/../b", "x\u0000", "PF 1", ["PF-1"]])
def test_read_webhook_when_reference_is_odd_then_none(reference: Any) -> None:
    """A proven body still holds text from outside: only what can be a reference is passed on."""
    assert a_gateway().read_webhook(shown(), charge_completed(tx_ref=reference)).reference is None


@pytest.mark.parametrize(
    ("query", "reference"),
    [
        ({"tx_ref": "PF-1"}, "PF-1"),
        ({"tx_ref": "PF_1"}, "PF_1"),
        ({"tx_ref": "../x"}, None),
        ({"tx_ref": ""}, None),
        ({"transaction_id": "4975363"}, None),
        ({"reference": "PF-1", "trxref": "PF-1"}, None),
        ({}, None),
    ],
)
def test_callback_reference(query: dict[str, str], reference: str | None) -> None:
    """`tx_ref`, and nothing that could not be one of ours."""
    assert a_gateway().callback_reference(query) == reference


@responses.activate
def test_answers_are_kept_redacted() -> None:
    """Nothing that is kept, logged or shown holds card data, addresses or keys; the record has each exchange."""
    kept = Kept()
    answer = copy.deepcopy(verified())
    answer["data"] |= {
        "card": {"first_6digits": "553188", "last_4digits": "2950", "token": "flw-t1nf-planted", "expiry": "09/32"},
        "customer": {"id": 1, "email": "planted@private.example", "phone_number": "08012345678", "name": "Planted"},
        "ip": "197.210.54.33",
        "processor_response": "Declined 4084084084084081 for planted@private.example",
    }
    answers_verify(json=answer)
    answers_list(answer["data"])
    seen = a_gateway(kept).verify(an_attempt())
    body = json.dumps({"event": "charge.completed", "data": answer["data"]}).encode()
    told = f"{seen!r}{kept.records!r}{a_gateway().read_webhook(shown(), body)!r}"
    planted = ("553188", "2950", "planted", "Planted", "08012345678", "197.210", "408408", SECRET, HASH)
    assert not [word for word in planted if word in told]
    assert [(one.operation, one.route) for one in kept.records] == [
        ("verify", "/transactions/verify_by_reference"),
        ("list_transactions", "/transactions"),
    ]
    assert seen.raw["tx_ref"] == "PF-1"


def settings(tmp_path: Path, **more: str) -> Settings:
    environ = {
        "PAYFLOW_JWT_SECRET": "x" * 32,
        "PAYFLOW_BROKER_URL": "redis://127.0.0.1",
        "PAYFLOW_DATA_DIR": str(tmp_path),
        "FLUTTERWAVE_SECRET_KEY": SECRET,
        "FLUTTERWAVE_WEBHOOK_HASH": f"old-hash, hmac:{HASH}",
    }
    return Settings.from_environ(environ | more)


def test_registry_when_enabled_then_it_is_built_and_chosen(tmp_path: Path) -> None:
    """The settings decide; `auto` takes it for what the gateways before it do not take."""
    environ = {"PAYSTACK_SECRET_KEY": "sk_test_x", "PAYFLOW_GATEWAYS": "paystack,flutterwave"}
    gateways = build_gateways(settings(tmp_path, **environ), HeldClock())
    assert list(gateways) == ["paystack", "flutterwave"]
    flutterwave = gateways["flutterwave"]
    assert choose(gateways, "UGX") is flutterwave
    assert choose(gateways, "NGN", "flutterwave", request=a_request()) is flutterwave
    assert choose(gateways, "NGN", request=a_request(10)) is flutterwave
    assert flutterwave.read_webhook(shown("old-hash"), charge_completed()).reference == "PF-1"


@responses.activate
def test_errors_are_all_of_one_tree() -> None:
    """Whatever Flutterwave answers, only payflow's errors come out."""
    for status in (100, 204, 302, 400, 404, 409, 418, 422, 429, 500, 599):
        for body in ("", "null", "{}", '{"status": "success"}', '{"status": "error", "message": {"a": 1}, "code": []}'):
            responses.reset()
            answers_verify(status=status, body=body, content_type="application/json")
            with pytest.raises(PayflowError) as caught:
                a_gateway().verify(an_attempt())
            assert status != 429 or isinstance(caught.value, GatewayUnavailable)
