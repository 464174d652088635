"""The sandbox's Paystack dialect: transactions and refunds, over a connection and over a restart."""

from pathlib import Path
from typing import Any

import pytest
import requests

from payflow.core.clock import HeldClock
from payflow.sandbox.app import SandboxConfig, create_app, start
from payflow.sandbox.clock import OffsetClock
from tests.sandbox.paystack_side import AT, KEY, ORDER, Paystack


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
    clock = OffsetClock(HeldClock(AT))
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
        app = create_app(SandboxConfig(seed=seed), clock=OffsetClock(HeldClock(AT)))
        merchant = Paystack(app.test_client(), app.extensions["sandbox"])
        code = merchant.initialize().json["data"]["access_code"]
        return merchant.verify().json["data"]["id"], code

    assert ids(7) == ids(7)
    assert ids(7) != ids(8)
