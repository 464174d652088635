"""Hands for the Paystack contract tests: the adapter, requests, answers, the official files where they are at hand."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import responses
from openapi_core import OpenAPI
from openapi_core.contrib.requests import RequestsOpenAPIRequest

from payflow.core.clock import HeldClock
from payflow.core.money import Money
from payflow.gateways.base import AttemptRef, InitiateRequest, RefundRequest
from payflow.gateways.calls import CallRecord, TransportOptions
from payflow.gateways.paystack import PaystackGateway
from tests.contract.official import SPECS

HOST = "https://api.paystack.co"
SECRET = "sk_test_vector_0001"

INITIALIZED = {
    "status": True,
    "message": "Authorization URL created",
    "data": {
        "authorization_url": "https://checkout.paystack.com/3ni8kdavz62431k",
        "access_code": "3ni8kdavz62431k",
        "reference": "PF-1",
    },
}


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
    webhook_secrets: tuple[str, ...] = (),
    **limits: Any,
) -> PaystackGateway:
    kept = kept or Kept()
    return PaystackGateway(
        secret_key=secret,
        base_url=base_url,
        webhook_secrets=webhook_secrets or (secret,),
        clock=HeldClock(),
        options=TransportOptions(recorder=kept, sleep=kept.slept.append, **limits),
    )


def a_request(amount_minor: int = 20_000, currency: str = "NGN", **changes: Any) -> InitiateRequest:
    given: dict[str, Any] = {
        "reference": "PF-1",
        "amount": Money(amount_minor, currency),
        "customer_email": "customer@email.com",
        "customer_name": "Ada",
        "callback_url": "https://m.example/cb",
        "description": "Two nights",
    }
    return InitiateRequest(**(given | changes))


def an_attempt(amount_minor: int = 20_000, currency: str = "NGN", **changes: Any) -> AttemptRef:
    return AttemptRef(**({"reference": "PF-1", "amount": Money(amount_minor, currency)} | changes))


def a_refund(amount_minor: int = 5_000, **changes: Any) -> RefundRequest:
    given = {
        "refund_id": "r-1",
        "attempt": an_attempt(),
        "amount": Money(amount_minor, "NGN"),
        "reason": "requested by customer",
    }
    return RefundRequest(**(given | changes))


def verified(status: str = "success", **changes: Any) -> dict[str, Any]:
    data = {
        "id": 4_099_260_516,
        "domain": "test",
        "status": status,
        "reference": "PF-1",
        "amount": 20_000,
        "requested_amount": 20_000,
        "currency": "NGN",
        "channel": "card",
        "fees": 300,
        "paid_at": "2024-08-22T09:15:02.000Z",
        "gateway_response": "Successful",
    }
    return {"status": True, "message": "Verification successful", "data": data | changes}


def refunded(status: str = "pending", **changes: Any) -> dict[str, Any]:
    data = {
        "id": 3_018_284,
        "status": status,
        "amount": 5_000,
        "currency": "NGN",
        "merchant_note": "payflow refund r-1",
        "transaction": {"id": 1641, "reference": "PF-1"},
    }
    return {"status": True, "message": "Refund has been queued for processing", "data": data | changes}


def refused(message: str, code: str | None = None) -> dict[str, Any]:
    return {"status": False, "message": message, "type": "validation_error", "meta": {"nextStep": "…"}} | (
        {"code": code} if code else {}
    )


def answers_initialize(**more: Any) -> responses.BaseResponse:
    return responses.post(f"{HOST}/transaction/initialize", **(more or {"json": INITIALIZED}))


def answers_verify(reference: str = "PF-1", **more: Any) -> responses.BaseResponse:
    return responses.get(f"{HOST}/transaction/verify/{reference}", **more)


def answers_refund(**more: Any) -> responses.BaseResponse:
    return responses.post(f"{HOST}/refund", **more)


def sent(index: int = -1) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(responses.calls[index].request.body)
    return parsed


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Paystack-Signature": hmac.new(secret.encode(), body, hashlib.sha512).hexdigest()}


def spec_text(name: str) -> str:
    return (SPECS / name).read_text(encoding="utf-8")


def sample(name: str) -> dict[str, Any]:
    """The 200 answer of an official sample."""
    parsed: dict[str, Any] = json.loads(spec_text(f"samples/paystack/{name}.json"))["200"]["data"]
    return parsed


def validate_against_the_spec(index: int = -1) -> None:
    openapi = OpenAPI.from_dict(json.loads(spec_text("paystack.openapi.json")))
    openapi.validate_request(RequestsOpenAPIRequest(responses.calls[index].request))


def golden(line: int) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(spec_text("golden/golden-paystack.jsonl").splitlines()[line])
    return parsed
