"""The sandbox's Flutterwave dialect against the published specification, samples, recorded requests and signatures."""

import base64
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from openapi_schema_validator import OAS30Validator

from payflow.sandbox import flutterwave_shapes as shapes
from payflow.sandbox.app import SandboxConfig, SandboxRooms, create_app, start
from payflow.sandbox.cli import parser
from payflow.sandbox.clock import OffsetClock
from payflow.sandbox.flutterwave import BOTH_HEADERS, DEVELOPMENT_HASH, DEVELOPMENT_SECRET, signature_of

REPO = Path(__file__).resolve().parents[2]
SPECS = Path(os.environ.get("PAYFLOW_SPECS_DIR") or REPO / ".." / "shared" / "specs")
needs_specs = pytest.mark.skipif(
    not (SPECS / "flutterwave-v3.patched.openapi.json").is_file(),
    reason="the gateways' official specifications are not here; PAYFLOW_SPECS_DIR says where they are",
)
KEY = {"Authorization": f"Bearer {DEVELOPMENT_SECRET}"}
ORDER = {
    "tx_ref": "PF-1",
    "amount": 1000,
    "currency": "NGN",
    "redirect_url": "https://shop.example/back?basket=7",
    "customer": {"email": "ada@example.com", "name": "Ada"},
    "meta": {"order": "ORD-1"},
}
DAYS = "from=2026-02-28&to=2026-03-02"


class HeldClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


class Flutterwave:
    """A merchant's view of the sandbox, plus the customer at the page."""

    def __init__(self, client: FlaskClient, rooms: SandboxRooms) -> None:
        self.client, self.rooms = client, rooms

    def pay_link(self, **changes: Any) -> Any:
        return self.client.post("/flutterwave/payments", json={**ORDER, **changes}, headers=KEY)

    def get(self, path: str) -> Any:
        return self.client.get(f"/flutterwave{path}", headers=KEY)

    def verify(self, reference: str = "PF-1") -> Any:
        return self.get(f"/transactions/verify_by_reference?tx_ref={reference}")

    def data(self, reference: str = "PF-1") -> dict[str, Any]:
        told: dict[str, Any] = self.verify(reference).json["data"]
        return told

    def pay(self, reference: str = "PF-1", outcome: str = "success", **more: Any) -> Any:
        return self.client.post("/sandbox/pay", json={"reference": reference, "outcome": outcome, **more}).json

    def paid(self, reference: str = "PF-1", **changes: Any) -> dict[str, Any]:
        self.pay_link(tx_ref=reference, **changes)
        self.pay(reference)
        return self.data(reference)

    def refund(self, number: int, **body: Any) -> Any:
        return self.client.post(f"/flutterwave/transactions/{number}/refund", json=body, headers=KEY)

    def plant(self, fault: str, **more: Any) -> None:
        assert self.client.post("/sandbox/faults", json={"fault": fault, **more}).status_code == 201

    def later(self, seconds: float) -> None:
        self.client.post("/sandbox/clock", json={"advance_seconds": seconds})

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(row["body"]) for row in self.client.get("/sandbox/webhooks").json["webhooks"]]


@pytest.fixture
def flutterwave() -> Iterator[Flutterwave]:
    app = create_app(SandboxConfig(), clock=OffsetClock(HeldClock()))
    yield Flutterwave(app.test_client(), app.extensions["sandbox"])
    app.extensions["sandbox"].party.state.close()


def _sample(name: str) -> Any:
    return json.loads((SPECS / "samples" / "flutterwave" / f"{name}.json").read_text(encoding="utf-8"))


def _check(answer: Any, path: str, method: str, status: str = "200") -> None:
    spec = json.loads((SPECS / "flutterwave-v3.patched.openapi.json").read_text(encoding="utf-8"))
    schema = spec["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    problems = [f"{'/'.join(map(str, one.path))}: {one.message}" for one in OAS30Validator(schema).iter_errors(answer)]
    assert problems == []


# --- the official material


@needs_specs
def test_golden_requests_of_the_official_library_are_accepted(flutterwave: Flutterwave) -> None:
    """What Flutterwave's own library really sends gets the answer Flutterwave would give."""
    number = flutterwave.paid()["id"]
    answers = []
    for line in (SPECS / "golden" / "golden-flutterwave.jsonl").read_text(encoding="utf-8").splitlines():
        golden = json.loads(line)
        path = golden["path"].removeprefix("/v3").replace("4975363", str(number))
        body = golden["body"].replace("10.5", "100.5")
        headers = {**golden["headers"], "authorization": KEY["Authorization"]}
        answers.append(
            flutterwave.client.open(f"/flutterwave{path}", method=golden["method"], headers=headers, data=body)
        )
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404]  # the last is the timeline
    assert answers[2].json["data"]["amount_refunded"] == 100.5


@needs_specs
def test_signature_of_official_bytes_then_equals_the_vectors() -> None:
    """Both proofs are the ones openssl and Python agree on, over the raw bytes."""
    for vector in json.loads((SPECS / "signature-vectors.json").read_text(encoding="utf-8"))["flutterwave"]:
        body = base64.b64decode(vector["body_b64"])
        proofs = {"verif-hash": vector["secret"], "flutterwave-signature": shapes.signature(body, vector["secret"])}
        assert proofs[vector["header"]] == vector["signature"], vector["note"]


def test_signature_of_a_fixed_body_then_is_the_known_text() -> None:
    """base64 of HMAC-SHA256 under the secret hash, checked without the specs."""
    body = b'{"event":"charge.completed","data":{"id":285959875,"tx_ref":"PF-1","amount":100,"currency":"NGN",'
    body += b'"status":"successful"}}'
    assert shapes.signature(body, "flw-secret-hash-1") == "iuWzgQddRoj+bpYl1WXsXmNGAO5MkW7kd/BQk4rqBa8="


@needs_specs
def test_answers_then_satisfy_the_specification(flutterwave: Flutterwave) -> None:
    """Every answer holds against the patched specification."""
    _check(flutterwave.pay_link().json, "/v3/payments", "post")
    _check(flutterwave.verify().json, "/v3/transactions/verify_by_reference", "get", "400")
    flutterwave.pay()
    number = flutterwave.data()["id"]
    _check(flutterwave.verify().json, "/v3/transactions/verify_by_reference", "get")
    _check(flutterwave.get(f"/transactions/{number}/verify").json, "/v3/transactions/{id}/verify", "get")
    _check(flutterwave.get(f"/transactions?{DAYS}").json, "/v3/transactions", "get")
    created = flutterwave.refund(number, amount=100).json
    _check(created, "/v3/transactions/{id}/refund", "post")
    _check(flutterwave.get(f"/refunds/{created['data']['id']}").json, "/v3/refunds/{id}", "get")
    _check(flutterwave.get("/refunds").json, "/v3/refunds", "get")


@needs_specs
def test_answer_fields_then_are_those_of_the_official_samples(flutterwave: Flutterwave) -> None:
    """An adapter that reads any field of an official sample finds it in the sandbox's answer."""
    number = flutterwave.paid()["id"]
    created = flutterwave.refund(number, amount=100, comments="x").json
    for mine, sample in (
        (flutterwave.verify().json, "get.v3.transactions.verify_by_reference.200"),
        (flutterwave.get(f"/transactions/{number}/verify").json, "get.v3.transactions.id.verify.200"),
        (flutterwave.get(f"/transactions?{DAYS}").json, "get.v3.transactions.200"),
        (created, "post.v3.transactions.id.refund.200"),
        (flutterwave.get("/refunds").json, "get.v3.refunds.200"),
    ):
        official = _sample(sample)
        ours, theirs = (one["data"][0] if isinstance(one["data"], list) else one["data"] for one in (mine, official))
        assert set(mine) == set(official), sample
        assert mine["message"] == official["message"]
        assert set(theirs) <= set(ours), sample
        if "meta" in official:
            assert set(mine["meta"]["page_info"]) == set(official["meta"]["page_info"])
    assert flutterwave.verify("PF-9").json == _sample("get.v3.transactions.verify_by_reference.400")


# --- transactions


def test_payments_when_accepted_then_there_is_a_page_and_no_transaction(flutterwave: Flutterwave) -> None:
    """A link is not a transaction: until the customer starts, nobody knows the reference."""
    answer = flutterwave.pay_link().json
    assert (answer["status"], answer["message"]) == ("success", "Hosted Link")
    assert flutterwave.client.get(answer["data"]["link"]).status_code == 200
    told = flutterwave.verify()
    assert (told.status_code, told.json) == (
        400,
        {"status": "error", "message": "No transaction was found for this id", "data": None},
    )
    flutterwave.pay(outcome="abandon")
    assert flutterwave.verify().status_code == 400
    assert flutterwave.get(f"/transactions?{DAYS}").json["data"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tx_ref": ""}, "tx_ref is required"),
        ({"tx_ref": 5}, "tx_ref is required"),
        ({"amount": None}, "amount is required"),
        ({"amount": -5}, "amount is required"),
        ({"amount": True}, "amount is required"),
        ({"amount": "two"}, "amount is required"),
        ({"amount": 0}, "amount is invalid"),
        ({"amount": 10.001}, "amount is invalid"),
        ({"amount": 10.5, "currency": "XOF"}, "amount is invalid"),
        ({"currency": "CHF"}, "currency is not supported"),
        ({"currency": ["NGN"]}, "currency is not supported"),
        ({"customer": {}}, "customer.email is required"),
        ({"customer": "ada@example.com"}, "customer.email is required"),
    ],
)
def test_payments_when_a_field_is_wrong_then_400_and_nothing_is_made(
    flutterwave: Flutterwave, change: dict[str, Any], message: str
) -> None:
    """A refusal says what is wrong and leaves no transaction."""
    answer = flutterwave.pay_link(**change)
    assert (answer.status_code, answer.json) == (400, {"status": "error", "message": message, "data": None})
    assert flutterwave.client.get("/sandbox/charges").json["charges"] == []


@pytest.mark.parametrize("amount", [75.5, "75.50", "75.5"])
def test_payments_when_the_amount_is_a_number_or_text_then_the_same_to_the_kobo(
    flutterwave: Flutterwave, amount: Any
) -> None:
    """Major units, exact; shown with two decimals to the customer."""
    flutterwave.paid(amount=amount)
    body = flutterwave.verify().get_data(as_text=True)
    assert '"amount":75.5,' in body
    assert json.loads(body, parse_float=Decimal)["data"]["charged_amount"] == Decimal("75.5")
    charge = flutterwave.client.get("/sandbox/charges").json["charges"][0]
    assert charge["charged_minor"] == 7_550


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "Authorization required"),
        ({"Authorization": DEVELOPMENT_SECRET}, "Authorization required"),
        ({"Authorization": "Bearer FLWSECK-other"}, "Invalid authorization key"),
        ({"Authorization": "Bearer FLW\u00fc"}, "Invalid authorization key"),
    ],
)
def test_any_call_without_the_key_then_401(flutterwave: Flutterwave, headers: dict[str, str], message: str) -> None:
    """Every route wants the secret key, and a wrong one has no effect."""
    for method, path in (
        ("POST", "/payments"), ("GET", "/transactions/verify_by_reference?tx_ref=PF-1"), ("GET", "/transactions"),
        ("GET", "/transactions/1/verify"), ("POST", "/transactions/1/refund"), ("GET", "/refunds"),
        ("GET", "/refunds/1"),
    ):  # fmt: skip
        answer = flutterwave.client.open(f"/flutterwave{path}", method=method, headers=headers, json=ORDER)
        assert (answer.status_code, answer.json["message"]) == (401, message), path
    assert flutterwave.client.get("/sandbox/charges").json["charges"] == []


def test_verify_when_paid_then_successful_with_what_was_asked(flutterwave: Flutterwave) -> None:
    """A paid transaction tells amount, fee, settlement and the caller's meta, the same by reference and by number."""
    data = flutterwave.paid()
    assert (data["status"], data["tx_ref"], data["amount"], data["currency"]) == ("successful", "PF-1", 1000, "NGN")
    assert (data["charged_amount"], data["app_fee"], data["amount_settled"]) == (1000, 14, 986)
    assert (data["meta"], data["customer"]["email"]) == ({"order": "ORD-1"}, "ada@example.com")
    assert data["created_at"] == "2026-03-01T12:00:00.000Z"
    assert flutterwave.get(f"/transactions/{data['id']}/verify").json["data"] == data
    assert flutterwave.get("/transactions/5/verify").status_code == 400
    assert flutterwave.get("/transactions/none/verify").status_code == 400


def test_verify_when_the_customer_bears_the_fee_then_charged_more_than_the_amount(flutterwave: Flutterwave) -> None:
    """1014 is charged, 1000 is the order's."""
    flutterwave.plant("fee_on_customer", reference="PF-1")
    data = flutterwave.paid()
    assert (data["amount"], data["charged_amount"]) == (1000, 1014)


def test_verify_when_paid_late_then_pending_first(flutterwave: Flutterwave) -> None:
    """A transfer left running makes the transaction pending, and then successful."""
    flutterwave.pay_link()
    flutterwave.pay(outcome="late", after_seconds=60)
    flutterwave.later(59)
    assert flutterwave.data()["status"] == "pending"
    flutterwave.later(1)
    assert flutterwave.data()["status"] == "successful"


def test_declined_then_paid_then_two_transactions_on_one_reference(flutterwave: Flutterwave) -> None:
    """Each try after a failure is a transaction of its own; verify goes on showing the first."""
    link = flutterwave.pay_link().json["data"]["link"]
    flutterwave.pay(outcome="decline")
    failed = flutterwave.data()
    assert flutterwave.client.post(f"{link}/abandon").status_code == 303
    assert flutterwave.client.post(f"{link}/success").status_code == 303
    assert flutterwave.data() == failed
    assert (failed["status"], failed["processor_response"]) == ("failed", "Declined")
    rows = flutterwave.get(f"/transactions?{DAYS}&tx_ref=PF-1").json["data"]
    assert [row["status"] for row in rows] == ["successful", "failed"]
    assert rows[0]["id"] > rows[1]["id"] == failed["id"]
    assert flutterwave.get(f"/transactions/{rows[0]['id']}/verify").json["data"]["status"] == "successful"
    assert flutterwave.pay()["already_paid"] is True
    sums = flutterwave.client.get("/sandbox/charges").json["by_reference"]["PF-1"]
    assert (sums["transactions"], sums["charges"], sums["taken_minor"]) == (2, 1, 100_000)


def test_declined_twice_then_the_script_sees_the_newest_try(flutterwave: Flutterwave) -> None:
    """The control API tells of the transaction the customer has just made."""
    flutterwave.pay_link()
    for _ in range(2):
        assert flutterwave.pay(outcome="decline")["status"] == "failed"
    assert flutterwave.pay()["status"] == "paid"
    assert len(flutterwave.get(f"/transactions?{DAYS}").json["data"]) == 3


def test_two_links_of_one_reference_then_both_can_be_paid(flutterwave: Flutterwave) -> None:
    """What Flutterwave does with a used tx_ref is not published; here it is as bad as it can be."""
    links = [flutterwave.pay_link().json["data"]["link"] for _ in range(2)]
    for link in links:
        flutterwave.client.post(f"{link}/success")
    rows = flutterwave.get(f"/transactions?{DAYS}&tx_ref=PF-1").json["data"]
    assert [row["status"] for row in rows] == ["successful", "successful"]


def test_list_of_transactions_then_filters_and_pages(flutterwave: Flutterwave) -> None:
    """Newest first, ten a page, both days required."""
    for number in range(11):
        flutterwave.paid(f"PF-{number}")
    flutterwave.pay_link(tx_ref="PF-x")
    second = flutterwave.get(f"/transactions?{DAYS}&status=successful&page=2").json
    assert [row["tx_ref"] for row in second["data"]] == ["PF-0"]
    assert second["meta"] == {"page_info": {"total": 11, "current_page": 2, "total_pages": 2}}
    assert flutterwave.get("/transactions?from=2027-01-01&to=2027-01-02").json["data"] == []
    assert flutterwave.get("/transactions?from=2026-01-01").json["message"] == "to is required"
    assert flutterwave.get(f"/transactions?{DAYS}&currency=USD").json["data"] == []


@pytest.mark.parametrize(
    ("outcome", "query"),
    [
        ("success", "status=successful&tx_ref=PF-1&transaction_id={id}"),
        ("decline", "status=failed&tx_ref=PF-1&transaction_id={id}"),
        ("late", "status=completed&tx_ref=PF-1&transaction_id={id}"),
        ("abandon", "status=cancelled&tx_ref=PF-1"),
    ],
)
def test_redirect_then_carries_status_and_reference(flutterwave: Flutterwave, outcome: str, query: str) -> None:
    """transaction_id is missing when the customer left; a late transfer comes back with a word of its own."""
    flutterwave.pay_link()
    url = flutterwave.pay(outcome=outcome)["redirect_url"]
    number = next(iter(flutterwave.rooms.party.state.charges))
    assert url == "https://shop.example/back?basket=7&" + query.format(id=number)


def test_redirect_without_an_address_then_the_page_says_what_happened(flutterwave: Flutterwave) -> None:
    """redirect_url may be left out."""
    link = flutterwave.pay_link(redirect_url=None).json["data"]["link"]
    flutterwave.client.post(f"{link}/decline")
    assert "complete" in flutterwave.client.post(f"{link}/success").get_data(as_text=True)


def test_faults_then_speak_flutterwaves_words(flutterwave: Flutterwave) -> None:
    """Its server errors, its rate limit, its unknown reference, a foreign reference, an odd status."""
    number = flutterwave.paid()["id"]
    flutterwave.plant("error_500")
    assert flutterwave.verify().json["error_id"].startswith("ERRNO")
    flutterwave.plant("error_500", params={"status": 503})
    assert flutterwave.verify().json["message"] == "An error occurred. Please contact support"
    flutterwave.plant("rate_limit", params={"retry_after": 7})
    limited = flutterwave.verify()
    assert (limited.status_code, limited.headers["Retry-After"], limited.json["status"]) == (429, "7", "error")
    for path in ("/transactions/verify_by_reference?tx_ref=PF-1", f"/transactions/{number}/verify"):
        flutterwave.plant("not_found_on_verify", params={"status": 200})
        lost = flutterwave.get(path)
        assert (lost.status_code, lost.json["status"]) == (200, "error")
    flutterwave.plant("unknown_status")
    flutterwave.plant("wrong_reference")
    data = flutterwave.data()
    assert (data["status"], data["tx_ref"]) == ("frobnicated", "SOMEBODY-ELSE")


# --- refunds


def test_refund_when_time_passes_then_completed_pending_processing_done(flutterwave: Flutterwave) -> None:
    """Created "completed" while nothing is paid out; the transaction itself stays successful."""
    number = flutterwave.paid()["id"]
    created = flutterwave.refund(number, amount=100.5, comments="payflow refund r-1").json
    assert created["message"] == "Transaction refund initiated"
    data = created["data"]
    assert (data["status"], data["tx_id"], data["amount_refunded"]) == ("completed", number, 100.5)
    seen = []
    for _ in range(3):
        told = flutterwave.get(f"/refunds/{data['id']}").json["data"]
        seen.append((told["status"], json.loads(told["meta"]).get("disburse_status"), flutterwave.data()["status"]))
        assert (told["comment"], told["transaction_id"]) == ("payflow refund r-1", number)
        flutterwave.later(1)
    assert seen == [
        ("completed", "pending", "successful"),
        ("processing", "pending", "successful"),
        ("completed-mpgs", None, "successful"),
    ]


def test_refund_when_it_fails_then_completed_with_a_failed_disbursement(flutterwave: Flutterwave) -> None:
    """The status alone does not tell; the money can go back by another refund."""
    number = flutterwave.paid()["id"]
    flutterwave.plant("refund_fails")
    refund = flutterwave.refund(number).json["data"]["id"]
    flutterwave.later(5)
    told = flutterwave.get(f"/refunds/{refund}").json["data"]
    assert (told["status"], json.loads(told["meta"])["disburse_status"]) == ("completed", "failed")
    assert flutterwave.refund(number, amount=1000).status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"amount": 1000.01}, "Refund amount cannot exceed the transaction amount"),
        ({"amount": 99.99}, "Amount should be above NGN100"),
        ({"amount": -1}, "amount is required"),
    ],
)
def test_refund_when_not_allowed_then_refused(flutterwave: Flutterwave, body: dict[str, Any], message: str) -> None:
    """A refund that may not be is refused and leaves no refund."""
    answer = flutterwave.refund(flutterwave.paid()["id"], **body)
    assert (answer.status_code, answer.json["message"]) == (400, message)
    assert flutterwave.client.get("/sandbox/refunds").json["refunds"] == []


def test_refund_when_nothing_is_left_unpaid_or_unknown_then_refused(flutterwave: Flutterwave) -> None:
    """Parts add up to the whole; money that never came cannot go back."""
    number = flutterwave.paid()["id"]
    flutterwave.plant("refund_no_balance")
    assert "Insufficient balance" in flutterwave.refund(number, amount=400).json["message"]
    assert flutterwave.refund(number, amount=400).status_code == 200
    assert flutterwave.refund(number, amount="600").status_code == 200
    assert flutterwave.refund(number, amount=100).json["message"] == "Transaction has already been refunded"
    flutterwave.pay_link(tx_ref="PF-2")
    flutterwave.pay("PF-2", outcome="decline")
    for other in (flutterwave.data("PF-2")["id"], 5):
        assert flutterwave.refund(other).json["message"] == "No transaction was found for this id"


def test_list_of_refunds_then_newest_first_and_by_transaction(flutterwave: Flutterwave) -> None:
    """Days and the transaction's number narrow it; an unknown refund is refused."""
    first, second = (flutterwave.paid(name)["id"] for name in ("PF-1", "PF-2"))
    for number in (first, second, first):
        flutterwave.refund(number, amount=100)
    rows = flutterwave.get(f"/refunds?{DAYS}").json["data"]
    assert [row["transaction_id"] for row in rows] == [first, second, first]
    assert len(flutterwave.get(f"/refunds?id={first}").json["data"]) == 2
    assert flutterwave.get("/refunds?from=2027-01-01&to=2027-01-01").json["data"] == []
    assert flutterwave.get("/refunds?from=soon").status_code == 400
    assert flutterwave.get("/refunds/5").json["message"] == "Refund not found"


# --- webhooks


def test_webhooks_then_tell_of_failures_too_and_refunds_are_flat(flutterwave: Flutterwave) -> None:
    """charge.completed for both outcomes; the refund's body has no envelope and PascalCase names."""
    flutterwave.pay_link()
    flutterwave.pay(outcome="decline")
    number = flutterwave.pay()["reference"] and flutterwave.get(f"/transactions?{DAYS}").json["data"][0]["id"]
    flutterwave.refund(number, amount=100, comments="x")
    flutterwave.later(5)
    failed, paid, refund = flutterwave.sent()
    assert [body["event"] for body in (failed, paid)] == ["charge.completed", "charge.completed"]
    assert [body["data"]["status"] for body in (failed, paid)] == ["failed", "successful"]
    assert failed["data"]["id"] != paid["data"]["id"] == number
    assert paid["event.type"] == "CARD_TRANSACTION"
    assert "event" not in refund
    assert "data" not in refund
    assert (refund["TransactionId"], refund["AmountRefunded"], refund["status"]) == (number, 100, "completed-mpgs")


@pytest.mark.parametrize(
    ("configured", "signatures"),
    [
        (DEVELOPMENT_HASH, BOTH_HEADERS),
        (f"static:{DEVELOPMENT_HASH}", ("verif-hash",)),
        (f"hmac:{DEVELOPMENT_HASH}", ("flutterwave-signature",)),
    ],
)
def test_webhooks_over_a_real_port_then_carry_the_configured_proofs(
    configured: str, signatures: tuple[str, ...]
) -> None:
    """The secret hash is not the API key; either scheme, or both, and a forged copy under another hash."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        urls = {"flutterwave": f"http://127.0.0.1:{server.server_port}/hook"}
        app = create_app(SandboxConfig(webhook_urls=urls, webhook_secrets={"flutterwave": configured}))
        merchant = Flutterwave(app.test_client(), app.extensions["sandbox"])
        merchant.plant("webhook_forged")
        merchant.paid()
        merchant.rooms.sender.send_due()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    (forged, _), (true, body) = got
    right = {"verif-hash": DEVELOPMENT_HASH, "flutterwave-signature": shapes.signature(body, DEVELOPMENT_HASH)}
    for name, proof in right.items():
        assert true.get(name) == (proof if name in signatures else None)
        assert forged.get(name) != proof


@pytest.mark.parametrize(
    ("configured", "secret", "headers"),
    [
        ("word", "word", BOTH_HEADERS),
        ("static:word", "word", ("verif-hash",)),
        ("hmac:word", "word", ("flutterwave-signature",)),
        ("new, old", "new", BOTH_HEADERS),
    ],
)
def test_signature_of_a_configured_hash(configured: str, secret: str, headers: tuple[str, ...]) -> None:
    """The sandbox reads the word the way payflow's own setting is read."""
    assert signature_of(configured) == (secret, headers)


def test_command_line_then_takes_key_and_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """From options, else from payflow's own variables, else made up."""
    for name in ("FLUTTERWAVE_SECRET_KEY", "FLUTTERWAVE_WEBHOOK_HASH"):
        monkeypatch.delenv(name, raising=False)
    plain = parser().parse_args([])
    assert (plain.flutterwave_secret_key, plain.flutterwave_webhook_hash) == (DEVELOPMENT_SECRET, DEVELOPMENT_HASH)
    monkeypatch.setenv("FLUTTERWAVE_WEBHOOK_HASH", "from-env")
    given = parser().parse_args(["--flutterwave-secret-key", "FLWSECK_TEST-x"])
    assert (given.flutterwave_secret_key, given.flutterwave_webhook_hash) == ("FLWSECK_TEST-x", "from-env")


# --- over a real connection, and over a restart


def test_main_path_over_a_real_port_then_paid() -> None:
    """Link, page, button and verify work over HTTP, and the browser is sent back."""
    sandbox = start(SandboxConfig())
    try:
        made = requests.post(f"{sandbox.url}/flutterwave/payments", json=ORDER, headers=KEY, timeout=5)
        page = made.json()["data"]["link"]
        assert "NGN 1,000.00" in requests.get(page, timeout=5).text
        sent_back = requests.post(f"{page}/success", allow_redirects=False, timeout=5)
        assert sent_back.status_code == 303
        assert "status=successful&tx_ref=PF-1&transaction_id=" in sent_back.headers["Location"]
        told = requests.get(
            f"{sandbox.url}/flutterwave/transactions/verify_by_reference",
            params={"tx_ref": "PF-1"},
            headers=KEY,
            timeout=5,
        )
        assert told.json()["data"]["status"] == "successful"
    finally:
        sandbox.stop()


def test_restart_with_a_state_file_then_tries_and_refunds_are_kept(tmp_path: Path) -> None:
    """Failed and paid tries survive, each with its id, and the page goes on with the newest."""
    config = SandboxConfig(state_path=tmp_path / "sandbox.jsonl")
    clock = OffsetClock(HeldClock())
    before = create_app(config, clock=clock)
    merchant = Flutterwave(before.test_client(), before.extensions["sandbox"])
    merchant.pay_link()
    for outcome in ("decline", "success"):
        merchant.pay(outcome=outcome)
    rows = merchant.get(f"/transactions?{DAYS}").json["data"]
    refund = merchant.refund(rows[0]["id"], amount=100).json["data"]["id"]
    merchant.rooms.party.state.close()

    after = create_app(config, clock=clock)
    merchant = Flutterwave(after.test_client(), after.extensions["sandbox"])
    assert merchant.get(f"/transactions?{DAYS}").json["data"] == rows
    assert merchant.pay()["already_paid"] is True
    merchant.later(10)
    assert merchant.get(f"/refunds/{refund}").json["data"]["status"] == "completed-mpgs"
    merchant.rooms.party.state.close()
