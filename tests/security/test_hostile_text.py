"""Texts that want to be code: SQL in every field and filter, scripts in every name, line breaks in every header."""

from __future__ import annotations

import html
from typing import Any

import pytest

from payflow.models.booking import Booking
from payflow.models.order import Order
from payflow.models.refund import RefundReason
from payflow.services.access import Caller, Membership
from tests.builders import Client, a_booking_body, a_client, a_paid_payment, a_problem, a_service_key
from tests.house import ADA, WORKSPACE, House

SQL = (
    "' OR '1'='1", "'; DROP TABLE orders; --", '" OR 1=1 --', "1) OR (1=1", "%' AND sleep(5) --", "0x27204f52", "%",
    "' UNION SELECT key_hash FROM service_keys --", "'; SELECT pg_sleep(5); --", "\\'; --", "x'||(SELECT 1)||'", "_",
    "admin'/*",
)  # fmt: skip
SCRIPT = "<script>alert('x')</script><img src=x onerror=alert(1)>"
FILTERS = {
    "/bookings/": ("status", "workspace", "created_after", "created_before", "cursor", "page_size"),
    "/payment/orders/": ("status", "workspace", "search", "created_after", "cursor", "page_size"),
    "/payment/payments/": ("status", "gateway", "workspace", "created_after", "cursor"),
    "/payment/refunds/": ("status", "gateway", "workspace", "created_before", "cursor"),
    "/payment/webhook-endpoints/": ("workspace", "cursor", "page_size"),
    "/payment/decisions/": ("status", "workspace", "cursor"),
    "/payment/reports/summary/": ("workspace", "gateway", "created_after"),
    "/notifications/": ("unread", "cursor", "page_size"),
}


@pytest.fixture(scope="module")
def stocked(house: House) -> House:
    """A house with something to steal."""
    house.paid()
    house.order()
    return house


@pytest.mark.parametrize("text", SQL)
def test_sql_in_a_filter_finds_nothing_and_breaks_nothing(stocked: House, operator: Client, text: str) -> None:
    """On every filter of every list: refused by name or no match, never an error inside, never a row more."""
    for path, fields in FILTERS.items():
        for field in fields:
            answer = operator.http.get(
                f"/api/v1{path}",
                query_string={field: text},
                headers={"Authorization": f"Bearer {operator.credential}"},
            )
            assert answer.status_code in (200, 400, 422), (path, field, answer.text)
            if answer.status_code == 200 and "results" in answer.get_json():
                assert answer.get_json()["results"] == [], (path, field)
    assert len(stocked.rows(Order)) == 2


@pytest.mark.parametrize("text", SQL)
def test_sql_in_a_field_is_text(stocked: House, operator: Client, admin: Client, anybody: Client, text: str) -> None:
    """In bodies, paths, references and keys: kept as it is, refused, or not found."""
    before = len(stocked.rows(Order))
    ada = a_client(operator.http.application, ADA)
    made = ada.post("/bookings/", a_booking_body(stocked, resource_id=text))
    assert (made.status_code, made.get_json()["resource_id"]) == (201, text)
    answers = [
        ada.post("/payment/orders/", {"booking_ids": [text]}),
        ada.post("/payment/payments/initiate/", {"order_id": text, "gateway": text, "payment_method": text}),
        ada.post("/payment/payments/callback/", {"reference": text}),
        ada.post("/payment/refunds/", {"payment_id": text, "reason": text, "reason_description": text}),
        admin.patch(f"/workspaces/{WORKSPACE}/policy/", {"late_payment": text, "enabled_gateways": [text]}),
        ada.patch("/notifications/preferences/", {"locale": text, "channels": {text: {text: True}}}),
        anybody.http.get("/api/v1/payment/payments/callback/", query_string={"reference": text, "tx_ref": text}),
    ]
    assert {answer.status_code for answer in answers} <= {400, 404, 422}
    key = text.replace(" ", "_")
    again = ada.post("/bookings/", a_booking_body(stocked, resource_id=text), headers={"Idempotency-Key": key})
    assert again.status_code == 201
    assert len(stocked.rows(Order)) == before


def test_scripts_in_names_are_shown_not_run(house: House, app: Any) -> None:
    """A customer, a seller, a resource and a reason that are scripts: letters escape them, no page runs them."""
    eve = Caller(
        user_id="u-eve", email="eve@example.com", name=SCRIPT, workspaces={"w-evil": Membership(SCRIPT, "admin")}
    )
    body = a_booking_body(house, workspace_id="w-evil", resource_id=SCRIPT)
    client = a_client(app, eve)
    booking = client.post("/bookings/", body).get_json()["id"]
    paid = house.paid(eve, booking)
    payment = house.payment_row(paid).id
    house.container.refunds.request_refund(
        eve, payment, amount_minor=None, reason=RefundReason.OTHER, description=SCRIPT
    )
    house.later(60)
    house.later(600)
    letters = [letter for letter in house.letters() if letter["to"] == ["eve@example.com"]]
    assert len(letters) >= 3
    for letter in letters:
        assert "<script" not in letter["html"]
        assert "<img" not in letter["html"]
        assert html.escape("<script>") in letter["html"]
    page = client.get(f"/payment/payments/callback/?reference={house.attempts(paid)[0].reference}")
    assert "<script>" not in page.text
    data = client.get(f"/bookings/{booking}/")
    assert (data.mimetype, data.get_json()["resource_id"]) == ("application/json", SCRIPT)
    assert data.headers["X-Content-Type-Options"] == "nosniff"


def test_scripts_from_the_gateway_are_text(house: House, app: Any) -> None:
    """A gateway's error message is untrusted too: JSON to clients, and no page or letter runs it."""
    order_id, reference = house.initiated()
    house.fault("html_error", operation="verify")
    house.pay(reference, "decline")
    house.ask(reference)
    house.later(60)
    payment = a_client(app, ADA).get(f"/payment/payments/{house.payment_row(order_id).id}/")
    assert payment.mimetype == "application/json"
    assert "<html" not in payment.text.lower()
    page = a_client(app, None).get(f"/payment/payments/callback/?reference={reference}")
    assert "<script" not in page.text


@pytest.mark.parametrize("field", ["user_name", "user_email", "resource_id"])
@pytest.mark.parametrize("breaks", ["\r\nBcc: evil@example.com", "\nX-Evil: 1", "\x00", "\x1b[31m", "\u2028x", "\x85y"])
def test_line_breaks_in_names_reach_no_letter(house: House, app: Any, field: str, breaks: str) -> None:
    """Control characters are refused at the door; what is only a line break to some is no header to anybody."""
    platform = Client(app.test_client(), a_service_key(house))
    value = f"ada{breaks}@example.com" if field == "user_email" else f"Ada{breaks}"
    body = a_booking_body(house) | {"user_id": "u-hdr", "user_email": "hdr@example.com", field: value}
    answer = platform.post("/bookings/", body)
    if answer.status_code == 201:
        assert breaks == "\u2028x"
        house.paid(Caller(user_id="u-hdr", email="hdr@example.com"), answer.get_json()["id"])
        letter = house.letters()[0]
        assert not {"Bcc", "X-Evil", "x", "y"} & letter["headers"].keys()
        assert letter["to"] == ["hdr@example.com"]
    else:
        a_problem(answer, 422)


def test_line_breaks_in_requests_make_no_header(ada: Client, house: House) -> None:
    """Nothing a client sends comes back in a header unchecked: not ids, not references, not paths."""
    paths = (
        "/payment/payments/callback/?reference=x%0d%0aSet-Cookie:%20a=b",
        "/bookings/%0d%0aX-Evil:%201/",
        "/payment/orders/?cursor=%0d%0aX-Evil:%201",
    )
    for path in paths:
        answer = ada.get(path)
        assert not {"Set-Cookie", "X-Evil"} & set(answer.headers.keys()), path
        assert all("\r" not in value and "\n" not in value for _, value in answer.headers)
    _, payment_id = a_paid_payment(house)
    assert ada.get(f"/payment/payments/{payment_id}/").status_code == 200
    assert [row for row in house.rows(Booking) if "\n" in row.resource_id] == []
