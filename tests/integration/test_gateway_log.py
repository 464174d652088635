"""The gateway log: what is kept of every call, what never is, and for how long."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest

from payflow import logs
from payflow.gateways.calls import CallRecord
from payflow.models.gateway_call import GatewayCall
from payflow.models.refund import RefundReason
from payflow.services.gateway_log import GatewayLog
from tests.builders import Client
from tests.house import ADA, House

pytestmark = pytest.mark.usefixtures("sound_in_the_end")
AMOUNT = 1_500_000


def a_record(house: House, **changed: object) -> CallRecord:
    values: dict[str, object] = {
        "gateway": "paystack",
        "operation": "verify",
        "method": "GET",
        "route": "/transaction/verify/{reference}",
        "at": house.clock.now(),
        "duration_ms": 12,
        "http_status": 200,
        "request_id": None,
        "error_code": None,
        "request": {},
        "response": {"status": True},
    }
    return CallRecord(**(values | changed))  # type: ignore[arg-type]  # a builder


@pytest.mark.parametrize("gateway", ["paystack", "flutterwave", "stripe"])
def test_every_call_is_kept_with_what_it_was_for(house: House, gateway: str) -> None:
    """Attempt and refund each find their own calls, in order, as the gateway saw them."""
    order_id = house.paid(ADA, house.booking(amount=AMOUNT), gateway=gateway)
    refund_id = house.container.refunds.request_refund(
        ADA, house.payment_row(order_id).id, amount_minor=AMOUNT // 2, reason=RefundReason.OTHER
    )
    house.drain()
    house.later(30)
    assert [refund.status for refund in house.refunds(order_id)] == ["completed"]
    kept = [row for row in house.rows(GatewayCall) if row.order_id == order_id]
    (attempt,) = house.attempts(order_id)
    assert [row.operation for row in kept][:2] == ["initiate", "verify"]
    assert {row.attempt_id for row in kept} == {attempt.id}
    assert "refund" in [row.operation for row in kept if row.refund_id == refund_id]
    assert {row.http_status for row in kept} <= {200, 201}
    assert all(row.duration_ms >= 0 and row.request is not None and row.response for row in kept)
    seen = house.control("GET", "/sandbox/calls")["calls"]
    assert len(kept) == len(house.rows(GatewayCall)) == len(seen)


def test_secrets_and_persons_are_not_kept(house: House) -> None:
    """Neither our keys nor the customer's name and address, whatever gateways echo."""
    for gateway in ("paystack", "flutterwave", "stripe"):
        house.paid(ADA, house.booking(amount=AMOUNT), gateway=gateway)
    everything = json.dumps([[row.request, row.response, row.error, row.route] for row in house.rows(GatewayCall)])
    secrets = {given.secret_key for given in house.container.settings.gateways.values()}
    planted = {*secrets, ADA.email, ADA.name}
    assert all(planted)
    assert [one for one in planted if one in everything] == []


def test_a_call_without_an_answer_is_kept_with_its_reason(house: House) -> None:
    """Each repetition is a row; the last one says what came."""
    _, reference = house.initiated()
    house.fault("html_error", operation="verify", reference=reference, times=1)
    house.ask(reference)
    first, second = [row for row in house.rows(GatewayCall) if row.operation == "verify"]
    assert (first.error_code, first.response) == ("gateway_unavailable", None)
    assert "paystack answered" in first.error
    assert (second.http_status, second.error) == (200, None)


def test_a_very_long_answer_is_cut(house: House) -> None:
    """The beginning is kept as text."""
    GatewayLog(house.container.units, in_background=False)(a_record(house, response={"data": ["x" * 400] * 100}))
    (row,) = house.rows(GatewayCall)
    assert row.response["cut"] is True
    assert len(row.response["beginning"]) == 16_384


def test_a_worker_writes_from_a_thread_of_its_own(house: House) -> None:
    """Several threads hand over; all is written without any of them waiting for the database."""
    log = GatewayLog(house.container.units, in_background=True)
    with logs.bound(task="payments.verify", task_id="abc"):
        log(a_record(house))
    threads = [threading.Thread(target=log, args=(a_record(house),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.flush()
    kept = house.rows(GatewayCall)
    assert len(kept) == 9
    assert [row.task for row in kept if row.task] == ["payments.verify abc"]
    assert [thread.name for thread in threading.enumerate()].count("gateway-log") >= 1


def test_old_calls_are_thrown_away(house: House) -> None:
    """After PAYFLOW_GATEWAY_LOG_DAYS, in batches; younger ones stay."""
    log = GatewayLog(house.container.units, in_background=False)
    days = house.container.settings.gateway_log_days
    now = house.clock.now()
    for age in (timedelta(days=days, seconds=1), timedelta(days=days - 1)):
        log(a_record(house, at=now - age))
    assert house.container.sweeps.housekeeping() == 1
    assert [row.at for row in house.rows(GatewayCall)] == [now - timedelta(days=days - 1)]


def test_the_timeline_tells_of_calls(house: House, operator: Client) -> None:
    """With status and duration, between the moves they led to."""
    order_id = house.paid()
    entries = operator.get(f"/payment/orders/{order_id}/timeline/").get_json()["entries"]
    calls = [entry["what"] for entry in entries if entry["kind"] == "gateway_call"]
    assert calls[0].startswith("POST /transaction/initialize at paystack: 200 after ")
    assert any("/transaction/verify/{reference}" in call for call in calls)
