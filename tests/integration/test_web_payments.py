"""Payments and refunds over HTTP: starting, waiting, coming back, giving back."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund
from tests.builders import Client, a_booking_body, a_paid_payment, a_problem, pointers
from tests.house import ADA, WORKSPACE, House, open_house
from web.app import create_app


def test_waiting_initiation_answers_201_with_the_page(house: House, ada: Client) -> None:
    """`Prefer: wait` gives the worker its time; the answer says the preference was honoured."""
    order_id = house.order()
    worker = threading.Timer(0.2, house.drain)
    worker.start()
    started = ada.post("/payment/payments/initiate/", {"order_id": order_id}, headers={"Prefer": "wait=8"})
    worker.join()
    assert started.status_code == 201
    assert started.get_json()["authorization_url"].startswith("http")
    assert started.headers["Preference-Applied"] == "wait=8"
    assert len(house.rows(PaymentAttempt)) == 1


def test_waiting_in_vain_answers_202(house: House, ada: Client) -> None:
    """No worker, no page: still the payment, with its reference."""
    started = ada.post("/payment/payments/initiate/", {"order_id": house.order()}, headers={"Prefer": "wait=1"})
    assert (started.status_code, started.get_json()["authorization_url"]) == (202, None)
    assert started.get_json()["reference"]


@pytest.mark.gateways("paystack")
def test_bad_initiations_name_the_field_and_open_no_try(house: House, ada: Client) -> None:
    """Unknown gateway, order, return address and fields are refused."""
    order_id = house.order()
    for body, field in (
        ({"order_id": order_id, "gateway": "nonsense"}, "/gateway"),
        ({"order_id": order_id, "gateway": "stripe"}, "/gateway"),
        ({"order_id": "x"}, "/order_id"),
        ({}, "/order_id"),
        ({"order_id": order_id, "amount": 1}, "/amount"),
        ({"order_id": order_id, "return_url": "https://evil.example/"}, "/return_url"),
        ({"order_id": order_id, "return_url": "//evil.example"}, "/return_url"),
        ({"order_id": order_id, "return_url": "http://127.0.0.1:8000@evil.example/"}, "/return_url"),
    ):
        assert pointers(a_problem(ada.post("/payment/payments/initiate/", body), 422)) == {field}
    a_problem(ada.post("/payment/payments/initiate/", {"order_id": "01900000-0000-7000-8000-000000000000"}), 404)
    assert house.rows(PaymentAttempt) == []


def test_a_paid_order_is_not_paid_again(house: House, ada: Client) -> None:
    """409, and still one try."""
    order_id = house.paid()
    a_problem(ada.post("/payment/payments/initiate/", {"order_id": order_id}), 409, "already_paid")
    assert len(house.rows(PaymentAttempt)) == 1


def test_returning_browser_starts_a_question_and_shows_little(house: House, ada: Client, anybody: Client) -> None:
    """`status=success` in the address changes nothing; the page tells number, amount and state."""
    order_id, reference = house.initiated()
    number = house.order_row(order_id).order_number
    for _ in range(2):
        page = anybody.get(f"/payment/payments/callback/?reference={reference}&status=success")
        assert page.status_code == 200
        assert page.headers["Cache-Control"] == "no-store"
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert number in page.text
        assert "asking the payment service" in page.text
        assert not {"ada@example.com", order_id, reference} & set(page.text.split('"'))
        house.drain()
    assert house.order_row(order_id).status == "processing"
    house.pay(reference)
    anybody.get(f"/payment/payments/callback/?trxref={reference}")
    house.drain()
    assert house.order_row(order_id).status == "completed"
    assert "has arrived" in anybody.get(f"/payment/payments/callback?reference={reference}").text


def test_unknown_reference_gets_a_page_that_tells_nothing(anybody: Client) -> None:
    """Unknown, missing and hostile references look the same."""
    for query in ("", "?reference=PF-NOBODY", "?reference=<script>alert(1)</script>", "?reference=%00"):
        page = anybody.get(f"/payment/payments/callback/{query}")
        assert page.status_code == 404
        assert "<script" not in page.text


def test_returning_browser_is_sent_on_to_the_allowed_address(database_url: str) -> None:
    """With order id and reference added; an address that is no longer allowed is not followed."""
    with open_house(database_url, PAYFLOW_RETURN_URL_ALLOWLIST="https://shop.example/back") as house:
        app = create_app(house.container)
        opened = house.container.payments.initiate_payment(
            ADA, house.order(), return_url="https://shop.example/back/here?a=1"
        )
        order_id = house.attempts(house.rows(PaymentAttempt)[0].order_id)[0].order_id
        sent = app.test_client().get(f"/api/v1/payment/payments/callback/?reference={opened.reference}")
        assert sent.status_code == 303
        assert sent.headers["Location"] == (
            f"https://shop.example/back/here?a=1&order_id={order_id}&reference={opened.reference}"
        )


def test_client_reports_the_return_and_waits_for_the_truth(house: House, ada: Client, ben: Client) -> None:
    """POST callback is the same question for a caller who may see the payment; others learn nothing."""
    _, reference = house.initiated()
    house.pay(reference)
    worker = threading.Timer(0.2, house.drain)
    worker.start()
    told = ada.post("/payment/payments/callback/", {"reference": reference}, headers={"Prefer": "wait=8"})
    worker.join()
    assert (told.status_code, told.get_json()["status"]) == (200, "success")
    a_problem(ben.post("/payment/payments/callback/", {"reference": reference}), 404)
    a_problem(ada.post("/payment/payments/callback/", {"reference": "PF-NOBODY"}), 404)
    a_problem(ada.post("/payment/payments/callback/", {"reference": ""}), 422)


def test_check_status_asks_and_answers_the_current_truth(house: House, ada: Client) -> None:
    """Without waiting it answers what is known; with waiting, what the gateway said."""
    order_id, reference = house.initiated()
    payment_id = house.payment_row(order_id).id
    house.pay(reference)
    assert ada.get(f"/payment/payments/{payment_id}/check-status/").get_json()["status"] == "processing"
    worker = threading.Timer(0.2, house.drain)
    worker.start()
    checked = ada.get(f"/payment/payments/{payment_id}/check-status/", headers={"Prefer": "wait=8"})
    worker.join()
    assert checked.get_json()["status"] == "success"
    assert ada.get(f"/payment/payments/{payment_id}/check-status/").get_json()["status"] == "success"


def test_a_declined_try_is_readable_and_may_be_repeated(house: House, ada: Client) -> None:
    """The error says why; the old page is not offered any more; the next try has its own reference."""
    order_id, reference = house.initiated()
    house.pay(reference, "decline")
    house.ask(reference)
    payment = ada.get(f"/payment/payments/{house.payment_row(order_id).id}/").get_json()
    assert payment["status"] == "failed"
    assert payment["error"]
    assert payment["authorization_url"] is None
    again = ada.post("/payment/payments/initiate/", {"order_id": order_id}).get_json()
    assert again["reference"] != reference
    assert (again["retry_count"], len(again["attempts"])) == (1, 2)


def test_payments_are_listed_and_filtered(house: House, ada: Client, ben: Client) -> None:
    """By status, gateway, workspace; others' payments are not there."""
    house.paid()
    house.initiated()
    listed = ada.get("/payment/payments/").get_json()["results"]
    assert [one["status"] for one in listed] == ["processing", "success"]
    assert listed[0]["order_number"].startswith("ORD-")
    assert len(ada.get("/payment/payments/?status=success&gateway=paystack").get_json()["results"]) == 1
    assert ada.get("/payment/payments/?gateway=stripe").get_json()["results"] == []
    assert ben.get("/payment/payments/").get_json()["results"] == []


def test_staff_see_the_gateways_answers(house: House, operator: Client, ada: Client) -> None:
    """The customer's detail has none of it."""
    _, payment_id = a_paid_payment(house)
    assert operator.get(f"/payment/payments/{payment_id}/").get_json()["attempts"][0]["gateway_response"]
    assert "gateway_response" not in ada.get(f"/payment/payments/{payment_id}/").text


@pytest.mark.parametrize("amount", [0, -1, 1.5, True, "100", 10**12])
def test_bad_refund_amounts_are_refused(house: House, ada: Client, amount: object) -> None:
    """422 on /amount, nothing reserved."""
    _, payment_id = a_paid_payment(house)
    body = {"payment_id": payment_id, "amount": amount, "reason": "other"}
    assert pointers(a_problem(ada.post("/payment/refunds/", body), 422)) == {"/amount"}
    assert house.rows(Refund) == []


def test_refunds_stay_within_what_was_paid(house: House, ada: Client) -> None:
    """More than is left, a wrong reason, an unpaid payment."""
    order_id, payment_id = a_paid_payment(house)
    too_much = {"payment_id": payment_id, "amount": 300_001, "reason": "other"}
    assert pointers(a_problem(ada.post("/payment/refunds/", too_much), 422, "amount_too_large")) == {"/amount"}
    a_problem(ada.post("/payment/refunds/", {"payment_id": payment_id, "reason": "because"}), 422)
    unpaid, _ = house.initiated()
    body = {"payment_id": house.payment_row(unpaid).id, "reason": "other"}
    a_problem(ada.post("/payment/refunds/", body), 409, "not_paid")
    whole = ada.post("/payment/refunds/", {"payment_id": payment_id, "reason": "other"}).get_json()
    assert whole["amount"] == 300_000
    a_problem(ada.post("/payment/refunds/", {"payment_id": payment_id, "reason": "other"}), 409)
    house.drain()
    house.later(60)
    assert ada.get(f"/payment/orders/{order_id}/").get_json()["status"] == "refunded"
    assert [one["status"] for one in ada.get("/payment/refunds/?status=completed").get_json()["results"]] == [
        "completed"
    ]


def test_refund_waits_for_an_administrator_where_the_policy_asks(
    house: House, ada: Client, admin: Client, ben: Client
) -> None:
    """The customer cannot approve its own; an administrator approves or rejects; a stranger sees nothing."""
    assert admin.patch(f"/workspaces/{WORKSPACE}/policy/", {"refund_needs_approval": True}).status_code == 200
    _, payment_id = a_paid_payment(house)
    body = {"payment_id": payment_id, "amount": 1_000, "reason": "other"}
    first, second = (ada.post("/payment/refunds/", body).get_json() for _ in range(2))
    assert (first["status"], first["approval"]) == ("pending", "waiting")
    a_problem(ada.post(f"/payment/refunds/{first['id']}/approve/"), 403)
    a_problem(ben.post(f"/payment/refunds/{first['id']}/approve/"), 404)
    assert admin.post(f"/payment/refunds/{first['id']}/approve/").get_json()["approval"] == "approved"
    rejected = admin.post(f"/payment/refunds/{second['id']}/reject/", {"note": "no"}).get_json()
    assert (rejected["status"], rejected["approval"]) == ("failed", "rejected")
    a_problem(admin.post(f"/payment/refunds/{second['id']}/approve/"), 409)
    house.drain()
    house.later(60)
    assert ada.get(f"/payment/refunds/{first['id']}/").get_json()["status"] == "completed"


@pytest.mark.parametrize(("currency", "amount"), [("JPY", 1), ("KWD", 12_345), ("NGN", 10_000)])
def test_minor_units_come_back_as_they_went_in(house: House, ada: Client, currency: str, amount: int) -> None:
    """Zero-, two- and three-decimal currencies, without a fraction anywhere."""
    body: dict[str, Any] = a_booking_body(house, currency=currency, amount=amount)
    booking = ada.post("/bookings/", body).get_json()
    order = ada.post("/payment/orders/", {"booking_ids": [booking["id"]]}).get_json()
    assert (order["total"], order["currency"]) == (amount, currency)
