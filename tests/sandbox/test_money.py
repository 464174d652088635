"""What customers, banks and people at the gateway do: each planted fault does what its row says."""

import json

import pytest

from tests.sandbox.desk import Desk


def test_decline_then_the_next_payment_fails_and_the_one_after_succeeds(desk: Desk) -> None:
    """decline: the bank's words reach verify; the customer is sent back; trying again works."""
    desk.plant("decline", params={"reason": "Insufficient Funds"})
    desk.initialize()
    answer = desk.pay().json
    assert (answer["outcome"], answer["status"]) == ("decline", "failed")
    assert answer["redirect_url"] == "https://shop.example/back?trxref=PF-1&reference=PF-1"
    assert desk.transaction()["gateway_response"] == "Insufficient Funds"
    assert desk.pay().json["status"] == "paid"


def test_abandon_then_nothing_is_charged_and_nobody_is_told(desk: Desk) -> None:
    """abandon: no redirect, no webhook, the transaction stays abandoned."""
    desk.plant("abandon")
    desk.initialize()
    answer = desk.pay().json
    assert (answer["outcome"], answer["redirect_url"]) == ("abandon", None)
    assert desk.transaction()["status"] == "abandoned"
    assert desk.send() == []


def test_late_success_then_the_money_comes_after_the_customer_left(desk: Desk) -> None:
    """late_success: the status word meanwhile is as scripted, and the webhook comes with the money."""
    desk.plant("late_success", params={"after_seconds": 600, "meanwhile": "pending"})
    desk.initialize()
    assert desk.pay().json["outcome"] == "late"
    assert desk.transaction()["status"] == "pending"
    desk.later(599)
    assert desk.send() == []
    desk.later(1)
    assert desk.transaction()["status"] == "success"
    assert desk.send() == ["charge.success"]


@pytest.mark.parametrize(
    ("outcome", "status"), [("success", "success"), ("decline", "failed"), ("abandon", "abandoned")]
)
def test_auto_pay_then_the_transaction_takes_its_outcome_by_itself(desk: Desk, outcome: str, status: str) -> None:
    """auto_pay: nobody comes to the page, and it happens all the same."""
    desk.plant("auto_pay", params={"after_seconds": 3, "outcome": outcome})
    desk.initialize()
    assert desk.transaction()["status"] == "abandoned"
    desk.later(3)
    assert desk.transaction()["status"] == status


@pytest.mark.parametrize(("field", "requested"), [("both", 19999), ("amount", 20000)])
def test_wrong_amount_then_the_charge_is_off(desk: Desk, field: str, requested: int) -> None:
    """wrong_amount: verify, webhook and oracle agree on the amount really taken."""
    desk.plant("wrong_amount", params={"delta": -1, "field": field})
    desk.paid()
    data = desk.transaction()
    assert (data["amount"], data["requested_amount"]) == (19999, requested)
    assert desk.read("charges")["by_reference"]["PF-1"]["taken_minor"] == 19999
    desk.send()
    assert json.loads(desk.receiver.got[0][1])["data"]["amount"] == 19999


def test_wrong_currency_then_the_charge_is_in_another(desk: Desk) -> None:
    """wrong_currency: the charge is made in the currency scripted."""
    desk.plant("wrong_currency", params={"currency": "GHS"})
    desk.paid()
    assert desk.transaction()["currency"] == "GHS"
    assert list(desk.read("charges")["totals"]) == ["GHS"]


def test_fee_on_customer_then_amount_is_above_what_was_asked(desk: Desk) -> None:
    """fee_on_customer: amount = requested_amount + fees, as in Paystack's own sample."""
    desk.plant("fee_on_customer")
    desk.paid()
    data = desk.transaction()
    assert (data["amount"], data["requested_amount"], data["fees"]) == (20300, 20000, 300)


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("refund_stuck_pending", ["pending", "pending", "pending"]),
        ("refund_slow", ["pending", "pending", "processed"]),
        ("refund_fails", ["pending", "failed", "failed"]),
        ("refund_fails_after_success", ["pending", "processed", "failed"]),
        ("refund_needs_attention", ["pending", "needs-attention", "needs-attention"]),
    ],
)
def test_refund_faults_then_the_refund_takes_that_way(desk: Desk, fault: str, statuses: list[str]) -> None:
    """refund_*: what the list of refunds says at once, after two seconds, and long after."""
    desk.paid()
    desk.plant(fault)
    desk.refund()
    seen = [desk.refund_status()]
    for seconds in (2, 1000):
        desk.later(seconds)
        seen.append(desk.refund_status())
    assert seen == statuses
    if statuses[-1] == "failed":
        assert desk.transaction()["status"] == "success"
        assert desk.read("charges")["by_reference"]["PF-1"]["returned_minor"] == 0
        assert desk.refund().status_code == 200


def test_refund_no_balance_then_refused_once(desk: Desk) -> None:
    """refund_no_balance: Paystack's words, no refund, and the next try works."""
    desk.paid()
    desk.plant("refund_no_balance")
    answer = desk.refund()
    assert answer.json["message"] == "Insufficient balance to fulfill this refund. Please top up."
    assert desk.refund().status_code == 200


def test_dashboard_refund_then_money_goes_back_unasked(desk: Desk) -> None:
    """dashboard_refund: at once on a paid charge, as soon as paid on another; told by webhook, listed, counted."""
    desk.paid()
    desk.plant("dashboard_refund", reference="PF-1", params={"amount": 5000})
    desk.plant("dashboard_refund", reference="PF-2")
    desk.paid("PF-2")
    desk.send()
    told = [(json.loads(body)["event"], b"PF-2" in body) for _, body in desk.receiver.got]
    assert sorted(told) == [
        ("charge.success", False), ("charge.success", True), ("refund.pending", False), ("refund.pending", True),
    ]  # fmt: skip
    refunds = desk.read("refunds?source=dashboard")["refunds"]
    assert [(row["reference"], row["amount_minor"]) for row in refunds] == [("PF-1", 5000), ("PF-2", 20000)]
    too_much = {"fault": "dashboard_refund", "reference": "PF-1", "params": {"amount": 15001}}
    assert desk.client.post("/sandbox/faults", json=too_much).status_code == 409


@pytest.mark.parametrize(
    ("won", "resolution", "status"), [(True, "declined", "success"), (False, "merchant-accepted", "reversed")]
)
def test_dispute_then_opened_and_resolved(desk: Desk, won: bool, resolution: str, status: str) -> None:
    """dispute and dispute_resolve: told by webhook; a lost one reverses the transaction."""
    desk.paid()
    desk.plant("dispute", reference="PF-1", params={"amount": 5000})
    desk.plant("dispute_resolve", reference="PF-1", params={"won": won})
    assert desk.send() == ["charge.success", "charge.dispute.create", "charge.dispute.resolve"]
    told = json.loads(desk.receiver.got[2][1])["data"]
    assert (told["resolution"], told["refund_amount"]) == (resolution, 5000)
    assert desk.transaction()["status"] == status
    assert desk.read("disputes")["disputes"][0]["status"] == ("won" if won else "lost")
