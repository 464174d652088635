"""Hands for the HTTP tests: tokens, a client that speaks JSON, bodies. The house itself is tests/house.py's."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from payflow.core.events import timestamp
from payflow.services.access import Caller
from tests.house import ADA, JWT_SECRET, SECRET, WORKSPACE, House

API = "/api/v1"
STRANGER = Caller(user_id="u-stranger", email="stranger@example.com")


def a_token(caller: Caller, *, secret: str = JWT_SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    """A signed token for a caller, valid for an hour; `changes` replace claims, None takes one out."""
    claims: dict[str, Any] = {
        "sub": caller.user_id,
        "email": caller.email,
        "name": caller.name,
        "workspaces": {key: {"name": one.name, "role": one.role} for key, one in caller.workspaces.items()},
        "scope": "operator" if caller.is_operator else "",
        "exp": int(time.time()) + 3600,
    }
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(claims, secret, algorithm=algorithm)


def a_service_key(house: House, *, workspace_id: str | None = None, scope: str = "") -> str:
    """A fresh service key, as its holder knows it."""
    key = f"pfk_{secrets.token_urlsafe(32)}"
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    house.container.keys.add("platform", key_hash=key_hash, workspace_id=workspace_id, scope=scope)
    return key


@dataclass
class Client:
    """Talks to the app as one caller. Paths are relative to /api/v1 unless they are whole addresses."""

    http: FlaskClient
    credential: str | None

    def open(self, method: str, path: str, *, json: Any = None, headers: dict[str, str] | None = None) -> TestResponse:
        given = {"Authorization": f"Bearer {self.credential}"} if self.credential else {}
        url = path if path.startswith(("http", API)) else f"{API}{path}"
        return self.http.open(url, method=method, json=json, headers={**given, **(headers or {})})

    def get(self, path: str, **given: Any) -> TestResponse:
        return self.open("GET", path, **given)

    def post(self, path: str, json: Any = None, **given: Any) -> TestResponse:
        return self.open("POST", path, json=json, **given)

    def patch(self, path: str, json: Any = None, **given: Any) -> TestResponse:
        return self.open("PATCH", path, json=json, **given)

    def raw(self, path: str, body: bytes, content_type: str = "application/json") -> TestResponse:
        """A POST with these very bytes."""
        headers = {"Authorization": f"Bearer {self.credential}", "Content-Type": content_type}
        return self.http.post(f"{API}{path}", data=body, headers=headers)


def a_client(app: Flask, caller: Caller | None) -> Client:
    return Client(app.test_client(), a_token(caller) if caller else None)


def a_booking_body(house: House, **changes: Any) -> dict[str, Any]:
    """What a client sends for a booking in a slot nobody else has."""
    house.serial += 1
    start = house.clock.now() + timedelta(days=1)
    body = {
        "workspace_id": WORKSPACE,
        "resource_id": f"desk-{house.serial}",
        "starts_at": timestamp(start),
        "ends_at": timestamp(start + timedelta(hours=1)),
        "amount": 150_000,
        "currency": "NGN",
    }
    return body | changes


def a_paid_payment(house: House, owner: Caller = ADA) -> tuple[str, str]:
    """An order that is paid and confirmed: (order id, payment id)."""
    order_id = house.paid(owner)
    return order_id, house.payment_row(order_id).id


def signed(body: dict[str, Any] | bytes, *, secret: str = SECRET) -> tuple[bytes, dict[str, str]]:
    """A Paystack webhook's bytes and headers."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    signature = hmac.new(secret.encode(), raw, hashlib.sha512).hexdigest()
    return raw, {"x-paystack-signature": signature, "Content-Type": "application/json"}


def a_problem(response: TestResponse, status: int, code: str | None = None) -> dict[str, Any]:
    """The problem document of an error answer, checked for what every one of them must have."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.content_type == "application/problem+json"
    problem = response.get_json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(problem)
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["X-Request-ID"]
    if code is not None:
        assert problem["code"] == code, problem
    return dict(problem)


def pointers(problem: dict[str, Any]) -> set[str]:
    """The fields a problem names."""
    return {error["pointer"] for error in problem.get("errors", [])}
