"""The sandbox's Paystack dialect in a test's hands, and Paystack's own files."""

import json
from datetime import UTC, datetime
from typing import Any

from flask.testing import FlaskClient
from openapi_schema_validator import OAS30Validator

from payflow.sandbox.app import SandboxRooms
from tests.contract.official import SPECS

AT = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
"""When it is, unless a test moves the clock."""

KEY = {"Authorization": "Bearer sk_test_sandbox"}


ORDER = {"email": "ada@example.com", "amount": 20000, "currency": "NGN", "reference": "PF-1"}


class Paystack:
    """A merchant's view of the sandbox, plus the customer at the page."""

    def __init__(self, client: FlaskClient, rooms: SandboxRooms) -> None:
        self.client, self.rooms = client, rooms

    def initialize(self, **changes: Any) -> Any:
        return self.client.post("/paystack/transaction/initialize", json={**ORDER, **changes}, headers=KEY)

    def verify(self, reference: str = "PF-1") -> Any:
        return self.client.get(f"/paystack/transaction/verify/{reference}", headers=KEY)

    def status(self, reference: str = "PF-1") -> str:
        return str(self.verify(reference).json["data"]["status"])

    def pay(self, reference: str = "PF-1", outcome: str = "success", **more: Any) -> Any:
        return self.client.post("/sandbox/pay", json={"reference": reference, "outcome": outcome, **more})

    def paid(self, reference: str = "PF-1", **changes: Any) -> dict[str, Any]:
        self.initialize(reference=reference, **changes)
        self.pay(reference)
        data: dict[str, Any] = self.verify(reference).json["data"]
        return data

    def refund(self, **body: Any) -> Any:
        return self.client.post("/paystack/refund", json={"transaction": "PF-1", **body}, headers=KEY)

    def get(self, path: str) -> Any:
        return self.client.get(f"/paystack{path}", headers=KEY)

    def later(self, seconds: float) -> None:
        self.client.post("/sandbox/clock", json={"advance_seconds": seconds})

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(row["body"]) for row in self.client.get("/sandbox/webhooks").json["webhooks"]]


def official_sample(name: str) -> Any:
    return json.loads((SPECS / "samples" / "paystack" / name).read_text(encoding="utf-8"))


def _answer_schema(path: str, method: str, status: str = "200") -> dict[str, Any]:
    spec = json.loads((SPECS / "paystack.openapi.json").read_text(encoding="utf-8"))
    answer = _inlined(spec["paths"][path][method]["responses"][status], spec)
    return dict(answer["content"]["application/json"]["schema"])


def _inlined(node: Any, spec: dict[str, Any]) -> Any:
    """Replace every $ref by what it points at, and let null pass where the type is missing (OpenAPI 3.0)."""
    if isinstance(node, list):
        return [_inlined(item, spec) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = spec
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return _inlined(target, spec)
    return {name: _inlined(value, spec) for name, value in node.items()}


def check(answer: Any, path: str, method: str, status: str = "200") -> None:
    problems = [
        f"{'/'.join(map(str, error.path))}: {error.message}"
        for error in OAS30Validator(_answer_schema(path, method, status)).iter_errors(answer)
    ]
    assert problems == []
