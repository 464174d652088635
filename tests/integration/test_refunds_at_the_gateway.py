"""Refund webhooks: a hint that makes us read the gateway's list, whoever made the refund, however events come."""

from __future__ import annotations

import contextlib

import pytest

from payflow.models.ledger import LedgerPosting
from payflow.models.refund import RefundReason
from payflow.models.webhook_event import WebhookEvent
from tasks import refunds
from tasks.base import AT_A_GATEWAY, PayflowApp, _doors
from tests.house import ADA, House

pytestmark = pytest.mark.usefixtures("sound_in_the_end")


def _refund_webhooks(house: House) -> list[dict[str, object]]:
    return [row for row in house.webhooks() if str(row["event"]).startswith("refund.")]


def test_a_refund_made_in_the_dashboard_becomes_a_row_here(house: House) -> None:
    """Money given back at the gateway itself: one refund with source gateway, ledger right, handled once."""
    order_id = house.paid()
    reference = house.attempts(order_id)[0].reference
    house.fault("dashboard_refund", reference=reference, params={"amount": 50_000})
    house.clock.advance(10)
    house.control("GET", "/sandbox/refunds")
    for row in _refund_webhooks(house):
        house.receive(row)
    house.drain()

    (refund,) = house.refunds(order_id)
    assert (refund.source, refund.status, refund.amount_minor) == ("gateway", "completed", 50_000)
    assert house.payment_row(order_id).refunded_minor == 50_000
    assert [row.amount_minor for row in house.rows(LedgerPosting) if row.kind == "refund"] == [50_000]
    assert all(row.handled_at for row in house.rows(WebhookEvent))


def test_a_webhook_completes_our_own_refund_before_its_poll(house: House) -> None:
    """refund.processed arrives: the refund is completed without waiting for the poll, and no second row appears."""
    order_id = house.paid()
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=10_000, reason=RefundReason.OTHER)
    house.drain()
    house.clock.advance(4)
    house.control("GET", "/sandbox/refunds")
    for row in reversed(_refund_webhooks(house)):
        house.receive(row)
    house.drain()
    (refund,) = house.refunds(order_id)
    assert (refund.status, refund.source) == ("completed", "api")
    assert house.payment_row(order_id).refunded_minor == 10_000


def test_a_refund_that_fails_after_success_is_reversed(house: House) -> None:
    """The gateway takes its word back: refund failed, ledger reversed, the money refundable again."""
    order_id = house.paid()
    payment = house.payment_row(order_id)
    reference = house.attempts(order_id)[0].reference
    house.fault("refund_fails_after_success", reference=reference, params={"seconds": 30})
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=10_000, reason=RefundReason.OTHER)
    house.drain()
    house.later(6)
    assert house.refunds(order_id)[0].status == "completed"
    house.clock.advance(60)
    house.control("GET", "/sandbox/refunds")
    for row in _refund_webhooks(house):
        house.receive(row)
    house.drain()
    assert house.refunds(order_id)[0].status == "failed"
    assert house.payment_row(order_id).refundable_minor == 300_000
    kinds = sorted(row.kind for row in house.rows(LedgerPosting))
    assert kinds == ["capture", "fee", "refund", "refund_reversal"]


def test_a_refund_webhook_waits_while_the_gateway_is_down(house: House) -> None:
    """The list cannot be read: the inbox row stays due and is handled once the gateway answers."""
    order_id = house.paid()
    house.fault("dashboard_refund", reference=house.attempts(order_id)[0].reference, params={"amount": 50_000})
    house.clock.advance(10)
    house.control("GET", "/sandbox/refunds")
    house.fault("error_500", operation="list_refunds", times=3)
    house.receive(_refund_webhooks(house)[-1])
    house.drain()
    assert not house.refunds(order_id)
    house.later(30)
    assert [refund.status for refund in house.refunds(order_id)] == ["completed"]


def test_a_reader_who_is_turned_away_at_the_gateways_door_gives_its_events_back(house: House) -> None:
    """All places at the gateway are taken: the inbox rows are free for the next round at once, not after a lease."""
    order_id = house.paid()
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=10_000, reason=RefundReason.OTHER)
    house.drain()
    house.clock.advance(4)
    house.control("GET", "/sandbox/refunds")
    for row in _refund_webhooks(house):
        house.receive(row)
    owed = house.container.webhooks.process()
    assert "webhooks.process" not in house.container.sweeps.due(), "claimed for whoever reads the list"
    app = PayflowApp("tests", set_as_current=False)
    app.build_container = lambda: house.container  # type: ignore[method-assign]  # as worker.py does
    app.finalize()
    with contextlib.ExitStack() as everyone:
        for _ in range(AT_A_GATEWAY):
            everyone.enter_context(_doors.through("paystack", places=AT_A_GATEWAY, bell="payments.verify:paystack"))
        event_ids, attempt_ids = map(list, zip(*owed.refunds["paystack"], strict=True))
        app.tasks[refunds.adopt.name]("paystack", event_ids, attempt_ids)
    assert "webhooks.process" in house.container.sweeps.due()
    house.drain()
    assert all(row.handled_at for row in house.rows(WebhookEvent))
    assert house.refunds(order_id)[0].status == "completed"
