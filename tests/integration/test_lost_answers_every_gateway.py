"""The gateway acts and its answer is lost, at each gateway: one charge, one refund, the right end, no call too many.

The calls are read from the gateway's own log, the lost one marked with a cross.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from payflow.core.gateways import NAMES
from payflow.models.ledger import LedgerPosting
from payflow.models.refund import RefundReason
from tests.house import ADA, House

pytestmark = pytest.mark.usefixtures("sound_in_the_end")

AMOUNT = 1_500_000
"""NGN 15,000.00: above every gateway's minimum."""
SILENCE = {"seconds": 0, "then": "close"}
"""The request takes effect, then the connection is closed without an answer: to the caller, a time-out."""


def page_lost_and_paid(house: House, gateway: str) -> str:
    """The answer to the first call is lost, and the customer pays on that very page a second later."""
    house.fault("timeout_after_effect", operation="initialize", params=SILENCE)
    house.fault("auto_pay", params={"after_seconds": 1, "outcome": "success"})
    order_id = house.order(ADA, house.booking(amount=AMOUNT))
    house.container.payments.initiate_payment(ADA, order_id, gateway=gateway)
    house.drain()
    for _ in range(8):
        house.later(15)
    return order_id


def answer_about_payment_lost(house: House, gateway: str) -> str:
    """The money is taken; every quick question about it stays without an answer."""
    order_id, reference = house.initiated(ADA, house.booking(amount=AMOUNT), gateway=gateway)
    house.pay(reference)
    house.fault("timeout_after_effect", operation="verify", times=3, params=SILENCE)
    for _ in range(8):
        house.later(15)
    return order_id


def refund_made_answer_lost(house: House, gateway: str) -> str:
    """The refund is made and the gateway falls silent."""
    order_id, reference = house.initiated(ADA, house.booking(amount=AMOUNT), gateway=gateway)
    house.pay(reference)
    house.ask(reference)
    house.fault("timeout_after_effect", operation="refund", params=SILENCE)
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=None, reason=RefundReason.OTHER)
    house.drain()
    for _ in range(8):
        house.later(30)
    return order_id


def calls(house: House, gateway: str, order_id: str) -> list[str]:
    """Method, route and whose page, in order; × = no answer was given."""
    references = [attempt.reference for attempt in house.attempts(order_id)]
    lines = []
    for row in house.control("GET", f"/sandbox/calls?gateway={gateway}")["calls"]:
        route = row["route"].removeprefix(f"/{gateway}")
        for reference in references:
            route = route.replace(reference, "{reference}")
        route = re.sub(r"/(?:(?:cs_test|re)_\w+|\d+)", "/{id}", route)
        whose = f" of page {references.index(row['reference']) + 1}" if row["reference"] in references else ""
        lines.append(f"{row['method']} {route}{whose}{' ×' if row['status'] is None else ''}")
    return lines


def charges(house: House, order_id: str) -> int:
    """How often money was taken for the order, over all its tries."""
    return sum(house.charges(attempt.reference) for attempt in house.attempts(order_id))


def posted(house: House) -> list[str]:
    return sorted(row.kind for row in house.rows(LedgerPosting) if row.kind != "fee")


@pytest.mark.parametrize("story", [page_lost_and_paid, answer_about_payment_lost])
@pytest.mark.parametrize("gateway", NAMES)
def test_money_taken_without_an_answer_is_one_charge_and_a_completed_order(
    house: House, gateway: str, story: Callable[[House, str], str]
) -> None:
    """Whatever was lost, the customer paid once and has what was paid for; nothing is open any more."""
    order_id = story(house, gateway)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert (charges(house, order_id), posted(house)) == (1, ["capture"])
    assert house.payment_row(order_id).captured_minor == AMOUNT
    assert house.refunds(order_id) == []


@pytest.mark.parametrize("gateway", NAMES)
def test_a_refund_made_without_an_answer_is_one_refund_and_a_refunded_order(house: House, gateway: str) -> None:
    """The gateway's books hold one refund of the whole; ours say the same."""
    order_id = refund_made_answer_lost(house, gateway)
    assert house.statuses(order_id) == ("refunded", "refunded", {"cancelled"})
    assert [row.status for row in house.refunds(order_id)] == ["completed"]
    (made,) = house.control("GET", "/sandbox/refunds")["refunds"]
    assert (made["amount_minor"], made["status"]) == (AMOUNT, "processed")
    assert (charges(house, order_id), posted(house)) == (1, ["capture", "refund"])


CALLS: list[tuple[Callable[[House, str], str], str, list[str]]] = [
    (
        page_lost_and_paid,
        "paystack",
        ["POST /transaction/initialize of page 1 ×", "GET /transaction/verify/{reference} of page 1"],
    ),
    (
        page_lost_and_paid,
        "flutterwave",
        [
            "POST /payments of page 1 ×",
            "POST /payments of page 2",
            "GET /transactions/verify_by_reference of page 1",
            "GET /transactions of page 1",
            *["GET /transactions/verify_by_reference of page 2"] * 4,
        ],
    ),
    (
        page_lost_and_paid,
        "stripe",
        [
            *["POST /v1/checkout/sessions of page 1 ×", "POST /v1/checkout/sessions of page 1"],
            "GET /v1/checkout/sessions/{id} of page 1",
        ],
    ),
    (
        answer_about_payment_lost,
        "paystack",
        [
            "POST /transaction/initialize of page 1",
            *["GET /transaction/verify/{reference} of page 1 ×"] * 3,
            "GET /transaction/verify/{reference} of page 1",
        ],
    ),
    (
        answer_about_payment_lost,
        "flutterwave",
        [
            "POST /payments of page 1",
            *["GET /transactions/verify_by_reference of page 1 ×"] * 3,
            "GET /transactions/verify_by_reference of page 1",
            "GET /transactions of page 1",
        ],
    ),
    (
        answer_about_payment_lost,
        "stripe",
        [
            "POST /v1/checkout/sessions of page 1",
            *["GET /v1/checkout/sessions/{id} of page 1 ×"] * 3,
            "GET /v1/checkout/sessions/{id} of page 1",
        ],
    ),
    (
        refund_made_answer_lost,
        "paystack",
        [
            "POST /transaction/initialize of page 1",
            "GET /transaction/verify/{reference} of page 1",
            "POST /refund of page 1 ×",
            "GET /refund of page 1",
        ],
    ),
    (
        refund_made_answer_lost,
        "flutterwave",
        [
            "POST /payments of page 1",
            "GET /transactions/verify_by_reference of page 1",
            "GET /transactions of page 1",
            "POST /transactions/{id}/refund of page 1 ×",
            "GET /transactions/{id}/verify of page 1",
            "GET /refunds",
        ],
    ),
    (
        refund_made_answer_lost,
        "stripe",
        [
            "POST /v1/checkout/sessions of page 1",
            "GET /v1/checkout/sessions/{id} of page 1",
            "GET /v1/refunds of page 1",
            "POST /v1/refunds of page 1 ×",
            "POST /v1/refunds of page 1",
            "GET /v1/refunds/{id} of page 1",
        ],
    ),
]


@pytest.mark.parametrize(
    ("story", "gateway", "made"), CALLS, ids=[f"{story.__name__}-{name}" for story, name, _ in CALLS]
)
def test_the_calls_made_after_a_lost_answer_are_these(
    house: House, story: Callable[[House, str], str], gateway: str, made: list[str]
) -> None:
    """No call more than it takes to find out, and none that could act a second time without an idempotency key."""
    assert calls(house, gateway, story(house, gateway)) == made
