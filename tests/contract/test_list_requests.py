"""The lists by time on the wire: each request against the official specification, each official sample as it reads."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
import responses

from payflow.core.errors import AnswerNotUnderstood
from payflow.core.money import Money
from payflow.gateways.base import Outcome, Window
from tests.contract import flutterwave_kit, paystack_kit, stripe_kit
from tests.contract.official import needs_specs

DAY = Window(datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 1, 16, tzinfo=UTC))


def query() -> dict[str, str]:
    return dict(parse_qsl(urlsplit(str(responses.calls[-1].request.url)).query))


@needs_specs
@responses.activate
def test_paystack_lists_by_moments() -> None:
    """`from` and `to` are moments; the official samples read; without a number of pages there may be one more."""
    gateway = paystack_kit.a_gateway()
    responses.get(f"{paystack_kit.HOST}/transaction", json=paystack_kit.sample("api.transactions.list"))
    responses.get(f"{paystack_kit.HOST}/refund", json=paystack_kit.sample("api.refunds.list"))
    page = gateway.payments_made(DAY)
    paystack_kit.validate_against_the_spec()
    asked = {"from": "2026-01-15T00:00:00.000Z", "to": "2026-01-16T00:00:00.000Z", "perPage": "100", "page": "1"}
    assert query() == asked
    (row,) = page.rows
    assert (row.told.outcome, row.told.amount) == (Outcome.SUCCEEDED, Money(30_050, "NGN"))
    assert (row.told.transaction_id, row.at) == ("4099260516", datetime(2024, 8, 22, 9, 14, 24, tzinfo=UTC))
    assert page.next == "2"
    refunds = gateway.refunds_made(DAY, "2")
    paystack_kit.validate_against_the_spec()
    assert query() == asked | {"page": "2"}
    assert [(one.told.gateway_refund_id, one.told.outcome, one.transaction_id) for one in refunds.rows] == [
        ("1", Outcome.SUCCEEDED, "1641"),
        ("2", Outcome.PENDING, "323896"),
    ]


@responses.activate
def test_paystack_ends_with_an_empty_page() -> None:
    """Without a number of pages the list has ended when a page brings nothing."""
    responses.get(f"{paystack_kit.HOST}/transaction", json={"status": True, "message": "…", "data": []})
    assert paystack_kit.a_gateway().payments_made(DAY, "9").next is None


@needs_specs
@responses.activate
def test_flutterwave_lists_by_whole_days() -> None:
    """Days from two hours before to two hours after, since nobody says in which zone; the official samples read."""
    gateway = flutterwave_kit.a_gateway()
    kind = "application/json"
    responses.get(
        f"{flutterwave_kit.HOST}/transactions",
        body=flutterwave_kit.sample("get.v3.transactions.200"),
        content_type=kind,
    )
    responses.get(
        f"{flutterwave_kit.HOST}/refunds", body=flutterwave_kit.sample("get.v3.refunds.200"), content_type=kind
    )
    page = gateway.payments_made(DAY)
    flutterwave_kit.validate_against_the_spec()
    assert query() == {"from": "2026-01-14", "to": "2026-01-16"}
    assert page.rows
    assert all(row.told.transaction_id and row.told.amount for row in page.rows)
    refunds = gateway.refunds_made(DAY, "2")
    assert query() == {"from": "2026-01-14", "to": "2026-01-16", "page": "2"}
    assert (refunds.rows[0].transaction_id, refunds.rows[0].told.amount) == ("4091194", None)
    assert refunds.next == "3"


@needs_specs
@responses.activate
def test_stripe_lists_intents_by_seconds_and_goes_on_after_an_id() -> None:
    """`created` in whole seconds, the page after begins at the last id; the official samples read."""
    gateway = stripe_kit.a_gateway()
    intent = stripe_kit.sample("payment_intent") | {"metadata": {"reference": "PF-1"}, "status": "succeeded"}
    intent["amount_received"] = intent["amount"]
    shown = {"object": "list", "has_more": True, "data": [intent]}
    responses.get(f"{stripe_kit.HOST}/v1/payment_intents", json=shown)
    responses.get(f"{stripe_kit.HOST}/v1/refunds", json=shown | {"data": [stripe_kit.sample("refund")]})
    page = gateway.payments_made(DAY)
    stripe_kit.validate_against_the_spec()
    seconds = {"created[gte]": "1768435200", "created[lt]": "1768521600", "limit": "100"}
    assert query() == seconds
    (row,) = page.rows
    assert (row.told.reference, row.told.outcome, row.told.amount) == ("PF-1", Outcome.SUCCEEDED, Money(1_099, "USD"))
    assert (page.next, row.at) == (intent["id"], datetime.fromtimestamp(1_234_567_890, UTC))
    refunds = gateway.refunds_made(DAY, "re_1")
    stripe_kit.validate_against_the_spec()
    assert query() == seconds | {"starting_after": "re_1"}
    assert refunds.rows[0].told.gateway_refund_id == stripe_kit.sample("refund")["id"]


@pytest.mark.parametrize("broken", [{}, {"createdAt": "soon"}, {"createdAt": 5}], ids=str)
@responses.activate
def test_a_row_without_a_time_is_not_understood(broken: dict[str, object]) -> None:
    """It cannot be said to which window it belongs."""
    row = paystack_kit.verified()["data"] | broken
    responses.get(f"{paystack_kit.HOST}/transaction", json={"status": True, "message": "…", "data": [row]})
    with pytest.raises(AnswerNotUnderstood):
        paystack_kit.a_gateway().payments_made(DAY)
