"""What a request may carry: amounts, fields, numbers, texts. Everything odd is refused by name and leaves nothing."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from payflow.models.access import User
from payflow.models.booking import Booking
from payflow.models.order import Order
from payflow.models.refund import Refund
from tests.builders import API, Client, a_booking_body, a_paid_payment, a_problem, a_token, pointers
from tests.house import ADA, WORKSPACE, House

CARD = "4084084084084081"

AMOUNTS = [
    b"-1", b"0.001", b"1e308", b"1e400", b"NaN", b"Infinity", b"-Infinity", b'"1,000"', '"１００"'.encode(), b"true",
    b"9223372036854775808", b"100000000001", b'"100"', b'"1e3"', b"1e3", b"1.0", b"null", b"[]", b"{}", b'""', b"-0.0",
    b"0x10", b"1_000", b"+1", b"01",
]  # fmt: skip
"""As they stand in the JSON: not every one of them is JSON."""
FIELDS = [
    (where, written)
    for where in ("booking", "refund", "discount")
    for written in AMOUNTS
    if (where, written) != ("refund", b"null")  # by the contract: all that is left
]


@pytest.fixture(scope="module")
def payment_id(house: House) -> str:
    """A paid payment of Ada's."""
    return a_paid_payment(house)[1]


@pytest.fixture
def nothing_new(house: House) -> Iterator[None]:
    """The test leaves no row behind."""
    before = [len(house.rows(model)) for model in (Booking, Order, Refund)]
    yield
    assert [len(house.rows(model)) for model in (Booking, Order, Refund)] == before


@pytest.mark.usefixtures("nothing_new")
@pytest.mark.parametrize(("where", "written"), FIELDS)
def test_an_amount_is_a_whole_number_of_minor_units_or_refused(
    house: House, ada: Client, payment_id: str, where: str, written: bytes
) -> None:
    """Whatever else is written: 422 at the field, or 400 where it is no JSON."""
    path, field, body = {
        "booking": ("/bookings/", "amount", a_booking_body(house)),
        "refund": ("/payment/refunds/", "amount", {"payment_id": payment_id, "reason": "other"}),
        "discount": ("/payment/orders/", "discount", {"booking_ids": [payment_id]}),
    }[where]
    raw = json.dumps(body | {field: "HERE"}).encode().replace(b'"HERE"', written)
    answer = ada.raw(path, raw)
    if answer.status_code == 400:
        a_problem(answer, 400, "malformed_json")
        assert written in (b"NaN", b"Infinity", b"-Infinity", b"0x10", b"1_000", b"+1", b"01")
    else:
        assert pointers(a_problem(answer, 422)) == {f"/{field}"}


@pytest.mark.usefixtures("nothing_new")
def test_no_refund_of_nothing(ada: Client, payment_id: str) -> None:
    """Zero is an amount, but nothing to give back."""
    body = {"payment_id": payment_id, "amount": 0, "reason": "other"}
    assert pointers(a_problem(ada.post("/payment/refunds/", body), 422)) == {"/amount"}


@pytest.mark.usefixtures("nothing_new")
@pytest.mark.parametrize("currency", ["ngn", "NGN ", "XXX", "XAU", "ZZZ", "", "N", "₦", "ＮＧＮ", 566, None])
def test_a_currency_is_one_of_iso_4217_in_capitals(house: House, ada: Client, currency: object) -> None:
    """Lower case, funds, metals and made-up codes are refused by name."""
    body = a_booking_body(house, currency=currency)
    assert pointers(a_problem(ada.post("/bookings/", body), 422)) == {"/currency"}


ROUTES = {
    ("POST", "/bookings/"): {"workspace_id": WORKSPACE},
    ("POST", "/payment/orders/"): {"booking_ids": []},
    ("POST", "/payment/payments/initiate/"): {"order_id": "x"},
    ("POST", "/payment/payments/callback/"): {"reference": "x"},
    ("POST", "/payment/refunds/"): {"reason": "other"},
    ("POST", "/payment/webhook-endpoints/"): {"workspace_id": WORKSPACE},
    ("PATCH", "/notifications/preferences/"): {},
    ("PATCH", f"/workspaces/{WORKSPACE}/policy/"): {},
}


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_a_field_nobody_asked_for_is_refused_by_name(admin: Client, route: tuple[str, str]) -> None:
    """No mass assignment: status, owner, totals, reservations and prototype tricks are unknown fields."""
    method, path = route
    odd = (
        "status", "total", "user_id2", "refund_reserved", "captured_minor", "is_operator", "id", "__proto__",
        "__class__", "created_at", "version", "a/b~c",
    )  # fmt: skip
    problem = a_problem(admin.open(method, path, json={**ROUTES[route], **dict.fromkeys(odd, 1)}), 422)
    codes = {error["pointer"]: error["code"] for error in problem["errors"]}
    expected = {f"/{field.replace('~', '~0').replace('/', '~1')}" for field in odd}
    assert {pointer for pointer, code in codes.items() if code == "unknown_field"} == expected


@pytest.mark.usefixtures("nothing_new")
def test_parameters_given_twice_or_elsewhere_do_not_count(house: House, ada: Client) -> None:
    """A name twice in the body is 400; the same name in the query or a form does not touch the body's."""
    a_problem(ada.raw("/bookings/", b'{"amount": 1, "amount": 2}'), 400, "malformed_json")
    a_problem(ada.raw("/bookings/", b'{"amount": 1, "\\u0061mount": 2}'), 400, "malformed_json")
    body = {**a_booking_body(house), "amount": -1}
    query = "?amount=100&user_id=u-ben&user_id=u-ada&currency=USD"
    assert pointers(a_problem(ada.post(f"/bookings/{query}", body), 422)) == {"/amount"}
    a_problem(ada.raw("/bookings/?amount=1", b"amount=2", "application/x-www-form-urlencoded"), 415)


def test_a_filter_given_twice_shows_no_more_than_the_first(house: House, ada: Client) -> None:
    """What is listed is narrowed by one value, never widened by a second."""
    house.order()
    first = ada.get("/payment/orders/?status=pending&page_size=100").get_json()["results"]
    twice = ada.get("/payment/orders/?status=pending&status=paid&page_size=100&page_size=1").get_json()["results"]
    assert [one["id"] for one in twice] == [one["id"] for one in first]


@pytest.mark.usefixtures("nothing_new")
def test_a_compressed_body_is_not_unpacked(ada: Client) -> None:
    """A gzip bomb stays the few bytes it is: nobody opens it, whatever the header says."""
    bomb = gzip.compress(b" " * 100_000_000, 9)
    assert len(bomb) < 200_000
    tracemalloc.start()
    answer = ada.http.post(
        f"{API}/bookings/",
        data=bomb,
        headers={
            "Authorization": f"Bearer {ada.credential}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        },
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    a_problem(answer, 400, "malformed_json")
    assert peak < 5_000_000


@pytest.mark.usefixtures("nothing_new")
@pytest.mark.parametrize("raw", [b"[" * 200_000, b'{"a":' * 50_000, b'{"amount":' + b"9" * 200_000 + b"}"])
def test_deep_and_long_json_is_refused_in_little_memory(ada: Client, raw: bytes) -> None:
    """No recursion without end, no number that takes minutes to read."""
    tracemalloc.start()
    answer = ada.raw("/bookings/", raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code in (400, 422), answer.text
    assert peak < 20_000_000


TYPED_BY_PEOPLE = {
    "booking's resource": ("POST", "/bookings/", {"resource_id": CARD}),
    "booking's name": ("POST", "/bookings/", {"user_name": f"Ada {CARD}"}),
    "booking's address": ("POST", "/bookings/", {"user_email": f"{CARD}@example.com"}),
    "payment method": ("POST", "/payment/payments/initiate/", {"payment_method": CARD}),
    "return address": ("POST", "/payment/payments/initiate/", {"return_url": f"https://shop.example/?pan={CARD}"}),
    "refund's description": ("POST", "/payment/refunds/", {"reason_description": "my card is\n4084-0840-8408-4081"}),
    "endpoint's description": ("POST", "/payment/webhook-endpoints/", {"description": f"card {CARD}"}),
    "endpoint's address": ("POST", "/payment/webhook-endpoints/", {"url": f"https://shop.example/{CARD}"}),
    "sender's name": ("PATCH", f"/workspaces/{WORKSPACE}/policy/", {"mail_from_name": CARD}),
    "reply address": ("PATCH", f"/workspaces/{WORKSPACE}/policy/", {"mail_reply_to": f"{CARD}@example.com"}),
}


@pytest.mark.usefixtures("nothing_new")
@pytest.mark.parametrize("place", TYPED_BY_PEOPLE)
def test_a_card_number_is_refused_wherever_people_type(admin: Client, place: str) -> None:
    """422 with the field and a code of its own; the answer does not repeat the number."""
    method, path, body = TYPED_BY_PEOPLE[place]
    answer = admin.open(method, path, json=body)
    problem = a_problem(answer, 422)
    (field,) = body
    assert {"pointer": f"/{field}", "code": "card_number"}.items() <= next(
        error for error in problem["errors"] if error["pointer"] == f"/{field}"
    ).items()
    assert "4084" not in answer.text


def test_a_card_number_in_a_header_is_not_kept(house: House, ada: Client, app: Flask) -> None:
    """Neither as a request's id nor as an idempotency key nor as the name in a token."""
    answer = ada.get("/bookings/", headers={"X-Request-ID": CARD})
    assert answer.headers["X-Request-ID"] != CARD
    refused = ada.post("/bookings/", a_booking_body(house), headers={"Idempotency-Key": CARD})
    a_problem(refused, 400, "invalid_idempotency_key")
    named = Client(app.test_client(), a_token(ADA, name=f"Ada {CARD}", email=f"{CARD}@example.com"))
    assert named.post("/bookings/", a_booking_body(house)).status_code == 201
    assert CARD not in json.dumps([[row.name, row.email] for row in house.rows(User)])


def test_notes_of_staff_take_no_card_number_either(house: House, admin: Client, payment_id: str) -> None:
    """Verdicts and resolutions are free text too."""
    unknown: Any = payment_id
    for path, body in (
        (f"/payment/refunds/{unknown}/reject/", {"note": f"card {CARD}"}),
        (f"/payment/decisions/{unknown}/resolve/", {"action": "ignore", "note": f"card {CARD}"}),
    ):
        assert pointers(a_problem(admin.post(path, body), 422)) == {"/note"}
