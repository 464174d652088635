"""Hands for the Flutterwave contract tests: adapter, requests, answers, and the official files where they are."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any

import responses
from openapi_core import OpenAPI
from openapi_core.contrib.requests import RequestsOpenAPIRequest

from payflow.core.clock import HeldClock
from payflow.core.money import Money
from payflow.gateways.base import AttemptRef, InitiateRequest, RefundRef, RefundRequest
from payflow.gateways.calls import CallRecord, TransportOptions
from payflow.gateways.flutterwave import FlutterwaveGateway
from tests.contract.official import SPECS

HOST = "https://api.flutterwave.com/v3"
SECRET = "FLWSECK_TEST-0123456789abcdef-X"
HASH = "flw-secret-hash-1"

LINK = "https://checkout.flutterwave.com/v3/hosted/pay/flwlnk-01"
OPENED = {"status": "success", "message": "Hosted Link", "data": {"link": LINK}}
NOT_FOUND = {"status": "error", "message": "No transaction was found for this id", "data": None}
FIRST, SECOND = 4_975_363, 4_975_364
# Agreed by openssl and Python.
VECTOR_BODY = base64.b64decode(
    "eyJldmVudCI6ImNoYXJnZS5jb21wbGV0ZWQiLCJkYXRhIjp7ImlkIjoyODU5NTk4NzUsInR4X3JlZiI6IlBGLTEiLCJhbW91bnQiOjEwMCwiY3Vy"
    "cmVuY3kiOiJOR04iLCJzdGF0dXMiOiJzdWNjZXNzZnVsIn19"
)


class Kept:
    """A recorder, and a sleeper that does not sleep."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []
        self.slept: list[float] = []

    def __call__(self, record: CallRecord) -> None:
        self.records.append(record)


def a_gateway(
    kept: Kept | None = None,
    *,
    base_url: str = HOST,
    secret: str = SECRET,
    webhook_secrets: tuple[str, ...] = (HASH,),
    webhook_url: str | None = None,
    **limits: Any,
) -> FlutterwaveGateway:
    kept = kept or Kept()
    return FlutterwaveGateway(
        secret_key=secret,
        base_url=base_url,
        webhook_secrets=webhook_secrets,
        clock=HeldClock(),
        options=TransportOptions(recorder=kept, sleep=kept.slept.append, **limits),
        webhook_url=webhook_url,
    )


def a_request(amount_minor: int = 7_550, currency: str = "NGN", **changes: Any) -> InitiateRequest:
    given: dict[str, Any] = {
        "reference": "PF-1",
        "amount": Money(amount_minor, currency),
        "customer_email": "customer@email.com",
        "customer_name": "Ada",
        "callback_url": "https://m.example/cb",
        "description": "Two nights",
    }
    return InitiateRequest(**(given | changes))


def an_attempt(amount_minor: int = 100_000, currency: str = "NGN", **changes: Any) -> AttemptRef:
    return AttemptRef(**({"reference": "PF-1", "amount": Money(amount_minor, currency)} | changes))


def a_paid_attempt(**changes: Any) -> AttemptRef:
    return an_attempt(**({"transaction_id": str(FIRST)} | changes))


def a_refund(amount_minor: int = 10_050, currency: str = "NGN", **changes: Any) -> RefundRequest:
    given = {
        "refund_id": "r-1",
        "attempt": a_paid_attempt(),
        "amount": Money(amount_minor, currency),
        "reason": "requested by customer",
    }
    return RefundRequest(**(given | changes))


def a_refund_ref(number: str | None = "8612", amount_minor: int = 10_050, **changes: Any) -> RefundRef:
    given = {"refund_id": "r-1", "attempt": a_paid_attempt(), "amount": Money(amount_minor, "NGN")}
    return RefundRef(**(given | {"gateway_refund_id": number} | changes))


def a_transaction(status: str = "successful", **changes: Any) -> dict[str, Any]:
    return {
        "id": FIRST,
        "tx_ref": "PF-1",
        "flw_ref": "FLW-1",
        "amount": 1000,
        "currency": "NGN",
        "charged_amount": 1000,
        "app_fee": 14,
        "processor_response": "Approved",
        "status": status,
        "payment_type": "card",
        "created_at": "2026-01-15T09:34:27.000Z",
    } | changes


def verified(status: str = "successful", **changes: Any) -> dict[str, Any]:
    data = a_transaction(status, **changes)
    return {"status": "success", "message": "Transaction fetched successfully", "data": data}


def a_page(*rows: dict[str, Any], total: int | None = None, pages: int = 1) -> dict[str, Any]:
    info = {"total": len(rows) if total is None else total, "current_page": 1, "total_pages": pages}
    return {"status": "success", "message": "fetched", "meta": {"page_info": info}, "data": list(rows)}


def a_refund_row(status: str = "completed", **changes: Any) -> dict[str, Any]:
    """As the list and the single question show it."""
    return {
        "id": 8612,
        "amount_refunded": 100.5,
        "status": status,
        "flw_ref": "FLW-1",
        "comment": "payflow refund r-1",
        "meta": '{"source":"availablebalance"}',
        "created_at": "2026-01-15T10:00:00.000Z",
        "transaction_id": FIRST,
    } | changes


def refunded(status: str = "completed", **changes: Any) -> dict[str, Any]:
    """As the creation answers it."""
    data = {
        "id": 8612,
        "tx_id": FIRST,
        "flw_ref": "FLW-1",
        "amount_refunded": 100.5,
        "status": status,
        "destination": "payment_source",
        "meta": {"source": "availablebalance"},
        "created_at": "2026-01-15T10:00:00.000Z",
    }
    return {"status": "success", "message": "Transaction refund initiated", "data": data | changes}


def refused(message: str) -> dict[str, Any]:
    return {"status": "error", "message": message, "data": None}


def answers_initiate(**more: Any) -> responses.BaseResponse:
    return responses.post(f"{HOST}/payments", **(more or {"json": OPENED}))


def answers_verify(**more: Any) -> responses.BaseResponse:
    return responses.get(f"{HOST}/transactions/verify_by_reference", **more)


def answers_by_id(number: int = FIRST, **more: Any) -> responses.BaseResponse:
    return responses.get(f"{HOST}/transactions/{number}/verify", **more)


def answers_list(*rows: dict[str, Any], **more: Any) -> responses.BaseResponse:
    return responses.get(f"{HOST}/transactions", **(more or {"json": a_page(*rows)}))


def answers_refund(number: int = FIRST, **more: Any) -> responses.BaseResponse:
    return responses.post(f"{HOST}/transactions/{number}/refund", **more)


def answers_refunds(*rows: dict[str, Any], **more: Any) -> responses.BaseResponse:
    return responses.get(f"{HOST}/refunds", **(more or {"json": a_page(*rows)}))


def answers_fetch_refund(status: str = "completed", **changes: Any) -> responses.BaseResponse:
    body = {"status": "success", "message": "Refund fetched", "data": a_refund_row(status, **changes)}
    return responses.get(f"{HOST}/refunds/8612", json=body)


def sent(index: int = -1) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(responses.calls[index].request.body, parse_float=Decimal)
    return parsed


def paths() -> list[tuple[str, str]]:
    """Every request so far: method and path, without the query."""
    return [
        (str(call.request.method), str(call.request.url).split("?", maxsplit=1)[0].removeprefix(HOST))
        for call in responses.calls
    ]


def charge_completed(**changes: Any) -> bytes:
    event = {"event": "charge.completed", "event.type": "CARD_TRANSACTION", "data": a_transaction(**changes)}
    return json.dumps(event).encode()


REFUND_CALLBACK = {
    "id": 8612,
    "AmountRefunded": 100.5,
    "status": "completed",
    "FlwRef": "FLW-1",
    "destination": "payment_source",
    "comments": "payflow refund r-1",
    "settlement_id": "NEW",
    "meta": '{"source":"availablebalance"}',
    "createdAt": "2026-01-15T10:00:00.000Z",
    "AccountId": 118468,
    "TransactionId": FIRST,
}


def shown(secret: str = HASH) -> dict[str, str]:
    """The older proof."""
    return {"verif-hash": secret}


def signed(body: bytes, secret: str = HASH) -> dict[str, str]:
    """The newer proof."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return {"Flutterwave-Signature": base64.b64encode(digest).decode()}


def spec_text(name: str) -> str:
    return (SPECS / name).read_text(encoding="utf-8")


def sample(name: str) -> str:
    """An official answer, byte for byte."""
    return spec_text(f"samples/flutterwave/{name}.json")


def validate_against_the_spec(index: int = -1) -> None:
    openapi = OpenAPI.from_dict(json.loads(spec_text("flutterwave-v3.patched.openapi.json")))
    openapi.validate_request(RequestsOpenAPIRequest(responses.calls[index].request))


def golden(line: int) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(spec_text("golden/golden-flutterwave.jsonl").splitlines()[line])
    return parsed
