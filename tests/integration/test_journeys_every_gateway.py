"""The main ways of an order through each gateway: one script, nothing special-cased."""

from __future__ import annotations

import pytest

from payflow.core.gateways import NAMES
from payflow.core.money import Money
from payflow.models.ledger import LedgerPosting
from payflow.models.refund import RefundReason
from tests.house import ADA, House

pytestmark = [pytest.mark.parametrize("gateway", NAMES), pytest.mark.usefixtures("sound_in_the_end")]
AMOUNT = 1_500_000
"""NGN 15,000.00 a booking: above every gateway's minimum."""


def opened(house: House, gateway: str) -> tuple[str, str]:
    return house.initiated(ADA, house.booking(amount=AMOUNT), house.booking(amount=AMOUNT), gateway=gateway)


def settled(house: House, gateway: str) -> str:
    order_id, reference = opened(house, gateway)
    house.pay(reference)
    house.ask(reference)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    return order_id


def tell(house: House, gateway: str) -> None:
    """Carry every webhook the gateway has written in, and do the work."""
    for row in house.webhooks():
        house.receive(row, gateway)
    house.drain()


def test_a_payment_is_completed_by_its_webhook(house: House, gateway: str) -> None:
    """Signed webhook in, gateway asked, money exact, one charge, one capture."""
    order_id, reference = opened(house, gateway)
    house.pay(reference)
    tell(house, gateway)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert house.charges(reference) == 1
    captures = [row for row in house.rows(LedgerPosting) if row.kind == "capture"]
    assert [(row.amount_minor, row.debit_account) for row in captures] == [(2 * AMOUNT, f"gateway:{gateway}")]


def test_a_payment_nobody_tells_of_is_found_by_the_poll(house: House, gateway: str) -> None:
    """No webhook, no redirect: the first due question finds it."""
    order_id, reference = opened(house, gateway)
    house.pay(reference)
    house.later(6)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})


def test_a_declined_try_is_followed_by_a_paid_one(house: House, gateway: str) -> None:
    """Decline, then a new try with a new reference, charged once."""
    order_id, reference = opened(house, gateway)
    house.pay(reference, "decline")
    house.ask(reference)
    assert house.statuses(order_id) == ("failed", "failed", {"pending"})
    again = house.container.payments.initiate_payment(ADA, order_id, gateway=gateway)
    house.drain()
    house.pay(again.reference)
    house.ask(again.reference)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert (house.charges(reference), house.charges(again.reference)) == (0, 1)


def test_a_retry_may_choose_another_gateway(house: House, gateway: str) -> None:
    """After a decline the customer goes elsewhere; the earlier try stays on record and due."""
    order_id, reference = opened(house, gateway)
    house.pay(reference, "decline")
    house.ask(reference)
    other = NAMES[(NAMES.index(gateway) + 1) % len(NAMES)]
    again = house.container.payments.initiate_payment(ADA, order_id, gateway=other)
    house.drain()
    house.pay(again.reference)
    house.ask(again.reference)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert house.payment_row(order_id).gateway == other
    assert [attempt.gateway for attempt in house.attempts(order_id)] == [gateway, other]


def test_an_unpaid_order_expires(house: House, gateway: str) -> None:
    """Nobody pays: asked once more at the deadline, then expired."""
    order_id, _ = opened(house, gateway)
    house.later(1_801)
    assert house.statuses(order_id) == ("expired", "cancelled", {"pending"})


def test_money_goes_back_in_part_then_in_whole(house: House, gateway: str) -> None:
    """Two refunds: the payment stays success after the first and is refunded after the second."""
    order_id = settled(house, gateway)
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=500_000, reason=RefundReason.OTHER)
    house.drain()
    house.later(6)
    house.later(60)
    assert (house.statuses(order_id)[0], house.payment_row(order_id).refunded_minor) == ("completed", 500_000)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=None, reason=RefundReason.OTHER)
    house.drain()
    house.later(6)
    house.later(60)
    assert house.statuses(order_id) == ("refunded", "refunded", {"cancelled"})
    assert payment.amount == Money(2 * AMOUNT, "NGN")
