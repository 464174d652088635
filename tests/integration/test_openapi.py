"""The API's description: valid, complete, kept in docs/openapi.json, and never broken for those who build on it."""

from __future__ import annotations

import copy
import json
from typing import Any, cast

import pytest
from flask import Flask
from flask_openapi3.openapi import OpenAPI
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.breaking_changes import breaking_changes
from tests.builders import Client, a_booking_body
from tests.committed import DOCS, Committed
from tests.house import House
from web.examples import EXAMPLES
from web.openapi import document

Document = dict[str, Any]


@pytest.fixture
def live(app: Flask) -> Document:
    return document(cast(OpenAPI, app))


def test_no_change_breaks_who_builds_on_it(live: Document, committed: Committed) -> None:
    """Nothing is removed, renamed, retyped or newly required compared with the kept document, which is up to date.

    A wanted break: raise the version in the path first.
    """
    kept = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    assert breaking_changes(kept, live) == []
    committed.must_be("openapi.json", json.dumps(live, indent=1, ensure_ascii=False) + "\n")


def test_every_operation_says_all_there_is(live: Document) -> None:
    """Who may call, each error, ids of its own, headers; what creates is repeatable."""
    OpenAPIV31SpecValidator(live).validate()
    operations = [one for path in live["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    for one in operations:
        assert one["summary"], one["operationId"]
        assert one["security"] in ([], [{"bearer": []}])
        assert {"429", "500", "503"} <= set(one["responses"])
        assert ("401" in one["responses"]) is (one["security"] != [] or one["operationId"] == "receive_webhook")
        if "requestBody" in one:
            assert {"413", "415", "422"} <= set(one["responses"])
    create = live["paths"]["/api/v1/payment/orders/"]["post"]
    assert {one["name"] for one in create["parameters"]} == {"X-Request-ID", "Idempotency-Key"}
    assert {"Location", "Idempotency-Replayed", "RateLimit-Remaining"} <= set(create["responses"]["201"]["headers"])
    assert "Retry-After" in live["components"]["responses"]["Problem429"]["headers"]
    assert live["paths"]["/api/v1/payment/webhooks/{gateway}/"]["post"]["requestBody"]["required"]


def test_reads_that_promise_a_tag_have_one(live: Document, house: House, ada: Client) -> None:
    """`ETag` and 304 stand in the document exactly where they are served."""
    booking, order = house.booking(), house.paid()
    ids = {"bookings": booking, "orders": order, "payments": house.payment_row(order).id}
    for path, operations in live["paths"].items():
        operation = operations.get("get")
        if operation is None or operation["security"] == [] or "check-status" in path:
            continue
        noun = next((noun for noun in ids if f"/{noun}/" in path), "")
        answer = ada.get(path.replace("{id}", ids.get(noun, "w-harbour")))
        if answer.status_code == 200:
            assert ("ETag" in answer.headers) is ("304" in operation["responses"]), path


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_fit_their_schemas(live: Document, name: str) -> None:
    """What the page shows would be accepted, or is what would be answered."""
    schema = {**live["components"]["schemas"][name], "components": live["components"]}
    OAS31Validator(schema, format_checker=OAS31Validator.FORMAT_CHECKER).validate(EXAMPLES[name])


def test_answers_hold_exactly_the_described_fields(live: Document, house: House, ada: Client) -> None:
    """Every field that is answered is described, and every required one is there."""
    schema = live["components"]["schemas"]["Booking"]
    booking = ada.post("/bookings/", a_booking_body(house)).get_json()
    assert set(schema["required"]) == set(booking) == set(schema["properties"])


def _change(live: Document, where: str, value: Any) -> Document:
    """A copy with one thing set, or taken away by None."""
    changed = copy.deepcopy(live)
    *way, last = where.split("|")
    part = changed
    for step in way:
        part = part[step]
    if value is None:
        part.pop(last)
    else:
        part[last] = value
    return changed


_ORDER = "components|schemas|Order|properties"


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("paths|/api/v1/payment/orders/", None),
        ("paths|/api/v1/payment/orders/|post", None),
        (f"{_ORDER}|total", None),
        (f"{_ORDER}|total", {"type": "string"}),
        (f"{_ORDER}|paid_at", {"type": "integer"}),
        ("components|schemas|Order|required", ["id"]),
        ("components|schemas|OrderStatus|enum", ["pending", "paid"]),
        ("components|schemas|NewOrder|required", ["booking_ids", "discount"]),
        ("components|schemas|NewOrder|properties|discount", None),
        ("components|schemas|NewOrder|properties|discount|maximum", 5),
        ("components|schemas|RefundReason|enum", ["other"]),
        ("paths|/api/v1/payment/orders/|post|responses|201", None),
        ("paths|/api/v1/payment/orders/|get|parameters", []),
    ],
)
def test_a_break_is_noticed(live: Document, where: str, value: Any) -> None:
    """Each kind of it."""
    assert breaking_changes(live, _change(live, where, value)) != []


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("paths|/api/v1/new/", {"get": {"responses": {}}}),
        (f"{_ORDER}|gift", {"type": "string"}),
        ("components|schemas|NewOrder|properties|gift", {"type": "string"}),
        ("components|schemas|OrderStatus|description", "other words"),
        ("components|schemas|NewOrder|properties|discount|maximum", 200_000_000_000),
    ],
)
def test_an_addition_is_no_break(live: Document, where: str, value: Any) -> None:
    """Fields, routes and words may be added."""
    assert breaking_changes(live, _change(live, where, value)) == []
