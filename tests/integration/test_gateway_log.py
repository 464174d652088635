"""The gateway log: what is kept of every call, what never is, and for how long."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from payflow import failpoints, logs
from payflow.core.gateways import NAMES
from payflow.gateways.calls import CallRecord
from payflow.gateways.readable import MOST_BYTES, SENTENCES, readable
from payflow.models.gateway_call import GatewayCall
from payflow.models.refund import RefundReason
from payflow.services.gateway_log import GatewayLog
from tests.builders import Client
from tests.contract.official import SPECS, needs_specs
from tests.house import ADA, SECRET, House

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


ANYWHERE = (
    "ada@example.com", "+2348012345678", "Ada Obi", "4084084084084081", "5531 8866 5214 2950", SECRET,
    "https://checkout.example.com/pay?token=t0k3n", "Bearer abcdef123456", "whsec_MfKQ9r8GKYqrTwjU",
)  # fmt: skip
"""What no field may keep, however it is called."""
SENTENCE = "Card 4084084084084081 of ada@example.com, +234 801 234 5678: see https://pay.example.com/x?token=t0k3n"
BY_NAME = {
    "authorization_code": "AUTH_72btv547", "access_code": "0peioxfhpn", "client_secret": "pi_1_secret_2", "cvv": "564x",
    "pin": "3310x", "otp": 123_456, "last4": "4081x", "bin": "408408", "account_number": "0123456047",
    "first_name": "Adaeze", "token": "flw-t1nf", "signature": "sig_a", "phone": 8_012_345_678,
    "authorization_url": "https://checkout.example.com/0peioxfhpn", "some_new_field": "n0b0dy-kn0ws-1t",
    "metadata[customer_email]": "ada.obi", "ben.ito@example.com": "a key",
}  # fmt: skip
"""Secrets that look like any word: their field's name gives them away, or that nobody has allowed it."""
GONE = (*ANYWHERE, "t0k3n", "801 234", "ben.ito", *(str(one) for one in BY_NAME.values()))


def samples(gateway: str) -> list[Any]:
    """The official samples of one gateway."""
    found = [json.loads(path.read_text()) for path in sorted((SPECS / "samples" / gateway).glob("*.json"))]
    assert found
    return found


def planted(value: Any, secret: Any, key: str = "") -> Any:
    """The same shape with a secret for every value, and in every object those that are known by name.

    A name is not planted in a sentence of the gateway: nothing tells it from other words there.
    """
    if isinstance(value, dict):
        return {key: planted(item, secret, key) for key, item in value.items()} | BY_NAME
    if isinstance(value, list):
        return [planted(item, secret, key) for item in value]
    return "Declined" if secret == ADA.name and key in SENTENCES else secret


@needs_specs
@pytest.mark.parametrize("gateway", NAMES)
def test_no_secret_planted_in_an_official_sample_is_stored(house: House, gateway: str) -> None:
    """Every value of every sample becomes each secret in turn, in what was sent and in what came back."""
    log, shapes = GatewayLog(house.container.units, in_background=False), samples(gateway)
    for secret in (*ANYWHERE, SENTENCE):
        for shape in shapes:
            body = planted({"body": shape}, secret)
            log(a_record(house, gateway=gateway, request=body, response=body, error=SENTENCE))
    kept = house.rows(GatewayCall)
    assert len(kept) == len(shapes) * (len(ANYWHERE) + 1)
    stored = json.dumps([[row.request, row.response, row.error, row.route] for row in kept], ensure_ascii=False)
    assert [one for one in GONE if one in stored] == []


@needs_specs
@pytest.mark.parametrize("gateway", NAMES)
def test_what_explains_a_call_is_kept(gateway: str) -> None:
    """Amounts, currencies, statuses and ids of the samples stay readable: a log of blanks explains nothing."""
    kept = json.dumps([readable({"body": sample}) for sample in samples(gateway)])
    for key in ("amount", "currency", "status", "id"):
        values = [part.split(",")[0] for part in kept.split(f'"{key}": ')[1:]]
        assert any("[redacted]" not in value and value != "null" for value in values), key


def test_a_call_without_an_answer_is_kept_with_its_reason(house: House) -> None:
    """Each repetition is a row; the last one says what came."""
    _, reference = house.initiated()
    house.fault("html_error", operation="verify", reference=reference, times=1)
    house.ask(reference)
    first, second = [row for row in house.rows(GatewayCall) if row.operation == "verify"]
    assert (first.error_code, first.response) == ("gateway_unavailable", None)
    assert "paystack answered" in first.error
    assert (second.http_status, second.error) == (200, None)


def test_a_huge_body_is_cut(house: House) -> None:
    """Neither a long list nor a wide object makes a long row."""
    log = GatewayLog(house.container.units, in_background=False)
    log(a_record(house, response={"data": [{"id": number, "status": "success"} for number in range(5_000)]}))
    log(a_record(house, response={f"field_{number}": "x" * 100 for number in range(5_000)}))
    listed, wide = house.rows(GatewayCall)
    assert listed.response["data"][-1] == "… 4990 more"
    assert len(json.dumps(wide.response)) < MOST_BYTES
    assert wide.response["…"].startswith("cut")


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


def test_a_row_the_database_refuses_ends_no_log(house: House) -> None:
    """It is told as missing, and the next call is written."""
    log = GatewayLog(house.container.units, in_background=False)
    with capture_logs() as lines:
        log(a_record(house, duration_ms=None))
        log.flush()
    assert [line["action"] for line in lines if line["log_level"] == "warning"] == ["gateway_log.lost"]
    log(a_record(house))
    log.flush()
    assert len(house.rows(GatewayCall)) == 1


def test_a_call_stays_on_record_though_its_answer_could_not_be_stored(house: House, tmp_path: Path) -> None:
    """The log's transaction is its own: what comes after the call may fail."""
    order_id = house.order()
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    failpoints.arm("initiate.record.before_commit=raise@1", tmp_path)
    try:
        with pytest.raises(failpoints.Injected):
            house.step("payments.initiate:paystack")
    finally:
        failpoints.arm(None, tmp_path)
    (attempt,) = house.attempts(order_id)
    assert attempt.status == "created"
    assert [(row.operation, row.attempt_id) for row in house.rows(GatewayCall)] == [("initiate", attempt.id)]
    house.later(120)


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
