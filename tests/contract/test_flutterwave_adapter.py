"""The Flutterwave adapter: tables, shapes, odd answers, lists, webhooks and the registry's row."""

from __future__ import annotations

import base64
import copy
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import responses
from structlog.testing import capture_logs

from payflow.core.clock import HeldClock
from payflow.core.errors import (
    AnswerNotUnderstood,
    GatewayRejected,
    GatewayUnavailable,
    InvalidInput,
    PayflowError,
)
from payflow.core.money import Money
from payflow.gateways.answers import json_text
from payflow.gateways.base import Gateway, HintKind, LostInitiate, Outcome
from payflow.gateways.flutterwave_reading import CURRENCIES, PAYMENT_OUTCOMES, REFUND_OUTCOMES
from payflow.gateways.registry import build_gateways, choose
from payflow.settings import Settings
from tests.contract.flutterwave_kit import (
    HASH,
    HOST,
    OPENED,
    SECOND,
    SECRET,
    Kept,
    a_gateway,
    a_paid_attempt,
    a_refund,
    a_refund_ref,
    a_request,
    a_transaction,
    an_attempt,
    answers_by_id,
    answers_initiate,
    answers_list,
    answers_refund,
    answers_refunds,
    answers_verify,
    charge_completed,
    refused,
    sample,
    sent,
    shown,
    spec_text,
    validate_against_the_spec,
    verified,
)
from tests.contract.official import SPECS, needs_specs

DOCUMENTED_REFUND_WORDS = {
    "completed", "complete", "completed-bank-transfer", "completed-momo", "completed-mpgs", "completed-offline",
    "completed-preauth", "pending-momo", "processing", "successful", "failed",
}  # fmt: skip


def test_adapter_keeps_the_protocol() -> None:
    """The adapter is a Gateway; its refunds are not idempotent and a lost initiate is renewed."""
    gateway: Gateway = a_gateway()
    assert (gateway.name, gateway.refund_is_idempotent, gateway.lost_initiate) == (
        "flutterwave",
        False,
        LostInitiate.RENEW,
    )


def test_status_tables_hold_every_documented_word() -> None:
    """Flutterwave docs, Transaction verification and Refunds: all words, and no other."""
    assert set(PAYMENT_OUTCOMES) == {"successful", "failed", "pending"}
    assert set(REFUND_OUTCOMES) == DOCUMENTED_REFUND_WORDS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("75.50"), "75.5"),
        (Decimal(1000), "1000"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.30"), "0.3"),
        (Decimal("999999999.99"), "999999999.99"),
        ({"a": [1, Decimal("0.10"), None, True], "ü": '"'}, '{"a": [1, 0.1, null, true], "\\u00fc": "\\""}'),
    ],
)
def test_json_text_writes_decimals_as_numbers_exactly(value: Any, text: str) -> None:
    """No float in between, no exponent, no trailing zeros."""
    assert json_text(value) == text


def test_json_text_when_given_a_float_then_it_refuses() -> None:
    """An amount that went through a float is a mistake of ours."""
    with pytest.raises(TypeError):
        json_text({"amount": 75.5})


@pytest.mark.parametrize("currency", ["JPY", "KWD", "CHF"])
def test_check_when_currency_is_not_flutterwaves_then_refused_locally(currency: str) -> None:
    """The field is named and nothing is sent."""
    with pytest.raises(InvalidInput) as caught:
        a_gateway().initiate(a_request(100_000, currency))
    assert (caught.value.pointer, caught.value.code) == ("/currency", "unsupported_currency")
    assert not a_gateway().supports(currency)


@pytest.mark.parametrize("currency", sorted(CURRENCIES))
@responses.activate
def test_initiate_when_currency_is_supported_then_its_own_decimals_are_used(currency: str) -> None:
    """500 minor units are 500 francs and 5 naira; there and back is the same money."""
    answers_initiate()
    amount = Money(500, currency)
    a_gateway().initiate(a_request(500, currency))
    assert (sent()["amount"], sent()["currency"]) == (amount.to_major(), currency)
    assert Money.from_major(sent()["amount"], currency) == amount


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_check_when_amount_is_not_positive_then_refused(amount_minor: int) -> None:
    """Nothing and less than nothing can be neither collected nor given back."""
    for call in (
        lambda: a_gateway().check(a_request(amount_minor)),
        lambda: a_gateway().refund(a_refund(amount_minor)),
    ):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.pointer == "/amount"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"payment_method": "cheque"}, "/payment_method"),
        ({"customer_email": "nobody"}, "/customer"),
        ({"reference": "PF é"}, "/reference"),
        ({"reference": "PF-1\n"}, "/reference"),
        ({"reference": "PF.1"}, "/reference"),
        ({"reference": "P" * 65}, "/reference"),
        ({"reference": ""}, "/reference"),
    ],
)
def test_check_when_a_field_cannot_be_taken_then_it_is_named(changes: dict[str, Any], pointer: str) -> None:
    """Each local refusal points at its field."""
    with pytest.raises(InvalidInput) as caught:
        a_gateway().check(a_request(**changes))
    assert caught.value.pointer == pointer


@responses.activate
def test_initiate_when_method_metadata_and_deadline_are_given_then_they_are_sent() -> None:
    """`payment_options` narrows the page, `meta` travels as an object, the session ends with the order."""
    answers_initiate()
    deadline = HeldClock().now() + timedelta(seconds=61)
    a_gateway().initiate(a_request(payment_method="mpesa", metadata={"order": "ORD-1"}, expires_at=deadline))
    assert (sent()["payment_options"], sent()["meta"], sent()["session_duration"]) == ("mpesa", {"order": "ORD-1"}, 2)
    if SPECS.is_dir():
        validate_against_the_spec()


@pytest.mark.parametrize(("seconds", "minutes"), [(-5, 1), (0, 1), (60, 1), (1_800, 30), (10**6, 1_440)])
@responses.activate
def test_initiate_when_deadline_is_near_or_far_then_the_session_stays_in_its_bounds(seconds: int, minutes: int) -> None:
    """Whole minutes, at least one, at most a day (Flutterwave Standard)."""
    answers_initiate()
    a_gateway().initiate(a_request(expires_at=HeldClock().now() + timedelta(seconds=seconds)))
    assert sent()["session_duration"] == minutes


@pytest.mark.parametrize(
    "data",
    [{}, {"link": None}, {"link": "http://checkout.flutterwave.com/x"}, {"link": "javascript:1"}],
    ids=["missing", "none", "not encrypted", "no address"],
)
@responses.activate
def test_initiate_when_link_is_unusable_then_not_understood(data: dict[str, Any]) -> None:
    """A customer is only ever sent to an https page."""
    answers_initiate(json=OPENED | {"data": data})
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().initiate(a_request())


@responses.activate
def test_initiate_when_the_reference_is_taken_then_the_caller_can_tell() -> None:
    """Flutterwave publishes no sentence for it; one that says so is told by a code of ours."""
    answers_initiate(status=400, json=refused("Duplicate transaction reference"))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().initiate(a_request())
    assert caught.value.code == "duplicate_reference"


@pytest.mark.parametrize(
    "body",
    [{}, {"status": "success"}, {"status": True, "data": {}}, {"status": "success", "data": "x"}, {"data": {"id": 1}}],
)
@responses.activate
def test_calls_when_envelope_is_odd_then_not_understood(body: dict[str, Any]) -> None:
    """Only `status: success` with the expected data is an answer; nothing is guessed."""
    answers_initiate(json=body)
    answers_verify(json=body)
    answers_by_id(json=body)
    answers_refund(json=body)
    responses.get(f"{HOST}/refunds/8612", json=body)
    answers_refunds(json=body)
    gateway = a_gateway()
    for call in (
        lambda: gateway.initiate(a_request()),
        lambda: gateway.verify(an_attempt()),
        lambda: gateway.refund(a_refund()),
        lambda: gateway.fetch_refund(a_refund_ref()),
        lambda: gateway.list_refunds(a_paid_attempt()),
    ):
        with pytest.raises(AnswerNotUnderstood):
            call()


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": None},
        {"amount": -1},
        {"amount": "1e3"},
        {"amount": "٣"},
        {"amount": 1000.001},
        {"amount": True},
        {"charged_amount": "x"},
        {"currency": None},
        {"currency": "ngn"},
        {"status": None},
        {"status": 1},
        {"tx_ref": None},
        {"id": None},
        {"id": {}},
    ],
    ids=str,
)
@responses.activate
def test_verify_when_an_essential_field_is_odd_then_not_understood(changes: dict[str, Any]) -> None:
    """No amount, currency, state, id or reference is ever filled in by us."""
    answers_verify(json=verified(**changes))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().verify(an_attempt())


@responses.activate
def test_verify_when_lesser_fields_are_odd_then_they_are_left_out() -> None:
    """Fees, time, method and reason are extras: `null` or nonsense there does not lose a payment."""
    answers_verify(
        json=verified(app_fee="n/a", created_at="soon", payment_type=7, processor_response=None, amount="1000.00")
    )
    answers_list()
    seen = a_gateway().verify(an_attempt())
    assert (seen.outcome, seen.amount) == (Outcome.SUCCEEDED, Money(100_000, "NGN"))
    assert (seen.fee_minor, seen.paid_at, seen.payment_method, seen.is_test, seen.message) == (None,) * 5


@responses.activate
def test_verify_when_currency_has_no_decimals_then_none_are_added() -> None:
    """XOF 500 is 500; its fee of 14.2 is rounded up, not down."""
    answers_verify(json=verified(amount=500, charged_amount=500, currency="XOF", app_fee=14.2))
    answers_list()
    seen = a_gateway().verify(an_attempt(500, "XOF"))
    assert (seen.amount, seen.fee_minor) == (Money(500, "XOF"), 15)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("successful", Outcome.SUCCEEDED), ("pending", Outcome.PENDING), ("failed", Outcome.FAILED)],
)
@responses.activate
def test_verify_each_status(status: str, outcome: Outcome) -> None:
    """The table's words, told of the one transaction there is."""
    answers_verify(json=verified(status))
    answers_list(a_transaction(status))
    assert a_gateway().verify(an_attempt()).outcome is outcome


@responses.activate
def test_verify_when_status_is_unknown_then_unknown_and_logged() -> None:
    """Never guessed; one WARNING."""
    answers_verify(json=verified("frobnicated"))
    answers_list(a_transaction("failed", id=SECOND))
    with capture_logs() as lines:
        assert a_gateway().verify(an_attempt()).outcome is Outcome.UNKNOWN
    assert ("gateway.unknown_status", "warning") in [(line["action"], line["log_level"]) for line in lines]


@responses.activate
def test_verify_when_one_try_failed_and_another_is_open_then_pending() -> None:
    """Failed only when every try has failed: money may still come."""
    answers_verify(json=verified("failed"))
    answers_list(a_transaction("pending", id=SECOND), a_transaction("failed"))
    assert a_gateway().verify(an_attempt()).outcome is Outcome.PENDING


@responses.activate
def test_verify_when_the_list_holds_strangers_then_they_are_left_out() -> None:
    """Rows of other references do not count even if the filter is ignored."""
    answers_verify(json=verified("failed"))
    answers_list(a_transaction(id=7, tx_ref="PF-2"), a_transaction("failed"))
    assert a_gateway().verify(an_attempt()).outcome is Outcome.FAILED


@responses.activate
def test_verify_when_the_list_says_paid_but_the_transaction_does_not_then_it_is_not() -> None:
    """The list is a pointer; the transaction's own answer counts."""
    answers_verify(json=verified("failed"))
    answers_list(a_transaction(id=SECOND))
    answers_by_id(SECOND, json=verified("pending", id=SECOND))
    assert a_gateway().verify(an_attempt()).outcome is Outcome.PENDING


@responses.activate
def test_verify_when_the_list_fails_then_a_payment_stands_and_a_failure_does_not() -> None:
    """Without the list a paid reference is paid; that a reference has failed cannot be said."""
    answers_list(status=500, json={})
    answers_verify(json=verified())
    with capture_logs() as lines:
        assert a_gateway().verify(an_attempt()).outcome is Outcome.SUCCEEDED
    assert "gateway.list_failed" in [line["action"] for line in lines]
    responses.remove(responses.GET, f"{HOST}/transactions/verify_by_reference")
    answers_verify(json=verified("failed"))
    with pytest.raises(GatewayUnavailable):
        a_gateway().verify(an_attempt())


@responses.activate
def test_verify_when_listing_then_the_days_around_the_payment_are_asked_for() -> None:
    """`from` and `to` are required and wide enough for any zone."""
    answers_verify(json=verified())
    answers_list(a_transaction())
    a_gateway().verify(an_attempt())
    assert responses.calls[1].request.path_url == "/v3/transactions?from=2025-12-16&to=2026-01-16&tx_ref=PF-1"


@responses.activate
def test_verify_when_the_key_is_wrong_then_rejected_and_not_read_as_unknown_reference() -> None:
    """A 401 says nothing of the payment."""
    answers_verify(status=401, json=refused("Invalid authorization key"))
    with pytest.raises(GatewayRejected):
        a_gateway().verify(an_attempt())


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
