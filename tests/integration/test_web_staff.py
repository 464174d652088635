"""What administrators and operators do: settings, sums, questions about money, an order's story."""

from __future__ import annotations

from datetime import timedelta

import pytest

from payflow.models.refund import Refund
from tests.builders import Client, a_booking_body, a_problem, pointers
from tests.house import OTHER_WORKSPACE, WORKSPACE, House


def test_an_administrator_reads_and_changes_its_policy(house: House, admin: Client, ada: Client) -> None:
    """Only what is named changes, and it counts from the next order on."""
    ada.post("/bookings/", a_booking_body(house))
    before = admin.get(f"/workspaces/{WORKSPACE}/policy/").get_json()
    assert (before["tax_bps"], before["enabled_gateways"]) == (0, None)
    changed = admin.patch(f"/workspaces/{WORKSPACE}/policy/", {"tax_bps": 750, "return_urls": ["https://shop.example"]})
    assert changed.status_code == 200, changed.text
    after = changed.get_json()
    assert {name for name in before if before[name] != after[name]} == {"tax_bps", "return_urls"}
    order = ada.post("/payment/orders/", {"booking_ids": [house.booking(amount=100_000)]}).get_json()
    assert (order["tax"], order["total"]) == (7_500, 107_500)
    a_problem(admin.get(f"/workspaces/{OTHER_WORKSPACE}/policy/"), 404)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"tax_bps": 10_001}, "/tax_bps"),
        ({"tax_bps": 7.5}, "/tax_bps"),
        ({"tax_bps": None}, "/tax_bps"),
        ({"order_ttl_seconds": 1}, "/order_ttl_seconds"),
        ({"refund_needs_approval": "yes"}, "/refund_needs_approval"),
        ({"late_payment": "keep"}, "/late_payment"),
        ({"return_urls": ["javascript:alert(1)"]}, "/return_urls/0"),
        ({"return_urls": ["https://a@b.example"]}, "/return_urls/0"),
        ({"enabled_gateways": ["nonsense"]}, "/enabled_gateways/0"),
        ({"id": "w"}, "/id"),
    ],
)
def test_a_bad_setting_is_refused_by_name(admin: Client, change: dict[str, object], pointer: str) -> None:
    """And nothing changes."""
    before = admin.get(f"/workspaces/{WORKSPACE}/policy/").data
    assert pointers(a_problem(admin.patch(f"/workspaces/{WORKSPACE}/policy/", change), 422)) == {pointer}
    assert admin.get(f"/workspaces/{WORKSPACE}/policy/").data == before


def test_the_summary_counts_what_happened(house: House, operator: Client, admin: Client, ada: Client) -> None:
    """Success rate, volumes per currency, failures by cause, by gateway and day, refunds to review."""
    house.paid()
    _, declined = house.initiated()
    house.pay(declined, "decline")
    house.ask(declined)
    house.initiated()
    admin.patch(f"/workspaces/{WORKSPACE}/policy/", {"refund_needs_approval": True})
    paid = ada.get("/payment/payments/?status=success").get_json()["results"][0]
    ada.post("/payment/refunds/", {"payment_id": paid["id"], "amount": 100, "reason": "other"})
    found = operator.get("/payment/reports/summary/").get_json()
    assert found["payments"] == {
        "total": 3,
        "succeeded": 1,
        "failed": 1,
        "cancelled": 0,
        "open": 1,
        "success_rate_bps": 5_000,
    }
    assert found["volumes"] == [{"currency": "NGN", "count": 1, "captured": 300_000, "refunded": 0}]
    assert [(one["gateway"], one["attempts"], one["succeeded"]) for one in found["by_gateway"]] == [("paystack", 3, 1)]
    assert [one["day"] for one in found["by_day"]] == [f"{house.clock.now():%Y-%m-%d}"]
    assert sum(one["count"] for one in found["failures"]) == 1
    assert found["refunds_to_review"]["count"] == 1
    assert admin.get("/payment/reports/summary/").get_json() == found
    empty = operator.get("/payment/reports/summary/?created_after=2030-01-01T00:00:00Z").get_json()
    assert (empty["payments"]["total"], empty["payments"]["success_rate_bps"]) == (0, None)
    assert admin.get(f"/payment/reports/summary/?workspace={OTHER_WORKSPACE}").get_json()["volumes"] == []


def _underpaid(house: House) -> str:
    order_id, reference = house.initiated()
    house.fault("wrong_amount", reference=reference, amount=100_000)
    house.pay(reference)
    house.ask(reference)
    return order_id


def test_money_that_does_not_fit_is_put_before_staff_and_given_back(
    house: House, operator: Client, admin: Client, ada: Client
) -> None:
    """Listed once, resolved once, with who and why; the money goes back to the last unit."""
    order_id = _underpaid(house)
    assert house.order_row(order_id).status == "processing"
    listed = operator.get("/payment/decisions/").get_json()["results"]
    assert [(one["kind"], one["age_seconds"]) for one in listed] == [("underpaid", 0)]
    house.clock.advance(600)
    listed = operator.get("/payment/decisions/").get_json()["results"]
    assert listed[0]["age_seconds"] == 600
    decision = listed[0]
    assert admin.get("/payment/decisions/").get_json()["results"] == listed
    a_problem(ada.post(f"/payment/decisions/{decision['id']}/resolve/", {"action": "refund"}), 403)
    a_problem(operator.post(f"/payment/decisions/{decision['id']}/resolve/", {"action": "burn"}), 422)
    resolved = admin.post(f"/payment/decisions/{decision['id']}/resolve/", {"action": "refund", "note": "too little"})
    assert resolved.status_code == 200, resolved.text
    found = resolved.get_json()
    assert (found["action"], found["note"], found["resolved_by"]) == ("refund", "too little", "user:u-admin")
    assert [one.amount_minor for one in house.rows(Refund)] == [decision["amount"]]
    again = admin.post(f"/payment/decisions/{decision['id']}/resolve/", {"action": "refund"})
    assert again.status_code == 200
    assert len(house.rows(Refund)) == 1
    a_problem(admin.post(f"/payment/decisions/{decision['id']}/resolve/", {"action": "ignore"}), 409)
    assert operator.get("/payment/decisions/").get_json()["results"] == []
    assert len(operator.get("/payment/decisions/?status=resolved").get_json()["results"]) == 1


def test_late_money_is_accepted_by_a_person(house: House, admin: Client) -> None:
    """Where the workspace wants to decide: `accept` takes the money for the order and its bookings are confirmed."""
    admin.patch(f"/workspaces/{WORKSPACE}/policy/", {"late_payment": "decide"})
    order_id, reference = house.initiated()
    house.later(3_600)
    assert house.order_row(order_id).status == "expired"
    house.pay(reference)
    house.ask(reference)
    decision = admin.get("/payment/decisions/").get_json()["results"][0]
    assert decision["kind"] == "late_payment"
    assert admin.post(f"/payment/decisions/{decision['id']}/resolve/", {"action": "accept"}).status_code == 200
    house.drain()
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_late_money_is_refunded_by_a_person(house: House, admin: Client) -> None:
    """`refund` gives the whole payment back."""
    admin.patch(f"/workspaces/{WORKSPACE}/policy/", {"late_payment": "decide"})
    order_id, reference = house.initiated()
    house.later(3_600)
    house.pay(reference)
    house.ask(reference)
    decision = admin.get("/payment/decisions/").get_json()["results"][0]
    admin.post(f"/payment/decisions/{decision['id']}/resolve/", {"action": "refund"})
    house.drain()
    house.later(60)
    assert house.order_row(order_id).status == "refunded"


def test_the_timeline_tells_what_happened_why_and_what_is_next(house: House, operator: Client) -> None:
    """From the first row to the last message, in order; each stage in plain words."""
    order_id = house.order()
    start = operator.get(f"/payment/orders/{order_id}/timeline/").get_json()
    assert "waits for its customer" in start["why"]
    assert start["next"][-1]["due_at"] is not None
    done = house.paid()
    story = operator.get(f"/payment/orders/{done}/timeline/").get_json()
    assert story["status"] == "completed"
    end = "Nothing more: it is paid and every step on it has been taken."
    assert story["next"] == [{"what": end, "due_at": None}]
    assert [one["at"] for one in story["entries"]] == sorted(one["at"] for one in story["entries"])
    kinds = {one["kind"] for one in story["entries"]}
    assert kinds >= {"order", "payment", "attempt", "event", "notification"}


def test_notifications_are_read_one_by_one_and_all_at_once(house: House, ada: Client, ben: Client) -> None:
    """Only one's own."""
    house.paid()
    house.drain()
    listed = ada.get("/notifications/").get_json()
    assert listed["unread_count"] == len(listed["results"]) >= 2
    one = listed["results"][0]["id"]
    a_problem(ben.post(f"/notifications/{one}/read/"), 404)
    assert ada.post(f"/notifications/{one}/read/").status_code == 200
    assert ada.get("/notifications/").get_json()["unread_count"] == listed["unread_count"] - 1
    assert len(ada.get("/notifications/?unread=true").get_json()["results"]) == listed["unread_count"] - 1
    assert ada.post("/notifications/read-all/").get_json() == {"marked": listed["unread_count"] - 1}
    assert ada.get("/notifications/").get_json()["unread_count"] == 0


def test_operators_read_and_close_what_reconciliation_found(
    house: House, operator: Client, admin: Client, anybody: Client
) -> None:
    """Runs with their gateways, differences with their sentence, the same count at /readyz and /metrics."""
    house.paid()
    house.pay_nobody()
    until = house.clock.now() + timedelta(seconds=1)
    run_id = house.container.reconciliation.open(since=until - timedelta(days=2), until=until, actor="user:u-op")
    running = operator.get("/payment/reports/reconciliation/").get_json()["results"]
    assert [(one["id"], one["state"], one["finished_at"]) for one in running] == [(run_id, "running", None)]
    house.drain()
    (run,) = operator.get("/payment/reports/reconciliation/").get_json()["results"]
    assert (run["state"], run["duration_seconds"], len(run["differences"])) == ("complete", 0, 1)
    assert {one["gateway"]: one["payments_listed"] for one in run["gateways"]}["paystack"] == 2
    path = "/payment/reports/reconciliation/differences/"
    (found,) = operator.get(path).get_json()["results"]
    assert (found["kind"], found["state"], found["order_id"], found["amount"]) == (
        "unknown_here",
        "open",
        None,
        500_000,
    )
    assert anybody.get("http://localhost/readyz").get_json()["differences"] == 1
    metric = 'payflow_reconciliation_differences{kind="unknown_here"} 1.0'
    house.clock.advance(60)
    told = anybody.get("http://localhost/metrics").text
    assert metric in told
    assert 'payflow_reconciliation_age_seconds{gateway="paystack"} 59.0' in told
    for refused in (
        admin.get("/payment/reports/reconciliation/"),
        admin.get(path),
        admin.post(f"{path}{found['id']}/close/", {}),
    ):
        a_problem(refused, 403)
    closed = operator.post(f"{path}{found['id']}/close/", {"note": "an invoice"}).get_json()
    assert (closed["state"], closed["settled_by"], closed["note"]) == ("settled", "user:u-op", "an invoice")
    assert operator.get(path).get_json()["results"] == []
    assert operator.get(f"{path}?status=settled").get_json()["results"] == [closed]
    assert anybody.get("http://localhost/readyz").get_json()["differences"] == 0
