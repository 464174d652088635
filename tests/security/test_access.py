"""Who may do what, in the corners other suites leave: enumeration, skipped steps, trails, public pages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from payflow.models.access import IdempotencyKey, ServiceKey
from payflow.models.decision import Decision
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund
from tests.builders import Client, a_booking_body, a_client, a_paid_payment, a_problem, a_service_key
from tests.house import ADA, BEN, OTHER_WORKSPACE, WORKSPACE, House
from tests.rows import a_decision

UNKNOWN = "01900000-0000-7000-8000-000000000000"
LISTS = ("/bookings/", "/payment/orders/", "/payment/payments/", "/payment/refunds/")


@pytest.mark.parametrize("path", LISTS)
def test_no_filter_widens_a_list(house: House, ben: Client, path: str) -> None:
    """Naming somebody else, their workspace or a right one has not got shows nothing more."""
    house.paid(ADA)
    for query in (
        "user_id=u-ada", "user=u-ada", f"workspace={WORKSPACE}", f"workspace={OTHER_WORKSPACE}", "workspace=*",
        "workspace=%25", "all=true", "scope=operator", "is_staff=1", "page_size=100&user_id[]=u-ada",
    ):  # fmt: skip
        assert ben.get(f"{path}?{query}").get_json()["results"] == [], query


def test_missing_and_foreign_are_told_alike(house: House, ben: Client) -> None:
    """Same status, body and headers but for the request's id: an id cannot be probed."""
    order_id, payment_id = a_paid_payment(house)
    for there in (f"/payment/orders/{order_id}/", f"/payment/payments/{payment_id}/"):
        missing = there.replace(order_id, UNKNOWN).replace(payment_id, UNKNOWN)
        pair = [ben.get(path) for path in (there, missing)]
        shown = [a_problem(one, 404) for one in pair]
        for one in shown:
            del one["request_id"]
        assert shown[0] == shown[1]
        kept = [{name: value for name, value in one.headers if name != "X-Request-ID"} for one in pair]
        assert kept[0] == kept[1]


def test_no_step_can_be_skipped(house: House, ada: Client, admin: Client) -> None:
    """No refund, no confirmation, no approval before what comes first has happened."""
    order_id, reference = house.initiated()
    payment_id = house.payment_row(order_id).id
    a_problem(ada.post("/payment/refunds/", {"payment_id": payment_id, "reason": "other"}), 409, "not_paid")
    a_problem(admin.post(f"/payment/refunds/{UNKNOWN}/approve/"), 404)
    a_problem(ada.open("PATCH", f"/payment/orders/{order_id}/", json={"status": "paid"}), 405)
    a_problem(ada.open("PATCH", f"/bookings/{UNKNOWN}/", json={"status": "confirmed"}), 405)
    a_problem(ada.post(f"/bookings/{UNKNOWN}/confirm/"), 404)
    house.container.bookings.confirm([order_id])
    assert house.statuses(order_id) == ("processing", "processing", {"pending"})
    assert [row for row in house.rows(Refund) if row.payment_id == payment_id] == []
    assert house.charges(reference) == 0


@pytest.mark.parametrize(
    "query",
    [
        "reference={0}&status=success", "trxref={0}&reference={0}&status=success&amount=1", "reference={0}&status=paid",
        "tx_ref={0}&transaction_id=1&status=successful", "session_id={0}", "reference={0}&order_status=completed",
    ],
)  # fmt: skip
def test_saying_success_in_the_callback_pays_nothing(house: House, anybody: Client, query: str) -> None:
    """Whatever the browser claims: the gateway is asked, says no, and no money is booked."""
    order_id, reference = house.initiated()
    answer = anybody.get(f"/payment/payments/callback/?{query.format(reference)}")
    assert answer.status_code in (200, 404)
    house.drain()
    assert house.statuses(order_id) == ("processing", "processing", {"pending"})
    assert house.charges(reference) == 0


@pytest.mark.parametrize(
    "url",
    [
        "//evil.example", "https:evil.example", "https:///evil.example", "\\\\evil.example", "/\\evil.example",
        "https://shop.example@evil.example/", "https://shop.example.evil.example/", "https://evil.example/#shop.example",
        "https://shop.example\\@evil.example", "javascript:alert(1)", "data:text/html,x", "https://evil.example?shop.example",
        "https://shop.example%2eevil.example", "https://shop.example:443@evil.example", "https://shop.example\r\nX: y",
        "ＨＴＴＰＳ://evil.example", "https://ѕhop.example/", "http://shop.example/", "https://shop.example:8443/", "",
    ],
)  # fmt: skip
def test_a_return_address_leads_nowhere_else(house: House, app: Flask, url: str) -> None:
    """Not on the list in every letter: 422, and no try is opened."""
    order_id = house.order()
    body = {"order_id": order_id, "return_url": url}
    problem = a_problem(a_client(app, ADA).post("/payment/payments/initiate/", body), 422)
    assert {error["pointer"] for error in problem["errors"]} == {"/return_url"}
    assert [row for row in house.rows(PaymentAttempt) if row.order_id == order_id] == []


@pytest.mark.parametrize("url", ["//evil.example", "javascript:alert(1)", "https://a.example@evil.example", "*"])
def test_a_workspace_cannot_allow_every_address(admin: Client, url: str) -> None:
    """Policy takes absolute http(s) addresses without a user part."""
    problem = a_problem(admin.patch(f"/workspaces/{WORKSPACE}/policy/", {"return_urls": [url]}), 422)
    assert problem["errors"][0]["pointer"] == "/return_urls/0"


def test_an_idempotency_key_of_somebody_else_tells_nothing(house: House, ada: Client, ben: Client) -> None:
    """The same key in Ben's hand is a key of Ben's."""
    headers = {"Idempotency-Key": "shared-key"}
    hers = ada.post("/bookings/", a_booking_body(house), headers=headers).get_json()
    his = ben.post("/bookings/", a_booking_body(house), headers=headers)
    assert his.status_code == 201
    assert "Idempotency-Replayed" not in his.headers
    assert his.get_json()["id"] != hers["id"]
    assert len([row for row in house.rows(IdempotencyKey) if row.key == "shared-key"]) == 2


@pytest.mark.parametrize("key", ["", "x" * 5_000, "a b", "ä", "a\x00b", "a\x7f"])
def test_an_odd_idempotency_key_is_400(house: House, ada: Client, key: str) -> None:
    """Control characters, five kilobytes, nothing at all."""
    answer = ada.post("/bookings/", a_booking_body(house), headers={"Idempotency-Key": key})
    a_problem(answer, 400, "invalid_idempotency_key")


def test_service_keys_are_kept_as_hashes_and_found_by_them(house: House, app: Flask) -> None:
    """Nobody who reads the database can call with what stands there; a near miss is as unknown as any other."""
    key = a_service_key(house)
    kept = [row.key_hash for row in house.rows(ServiceKey)]
    assert not any(key in one or one in key for one in kept)
    assert all(len(one) == 64 for one in kept)
    assert Client(app.test_client(), key).get("/bookings/").status_code == 200
    for wrong in (key[:-1], f"{key}x", key.swapcase(), kept[0], f"pfk_{kept[0]}"):
        a_problem(Client(app.test_client(), wrong).get("/bookings/"), 401)


def test_public_pages_tell_no_details(house: House, anybody: Client) -> None:
    """Health, readiness and metrics hold counts, no ids, names, addresses or secrets."""
    order_id, payment_id = a_paid_payment(house)
    told = "".join(anybody.http.get(path).text for path in ("/healthz", "/readyz", "/metrics"))
    settings = house.container.settings
    hidden = [
        order_id, payment_id, house.order_row(order_id).order_number, ADA.email, ADA.user_id, WORKSPACE,
        str(settings.jwt_secret), settings.database_url, settings.broker_url, *(
            one.secret_key for one in settings.gateways.values()
        ),
    ]  # fmt: skip
    assert [one for one in hidden if one and one in told] == []


def test_what_staff_do_bears_their_name(house: House, admin: Client, operator: Client) -> None:
    """A verdict on a refund and a decision name who took it, in the timeline and in the row."""
    admin.patch(f"/workspaces/{WORKSPACE}/policy/", {"refund_needs_approval": True})
    order_id, payment_id = a_paid_payment(house)
    body = {"payment_id": payment_id, "amount": 100, "reason": "other"}
    refund = a_client(admin.http.application, ADA).post("/payment/refunds/", body).get_json()
    assert admin.post(f"/payment/refunds/{refund['id']}/reject/", {"note": "no"}).status_code == 200
    decision = a_decision(house.order_row(order_id), created_at=house.clock.now())

    def plant(tx: Any) -> None:
        tx.add(decision)

    house.container.units.run(plant)
    resolved = operator.post(f"/payment/decisions/{decision.id}/resolve/", {"action": "ignore", "note": "seen"})
    assert resolved.status_code == 200
    entries = operator.get(f"/payment/orders/{order_id}/timeline/").get_json()["entries"]
    assert {"user:u-admin", "user:u-op", "user:u-ada"} <= {entry["actor"] for entry in entries}
    (row,) = [row for row in house.rows(Decision) if row.id == decision.id]
    assert row.resolved_by == "user:u-op"
    admin.patch(f"/workspaces/{WORKSPACE}/policy/", {"refund_needs_approval": False})


def test_a_customer_is_shown_nothing_of_the_gateway_or_of_others(house: House, ada: Client) -> None:
    """No raw answers, no secrets, no other person's data in any of a customer's views."""
    house.paid(BEN)
    order_id, payment_id = a_paid_payment(house)
    paths = (*LISTS, f"/payment/orders/{order_id}/", f"/payment/payments/{payment_id}/", "/notifications/")
    told = "".join(ada.get(path).text for path in paths)
    secrets = {one.secret_key for one in house.container.settings.gateways.values()}
    assert [one for one in ("gateway_response", BEN.user_id, BEN.email, *secrets) if one in told] == []
    assert json.dumps(order_id) in told
