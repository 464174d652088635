"""The contract's cases whose end is not the adapter's answer but what stands on record: number by number.

Where every gateway must end alike, over every gateway; the adapters' own halves are in tests/contract.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from payflow.core.errors import InvalidInput
from payflow.core.gateways import NAMES
from payflow.gateways.base import LostInitiate, Outcome, Verification
from payflow.models.decision import Decision
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.refund import RefundReason
from payflow.models.webhook_event import WebhookEvent
from tests.builders import Client, a_client, a_problem, pointers
from tests.house import ADA, House

pytestmark = pytest.mark.usefixtures("sound_in_the_end")
every_gateway = pytest.mark.parametrize("gateway", NAMES)

AMOUNT = 1_500_000
PAID = ("completed", "success", {"confirmed"})
WAITING = ("processing", "processing", {"pending"})
LOST = {"seconds": 0, "then": "close"}


def opened(house: House, gateway: str) -> tuple[str, str]:
    return house.initiated(ADA, house.booking(amount=AMOUNT), gateway=gateway)


def paid(house: House, gateway: str) -> tuple[str, str]:
    order_id, reference = opened(house, gateway)
    house.pay(reference)
    house.ask(reference)
    assert house.statuses(order_id) == PAID
    return order_id, reference


def captures(house: House) -> int:
    return [row.kind for row in house.rows(LedgerPosting)].count("capture")


def ask_back(house: House, order_id: str, amount_minor: int | None = None) -> None:
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=amount_minor, reason=RefundReason.OTHER)
    house.drain()


def post(app: Flask, house: House, gateway: str, body: bytes) -> int:
    """A webhook through the front, signed as the gateway signs; the HTTP status."""
    party, targets = house.sandbox.rooms.party, house.sandbox.rooms.targets
    headers = party.dialects[gateway].sign(body, secret=targets.secrets[gateway], now=party.clock.now())
    path = f"/api/v1/payment/webhooks/{gateway}/"
    return app.test_client().post(path, data=body, headers={**headers, "Content-Type": "application/json"}).status_code


# -- opening a page ----------------------------------------------------------------------------------------------------


@every_gateway
def test_case_16_a_lost_page_is_followed_as_the_gateways_nature_asks(house: House, gateway: str) -> None:
    """The same page again, or a new try with a new reference; the old one stays pollable, never paid by guess."""
    house.fault("timeout_after_effect", operation="initialize", times=3, params=LOST)
    order_id = house.order(ADA, house.booking(amount=AMOUNT))
    house.container.payments.initiate_payment(ADA, order_id, gateway=gateway)
    house.drain()
    house.control("DELETE", "/sandbox/faults")
    house.later(15)
    first, *more = house.attempts(order_id)
    if house.container.gateways[gateway].lost_initiate is LostInitiate.RESEND:
        assert (first.status, more) == ("initiated", [])
    else:
        assert (first.status, [one.status for one in more]) == ("abandoned", ["initiated"])
        assert first.due_at is not None
        assert first.reference != more[0].reference
    assert captures(house) == 0
    live = (more or [first])[0]
    house.pay(live.reference)
    house.ask(live.reference)
    assert house.statuses(order_id) == PAID


# -- what the gateway says of the money --------------------------------------------------------------------------------


@every_gateway
@pytest.mark.parametrize(
    ("fault", "params"), [("wrong_amount", {"delta": -100}), ("wrong_currency", {"currency": "USD"})]
)
def test_case_24_25_39_money_that_does_not_fit_goes_to_review(
    house: House, gateway: str, fault: str, params: dict[str, Any]
) -> None:
    """Less, or another currency: not paid, on record as not applied, one question to a person."""
    order_id, reference = opened(house, gateway)
    house.fault(fault, reference=reference, params=params)
    house.pay(reference)
    house.ask(reference)
    assert house.statuses(order_id) == WAITING
    assert [row.kind for row in house.rows(LedgerPosting)] == ["unapplied"]
    assert len(house.rows(Decision)) == 1


@every_gateway
def test_case_26_an_answer_about_another_reference_is_never_payment(house: House, gateway: str) -> None:
    """Whether told as another's or not understood: nothing is paid by it."""
    order_id, reference = opened(house, gateway)
    house.pay(reference)
    house.fault("wrong_reference", operation="verify", times=3)
    house.ask(reference)
    assert house.statuses(order_id) == WAITING
    assert captures(house) == 0


@every_gateway
def test_case_29_money_that_went_back_never_unpays(house: House, gateway: str) -> None:
    """Given back in part, a gateway may call the whole payment reversed: it stays paid here, less what went back."""
    order_id, reference = paid(house, gateway)
    ask_back(house, order_id, 50_000)
    house.later(10)
    house.later(60)
    attempt = house.attempts(order_id)[0]
    reversed_ = Verification(Outcome.REVERSED, reference, amount=attempt.amount, transaction_id="7")
    store = house.container.gateway_calls._store_answer
    house.container.units.run(lambda tx: store(tx, attempt_id=attempt.id, answer=reversed_, seen_due=attempt.due_at))
    house.drain()
    assert house.statuses(order_id) == PAID
    assert house.payment_row(order_id).refunded_minor == 50_000


@every_gateway
def test_case_30_an_unknown_status_stays_pending_and_is_asked_again(house: House, gateway: str) -> None:
    """Never guessed; paid as soon as the gateway says a word that is known."""
    order_id, reference = opened(house, gateway)
    house.pay(reference)
    house.fault("unknown_status", operation="verify", times=None)
    house.ask(reference)
    assert house.statuses(order_id) == WAITING
    house.control("DELETE", "/sandbox/faults")
    house.later(20)
    assert house.statuses(order_id) == PAID


@every_gateway
def test_case_32_more_than_asked_is_paid_and_the_rest_is_seen(house: House, gateway: str) -> None:
    """The order is paid by its price; what came on top stands in the books as excess, and is given back or asked about
    (NGN 50 are less than Flutterwave gives back)."""
    order_id, reference = opened(house, gateway)
    house.fault("wrong_amount", reference=reference, params={"delta": 5_000})
    house.pay(reference)
    house.ask(reference)
    assert house.order_row(order_id).status == "completed"
    assert {"capture", "excess"} <= {row.kind for row in house.rows(LedgerPosting)}


# -- the browser comes back --------------------------------------------------------------------------------------------


@every_gateway
def test_case_43_45_a_callback_for_unpaid_money_only_asks(house: House, anybody: Client, gateway: str) -> None:
    """Whatever the query claims, the gateway is asked and the payment stays as it is."""
    order_id, reference = opened(house, gateway)
    session = house.attempts(order_id)[0].session_id or ""
    claims = f"status=successful&transaction_id=null&trxref={reference}&session_id={session}"
    asked = house.calls("verify")
    answer = anybody.get(f"/payment/payments/callback/?reference={reference}&tx_ref={reference}&{claims}")
    house.drain()
    assert answer.status_code == 200
    assert house.calls("verify") > asked
    assert house.statuses(order_id) == WAITING


@every_gateway
def test_case_44_46_a_callback_naming_somebody_elses_transaction_pays_nothing(
    house: House, anybody: Client, gateway: str
) -> None:
    """Another payment's transaction beside our reference: our reference is asked about, and it is unpaid."""
    other_id, _ = paid(house, gateway)
    order_id, reference = opened(house, gateway)
    theirs = house.attempts(other_id)[0]
    query = f"reference={reference}&tx_ref={reference}&status=successful&transaction_id={theirs.gateway_transaction_id}"
    anybody.get(f"/payment/payments/callback/?{query}&session_id={theirs.session_id}")
    house.drain()
    assert house.statuses(order_id) == WAITING
    assert captures(house) == 1


@every_gateway
@pytest.mark.parametrize("first", ["callback", "webhook"])
def test_case_47_callback_and_webhook_in_either_order_fulfil_once(house: House, gateway: str, first: str) -> None:
    """One success, one capture, one message; the second finds the work done. (At once: test_races.)"""
    order_id, reference = opened(house, gateway)
    house.pay(reference)

    def told() -> None:
        for row in house.webhooks():
            house.receive(row, gateway)
        house.drain()

    for step in (told, lambda: house.ask(reference))[:: 1 if first == "webhook" else -1]:
        step()
        assert house.statuses(order_id) == PAID
    assert captures(house) == 1
    titles = [one.event for one in house.rows(Notification) if one.channel == "in_app"]
    assert titles.count("PAYMENT_COMPLETED") == 1


# -- webhooks ----------------------------------------------------------------------------------------------------------


@every_gateway
def test_case_48_50_52_what_is_not_proven_is_401_and_leaves_nothing(house: House, app: Flask, gateway: str) -> None:
    """A changed body under a true signature: refused at the door."""
    order_id, reference = opened(house, gateway)
    house.pay(reference)
    row = house.webhooks()[0]
    party, targets = house.sandbox.rooms.party, house.sandbox.rooms.targets
    headers = party.dialects[gateway].sign(row["body"].encode(), secret=targets.secrets[gateway], now=house.clock.now())
    forged = row["body"].encode() + b" "
    for given in (headers, {}):
        answer = app.test_client().post(f"/api/v1/payment/webhooks/{gateway}/", data=forged, headers=given)
        assert answer.status_code == 401
    house.drain()
    assert house.rows(WebhookEvent) == []
    assert house.statuses(order_id) == WAITING


@every_gateway
def test_case_50_a_proven_lie_is_asked_about_and_comes_to_nothing(house: House, app: Flask, gateway: str) -> None:
    """A webhook telling of success, taken from another payment and pointed at ours: the gateway says unpaid."""
    order_id, reference = opened(house, gateway)
    other_id, other = opened(house, gateway)
    house.pay(other)
    theirs, ours = house.attempts(other_id)[0], house.attempts(order_id)[0]
    body = house.webhooks()[0]["body"].replace(other, reference)
    if theirs.session_id and ours.session_id:
        body = body.replace(theirs.session_id, ours.session_id)
    assert post(app, house, gateway, body.encode()) == 200
    house.drain()
    assert house.statuses(order_id) == WAITING


@every_gateway
def test_case_53_a_replay_is_taken_and_does_nothing(house: House, app: Flask, gateway: str) -> None:
    """The same body twice: 200 both times, one row, one capture; the same fact once more in another event likewise."""
    order_id, reference = opened(house, gateway)
    house.pay(reference)
    bodies = [row["body"].encode() for row in house.webhooks()]
    assert [post(app, house, gateway, body) for body in bodies * 2] == [200] * 2 * len(bodies)
    house.drain()
    assert len(house.rows(WebhookEvent)) == len(bodies)
    again = house.control("POST", "/sandbox/webhooks", {"reference": reference, "signature": "valid"})["webhooks"]
    assert {post(app, house, gateway, row["body"].encode()) for row in again} == {200}
    house.drain()
    assert captures(house) == 1
    assert house.statuses(order_id) == PAID


@every_gateway
def test_case_54_events_out_of_order_move_nothing_back(house: House, app: Flask, gateway: str) -> None:
    """Everything the gateway had to tell of a payment and its refund, newest first: the end is the same."""
    order_id, _ = paid(house, gateway)
    ask_back(house, order_id)
    house.later(10)
    house.later(60)
    assert house.statuses(order_id)[0] == "refunded"
    for row in reversed(house.webhooks()):
        assert post(app, house, gateway, row["body"].encode()) == 200
    house.drain()
    assert house.statuses(order_id) == ("refunded", "refunded", {"cancelled"})
    assert sorted(row.kind for row in house.rows(LedgerPosting) if row.kind != "fee") == ["capture", "refund"]


@every_gateway
def test_case_55_a_webhook_about_a_declined_try_is_no_payment(house: House, app: Flask, gateway: str) -> None:
    """Whether the gateway tells of failures or not, a declined try ends as failed and nothing is captured."""
    order_id, reference = opened(house, gateway)
    house.pay(reference, "decline")
    for row in house.webhooks():
        assert post(app, house, gateway, row["body"].encode()) == 200
    house.drain()
    house.later(6)
    assert house.statuses(order_id) == ("failed", "failed", {"pending"})
    assert captures(house) == 0


STRAYS = {
    "paystack": {"event": "transfer.success", "data": {"reference": "T-1"}},
    "flutterwave": {"event": "transfer.completed", "data": {"id": 1, "reference": "T-1"}},
    "stripe": {"id": "evt_1", "type": "customer.created", "data": {"object": {"id": "cus_1"}}},
}


@pytest.mark.parametrize("gateway", STRAYS)
def test_case_58_an_event_of_no_interest_is_200_and_stored(house: House, app: Flask, gateway: str) -> None:
    """Kept, marked ignored."""
    assert post(app, house, gateway, json.dumps(STRAYS[gateway]).encode()) == 200
    house.drain()
    assert [row.outcome for row in house.rows(WebhookEvent)] == ["ignored"]


@every_gateway
def test_case_59_an_unknown_reference_is_200_and_stored(house: House, app: Flask, gateway: str) -> None:
    """Kept, unmatched, tried again later; no payment comes of it."""
    order_id, reference = opened(house, gateway)
    house.pay(reference)
    house.ask(reference)
    attempt = house.attempts(order_id)[0]
    body = house.webhooks()[0]["body"].replace(reference, "PF-NOBODY")
    for known in filter(None, (attempt.session_id, attempt.gateway_transaction_id)):
        body = body.replace(known, known[:-1] + ("1" if known[-1] != "1" else "2"))
    assert post(app, house, gateway, body.encode()) == 200
    house.drain()
    assert [row.outcome for row in house.rows(WebhookEvent)] == ["unmatched"]
    assert captures(house) == 1


@every_gateway
@pytest.mark.parametrize("body", [b"not json", b"[]"])
def test_case_60_signed_nonsense_is_400(house: House, app: Flask, gateway: str, body: bytes) -> None:
    """Not a forgery, so not 401; nothing is stored."""
    assert post(app, house, gateway, body) == 400
    assert house.rows(WebhookEvent) == []


# -- refunds -----------------------------------------------------------------------------------------------------------


@every_gateway
def test_case_63_parts_make_the_whole_and_no_more(house: House, gateway: str) -> None:
    """Two parts that make the total: refunded whole. Too much is refused before anything is sent."""
    order_id, _ = paid(house, gateway)
    with pytest.raises(InvalidInput) as caught:
        ask_back(house, order_id, AMOUNT + 1)
    assert (caught.value.pointer, house.calls("refund")) == ("/amount", 0)
    for part in (500_000, AMOUNT - 500_000):
        ask_back(house, order_id, part)
        house.later(10)
        house.later(60)
    assert house.statuses(order_id) == ("refunded", "refunded", {"cancelled"})


def test_case_12_a_refund_stripe_cannot_express_is_refused_when_it_is_asked_for(house: House, app: Flask) -> None:
    """KWD 5.124 back of KWD 50: 422 at /amount, nothing reserved, nothing sent; KWD 5.120 goes through."""
    booking = house.booking(amount=50_000, currency="KWD")
    order_id, reference = house.initiated(ADA, booking, gateway="stripe")
    house.pay(reference)
    house.ask(reference)
    ada, payment = a_client(app, ADA), house.payment_row(order_id)
    body = {"payment_id": payment.id, "amount": 5_124, "reason": "other"}
    problem = a_problem(ada.post("/payment/refunds/", body), 422)
    assert pointers(problem) == {"/amount"}
    assert (house.refunds(order_id), house.calls("refund")) == ([], 0)
    assert house.payment_row(order_id).refund_reserved_minor == 0
    assert ada.post("/payment/refunds/", body | {"amount": 5_120}).status_code == 202
    house.drain()
    house.later(10)
    assert house.payment_row(order_id).refunded_minor == 5_120


@every_gateway
def test_case_66_67_a_refund_that_fails_leaves_the_money_refundable(house: House, gateway: str) -> None:
    """Failed at once, or after it was called done: the payment is paid, the amount may be asked back again."""
    order_id, _ = paid(house, gateway)
    for fault, params in (("refund_fails", {}), ("refund_fails_after_success", {"seconds": 30})):
        house.fault(fault, params=params)
        ask_back(house, order_id, 500_000)
        house.later(10)
        house.later(600)
        for row in house.webhooks():
            house.receive(row, gateway)
        house.drain()
    assert [row.status for row in house.refunds(order_id)] == ["failed", "failed"]
    assert house.payment_row(order_id).status == "success"
    assert house.payment_row(order_id).refundable_minor == AMOUNT


@every_gateway
def test_case_68_an_empty_balance_is_tried_again_later(house: House, gateway: str) -> None:
    """Nothing was made; a person is told, and the next try goes through."""
    order_id, _ = paid(house, gateway)
    house.fault("refund_no_balance", times=1)
    ask_back(house, order_id)
    assert house.refunds(order_id)[0].status == "pending"
    house.later(4_000)
    house.later(60)
    assert house.statuses(order_id)[0] == "refunded"
    assert len(house.control("GET", "/sandbox/refunds")["refunds"]) == 1
