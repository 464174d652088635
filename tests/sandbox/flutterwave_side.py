"""The sandbox's Flutterwave dialect in a test's hands, and the published files."""

import json
from datetime import UTC, datetime
from typing import Any

from flask.testing import FlaskClient
from openapi_schema_validator import OAS30Validator

from payflow.sandbox.app import SandboxRooms
from payflow.sandbox.flutterwave import DEVELOPMENT_SECRET
from tests.contract.official import SPECS

AT = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
"""When it is, unless a test moves the clock."""

KEY = {"Authorization": f"Bearer {DEVELOPMENT_SECRET}"}


ORDER = {
    "tx_ref": "PF-1",
    "amount": 1000,
    "currency": "NGN",
    "redirect_url": "https://shop.example/back?basket=7",
    "customer": {"email": "ada@example.com", "name": "Ada"},
    "meta": {"order": "ORD-1"},
}


DAYS = "from=2026-02-28&to=2026-03-02"


class Flutterwave:
    """A merchant's view of the sandbox, plus the customer at the page."""

    def __init__(self, client: FlaskClient, rooms: SandboxRooms) -> None:
        self.client, self.rooms = client, rooms

    def pay_link(self, **changes: Any) -> Any:
        return self.client.post("/flutterwave/payments", json={**ORDER, **changes}, headers=KEY)

    def get(self, path: str) -> Any:
        return self.client.get(f"/flutterwave{path}", headers=KEY)

    def verify(self, reference: str = "PF-1") -> Any:
        return self.get(f"/transactions/verify_by_reference?tx_ref={reference}")

    def data(self, reference: str = "PF-1") -> dict[str, Any]:
        told: dict[str, Any] = self.verify(reference).json["data"]
        return told

    def pay(self, reference: str = "PF-1", outcome: str = "success", **more: Any) -> Any:
        return self.client.post("/sandbox/pay", json={"reference": reference, "outcome": outcome, **more}).json

    def paid(self, reference: str = "PF-1", **changes: Any) -> dict[str, Any]:
        self.pay_link(tx_ref=reference, **changes)
        self.pay(reference)
        return self.data(reference)

    def refund(self, number: int, **body: Any) -> Any:
        return self.client.post(f"/flutterwave/transactions/{number}/refund", json=body, headers=KEY)

    def plant(self, fault: str, **more: Any) -> None:
        assert self.client.post("/sandbox/faults", json={"fault": fault, **more}).status_code == 201

    def later(self, seconds: float) -> None:
        self.client.post("/sandbox/clock", json={"advance_seconds": seconds})

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(row["body"]) for row in self.client.get("/sandbox/webhooks").json["webhooks"]]


def official_sample(name: str) -> Any:
    return json.loads((SPECS / "samples" / "flutterwave" / f"{name}.json").read_text(encoding="utf-8"))


def check(answer: Any, path: str, method: str, status: str = "200") -> None:
    spec = json.loads((SPECS / "flutterwave-v3.patched.openapi.json").read_text(encoding="utf-8"))
    schema = spec["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    problems = [f"{'/'.join(map(str, one.path))}: {one.message}" for one in OAS30Validator(schema).iter_errors(answer)]
    assert problems == []
