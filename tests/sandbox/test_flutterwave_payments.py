"""The sandbox's Flutterwave dialect: links and transactions."""

import json
from decimal import Decimal
from typing import Any

import pytest

from payflow.sandbox.flutterwave import DEVELOPMENT_SECRET
from tests.sandbox.flutterwave_side import DAYS, ORDER, Flutterwave


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
