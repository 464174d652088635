"""The sandbox's Stripe dialect in a test's hands, and Stripe's own files."""

import json
from datetime import UTC, datetime
from typing import Any

from flask.testing import FlaskClient
from openapi_schema_validator import OAS30Validator

from payflow.sandbox.app import SandboxRooms
from tests.contract.official import SPECS

KEY = {"Authorization": "Bearer sk_test_sandbox_stripe"}


NOW = 1_800_000_000 - 3_600
AT = datetime.fromtimestamp(NOW, UTC)
"""When it is, unless a test moves the clock."""


PRICE = "line_items[0][price_data]"


ORDER = {
    "mode": "payment",
    "success_url": "https://m.example/cb?session_id={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://m.example/cancel",
    "client_reference_id": "PF-1",
    "customer_email": "ada@example.com",
    "line_items[0][quantity]": "1",
    f"{PRICE}[currency]": "usd",
    f"{PRICE}[unit_amount]": "2000",
    f"{PRICE}[product_data][name]": "Order PF-1",
    "metadata[reference]": "PF-1",
    "payment_intent_data[metadata][reference]": "PF-1",
}


class Stripe:
    """A merchant's view of the sandbox, plus the customer at the page."""

    def __init__(self, client: FlaskClient, rooms: SandboxRooms) -> None:
        self.client, self.rooms = client, rooms

    def create(self, key: str | None = None, **changes: Any) -> Any:
        form = {name: value for name, value in {**ORDER, **changes}.items() if value is not None}
        return self.post("/v1/checkout/sessions", key, **form)

    def post(self, path: str, key: str | None = None, **form: Any) -> Any:
        return self.client.post(f"/stripe{path}", data=form, headers=KEY | ({"Idempotency-Key": key} if key else {}))

    def get(self, path: str) -> Any:
        return self.client.get(f"/stripe{path}", headers=KEY)

    def session(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.get(f"/v1/checkout/sessions/{name}?expand[0]=payment_intent").json
        return shown

    def pay(self, reference: str = "PF-1", outcome: str = "success", **more: Any) -> Any:
        return self.client.post("/sandbox/pay", json={"reference": reference, "outcome": outcome, **more})

    def paid(self, reference: str = "PF-1", **changes: Any) -> dict[str, Any]:
        name = self.create(client_reference_id=reference, **changes).json["id"]
        self.pay(reference)
        return self.session(name)

    def refund(self, intent: str, key: str | None = None, **form: Any) -> Any:
        return self.post("/v1/refunds", key, payment_intent=intent, **form)

    def fault(self, name: str, **more: Any) -> None:
        assert self.client.post("/sandbox/faults", json={"fault": name, **more}).status_code == 201

    def later(self, seconds: float) -> None:
        self.client.post("/sandbox/clock", json={"advance_seconds": seconds})

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(row["body"]) for row in self.client.get("/sandbox/webhooks").json["webhooks"]]

    def told(self) -> list[str]:
        return [event["type"] for event in self.sent()]


def text(name: str) -> str:
    return (SPECS / name).read_text(encoding="utf-8")


def _lifted(node: Any) -> Any:
    """Let null pass beside `enum` and `$ref`, as OpenAPI 3.0 means it."""
    if isinstance(node, list):
        return [_lifted(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {name: _lifted(value) for name, value in node.items()}
    if node.get("nullable") is True and ("$ref" in node or "anyOf" in node or "enum" in node):
        return {"anyOf": [{name: value for name, value in node.items() if name != "nullable"}, {"enum": [None]}]}
    return node


def check(answer: Any, schema: str) -> None:
    components = _lifted(json.loads(text("stripe.openapi.json"))["components"])
    whole = {"allOf": [{"$ref": f"#/components/schemas/{schema}"}], "components": components}
    problems = [
        f"{'/'.join(map(str, error.path))}: {error.message}" for error in OAS30Validator(whole).iter_errors(answer)
    ]
    assert problems == []
