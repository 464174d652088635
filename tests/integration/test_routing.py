"""`"gateway": "auto"`: which gateway takes a payment, and what happens when it does not answer."""

from __future__ import annotations

from typing import Any

import pytest

from payflow.gateways.breaker import FAILURES, WAIT_SECONDS
from payflow.models.payment import PaymentAttempt
from tests.builders import Client
from tests.house import ADA, House, open_house
from web.app import create_app

pytestmark = pytest.mark.usefixtures("sound_in_the_end")
AMOUNT = 1_500_000
"""NGN 15,000.00 a booking: above every gateway's minimum."""
NOBODY_LISTENS = "http://127.0.0.1:1"
PERHAPS_OPENED: list[tuple[str, dict[str, Any]]] = [
    ("timeout_after_effect", {"seconds": 0, "then": "close"}),
    ("error_500", {"after_effect": True}),
    ("html_error", {}),
]


def routed(house: House, **given: Any) -> str:
    """An order whose payment was left to us; its id."""
    order_id = house.order(ADA, house.booking(amount=AMOUNT, **given))
    house.container.payments.initiate_payment(ADA, order_id, gateway="auto")
    house.drain()
    return order_id


def tries(house: House, order_id: str) -> list[tuple[str, str]]:
    return [(attempt.gateway, attempt.status) for attempt in house.attempts(order_id)]


def pay_the_open_page(house: House, order_id: str) -> PaymentAttempt:
    (live,) = [attempt for attempt in house.attempts(order_id) if attempt.is_live]
    assert live.authorization_url
    house.pay(live.reference)
    house.ask(live.reference)
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    return live


def be_silent(house: House, gateway: str) -> None:
    """The gateway refuses every connection, and enough customers have run into it."""
    house.fault("refuse_connection", gateway=gateway, times=None)
    for _ in range(FAILURES):
        order_id = house.order(ADA, house.booking(amount=AMOUNT))
        house.container.payments.initiate_payment(ADA, order_id, gateway=gateway)
        house.drain()


@pytest.mark.parametrize(("currency", "gateway"), [("NGN", "paystack"), ("UGX", "flutterwave"), ("KWD", "stripe")])
def test_the_first_that_takes_the_currency_is_chosen(house: House, currency: str, gateway: str) -> None:
    """And why it was is on record."""
    order_id = routed(house, currency=currency)
    assert tries(house, order_id) == [(gateway, "initiated")]
    assert house.attempts(order_id)[0].routing == f"chosen for {currency}"


def test_a_gateway_that_opened_nothing_is_followed_by_the_next(house: House, operator: Client) -> None:
    """At once, without a second's wait; nothing more is asked of the first, and the timeline tells it."""
    house.fault("rate_limit", gateway="paystack", operation="initialize", params={"retry_after": 7})
    order_id = routed(house)
    assert tries(house, order_id) == [("paystack", "failed"), ("flutterwave", "initiated")]
    first, second = house.attempts(order_id)
    assert (first.due_at, second.replaces_id) == (None, first.id)
    assert house.payment_row(order_id).gateway == "flutterwave"
    live = pay_the_open_page(house, order_id)
    assert (house.charges(first.reference), house.charges(live.reference)) == (0, 1)
    told = [entry["what"] for entry in operator.get(f"/payment/orders/{order_id}/timeline/").get_json()["entries"]]
    assert [what for what in told if "could not open a page: paystack" in what]


def test_a_gateway_that_cannot_be_reached_is_followed_by_the_next(database_url: str) -> None:
    """Nothing was sent, so nothing can have been charged there."""
    with open_house(database_url, PAYSTACK_BASE_URL=NOBODY_LISTENS) as house:
        order_id = routed(house)
        assert tries(house, order_id) == [("paystack", "failed"), ("flutterwave", "initiated")]
        pay_the_open_page(house, order_id)


@pytest.mark.parametrize(("fault", "params"), PERHAPS_OPENED)
def test_a_page_that_perhaps_exists_is_watched_to_its_end(house: House, fault: str, params: dict[str, Any]) -> None:
    """Nobody has its address, so the next gateway is safe; the first is asked on, and money there goes back once."""
    house.fault(fault, gateway="paystack", operation="initialize", times=1, params=params)
    order_id = routed(house)
    assert tries(house, order_id) == [("paystack", "abandoned"), ("flutterwave", "initiated")]
    first = house.attempts(order_id)[0]
    live = pay_the_open_page(house, order_id)
    if house.control("GET", "/sandbox/calls?operation=initialize")["calls"] and fault != "html_error":
        house.pay(first.reference)  # what no customer can do without the address
        house.ask(first.reference)
        house.later(10)
        assert house.charges(live.reference) == 1
        assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
        surplus = house.attempts(order_id)[0]
        assert (surplus.status, surplus.application) == ("succeeded", "surplus")


def test_a_gateway_asked_for_by_name_is_never_left(house: House) -> None:
    """The customer wanted it: it is called again."""
    house.fault("rate_limit", gateway="paystack", operation="initialize", params={"retry_after": 7})
    order_id = house.order(ADA, house.booking(amount=AMOUNT))
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    house.drain()
    assert tries(house, order_id) == [("paystack", "created")]
    house.later(10)
    assert tries(house, order_id) == [("paystack", "initiated")]
    assert house.attempts(order_id)[0].routing is None


def test_none_answers_then_the_last_is_called_until_it_does(house: House) -> None:
    """Pending, never failed; the page opens as soon as the gateway is back."""
    house.fault("rate_limit", operation="initialize", times=None, params={"retry_after": 7})
    order_id = routed(house)
    assert tries(house, order_id) == [("paystack", "failed"), ("flutterwave", "failed"), ("stripe", "created")]
    assert house.statuses(order_id)[:2] == ("processing", "pending")
    house.later(5)
    assert tries(house, order_id)[-1] == ("stripe", "created")
    house.control("DELETE", "/sandbox/faults")
    house.later(60)
    assert len(house.attempts(order_id)) == 3
    pay_the_open_page(house, order_id)


def test_a_silent_gateway_is_avoided_until_it_answers(house: House) -> None:
    """New payments go elsewhere at once; after the wait one call tries it; answered, it comes first again."""
    be_silent(house, "paystack")
    probe = create_app(house.container).test_client()
    assert probe.get("/readyz").get_json()["gateways"]["paystack"] == "not answering"
    assert 'payflow_gateway_answers{gateway="paystack"} 0.0' in probe.get("/metrics").get_data(as_text=True)
    seen = house.calls("initialize")
    order_id = routed(house)
    assert tries(house, order_id) == [("flutterwave", "initiated")]
    assert house.attempts(order_id)[0].routing == "chosen for NGN; not answering: paystack"
    assert house.calls("initialize") == seen + 1
    house.control("DELETE", "/sandbox/faults")
    house.later(WAIT_SECONDS + 1)
    assert probe.get("/readyz").get_json()["gateways"]["paystack"] == "ok"
    assert tries(house, routed(house)) == [("paystack", "initiated")]


def test_a_silent_gateway_is_not_called_and_its_tries_lose_nothing(house: House) -> None:
    """What was asked of it by name waits for the trial; not a single call goes out before."""
    be_silent(house, "paystack")
    order_id = house.order(ADA, house.booking(amount=AMOUNT))
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    seen = house.calls("initialize")
    house.drain()
    house.later(WAIT_SECONDS / 2)
    (attempt,) = house.attempts(order_id)
    assert (attempt.status, attempt.tries, attempt.called_at) == ("created", 0, None)
    assert house.calls("initialize") == seen
    house.control("DELETE", "/sandbox/faults")
    house.later(WAIT_SECONDS)  # one call goes through and is answered
    house.later(5)  # so the others may
    pay_the_open_page(house, order_id)
