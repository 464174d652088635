"""Idempotency keys: one effect and one answer, however often a creating request is repeated."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from payflow.models.booking import Booking
from payflow.models.order import Order
from payflow.models.refund import Refund
from payflow.services.idempotency import Claim
from tests.builders import Client, a_booking_body, a_client, a_paid_payment, a_problem
from tests.house import ADA, House
from web import idempotency


def _with(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def test_the_same_request_again_gets_the_first_answer(house: House, ada: Client) -> None:
    """Byte for byte, marked as a replay; key order in the JSON does not matter; without the mark the first time."""
    body = a_booking_body(house)
    first = ada.post("/bookings/", body, headers=_with("k-1"))
    again = ada.post("/bookings", dict(reversed(body.items())), headers=_with("k-1"))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.data == first.data
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(house.rows(Booking)) == 1


def test_another_body_under_the_same_key_is_422(house: House, ada: Client) -> None:
    """And has no effect."""
    ada.post("/bookings/", a_booking_body(house), headers=_with("k-1"))
    a_problem(ada.post("/bookings/", a_booking_body(house), headers=_with("k-1")), 422, "idempotency_key_reused")
    assert len(house.rows(Booking)) == 1


def test_keys_belong_to_caller_and_route(house: House, ada: Client, ben: Client) -> None:
    """Somebody else's key, or one's own on another route, is another key."""
    body = a_booking_body(house)
    mine = ada.post("/bookings/", body, headers=_with("k-1")).get_json()
    other = ben.post("/bookings/", body, headers=_with("k-1")).get_json()
    assert mine["id"] != other["id"]
    assert ada.post("/payment/orders/", {"booking_ids": [mine["id"]]}, headers=_with("k-1")).status_code == 201


@pytest.mark.parametrize("key", ["", "with space", "tab\t", "ключ", "k" * 256, "k\x7f"])
def test_a_bad_key_is_400(house: House, ada: Client, key: str) -> None:
    """1 to 255 visible ASCII characters."""
    try:
        answer = ada.post("/bookings/", a_booking_body(house), headers=_with(key))
    except UnicodeEncodeError:  # the test client itself refuses to send it
        return
    a_problem(answer, 400, "invalid_idempotency_key")
    assert house.rows(Booking) == []


def test_a_refusal_is_kept_but_a_conflict_is_not(house: House, ada: Client) -> None:
    """422 is the answer for ever; 409 may end, so the same request may succeed later."""
    nobody = {"booking_ids": ["01900000-0000-7000-8000-000000000000"]}
    first = ada.post("/payment/orders/", nobody, headers=_with("k-1"))
    again = ada.post("/payment/orders/", nobody, headers=_with("k-1"))
    assert (first.status_code, again.status_code, again.data) == (422, 422, first.data)
    assert again.content_type == "application/problem+json"

    booking = house.booking()
    order_id, reference = house.initiated(ADA, booking)
    body = {"booking_ids": [booking]}
    a_problem(ada.post("/payment/orders/", body, headers=_with("k-2")), 409)
    house.pay(reference, "decline")
    house.ask(reference)
    assert house.order_row(order_id).status == "failed"
    assert ada.post("/payment/orders/", body, headers=_with("k-2")).status_code == 201


def test_a_typing_mistake_does_not_use_a_key_up(house: House, ada: Client) -> None:
    """What fails its schema never claims the key."""
    body = a_booking_body(house)
    a_problem(ada.post("/bookings/", body | {"amount": "1"}, headers=_with("k-1")), 422)
    assert ada.post("/bookings/", body, headers=_with("k-1")).status_code == 201


def _claimed(house: House, app: Flask, body: dict[str, Any]) -> Claim:
    """A first request that claimed its key and died before it answered."""
    from web.context import web

    with app.test_request_context("/api/v1/bookings/", method="POST", json=body) as context:
        from flask import g

        g.caller = ADA
        context.request.get_json()
        claim = web().idempotency.claim(idempotency._scope(), "k-1", idempotency._fingerprint())
        assert isinstance(claim, Claim)
        return claim


def test_a_running_first_request_makes_the_second_wait(house: House, app: Flask, ada: Client) -> None:
    """409 with Retry-After, until the lease of a crashed first request is over."""
    body = a_booking_body(house)
    _claimed(house, app, body)
    waits = ada.post("/bookings/", body, headers=_with("k-1"))
    a_problem(waits, 409, "idempotency_key_in_use")
    assert 1 <= int(waits.headers["Retry-After"]) <= 90
    house.clock.advance(91)
    assert ada.post("/bookings/", body, headers=_with("k-1")).status_code == 201


def test_work_done_by_a_crashed_first_request_is_not_done_twice(house: House, app: Flask, ada: Client) -> None:
    """It made its booking under the key's id and died before it answered: the next one answers with that booking."""
    body = a_booking_body(house)
    claim = _claimed(house, app, body)
    made = ada.post("/bookings/", body).get_json()  # an ordinary one, for its shape
    with house.container.units.reading() as rows:
        assert rows.find(Booking, claim.resource_id) is None
    from payflow.services.booking import NewBooking

    row = house.rows(Booking)[0]
    new = NewBooking(row.workspace_id, row.resource_id, row.starts_at, row.ends_at, row.amount_minor, row.currency)
    house.container.bookings.create(ADA, new, booking_id=claim.resource_id)
    house.clock.advance(91)
    answer = ada.post("/bookings/", body, headers=_with("k-1"))
    assert (answer.status_code, answer.get_json()["id"]) == (201, claim.resource_id)
    assert made["id"] != claim.resource_id
    assert len(house.rows(Booking)) == 2


def test_orders_and_refunds_repeat_under_their_id(house: House, ada: Client) -> None:
    """The services know a thing that is already there."""
    order_id, payment_id = a_paid_payment(house)
    from payflow.models.refund import RefundReason

    refunds = house.container.refunds
    first = refunds.request_refund(ADA, payment_id, amount_minor=100, reason=RefundReason.OTHER)
    given = {"amount_minor": 100, "reason": RefundReason.OTHER, "refund_id": first}
    assert refunds.request_refund(ADA, payment_id, **given) == first
    assert house.container.orders.create_order(ADA, [house.booking()], order_id=order_id) == order_id
    assert (len(house.rows(Refund)), len(house.rows(Order))) == (1, 1)


def test_a_kept_key_is_forgotten_after_72_hours(house: House, ada: Client) -> None:
    """Then it is as good as new."""
    body = a_booking_body(house)
    ada.post("/bookings/", body, headers=_with("k-1"))
    house.clock.advance(72 * 3600 + 1)
    again = ada.post("/bookings/", a_booking_body(house), headers=_with("k-1"))
    assert again.status_code == 201
    assert "Idempotency-Replayed" not in again.headers


def test_many_at_once_have_one_effect(house: House, app: Flask) -> None:
    """Ten clients with one key: one booking; the others hear the same answer or are asked to wait."""
    body = a_booking_body(house)

    def send(_: int) -> int:
        return a_client(app, ADA).post("/bookings/", body, headers=_with("k-1")).status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(send, range(10)))
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert len(house.rows(Booking)) == 1
