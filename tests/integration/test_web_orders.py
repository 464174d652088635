"""Bookings and orders over HTTP: what is made, what is refused and by which field, what moves to a newer order."""

from __future__ import annotations

from typing import Any

import pytest

from payflow.models.booking import Booking
from payflow.models.order import Order
from tests.builders import Client, a_booking_body, a_problem, a_service_key, pointers
from tests.house import ADA, BEN, OTHER_WORKSPACE, WORKSPACE, House

UNKNOWN = "01900000-0000-7000-8000-000000000000"


def test_customer_makes_reads_lists_and_cancels_a_booking(house: House, ada: Client) -> None:
    """The shape is the contract's; both slash forms work; cancelling again changes nothing."""
    sent = a_booking_body(house)
    made = ada.post("/bookings", sent)
    assert made.status_code == 201
    booking = made.get_json()
    assert {name: booking[name] for name in sent} == sent
    assert (booking["user_id"], booking["status"]) == ("u-ada", "pending")
    assert ada.get(f"/bookings/{booking['id']}").get_json() == booking
    assert ada.get("/bookings/").get_json()["results"] == [booking]
    for _ in range(2):
        cancelled = ada.post(f"/bookings/{booking['id']}/cancel/")
        assert (cancelled.status_code, cancelled.get_json()["status"]) == (200, "cancelled")
    assert ada.get("/bookings/?status=pending").get_json()["results"] == []


def test_service_key_books_for_anybody_but_must_say_for_whom(house: House, app: Any, ada: Client) -> None:
    """The platform's key names the customer; the customer then owns the booking."""
    platform = Client(app.test_client(), a_service_key(house))
    problem = a_problem(platform.post("/bookings/", a_booking_body(house)), 422)
    assert pointers(problem) == {"/user_id"}
    made = platform.post("/bookings/", a_booking_body(house, user_id="u-ada", user_email="ada@example.com"))
    assert made.status_code == 201
    assert ada.get(f"/bookings/{made.get_json()['id']}/").status_code == 200


def test_key_of_one_workspace_acts_and_sees_only_there(house: House, app: Any) -> None:
    """A bound key is refused elsewhere, and rows of other workspaces do not exist for it."""
    here, there = house.booking(), house.booking(workspace_id=OTHER_WORKSPACE)
    bound = Client(app.test_client(), a_service_key(house, workspace_id=WORKSPACE))
    a_problem(bound.post("/bookings/", a_booking_body(house, workspace_id=OTHER_WORKSPACE, user_id="u-ada")), 403)
    assert [one["id"] for one in bound.get("/bookings/").get_json()["results"]] == [here]
    a_problem(bound.get(f"/bookings/{there}/"), 404)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", -1),
        ("amount", 0.001),
        ("amount", 1e308),
        ("amount", True),
        ("amount", "150000"),
        ("amount", "1,000"),
        ("amount", "１００"),
        ("amount", 2**63),
        ("amount", 100_000_000_001),
        ("amount", None),
        ("currency", "ngn"),
        ("currency", "ZZZ"),
        ("currency", "XXX"),
        ("currency", 566),
        ("starts_at", "2027-01-01T10:00:00"),
        ("starts_at", 1_800_000_000),
        ("starts_at", "tomorrow"),
        ("ends_at", "2001-01-01T00:00:00Z"),
        ("ends_at", "9999-12-31T23:59:59-23:59"),
        ("resource_id", ""),
        ("resource_id", "room\u0000"),
        ("resource_id", "room\ud800"),
        ("resource_id", ["room"]),
        ("workspace_id", "w" * 65),
        ("status", "confirmed"),
        ("user_id", "u-ben"),
        ("paid", 1),
    ],
)
def test_bad_booking_field_is_refused_by_name_and_nothing_is_stored(
    house: House, ada: Client, field: str, value: object
) -> None:
    """Wrong types, ranges, currencies, moments and unknown fields: 422 that names the field."""
    problem = a_problem(ada.post("/bookings/", a_booking_body(house) | {field: value}), 422)
    assert pointers(problem) == {f"/{field}"}
    assert house.rows(Booking) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b'{"amount": NaN}',
        b'{"a": 1, "a": 2}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
)
def test_malformed_json_is_400(house: House, ada: Client, raw: bytes) -> None:
    """What is not one JSON object is not guessed at."""
    a_problem(ada.raw("/bookings/", raw), 400, "malformed_json")


def test_a_name_given_twice_is_400(ada: Client) -> None:
    """Two amounts: which one would count is nobody's guess."""
    a_problem(ada.raw("/bookings/", b'{"amount": 1, "amount": 2}'), 400, "malformed_json")


def test_wrong_content_type_is_415_and_too_large_is_413(house: House, ada: Client) -> None:
    """Both are problem documents."""
    a_problem(ada.raw("/bookings/", b"amount=1", "application/x-www-form-urlencoded"), 415, "unsupported_media_type")
    a_problem(ada.raw("/bookings/", b"{" + b" " * 300_000), 413, "body_too_large")


def test_order_moves_bookings_from_an_older_pending_order(house: House, ada: Client) -> None:
    """The older order is repriced, and cancelled once it is empty."""
    first, second = house.booking(amount=100_000), house.booking(amount=50_000)
    old = ada.post("/payment/orders/", {"booking_ids": [first, second]}).get_json()
    new = ada.post("/payment/orders/", {"booking_ids": [first]}).get_json()
    assert new["total"] == 100_000
    left = ada.get(f"/payment/orders/{old['id']}/").get_json()
    assert (left["status"], left["total"], left["booking_count"], len(left["bookings"])) == ("pending", 50_000, 1, 1)
    ada.post("/payment/orders/", {"booking_ids": [second]})
    assert ada.get(f"/payment/orders/{old['id']}/").get_json()["status"] == "cancelled"


def test_booking_on_an_order_being_paid_is_409(house: House, ada: Client) -> None:
    """Not moved, and the older order stays as it is."""
    booking = house.booking()
    order_id, _ = house.initiated(ADA, booking)
    problem = a_problem(ada.post("/payment/orders/", {"booking_ids": [booking]}), 409, "booking_on_order_being_paid")
    assert pointers(problem) == {"/booking_ids/0"}
    assert ada.get(f"/payment/orders/{order_id}/").get_json()["status"] == "processing"


def _bad_orders(house: House) -> dict[str, tuple[Any, int, str]]:
    mine, other = house.booking(), house.booking(BEN)
    dollars, elsewhere = house.booking(currency="USD"), house.booking(workspace_id=OTHER_WORKSPACE)
    free = house.booking(amount=0)
    return {
        "unknown booking": ([UNKNOWN], 422, "/booking_ids/0"),
        "someone else's": ([mine, other], 422, "/booking_ids/1"),
        "mixed currencies": ([mine, dollars], 422, "/booking_ids"),
        "mixed workspaces": ([mine, elsewhere], 422, "/booking_ids/1"),
        "empty": ([], 422, "/booking_ids"),
        "repeated": ([mine, mine], 422, "/booking_ids/1"),
        "repeated in capitals": ([mine, mine.upper()], 422, "/booking_ids/1"),
        "zero total": ([free], 422, "/booking_ids"),
        "not an id": (["x"], 422, "/booking_ids/0"),
        "not text": ([7], 422, "/booking_ids/0"),
        "not a list": (mine, 422, "/booking_ids"),
        "too many": ([UNKNOWN] * 101, 422, "/booking_ids"),
        "injection": (["'; DROP TABLE orders; --"], 422, "/booking_ids/0"),
    }


def test_bad_orders_name_the_field_and_change_nothing(house: House, ada: Client) -> None:
    """Every refusal is a problem document with the pointer, and no order comes of it."""
    for name, (booking_ids, status, pointer) in _bad_orders(house).items():
        problem = a_problem(ada.post("/payment/orders/", {"booking_ids": booking_ids}), status)
        assert pointers(problem) == {pointer}, name
    assert pointers(a_problem(ada.post("/payment/orders/", {}), 422)) == {"/booking_ids"}
    assert house.rows(Order) == []


@pytest.mark.parametrize("field", ["amount", "total", "currency", "status", "user_id", "refund_reserved"])
def test_order_takes_no_prices_or_owners_from_the_client(house: House, ada: Client, field: str) -> None:
    """Unknown fields are refused by name."""
    problem = a_problem(ada.post("/payment/orders/", {"booking_ids": [house.booking()], field: 1}), 422)
    assert pointers(problem) == {f"/{field}"}


def test_discount_is_for_privileged_callers(house: House, ada: Client, app: Any) -> None:
    """A customer gets 403; the platform's key may."""
    booking = house.booking(amount=100_000)
    a_problem(ada.post("/payment/orders/", {"booking_ids": [booking], "discount": 100}), 403)
    platform = Client(app.test_client(), a_service_key(house))
    made = platform.post("/payment/orders/", {"booking_ids": [booking], "discount": 10_000})
    assert (made.status_code, made.get_json()["total"], made.get_json()["user_id"]) == (201, 90_000, "u-ada")


def test_cancelling_an_order_frees_its_bookings(house: House, ada: Client) -> None:
    """Before money moved; a paid order is refused."""
    booking = house.booking()
    order = ada.post("/payment/orders/", {"booking_ids": [booking]}).get_json()
    cancelled = ada.post(f"/payment/orders/{order['id']}/cancel/").get_json()
    assert (cancelled["status"], len(cancelled["bookings"])) == ("cancelled", 1)
    assert ada.post("/payment/orders/", {"booking_ids": [booking]}).status_code == 201
    paid = house.paid()
    a_problem(ada.post(f"/payment/orders/{paid}/cancel/"), 409, "order_not_open")


def test_orders_are_filtered_and_searched(house: House, ada: Client, admin: Client) -> None:
    """status, workspace, dates and part of the number; nothing widens what is visible."""
    first = ada.post("/payment/orders/", {"booking_ids": [house.booking()]}).get_json()
    house.clock.advance(3_600)
    second = ada.post(
        "/payment/orders/", {"booking_ids": [house.booking(), house.booking(workspace_id=WORKSPACE)]}
    ).get_json()

    def found(query: str, client: Client = ada) -> list[str]:
        response = client.get(f"/payment/orders/?{query}")
        assert response.status_code == 200, response.text
        return [one["id"] for one in response.get_json()["results"]]

    assert found("") == [second["id"], first["id"]]
    assert found("status=pending") == [second["id"], first["id"]]
    assert found("status=paid") == []
    assert found(f"workspace={WORKSPACE}") == found("")
    assert found(f"workspace={OTHER_WORKSPACE}") == []
    assert found(f"created_after={second['created_at']}") == [second["id"]]
    assert found(f"created_before={second['created_at']}") == [first["id"]]
    number = first["order_number"]
    assert (
        found(f"search={number}")
        == found(f"search={number[-6:].lower()}")
        == found(f"search={number[-5:]}")
        == [first["id"]]
    )
    assert found(f"search={number[:12]}") == found("")
    assert found("user_id=u-ben") == found("")
    assert found("", admin) == [second["id"], first["id"]]
    for query, field in (
        ("status=nonsense", "/status"),
        ("created_after=yesterday", "/created_after"),
        ("page_size=0", "/page_size"),
        ("page_size=101", "/page_size"),
        ("search=%25", "/search"),
        ("workspace=%00", "/workspace"),
    ):
        assert pointers(a_problem(ada.get(f"/payment/orders/?{query}"), 422)) == {field}
    assert pointers(a_problem(ada.get("/payment/orders/?cursor=abc"), 400)) == {"/cursor"}
