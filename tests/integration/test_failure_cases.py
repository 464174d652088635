"""What went wrong for users of other payment systems, where no other room has the test (docs/failure-cases.md)."""

from __future__ import annotations

from typing import Any

import pytest

from payflow.core.errors import InvalidInput
from payflow.core.events import EventType
from payflow.core.money import Money
from payflow.models.base import Transition
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import RefundSource
from payflow.services.policy import PolicyService
from payflow.store.unit_of_work import Transaction
from tests.house import ADA, ADMIN, WORKSPACE, House
from tests.soundness import iso_minor

pytestmark = pytest.mark.usefixtures("sound_in_the_end")


def kinds(house: House) -> list[str]:
    """The kinds of all ledger postings, in order."""
    return [row.kind for row in house.rows(LedgerPosting)]


def test_a_second_initiation_while_the_first_ones_outcome_is_unknown_charges_nobody_twice(house: House) -> None:
    """The page was made, its answer lost; the client asks to pay again before anybody knows: the same try, one page."""
    house.fault("timeout_after_effect", operation="initialize", params={"seconds": 0, "then": "close"})
    order_id = house.order()
    first = house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    house.drain()
    assert [row.status for row in house.attempts(order_id)] == ["unknown"]
    again = house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    assert (again.reference, again.is_new) == (first.reference, False)
    house.later(10)
    current = house.attempts(order_id)[-1]
    house.pay(current.reference)
    house.ask(current.reference)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert sum(house.charges(row.reference) for row in house.attempts(order_id)) == 1


def test_both_tabs_pay_when_the_customer_used_two_gateways_then_one_is_given_back(house: House) -> None:
    """A try called failed pays late, after another one paid: the order is paid once, the second refunded."""
    order_id, first = house.initiated()
    house.pay(first, "decline")
    house.ask(first)
    second = house.container.payments.initiate_payment(ADA, order_id, gateway="stripe").reference
    house.drain()
    house.pay(second)
    house.pay(first)
    house.ask(second)
    house.ask(first)
    house.later(60)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    tries = {row.reference: row for row in house.attempts(order_id)}
    assert {tries[first].application, tries[second].application} == {"applied", "surplus"}
    surplus = next(row for row in tries.values() if row.application == "surplus")
    refunds = house.refunds(order_id)
    assert [(row.attempt_id, row.status, row.source) for row in refunds] == [
        (surplus.id, "completed", RefundSource.SURPLUS.value)
    ]
    assert house.payment_row(order_id).refunded_minor == 0, "the order's own money stays"
    assert [row.type for row in house.rows(OutboxEvent)].count("PAYMENT_COMPLETED") == 1


def test_too_much_money_when_it_arrives_then_the_order_is_paid_and_the_rest_goes_back(house: House) -> None:
    """Paid 5.00 too much: paid, completed, and exactly the excess is refunded once."""
    order_id, reference = house.initiated()
    house.fault("wrong_amount", reference=reference, params={"delta": 500})
    house.pay(reference)
    house.ask(reference)
    house.later(30)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert [(row.amount_minor, row.status) for row in house.refunds(order_id)] == [(500, "completed")]
    assert kinds(house).count("capture") == 1
    assert "excess" in kinds(house)


@pytest.mark.parametrize("gateway", ["paystack", "flutterwave", "stripe"])
@pytest.mark.parametrize(
    ("currency", "minor"), [("NGN", 1_500_000), ("USD", 12_345), ("JPY", 5_000), ("KWD", 12_340), ("UGX", 40_000)]
)
def test_amounts_when_paid_are_what_was_asked_at_every_gateway(
    house: House, gateway: str, currency: str, minor: int
) -> None:
    """0, 2 and 3 decimals and UGX's own rule: the books hold the price to the last unit, or it is refused."""
    able = house.container.gateways[gateway].supports(currency)
    order_id = house.order(ADA, house.booking(amount=minor, currency=currency))
    if not able:
        with pytest.raises(InvalidInput) as caught:
            house.container.payments.initiate_payment(ADA, order_id, gateway=gateway)
        assert caught.value.pointer == "/currency"
        return
    reference = house.container.payments.initiate_payment(ADA, order_id, gateway=gateway).reference
    house.drain()
    house.pay(reference)
    house.ask(reference)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    (capture,) = [row for row in house.rows(LedgerPosting) if row.kind == "capture"]
    assert (capture.amount_minor, capture.currency) == (minor, currency)
    (oracle,) = house.control("GET", f"/sandbox/charges?reference={reference}")["charges"]
    assert Money(iso_minor(oracle, "taken_minor"), oracle["currency"]) == Money(minor, currency)


def test_money_when_the_rules_changed_after_it_was_asked_for_is_still_recorded(house: House) -> None:
    """Gateway switched off for the workspace, tax raised, window closed: money that moved is recorded."""
    order_id, reference = house.initiated()
    house.pay(reference)
    policies = PolicyService(house.container.units, gateways=tuple(house.container.gateways))
    policies.change(ADMIN, WORKSPACE, {"enabled_gateways": ["stripe"], "tax_bps": 2_000, "customers_may_book": False})
    house.ask(reference)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert kinds(house).count("capture") == 1


def test_a_decline_is_told_and_kept_when_what_follows_it_crashes(house: House) -> None:
    """The failure and its event are one transaction of their own: a crash in the next step takes neither away."""
    order_id, reference = house.initiated()
    house.pay(reference, "decline")
    house.container.payments.request_check(reference, caller=None)
    house.step("payments.verify:paystack")  # and nothing after it: the worker is gone

    def crashes(tx: Transaction) -> None:
        tx.lock_order(order_id)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        house.container.units.run(crashes)
    assert house.statuses(order_id) == ("failed", "failed", {"pending"})
    assert [row.type for row in house.rows(OutboxEvent)].count("PAYMENT_FAILED") == 1
    house.drain()
    told = [row for row in house.rows(Notification) if row.event == "PAYMENT_FAILED"]
    assert len({(row.recipient, row.channel) for row in told}) == len(told) > 0


def test_a_step_that_is_rolled_back_rings_no_bell_and_leaves_no_event(house: House) -> None:
    """A message is sent after the commit or not at all."""
    order_id = house.order()
    house.drain()
    before = (list(house.bells.rung), len(house.rows(OutboxEvent)), len(house.rows(Transition)))

    def refused(tx: Transaction) -> Any:
        order = tx.lock_order(order_id)
        tx.ring("payments.initiate:paystack")
        tx.publish(order.event(EventType.ORDER_CANCELLED, tx.act))
        raise InvalidInput("no", code="no", pointer="/no")

    with pytest.raises(InvalidInput):
        house.container.units.run(refused)
    assert (list(house.bells.rung), len(house.rows(OutboxEvent)), len(house.rows(Transition))) == before


def test_a_page_cancelled_at_the_gateway_is_closed_by_a_look_and_a_new_try_opens_at_once(house: House) -> None:
    """The gateway knows that the page is over, we do not yet: check-status finds out, and the customer may go on."""
    order_id, first = house.initiated(gateway="stripe")
    house.pay(first, "decline")
    house.container.payments.refresh(ADA, house.payment_row(order_id).id)
    house.drain()
    assert house.statuses(order_id)[0] == "failed"
    opened = house.container.payments.initiate_payment(ADA, order_id, gateway="stripe")
    assert opened.is_new
    assert opened.reference != first
    live = [row for row in house.rows(PaymentAttempt) if row.is_live]
    assert [row.reference for row in live] == [opened.reference]
