"""Webhooks about payments nobody here knows, given up; and a try that turns out to be theirs."""

from __future__ import annotations

from payflow.core.identifiers import new_id
from payflow.models.payment import PaymentAttempt
from payflow.models.webhook_event import WebhookEvent
from payflow.store.unit_of_work import Transaction
from tests.builders import signed
from tests.house import ADA, House


def park_a_stray(house: House, reference: str) -> WebhookEvent:
    """A signed event about an unknown reference, looked for in vain until it is given up."""
    body, headers = signed({"event": "charge.success", "data": {"reference": reference, "nonce": new_id()}})
    house.container.webhooks.receive("paystack", headers, body)
    house.drain()
    for _ in range(20):
        house.later(3_600)
    row = the_stray(house, reference)
    assert row.parked_at is not None
    return row


def the_stray(house: House, reference: str) -> WebhookEvent:
    """The event about a reference, as it stands."""
    (row,) = (row for row in house.rows(WebhookEvent) if row.reference == reference)
    assert isinstance(row, WebhookEvent)
    return row


def owner_of(house: House, reference: str) -> str:
    """An order paid under a reference, of which nothing was told yet; its id."""
    order_id = house.order()
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    (attempt,) = house.attempts(order_id)

    def rename(tx: Transaction) -> None:
        tx.get(PaymentAttempt, attempt.id).reference = reference

    house.container.units.run(rename)
    house.drain()
    house.pay(reference)
    return order_id
