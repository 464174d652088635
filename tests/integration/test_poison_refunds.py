"""What a gateway tells of refunds and cannot be stored: asked for with growing waits, and a person hears in the end."""

from __future__ import annotations

from functools import partial

from sqlalchemy import update

from payflow.core.money import Money
from payflow.core.polling import INBOX_BACKOFF
from payflow.gateways.base import Outcome, RefundResult
from payflow.models.decision import Decision
from payflow.models.refund import Refund, RefundReason
from payflow.models.webhook_event import WebhookEvent
from payflow.services.parked import ParkedService
from payflow.services.refund_adoption import _bring_in_line
from tests.house import ADA, House


def a_refund(house: House) -> Refund:
    """A refund of ours that is done, of an order of its own."""
    order_id = house.paid()
    payment_id = house.payment_row(order_id).id
    house.container.refunds.request_refund(ADA, payment_id, amount_minor=10_000, reason=RefundReason.OTHER)
    house.drain()
    house.later(60)
    (refund,) = house.refunds(order_id)
    assert refund.status == "completed"
    return refund


def takes_number(house: House, refund: Refund, number: str) -> None:
    """Another refund bears the gateway's number already, so that no second can."""
    change = update(Refund).where(Refund.id == refund.id).values(gateway_refund_id=number)
    house.container.units.run(lambda tx: tx.session.execute(change))


def test_a_list_that_cannot_be_stored_is_read_ever_later_and_its_webhook_parked(house: House) -> None:
    """A refund made in the dashboard bears the number of one we have elsewhere: no loop, and somebody sees it."""
    ours, order_id = a_refund(house), house.paid()
    house.fault("dashboard_refund", reference=house.attempts(order_id)[0].reference, params={"amount": 50_000})
    house.clock.advance(10)
    house.control("GET", "/sandbox/refunds")
    (made,) = [one for one in house.sandbox.rooms.party.state.refunds.values() if one.amount_minor == 50_000]
    takes_number(house, ours, str(made.id))
    house.receive([row for row in house.webhooks() if str(row["event"]).startswith("refund.")][-1])
    house.drain()
    (event,) = house.rows(WebhookEvent)
    assert (event.tries, event.handled_at, event.claimed_until) == (1, None, None)
    assert event.due_at == INBOX_BACKOFF.next_at(1, house.clock.now())
    almost = update(WebhookEvent).values(tries=INBOX_BACKOFF.max_tries - 1)
    house.container.units.run(lambda tx: tx.session.execute(almost))
    house.later(3_600)
    (parked,) = ParkedService(house.container.units).list()
    assert (parked.kind, parked.id) == ("webhook", event.id)
    assert house.refunds(order_id) == []


def test_a_refund_whose_answer_cannot_be_stored_is_asked_about_ever_later_and_told(house: House) -> None:
    """The gateway gives it the number of another: it was sent once, and a day later a person is asked."""
    ours, order_id = a_refund(house), house.paid()
    takes_number(house, ours, str(int(ours.gateway_refund_id or 0) + 1))
    payment_id = house.payment_row(order_id).id
    house.container.refunds.request_refund(ADA, payment_id, amount_minor=20_000, reason=RefundReason.OTHER)
    house.drain()
    (refund,) = house.refunds(order_id)
    assert (refund.gateway_refund_id, refund.claimed_until, refund.tries) == (None, None, 1)
    house.later(25 * 3_600)
    asked = [row.kind for row in house.rows(Decision) if row.resolved_at is None and row.subject_id == refund.id]
    assert asked == ["refund_needs_attention"]
    assert house.calls("refund") == 2


def test_a_refund_of_nothing_in_a_list_is_no_refund(house: House) -> None:
    """What else the list tells is brought in line."""
    order_id = house.paid()
    (attempt,) = house.attempts(order_id)
    nothing = RefundResult(Outcome.SUCCEEDED, gateway_refund_id="8001", amount=Money(0, "NGN"))
    some = RefundResult(Outcome.SUCCEEDED, gateway_refund_id="8002", amount=Money(5_000, "NGN"))
    step = partial(_bring_in_line, attempt_id=attempt.id, event_ids=[], listed=[nothing, some])
    house.container.units.run(step)
    assert [(one.amount_minor, one.status) for one in house.refunds(order_id)] == [(5_000, "completed")]
