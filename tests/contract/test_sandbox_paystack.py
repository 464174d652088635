"""The sandbox's Paystack dialect against Paystack's own specification, samples, recorded requests and signatures."""

import base64
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from openapi_schema_validator import OAS30Validator

from payflow.sandbox import paystack_shapes
from payflow.sandbox.app import SandboxConfig, SandboxRooms, create_app, start
from payflow.sandbox.clock import OffsetClock
from payflow.sandbox.dialect import Event, Fact
from payflow.sandbox.records import RefundStatus

REPO = Path(__file__).resolve().parents[2]
SPECS = Path(os.environ.get("PAYFLOW_SPECS_DIR") or REPO / ".." / "shared" / "specs")
needs_specs = pytest.mark.skipif(
    not (SPECS / "paystack.openapi.json").is_file(),
    reason="the gateways' official specifications are not here; PAYFLOW_SPECS_DIR says where they are",
)
KEY = {"Authorization": "Bearer sk_test_sandbox"}
ORDER = {"email": "ada@example.com", "amount": 20000, "currency": "NGN", "reference": "PF-1"}


class HeldClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


class Paystack:
    """A merchant's view of the sandbox, plus the customer at the page."""

    def __init__(self, client: FlaskClient, rooms: SandboxRooms) -> None:
        self.client, self.rooms = client, rooms

    def initialize(self, **changes: Any) -> Any:
        return self.client.post("/paystack/transaction/initialize", json={**ORDER, **changes}, headers=KEY)

    def verify(self, reference: str = "PF-1") -> Any:
        return self.client.get(f"/paystack/transaction/verify/{reference}", headers=KEY)

    def status(self, reference: str = "PF-1") -> str:
        return str(self.verify(reference).json["data"]["status"])

    def pay(self, reference: str = "PF-1", outcome: str = "success", **more: Any) -> Any:
        return self.client.post("/sandbox/pay", json={"reference": reference, "outcome": outcome, **more})

    def paid(self, reference: str = "PF-1", **changes: Any) -> dict[str, Any]:
        self.initialize(reference=reference, **changes)
        self.pay(reference)
        data: dict[str, Any] = self.verify(reference).json["data"]
        return data

    def refund(self, **body: Any) -> Any:
        return self.client.post("/paystack/refund", json={"transaction": "PF-1", **body}, headers=KEY)

    def get(self, path: str) -> Any:
        return self.client.get(f"/paystack{path}", headers=KEY)

    def later(self, seconds: float) -> None:
        self.client.post("/sandbox/clock", json={"advance_seconds": seconds})

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(row["body"]) for row in self.client.get("/sandbox/webhooks").json["webhooks"]]


@pytest.fixture
def paystack() -> Iterator[Paystack]:
    app = create_app(SandboxConfig(), clock=OffsetClock(HeldClock()))
    yield Paystack(app.test_client(), app.extensions["sandbox"])
    app.extensions["sandbox"].party.state.close()


def _sample(name: str) -> Any:
    return json.loads((SPECS / "samples" / "paystack" / name).read_text(encoding="utf-8"))


def _answer_schema(path: str, method: str, status: str = "200") -> dict[str, Any]:
    spec = json.loads((SPECS / "paystack.openapi.json").read_text(encoding="utf-8"))
    answer = _inlined(spec["paths"][path][method]["responses"][status], spec)
    return dict(answer["content"]["application/json"]["schema"])


def _inlined(node: Any, spec: dict[str, Any]) -> Any:
    """Replace every $ref by what it points at, and let null pass where the type is missing (OpenAPI 3.0)."""
    if isinstance(node, list):
        return [_inlined(item, spec) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = spec
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return _inlined(target, spec)
    return {name: _inlined(value, spec) for name, value in node.items()}


def _check(answer: Any, path: str, method: str, status: str = "200") -> None:
    problems = [
        f"{'/'.join(map(str, error.path))}: {error.message}"
        for error in OAS30Validator(_answer_schema(path, method, status)).iter_errors(answer)
    ]
    assert problems == []


# --- the official material


@needs_specs
def test_golden_requests_of_the_official_library_are_accepted(paystack: Paystack) -> None:
    """What Paystack's own library really sends gets the answer Paystack would give."""
    lines = (SPECS / "golden" / "golden-paystack.jsonl").read_text(encoding="utf-8").splitlines()
    answers = []
    for line in lines:
        golden = json.loads(line)
        if (golden["method"], golden["path"]) == ("POST", "/refund"):
            paystack.pay("PF-1")
        headers = {**golden["headers"], "authorization": KEY["Authorization"]}
        answers.append(
            paystack.client.open(
                "/paystack" + golden["path"], method=golden["method"], headers=headers, data=golden["body"]
            )
        )
    assert [answer.status_code for answer in answers] == [200, 200, 404, 200, 404, 200]
    assert answers[0].json["data"]["reference"] == "PF-1"
    assert answers[3].json["message"] == "Refund has been queued for processing"


@needs_specs
def test_signature_of_official_bytes_then_equals_the_vectors() -> None:
    """The signature is the one openssl, Python and Node agree on, over the raw bytes."""
    vectors = json.loads((SPECS / "signature-vectors.json").read_text(encoding="utf-8"))["paystack"]
    for vector in vectors:
        body = base64.b64decode(vector["body_b64"])
        assert paystack_shapes.signature(body, vector["secret"]) == vector["signature"], vector["note"]


def test_signature_of_a_fixed_body_then_is_the_known_hex() -> None:
    """The signature is lowercase hex HMAC-SHA512 of the body under the secret key, checked without the specs."""
    body = (
        b'{"event":"charge.success","data":{"reference":"PF-1","amount":20000,"metadata":'
        b'{"url":"https:\\/\\/m.example\\/o","name":"Ad\\u00e1 \xe2\x82\xa6","ratio":1.0}}}'
    )
    assert paystack_shapes.signature(body, "sk_test_vector_0001") == (
        "68b6e9d6e6f1a27c8808019720d7816c006c24a834d8eab957c53d19cf89e007"
        "4c545cb5eb96afdbd85b4af385fdc747d95a945d653317297f5f01a940855450"
    )


@needs_specs
def test_answers_of_initialize_verify_and_refund_then_satisfy_the_specification(paystack: Paystack) -> None:
    """The answers whose official schema holds for the official samples hold for the sandbox too."""
    _check(paystack.initialize().json, "/transaction/initialize", "post")
    duplicate = paystack.initialize()
    _check(duplicate.json, "/transaction/initialize", "post", "400")
    paystack.pay()
    _check(paystack.verify().json, "/transaction/verify/{reference}", "get")
    _check(paystack.refund().json, "/refund", "post")


@needs_specs
@pytest.mark.parametrize(
    ("sample", "path"),
    [
        ("api.transactions.verify.json", "/transaction/verify/PF-1"),
        ("api.transactions.fetch.json", "/transaction/{transaction}"),
        ("api.refunds.fetch.json", "/refund/{refund}"),
    ],
)
def test_answer_fields_then_are_those_of_the_official_sample(paystack: Paystack, sample: str, path: str) -> None:
    """An adapter that reads any field of the official sample finds it in the sandbox's answer."""
    transaction = paystack.paid()
    refund = paystack.refund().json["data"]
    answer = paystack.get(path.format(transaction=transaction["id"], refund=refund["id"])).json
    official = _sample(sample)["200"]["data"]
    assert set(answer) == set(official)
    assert set(official["data"]) <= set(answer["data"])


@needs_specs
@pytest.mark.parametrize(
    ("sample", "fact", "status"),
    [
        ("webhook.refund.pending.json", Fact.REFUND_PENDING, RefundStatus.PENDING),
        ("webhook.refund.processing.json", Fact.REFUND_PROCESSING, RefundStatus.PROCESSING),
        ("webhook.refund.processed.json", Fact.REFUND_PROCESSED, RefundStatus.PROCESSED),
        ("webhook.refund.failed.json", Fact.REFUND_FAILED, RefundStatus.FAILED),
        ("webhook.refund.needs-attention.json", Fact.REFUND_NEEDS_ATTENTION, RefundStatus.NEEDS_ATTENTION),
    ],
)
def test_refund_webhook_then_has_the_official_fields_and_types(
    paystack: Paystack, sample: str, fact: Fact, status: RefundStatus
) -> None:
    """Each refund event has exactly the sample's fields; the amount is text or number as in the sample."""
    paystack.paid()
    paystack.refund(amount=5000)
    state = paystack.rooms.party.state
    refund = next(iter(state.refunds.values()))
    refund.status = status
    body = paystack_shapes.webhook_body(Event(fact=fact, charge=state.charges[refund.charge_id], refund=refund))
    assert body is not None
    mine, official = json.loads(body[1]), _sample(sample)
    assert mine["event"] == official["event"]
    assert set(mine["data"]) == set(official["data"])
    assert type(mine["data"]["amount"]) is type(official["data"]["amount"])
    assert (mine["data"]["refund_reference"] is None) == (official["data"]["refund_reference"] is None)


@needs_specs
def test_charge_and_dispute_webhooks_then_have_the_official_fields(paystack: Paystack) -> None:
    """charge.success and charge.dispute.* carry at least the fields of their samples."""
    paystack.paid()
    for fault in ("dispute", "dispute_resolve"):
        paystack.client.post("/sandbox/faults", json={"fault": fault, "reference": "PF-1"})
    paid, opened, resolved = paystack.sent()
    for mine, sample in (
        (paid, "webhook.charge.success.json"),
        (opened, "webhook.charge.dispute.create.json"),
        (resolved, "webhook.charge.dispute.resolve.json"),
    ):
        official = _sample(sample)
        assert mine["event"] == official["event"]
        assert set(official["data"]) <= set(mine["data"])
    assert paid["data"]["metadata"] == 0
    assert resolved["data"]["transaction"]["status"] == "reversed"


# --- transactions


def test_initialize_when_accepted_then_the_transaction_is_abandoned_and_has_a_page(paystack: Paystack) -> None:
    """Right after initialize Paystack says "abandoned", and the address it gives shows a page."""
    data = paystack.initialize().json["data"]
    assert paystack.status() == "abandoned"
    assert data["authorization_url"] == f"http://localhost/checkout/{data['access_code']}"
    assert paystack.client.get(data["authorization_url"]).status_code == 200


def test_initialize_when_the_reference_was_used_then_refused_for_ever(paystack: Paystack) -> None:
    """The same reference is refused with the same body, with another, and after payment."""
    paystack.initialize()
    same, other = paystack.initialize(), paystack.initialize(amount=1)
    paystack.pay()
    after = paystack.initialize()
    for answer in (same, other, after):
        assert answer.status_code == 400
        assert answer.json["code"] == "duplicate_reference"
        assert answer.json["message"] == "Duplicate Transaction Reference"
    assert len(paystack.client.get("/sandbox/charges").json["charges"]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount": 0}, "You must specify a valid amount"),
        ({"amount": None}, "You must specify a valid amount"),
        ({"amount": True}, "You must specify a valid amount"),
        ({"amount": -5}, "Invalid Amount Sent"),
        ({"amount": 200.5}, "Invalid Amount Sent"),
        ({"amount": "two"}, "Invalid Amount Sent"),
        ({"amount": 10**12}, "Transaction amount limit exceeded"),
        ({"currency": "EUR"}, "Currency not supported by merchant"),
        ({"currency": ["NGN"]}, "Currency not supported by merchant"),
        ({"email": ""}, "Email is not allowed to be empty"),
        ({"email": "nobody"}, "Invalid Email Address Passed"),
        ({"reference": "PF_1"}, "Invalid character in transaction reference"),
        ({"reference": "PF 1"}, "Invalid character in transaction reference"),
    ],
)
def test_initialize_when_a_field_is_wrong_then_400_and_nothing_is_made(
    paystack: Paystack, change: dict[str, Any], message: str
) -> None:
    """A refused initialize says what is wrong in Paystack's words and leaves no transaction."""
    answer = paystack.initialize(**change)
    assert (answer.status_code, answer.json["message"]) == (400, message)
    assert answer.json["status"] is False
    assert paystack.client.get("/sandbox/charges").json["charges"] == []


def test_initialize_when_amount_is_digits_or_the_body_a_form_then_accepted(paystack: Paystack) -> None:
    """Paystack's documentation sends amounts as text, and its specification allows forms."""
    assert paystack.initialize(amount="20000").status_code == 200
    form = {**ORDER, "reference": "PF-2"}
    assert paystack.client.post("/paystack/transaction/initialize", data=form, headers=KEY).status_code == 200


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "No Authorization Header was found"),
        ({"Authorization": "sk_test_sandbox"}, "Format is Authorization Bearer [secret key]"),
        ({"Authorization": "Bearer sk_test_other"}, "Invalid key"),
        ({"Authorization": "Bearer sk_\u00fcber"}, "Invalid key"),
    ],
)
def test_any_call_without_the_key_then_401(paystack: Paystack, headers: dict[str, str], message: str) -> None:
    """Every route wants the secret key, and a wrong one has no effect."""
    for method, path in (
        ("POST", "/transaction/initialize"), ("GET", "/transaction/verify/PF-1"), ("GET", "/transaction/1"),
        ("GET", "/transaction"), ("POST", "/refund"), ("GET", "/refund"), ("GET", "/refund/1"),
        ("POST", "/refund/retry_with_customer_details/1"),
    ):  # fmt: skip
        answer = paystack.client.open("/paystack" + path, method=method, headers=headers, json=ORDER)
        assert (answer.status_code, answer.json["message"]) == (401, message), path
    assert paystack.client.get("/sandbox/charges").json["charges"] == []


def test_verify_when_paid_then_success_with_what_was_asked(paystack: Paystack) -> None:
    """A paid transaction tells amount, requested amount, currency, fees, card and the caller's metadata."""
    data = paystack.paid(metadata={"order": "ORD-1"})
    assert data["status"] == "success"
    assert (data["amount"], data["requested_amount"], data["currency"]) == (20000, 20000, "NGN")
    assert (data["fees"], data["metadata"], data["domain"]) == (300, {"order": "ORD-1"}, "test")
    assert data["paid_at"] == "2026-03-01T12:00:00.250Z"
    assert data["authorization"]["last4"] == "4081"


def test_verify_when_unknown_then_transaction_not_found(paystack: Paystack) -> None:
    """An unknown reference, an odd one included, is told by the code transaction_not_found."""
    for reference in ("PF-9", "..%2Frefund%3Fx=", "a/b"):
        answer = paystack.verify(reference)
        assert (answer.status_code, answer.json["code"]) == (400, "transaction_not_found")


def test_verify_when_declined_then_failed_and_may_still_succeed(paystack: Paystack) -> None:
    """A declined transaction is failed, no webhook tells it, and the customer may pay after all."""
    paystack.initialize()
    paystack.pay(outcome="decline")
    assert paystack.status() == "failed"
    assert paystack.sent() == []
    paystack.pay()
    assert paystack.status() == "success"
    assert [body["event"] for body in paystack.sent()] == ["charge.success"]


def test_verify_when_paid_late_then_ongoing_first(paystack: Paystack) -> None:
    """A customer who leaves with a transfer running makes the transaction ongoing, then success."""
    paystack.initialize()
    paystack.pay(outcome="late", after_seconds=60)
    paystack.later(59)
    assert paystack.status() == "ongoing"
    paystack.later(1)
    assert paystack.status() == "success"


def test_pay_when_repeated_then_charged_once(paystack: Paystack) -> None:
    """A customer who clicks twice is charged once and told so once."""
    paystack.paid()
    again = paystack.pay().json
    assert again["already_paid"] is True
    assert paystack.client.get("/sandbox/charges").json["by_reference"]["PF-1"]["charges"] == 1
    assert len(paystack.sent()) == 1


def test_transaction_lists_then_filter_and_page(paystack: Paystack) -> None:
    """The list is newest first, filtered by status, with Paystack's page numbers in meta."""
    for number in range(3):
        paystack.paid(f"PF-{number}")
    paystack.initialize(reference="PF-9")
    answer = paystack.get("/transaction?status=success&perPage=2&page=2").json
    assert [row["reference"] for row in answer["data"]] == ["PF-0"]
    assert answer["meta"] == {
        "total": 3, "skipped": 2, "perPage": 2, "page": 2, "pageCount": 2, "total_volume": 60000,
    }  # fmt: skip
    assert paystack.get("/transaction?from=2027-01-01").json["data"] == []
    assert paystack.get("/transaction/none").json["message"] == "Transaction ID should be numeric."


# --- refunds


def test_refund_when_time_passes_then_pending_processing_processed(paystack: Paystack) -> None:
    """A refund walks through its statuses, each told by a webhook, and verify stops saying success."""
    paystack.paid()
    data = paystack.refund().json["data"]
    assert (data["status"], data["amount"], data["transaction"]["reference"]) == ("pending", 20000, "PF-1")
    seen = [(paystack.get(f"/refund/{data['id']}").json["data"]["status"], paystack.status())]
    for _ in range(2):
        paystack.later(1)
        seen.append((paystack.get(f"/refund/{data['id']}").json["data"]["status"], paystack.status()))
    assert seen == [("pending", "reversal-pending"), ("processing", "reversal-pending"), ("processed", "reversed")]
    assert [body["event"] for body in paystack.sent()[1:]] == [
        "refund.pending", "refund.processing", "refund.processed",
    ]  # fmt: skip


def test_refund_when_partial_then_reversal_pending_and_the_rest_stays_refundable(paystack: Paystack) -> None:
    """Parts add up to the whole and not a subunit further; without an amount Paystack means the whole."""
    paystack.paid()
    assert paystack.refund(amount=5000).status_code == 200
    paystack.later(10)
    assert paystack.status() == "reversal-pending"
    too_much = "Total refund amount cannot exceed original transaction amount"
    assert paystack.refund().json["message"] == too_much
    assert paystack.refund(amount=15001).json["message"] == too_much
    assert paystack.refund(amount=15000).status_code == 200
    assert paystack.refund(amount=1).json["message"] == "Transaction has been fully reversed"
    assert paystack.client.get("/sandbox/charges").json["by_reference"]["PF-1"]["returning_minor"] == 15000


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"transaction": ""}, 400, "transaction is required"),
        ({"transaction": "PF-9"}, 404, "Transaction not found"),
        ({"currency": "USD"}, 400, "Transaction currency must match refund currency"),
        ({"amount": -1}, 400, "Invalid Amount Sent"),
        ({"amount": 20001}, 400, "Total refund amount cannot exceed original transaction amount"),
    ],
)
def test_refund_when_not_allowed_then_refused_in_paystacks_words(
    paystack: Paystack, body: dict[str, Any], status: int, message: str
) -> None:
    """A refund that may not be is refused and leaves no refund."""
    paystack.paid()
    answer = paystack.refund(**body)
    assert (answer.status_code, answer.json["message"]) == (status, message)
    assert paystack.client.get("/sandbox/refunds").json["refunds"] == []


def test_refund_when_unpaid_or_below_the_minimum_then_refused(paystack: Paystack) -> None:
    """Money that never came cannot go back, and a dollar refund has a minimum."""
    paystack.initialize()
    assert paystack.refund().status_code == 400
    paystack.paid("PF-2", currency="USD")
    answer = paystack.refund(transaction="PF-2", amount=99)
    assert answer.json["message"] == "Cannot refund less than USD 1"


def test_refund_by_number_and_listed_by_number_then_found(paystack: Paystack) -> None:
    """A refund may name the transaction by number, and the list takes only the number."""
    number = paystack.paid()["id"]
    paystack.paid("PF-2")
    paystack.refund(transaction="PF-2")
    assert paystack.refund(transaction=str(number), amount=100).status_code == 200
    listed = paystack.get(f"/refund?transaction={number}").json
    assert [(row["transaction"], row["amount"]) for row in listed["data"]] == [(number, 100)]
    assert (listed["meta"]["total"], listed["meta"]["perPage"]) == (1, "50")
    assert paystack.get("/refund?transaction=PF-1").status_code == 400
    assert len(paystack.get("/refund").json["data"]) == 2
    assert paystack.get("/refund/7").status_code == 404


def test_refund_when_it_needs_attention_then_retried_with_bank_details(paystack: Paystack) -> None:
    """Only a refund that waits for bank details may be retried; then it is processed."""
    paystack.paid()
    paystack.client.post("/sandbox/faults", json={"fault": "refund_needs_attention"})
    number = paystack.refund().json["data"]["id"]
    details = {"refund_account_details": {"currency": "NGN", "account_number": "1234567890", "bank_id": "9"}}

    def retry() -> Any:
        path = f"/paystack/refund/retry_with_customer_details/{number}"
        return paystack.client.post(path, json=details, headers=KEY)

    assert retry().status_code == 422
    paystack.later(5)
    assert paystack.get(f"/refund/{number}").json["data"]["status"] == "needs-attention"
    assert retry().json["data"]["status"] == "processing"
    paystack.later(5)
    assert paystack.get(f"/refund/{number}").json["data"]["status"] == "processed"


# --- over a real connection, and over a restart


def test_main_path_over_a_real_port_then_paid() -> None:
    """Initialize, page, button and verify work over HTTP, and the browser is sent back with the reference."""
    sandbox = start(SandboxConfig())
    try:
        order = {**ORDER, "callback_url": "https://shop.example/back?basket=7"}
        made = requests.post(f"{sandbox.url}/paystack/transaction/initialize", json=order, headers=KEY, timeout=5)
        page = made.json()["data"]["authorization_url"]
        assert "NGN 200.00" in requests.get(page, timeout=5).text
        sent_back = requests.post(f"{page}/success", allow_redirects=False, timeout=5)
        assert sent_back.status_code == 303
        assert sent_back.headers["Location"] == "https://shop.example/back?basket=7&trxref=PF-1&reference=PF-1"
        verified = requests.get(f"{sandbox.url}/paystack/transaction/verify/PF-1", headers=KEY, timeout=5)
        assert verified.json()["data"]["status"] == "success"
    finally:
        sandbox.stop()


def test_restart_with_a_state_file_then_charges_and_refunds_are_kept(tmp_path: Path) -> None:
    """A charge survives the sandbox, a refund goes on, a torn last line costs nothing, a reference stays used."""
    config = SandboxConfig(state_path=tmp_path / "sandbox.jsonl")
    clock = OffsetClock(HeldClock())
    before = create_app(config, clock=clock)
    merchant = Paystack(before.test_client(), before.extensions["sandbox"])
    number = merchant.paid()["id"]
    refund = merchant.refund(amount=5000).json["data"]["id"]
    merchant.rooms.party.state.close()
    with (tmp_path / "sandbox.jsonl").open("a", encoding="utf-8") as journal:
        journal.write('{"kind":"charge","row":{"id":')

    after = create_app(config, clock=clock)
    merchant = Paystack(after.test_client(), after.extensions["sandbox"])
    assert merchant.verify().json["data"]["id"] == number
    assert merchant.initialize().json["code"] == "duplicate_reference"
    assert merchant.paid("PF-2")["id"] > number
    merchant.later(10)
    assert merchant.get(f"/refund/{refund}").json["data"]["status"] == "processed"
    assert merchant.client.get("/sandbox/charges").json["by_reference"]["PF-1"]["returned_minor"] == 5000
    merchant.rooms.party.state.close()


def test_equal_seeds_then_equal_ids() -> None:
    """A seed decides the ids and codes, so a campaign can be repeated."""

    def ids(seed: int) -> tuple[int, str]:
        app = create_app(SandboxConfig(seed=seed), clock=OffsetClock(HeldClock()))
        merchant = Paystack(app.test_client(), app.extensions["sandbox"])
        code = merchant.initialize().json["data"]["access_code"]
        return merchant.verify().json["data"]["id"], code

    assert ids(7) == ids(7)
    assert ids(7) != ids(8)
