"""Hands for the Stripe contract tests: the adapter, requests, answers, the official files where they are at hand."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import responses
from openapi_schema_validator import OAS30Validator

from payflow.core.clock import Clock, HeldClock
from payflow.core.money import Money
from payflow.gateways.base import AttemptRef, InitiateRequest, RefundRef, RefundRequest
from payflow.gateways.calls import CallRecord, TransportOptions
from payflow.gateways.stripe import StripeGateway
from tests.contract.official import SPECS

HOST = "https://api.stripe.com"
SECRET = "sk_test_vector_0001"
WEBHOOK_SECRET = "whsec_vector_0001"
NOW = 1_800_000_000
SESSIONS, REFUNDS = f"{HOST}/v1/checkout/sessions", f"{HOST}/v1/refunds"


class Kept:
    """A recorder, and a sleeper that does not sleep."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []
        self.slept: list[float] = []

    def __call__(self, record: CallRecord) -> None:
        self.records.append(record)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def a_gateway(
    kept: Kept | None = None,
    *,
    base_url: str = HOST,
    secret: str = SECRET,
    webhook_secrets: tuple[str, ...] = (WEBHOOK_SECRET,),
    clock: Clock | None = None,
    **limits: Any,
) -> StripeGateway:
    kept = kept or Kept()
    return StripeGateway(
        secret_key=secret,
        base_url=base_url,
        webhook_secrets=webhook_secrets,
        clock=clock or HeldClock(at(NOW)),
        options=TransportOptions(**({"recorder": kept, "sleep": kept.slept.append} | limits)),
    )


def a_request(amount_minor: int = 2_000, currency: str = "USD", **changes: Any) -> InitiateRequest:
    given: dict[str, Any] = {
        "reference": "PF-1",
        "amount": Money(amount_minor, currency),
        "customer_email": "ada@example.com",
        "customer_name": "Ada",
        "callback_url": "https://m.example/cb",
        "description": "Order PF-1",
    }
    return InitiateRequest(**(given | changes))


def an_attempt(amount_minor: int = 2_000, currency: str = "USD", **changes: Any) -> AttemptRef:
    given: dict[str, Any] = {
        "reference": "PF-1",
        "amount": Money(amount_minor, currency),
        "session_id": "cs_test_1",
        "transaction_id": "pi_1",
    }
    return AttemptRef(**(given | changes))


def a_refund(amount_minor: int = 500, currency: str = "USD", **changes: Any) -> RefundRequest:
    given: dict[str, Any] = {
        "refund_id": "R-1",
        "attempt": an_attempt(currency=currency),
        "amount": Money(amount_minor, currency),
        "reason": "customer_request",
    }
    return RefundRequest(**(given | changes))


def a_refund_ref(gateway_refund_id: str | None = "re_1") -> RefundRef:
    return RefundRef("R-1", an_attempt(), Money(500, "USD"), gateway_refund_id=gateway_refund_id)


def session(status: str = "open", payment_status: str = "unpaid", **changes: Any) -> dict[str, Any]:
    return {
        "id": "cs_test_1",
        "object": "checkout.session",
        "amount_total": 2_000,
        "client_reference_id": "PF-1",
        "currency": "usd",
        "livemode": False,
        "metadata": {"reference": "PF-1"},
        "payment_intent": None,
        "payment_method_types": ["card"],
        "payment_status": payment_status,
        "status": status,
        "url": "https://checkout.stripe.com/c/pay/cs_test_1#abc",
    } | changes


def paid(**changes: Any) -> dict[str, Any]:
    return session("complete", "paid", payment_intent=intent(), url=None) | changes


def intent(status: str = "succeeded", **changes: Any) -> dict[str, Any]:
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 2_000,
        "amount_received": 2_000 if status == "succeeded" else 0,
        "currency": "usd",
        "last_payment_error": None,
        "status": status,
    } | changes


def refunded(status: str = "pending", **changes: Any) -> dict[str, Any]:
    return {
        "id": "re_1",
        "object": "refund",
        "amount": 500,
        "currency": "usd",
        "metadata": {"refund_id": "R-1"},
        "payment_intent": "pi_1",
        "status": status,
    } | changes


def a_list(*rows: dict[str, Any], has_more: Any = False) -> dict[str, Any]:
    return {"object": "list", "url": "/v1/refunds", "data": list(rows), "has_more": has_more}


def refused(message: str = "No.", code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    error = {"type": kind, "message": message} | ({"code": code} if code else {})
    return {"error": error}


def answers_initiate(**more: Any) -> responses.BaseResponse:
    return responses.post(SESSIONS, **(more or {"json": session()}))


def answers_verify(name: str = "cs_test_1", **more: Any) -> responses.BaseResponse:
    return responses.get(f"{SESSIONS}/{name}", **more)


def answers_list(*rows: dict[str, Any]) -> responses.BaseResponse:
    return responses.get(REFUNDS, json=a_list(*rows))


def answers_refund(**more: Any) -> responses.BaseResponse:
    return responses.post(REFUNDS, **more)


def sent(index: int = -1) -> dict[str, str]:
    """The form of a request, each name once."""
    pairs = parse_qsl(str(responses.calls[index].request.body), keep_blank_values=True, strict_parsing=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def headers(index: int = -1) -> dict[str, str]:
    return dict(responses.calls[index].request.headers)


def signed(body: bytes, *, at_seconds: int = NOW, secret: str = WEBHOOK_SECRET) -> dict[str, str]:
    return {"Stripe-Signature": f"t={at_seconds},v1={mac(body, at_seconds, secret)}"}


def mac(body: bytes, at_seconds: int = NOW, secret: str = WEBHOOK_SECRET) -> str:
    return hmac.new(secret.encode(), f"{at_seconds}.".encode() + body, hashlib.sha256).hexdigest()


def an_event(kind: str, about: dict[str, Any], event_id: str = "evt_1") -> bytes:
    return json.dumps(
        {"id": event_id, "object": "event", "type": kind, "data": {"object": about}, "livemode": False}, indent=2
    ).encode()


# -- the official files


def spec_text(name: str) -> str:
    return (SPECS / name).read_text(encoding="utf-8")


def spec() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(spec_text("stripe.openapi.json"))
    return parsed


def sample(name: str) -> dict[str, Any]:
    """An official sample object."""
    parsed: dict[str, Any] = json.loads(spec_text(f"samples/stripe/{name}.json"))
    return parsed


def golden(line: int) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(spec_text("golden/golden-stripe.jsonl").splitlines()[line])
    return parsed


def tree(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """`a[b][0]=c` as nested objects; lists stay objects with numbers for names."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        steps = re.findall(r"[^\[\]]+", name)
        node = root
        for step in steps[:-1]:
            node = node.setdefault(step, {})
        node[steps[-1]] = value
    return root


def coerced(value: Any, schema: dict[str, Any]) -> Any:
    """What a form's text stands for, by the schema."""
    for one in schema.get("anyOf", ()):
        if (one.get("type") in ("object", "array")) == isinstance(value, dict):
            return coerced(value, one)
    if schema.get("type") == "array" and isinstance(value, dict):
        return [coerced(value[name], schema["items"]) for name in sorted(value, key=int)]
    if isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties")
        rest = other if isinstance(other, dict) else {}
        return {name: coerced(item, known.get(name, rest)) for name, item in value.items()}
    if schema.get("type") == "integer":
        return int(value)
    return {"true": True, "false": False}[value] if schema.get("type") == "boolean" else value


def validate_against_the_spec(index: int = -1) -> None:
    """Path, method, parameters and form of a request against the official specification."""
    request = responses.calls[index].request
    address = urlsplit(str(request.url))
    path = next(
        item
        for name, item in spec()["paths"].items()
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", name), address.path) and str(request.method).lower() in item
    )
    operation = path[str(request.method).lower()]
    asked = operation.get("parameters", [])
    query = {one["name"]: one["schema"] for one in asked if one["in"] == "query"}
    _validate(tree(parse_qsl(address.query)), {"type": "object", "properties": query, "additionalProperties": False})
    if request.method == "POST":
        form = operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
        _validate(tree(parse_qsl(str(request.body))), form)


def _validate(given: dict[str, Any], schema: dict[str, Any]) -> None:
    problems = [f"{list(error.path)}: {error.message}" for error in OAS30Validator(schema).iter_errors(
        coerced(given, schema))]  # fmt: skip
    assert problems == []
