"""The Paystack adapter: tables, shapes, odd answers, webhooks and the registry's row."""

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
    AnswerNotUnderstood,
    ConfigurationError,
    GatewayRejected,
    GatewayUnavailable,
    InvalidInput,
    OutcomeUnknown,
    PayflowError,
)
from payflow.core.money import Money
from payflow.gateways.base import (
    Gateway,
    HintKind,
    LostInitiate,
    Outcome,
    RefundRef,
    SignatureInvalid,
    UnreadableWebhook,
)
from payflow.gateways.paystack_amounts import MINIMUM_SUBUNITS
from payflow.gateways.paystack_words import PAYMENT_OUTCOMES, REFUND_OUTCOMES
from payflow.gateways.registry import build_gateways, choose
from payflow.settings import Settings
from tests.contract.official import SPECS, needs_specs
from tests.contract.paystack_kit import (
    HOST,
    INITIALIZED,
    SECRET,
    Kept,
    a_gateway,
    a_refund,
    a_request,
    an_attempt,
    answers_initialize,
    answers_refund,
    answers_verify,
    refunded,
    refused,
    sample,
    sent,
    signed,
    spec_text,
    validate_against_the_spec,
    verified,
)

OFFICIAL_PAYMENT_WORDS = {
    "success", "failed", "abandoned", "ongoing", "pending", "processing", "queued", "reversed", "reversal-pending",
}  # fmt: skip
OFFICIAL_REFUND_WORDS = {"pending", "processing", "needs-attention", "failed", "processed"}


def test_adapter_keeps_the_protocol() -> None:
    """The adapter is a Gateway, and says that its refunds are not idempotent and its initiates are probed."""
    gateway: Gateway = a_gateway()
    assert (gateway.name, gateway.refund_is_idempotent, gateway.lost_initiate) == (
        "paystack",
        False,
        LostInitiate.PROBE,
    )


def test_status_tables_hold_every_documented_word() -> None:
    """Paystack docs, Verify payments and Refunds: all words, and no other."""
    assert set(PAYMENT_OUTCOMES) == OFFICIAL_PAYMENT_WORDS
    assert set(REFUND_OUTCOMES) == OFFICIAL_REFUND_WORDS


@pytest.mark.parametrize("currency", ["JPY", "KWD", "EUR", "UGX"])
def test_check_when_currency_is_not_paystacks_then_refused_locally(currency: str) -> None:
    """Zero- and three-decimal currencies outside its list never reach a ×100."""
    with pytest.raises(InvalidInput) as caught:
        a_gateway().initiate(a_request(100_000, currency))
    assert caught.value.pointer == "/currency"


@pytest.mark.parametrize(("currency", "subunits"), MINIMUM_SUBUNITS.items())
def test_check_when_amount_is_at_or_below_the_minimum(currency: str, subunits: int) -> None:
    """The least amount passes, one unit less is refused and named (Paystack docs, Supported currency)."""
    least = subunits // 100 if currency == "XOF" else subunits
    a_gateway().check(a_request(least, currency))
    with pytest.raises(InvalidInput) as caught:
        a_gateway().check(a_request(least - 1, currency))
    assert caught.value.pointer == "/amount"


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_check_when_amount_is_not_positive_then_refused(amount_minor: int) -> None:
    """Nothing and less than nothing cannot be collected."""
    with pytest.raises(InvalidInput):
        a_gateway().check(a_request(amount_minor))


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"payment_method": "cheque"}, "/payment_method"),
        ({"customer_email": "nobody"}, "/customer"),
        ({"reference": "PF-é"}, "/reference"),
        ({"reference": "PF-1\n"}, "/reference"),
        ({"reference": ""}, "/reference"),
        ({"reference": ".."}, "/reference"),
    ],
)
def test_check_when_a_field_cannot_be_taken_then_it_is_named(changes: dict[str, Any], pointer: str) -> None:
    """Each local refusal points at its field."""
    with pytest.raises(InvalidInput) as caught:
        a_gateway().check(a_request(**changes))
    assert caught.value.pointer == pointer


@responses.activate
def test_initiate_when_method_and_metadata_are_given_then_they_are_sent() -> None:
    """`channels` narrows the page, `metadata` travels as an object."""
    answers_initialize()
    a_gateway().initiate(a_request(payment_method="card", metadata={"order": "ORD-1"}))
    assert sent()["channels"] == ["card"]
    assert sent()["metadata"] == {"order": "ORD-1"}
    if SPECS.is_dir():
        validate_against_the_spec()


@pytest.mark.parametrize(
    "data",
    [
        {"authorization_url": None},
        {"authorization_url": "http://checkout.paystack.com/x"},
        {"authorization_url": "javascript:1"},
    ],
    ids=["none", "not encrypted", "no address"],
)
@responses.activate
def test_initiate_when_page_address_is_unusable_then_not_understood(data: dict[str, Any]) -> None:
    """A customer is only ever sent to an https page."""
    answers_initialize(json=INITIALIZED | {"data": {"reference": "PF-1"} | data})
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().initiate(a_request())


@pytest.mark.parametrize(
    "body",
    [{}, {"status": True}, {"status": "success", "data": {}}, {"status": True, "data": "x"}, {"status": 1, "data": {}}],
)
@responses.activate
def test_calls_when_envelope_is_odd_then_not_understood(body: dict[str, Any]) -> None:
    """Only `status: true` with an object is an answer; nothing is guessed."""
    answers_initialize(json=body)
    answers_verify(json=body)
    answers_refund(json=body)
    responses.get(f"{HOST}/refund/1", json=body)
    responses.get(f"{HOST}/refund", json=body)
    gateway, refund = a_gateway(), RefundRef("r-1", an_attempt(), Money(1, "NGN"), gateway_refund_id="1")
    for call in (
        lambda: gateway.initiate(a_request()),
        lambda: gateway.verify(an_attempt()),
        lambda: gateway.refund(a_refund()),
        lambda: gateway.fetch_refund(refund),
        lambda: gateway.list_refunds(an_attempt(transaction_id="1641")),
    ):
        with pytest.raises(AnswerNotUnderstood):
            call()


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": None},
        {"amount": -1},
        {"amount": "1e3"},
        {"amount": 20000.5},
        {"amount": True},
        {"requested_amount": "x"},
        {"currency": None},
        {"currency": "ngn"},
        {"status": None},
        {"status": 1},
        {"reference": None},
    ],
    ids=str,
)
@responses.activate
def test_verify_when_an_essential_field_is_odd_then_not_understood(changes: dict[str, Any]) -> None:
    """No amount, currency, state or reference is ever filled in by us."""
    answers_verify(json=verified(**changes))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().verify(an_attempt())


@responses.activate
def test_verify_when_lesser_fields_are_odd_then_they_are_left_out() -> None:
    """Fees, time, channel, mode and reason are extras: `null` or nonsense there does not lose a payment."""
    answers_verify(
        json=verified(fees=None, paid_at="soon", channel=7, domain=None, gateway_response=None, amount="20000")
    )
    seen = a_gateway().verify(an_attempt())
    assert seen.outcome is Outcome.SUCCEEDED
    assert seen.amount == Money(20_000, "NGN")
    assert (seen.fee_minor, seen.paid_at, seen.payment_method, seen.is_test, seen.message) == (None,) * 5


@responses.activate
def test_verify_when_currency_has_no_subunit_then_hundredths_are_undone() -> None:
    """XOF 500 comes back as 50000 and is 500 again."""
    answers_verify(json=verified(amount=50_000, requested_amount=50_000, currency="XOF", fees=750))
    seen = a_gateway().verify(an_attempt(500, "XOF"))
    assert seen.amount == Money(500, "XOF")
    assert seen.fee_minor == 8


@responses.activate
def test_verify_when_no_requested_amount_then_amount_counts() -> None:
    """`requested_amount` is used only when it is there."""
    answers_verify(json=verified(amount=19_000, requested_amount=None))
    assert a_gateway().verify(an_attempt()).amount == Money(19_000, "NGN")


@responses.activate
def test_verify_when_the_key_is_wrong_then_rejected_and_not_read_as_unknown_reference() -> None:
    """A 401 says nothing of the payment."""
    answers_verify(status=401, json=refused("Invalid key", "invalid_Key"))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().verify(an_attempt())
    assert caught.value.gateway_code == "invalid_Key"


@responses.activate
def test_refund_answer_when_for_another_transaction_then_not_understood() -> None:
    """An answer about somebody else's money is no answer."""
    answers_refund(json=refunded(transaction={"id": 1, "reference": "PF-2"}))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().refund(a_refund())


def test_refund_when_id_would_not_survive_the_note_then_refused_locally() -> None:
    """Our id is read back out of free text, so it must be one word."""
    with pytest.raises(InvalidInput):
        a_gateway().refund(a_refund(refund_id="r 1"))


@responses.activate
def test_refund_when_gateway_fails_then_unknown_and_not_repeated() -> None:
    """There is no idempotency key: one POST, whatever happens."""
    answers_refund(status=503, body="<html>", content_type="text/html")
    with pytest.raises(OutcomeUnknown):
        a_gateway().refund(a_refund())
    assert len(responses.calls) == 1


@responses.activate
def test_fetch_refund_when_answer_is_another_refund_then_not_understood() -> None:
    """The id is compared."""
    responses.get(f"{HOST}/refund/5", json=refunded(id=6))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().fetch_refund(RefundRef("r-1", an_attempt(), Money(1, "NGN"), gateway_refund_id="5"))
    with pytest.raises(InvalidInput):
        a_gateway().fetch_refund(RefundRef("r-1", an_attempt(), Money(1, "NGN")))


def a_page(*rows: dict[str, Any], **meta: int) -> dict[str, Any]:
    return {"status": True, "message": "Refunds retrieved", "data": list(rows)} | ({"meta": meta} if meta else {})


def a_row(number: int, transaction: Any = 1641) -> dict[str, Any]:
    row: dict[str, Any] = refunded(id=number, transaction=transaction, merchant_note=f"payflow refund r-{number}")[
        "data"
    ]
    return row


@responses.activate
def test_list_refunds_when_pages_overlap_then_each_refund_once() -> None:
    """A refund made while we page shifts the rows; strangers' rows are left out even if the filter is ignored."""
    pages = [
        a_page(a_row(3), a_row(2), pageCount=2, total=4),
        a_page(a_row(2), a_row(1, {"id": 1641}), a_row(9, 5), pageCount=2, total=4),
    ]
    for number, page in enumerate(pages, 1):
        responses.get(f"{HOST}/refund", json=page, match=[responses.matchers.query_param_matcher(
            {"transaction": "1641", "perPage": "100", "page": str(number)})])  # fmt: skip
    found = a_gateway().list_refunds(an_attempt(transaction_id="1641"))
    assert [(one.gateway_refund_id, one.refund_id) for one in found] == [("3", "r-3"), ("2", "r-2"), ("1", "r-1")]


@responses.activate
def test_list_refunds_when_no_meta_is_sent_then_it_ends_at_a_page_without_news() -> None:
    """The official sample has no `meta`: the same page again, or an empty one, is the end."""
    responses.get(f"{HOST}/refund", json=a_page(a_row(1)))
    responses.get(f"{HOST}/refund", json=a_page())
    assert len(a_gateway().list_refunds(an_attempt(transaction_id="1641"))) == 1


@pytest.mark.parametrize(
    "page",
    [a_page(a_row(1), pageCount=1, total=3), a_page({"id": None}), {"status": True, "data": {}}],
    ids=["short", "odd", "none"],
)
@responses.activate
def test_list_refunds_when_it_is_incomplete_then_not_understood(page: dict[str, Any]) -> None:
    """A missing row would be paid a second time, so there is no partial answer."""
    responses.get(f"{HOST}/refund", json=page)
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().list_refunds(an_attempt(transaction_id="1641"))


@responses.activate
def test_list_refunds_when_it_never_ends_then_not_understood() -> None:
    """A listing that always has news is cut off, loudly."""
    numbers = iter(range(1_000))
    responses.add_callback(
        responses.GET,
        f"{HOST}/refund",
        callback=lambda _request: (200, {}, json.dumps(a_page(a_row(next(numbers))))),
        content_type="application/json",
    )
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().list_refunds(an_attempt(transaction_id="1641"))
    assert len(responses.calls) == 50


@responses.activate
def test_list_refunds_when_transaction_id_is_missing_then_verify_tells_it() -> None:
    """The list wants the numeric id; one question learns it."""
    answers_verify(json=verified(id=1641))
    responses.get(f"{HOST}/refund", json=a_page(a_row(1), pageCount=1, total=1))
    assert len(a_gateway().list_refunds(an_attempt())) == 1
    assert "transaction=1641" in str(responses.calls[1].request.url)


@responses.activate
def test_list_refunds_when_transaction_is_unknown_there_then_rejected() -> None:
    """No transaction, so no refund and no second try."""
    answers_verify(status=404, json=refused("Transaction reference not found.", "transaction_not_found"))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().list_refunds(an_attempt())
    assert caught.value.code == "transaction_not_found"


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
