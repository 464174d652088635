"""The main job through the API: bookings, an order, a payment, the gateway's webhook, the end; and a refund."""

from __future__ import annotations

from tests.builders import API, Client, a_booking_body, signed
from tests.house import House


def test_from_booking_to_completed_order_to_refund(house: House, ada: Client, anybody: Client) -> None:
    """Each step answers what the contract says, and the webhook is enough to finish the payment."""
    bookings = [ada.post("/bookings/", a_booking_body(house)).get_json() for _ in range(2)]
    assert [one["status"] for one in bookings] == ["pending", "pending"]

    made = ada.post("/payment/orders/", {"booking_ids": [one["id"] for one in bookings]})
    assert made.status_code == 201, made.text
    order = made.get_json()
    assert made.headers["Location"] == f"{API}/payment/orders/{order['id']}/"
    assert (order["status"], order["total"], order["booking_count"], order["payment"]) == ("pending", 300_000, 2, None)
    assert {one["id"] for one in order["bookings"]} == {one["id"] for one in bookings}

    started = ada.post("/payment/payments/initiate/", {"order_id": order["id"], "gateway": "paystack"})
    assert started.status_code == 202
    payment = started.get_json()
    assert (payment["status"], payment["authorization_url"]) == ("pending", None)
    assert payment["reference"].startswith("PF-")
    assert started.headers["Location"] == f"{API}/payment/payments/{payment['id']}/"

    house.drain()
    again = ada.post("/payment/payments/initiate/", {"order_id": order["id"]})
    assert again.status_code == 201
    assert again.get_json()["reference"] == payment["reference"]
    assert again.get_json()["authorization_url"].startswith("http")

    house.pay(payment["reference"])
    body, headers = signed({"event": "charge.success", "data": {"id": 1, "reference": payment["reference"]}})
    told = anybody.http.post(f"{API}/payment/webhooks/paystack/", data=body, headers=headers)
    assert told.status_code == 200
    house.drain()

    done = ada.get(f"/payment/orders/{order['id']}/").get_json()
    assert (done["status"], done["payment"]["status"]) == ("completed", "success")
    assert {one["status"] for one in done["bookings"]} == {"confirmed"}
    detail = ada.get(f"/payment/payments/{payment['id']}/").get_json()
    assert [move["to"] for move in detail["history"]] == ["processing", "success"]
    assert detail["refundable_amount"] == 300_000
    assert "gateway_response" not in detail["attempts"][0]

    asked = ada.post(
        "/payment/refunds/", {"payment_id": payment["id"], "amount": 100_000, "reason": "customer_request"}
    )
    assert asked.status_code == 202
    house.drain()
    house.later(60)
    refund = ada.get(f"/payment/refunds/{asked.get_json()['id']}/").get_json()
    assert (refund["status"], refund["amount"]) == ("completed", 100_000)
    assert ada.get(f"/payment/payments/{payment['id']}/").get_json()["refunded_amount"] == 100_000

    messages = ada.get("/notifications/").get_json()
    assert messages["unread_count"] == len(messages["results"]) > 3
    assert {"Order created", "Payment successful", "Refund completed"} <= {one["title"] for one in messages["results"]}
