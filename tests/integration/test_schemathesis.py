"""Every operation of the API under requests nobody thought of: schemathesis, on the live app and a real database.

Good and bad requests by the document, half of them about objects that exist. No answer is a 5xx, has a status, a
content type, a header or a body that the document does not know; a bad request is refused; nothing opens without a
credential. API_EXAMPLES=200 in the environment tries harder.
"""

from __future__ import annotations

import itertools
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from schemathesis import checks
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode

from payflow.models.refund import RefundReason
from tests.builders import a_token
from tests.committed import DOCS
from tests.databases import clean_database
from tests.house import ADA, ADMIN, OPERATOR, WORKSPACE, House, open_house
from web.app import create_app

NOWHERE = "http://127.0.0.1:9/"
EXAMPLES = int(os.environ.get("API_EXAMPLES", "8"))
_HOW = {"deterministic": True, "database": "none", "with-security-parameters": False}
_LEFT_OUT = (
    # a well-formed request may still ask for what is not there or not allowed now: 422 with a code
    checks.positive_data_acceptance,
    # 405 and 404 alike are documents of the framework's routing, tried in test_web_manners.py
    checks.unsupported_method,
)


class Seen:
    """What was tried: statuses by operation."""

    def __init__(self) -> None:
        self.statuses: Counter[tuple[str, int]] = Counter()

    def __str__(self) -> str:
        by_status = Counter(status for (_, status), count in self.statuses.items() for _ in range(count))
        operations = len({operation for operation, _ in self.statuses})
        return f"{by_status.total()} requests to {operations} operations: {dict(sorted(by_status.items()))}"


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    found = Seen()
    yield found
    print(f"\nschemathesis: {found}")


@pytest.fixture(scope="module")
def lived_in(migrated_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with one of everything, and bookings to spare."""
    with (
        clean_database(migrated_database, tmp_path_factory.mktemp("schemathesis")) as url,
        open_house(url, PAYFLOW_WEBHOOK_ALLOW_PRIVATE="1") as house,
    ):
        house.booking()
        for _ in range(20):  # some will be deleted
            endpoint, _ = house.container.webhook_endpoints.create(ADMIN, WORKSPACE, url=NOWHERE)
            house.container.webhook_endpoints.ping(ADMIN, endpoint)
        paid, _ = house.paid(), house.initiated()
        payment = house.payment_row(paid).id
        house.container.refunds.request_refund(ADA, payment, amount_minor=100, reason=RefundReason.OTHER)
        house.order()
        house.booking()
        yield house


@pytest.fixture(scope="module")
def known(lived_in: House) -> dict[str, list[str]]:
    """Ids of what exists, by the word the API has for it."""
    from payflow.models.booking import Booking
    from payflow.models.notification import Notification
    from payflow.models.order import Order
    from payflow.models.payment import Payment, PaymentAttempt
    from payflow.models.refund import Refund
    from payflow.models.webhook_endpoint import WebhookDelivery, WebhookEndpoint

    nouns = {
        "bookings": Booking, "orders": Order, "payments": Payment, "refunds": Refund, "notifications": Notification,
        "webhook-endpoints": WebhookEndpoint, "deliveries": WebhookDelivery,
    }  # fmt: skip
    ids = {noun: [row.id for row in lived_in.rows(model)] for noun, model in nouns.items()}
    return {**ids, "references": [row.reference for row in lived_in.rows(PaymentAttempt)], "workspaces": [WORKSPACE]}


api = schemathesis.openapi.from_path(
    DOCS / "openapi.json",
    config=SchemathesisConfig.from_dict({"generation": {**_HOW, "max-examples": EXAMPLES}}),
)
"""The kept document: test_openapi.py holds it against the live one."""


class Door:
    """A WSGI app that is there when tests are collected, and leads to the one they run on."""

    app: Flask

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.app(environ, start_response)


api.app = Door()


@pytest.fixture(scope="module", autouse=True)
def live_app(lived_in: House) -> None:
    """Requests go to a real app."""
    api.app.app = create_app(lived_in.container)


_turn = itertools.count()


@api.parametrize()
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation_keeps_to_its_document(
    case: schemathesis.Case, known: dict[str, list[str]], seen: Seen
) -> None:
    """See the module's docstring."""
    turn = next(_turn)
    if turn % 2 and case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        _about_what_exists(case, known, turn)
    token = a_token(OPERATOR if turn % 4 < 2 else ADA)
    answer = case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, excluded_checks=list(_LEFT_OUT))
    seen.statuses[case.operation.label, answer.status_code] += 1
    is_page, is_replayed = "html" in answer.headers["content-type"][0], "idempotency-replayed" in answer.headers
    if answer.status_code >= 400 and not is_page and not is_replayed:
        assert json.loads(answer.content)["request_id"] == answer.headers["x-request-id"][0]


def test_all_operations_were_tried_and_answered(seen: Seen) -> None:
    """Each operation was called, most of them also with success; the figures are in the report."""
    labels = {operation.ok().label for operation in api.get_all_operations()}
    tried = {label for label, _ in seen.statuses}
    if tried != labels:
        pytest.skip("only part of the operations was selected")
    successful = {label for label, status in seen.statuses if status < 400}
    assert len(successful) >= len(labels) * 2 // 3, sorted(labels - successful)


def _about_what_exists(case: schemathesis.Case, known: dict[str, list[str]], turn: int) -> None:
    """Let a good request speak of objects that are there."""

    def one(noun: str) -> str:
        return known[noun][turn % len(known[noun])]

    before_id, has_id, _ = case.path.partition("/{id}")
    noun = before_id.rpartition("/")[2] if has_id else None
    if noun in known and "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = one(noun)
    if isinstance(case.body, dict):
        body: dict[str, Any] = case.body
        swaps = {"order_id": "orders", "payment_id": "payments", "reference": "references"}
        body |= {field: one(noun) for field, noun in swaps.items() if field in body}
        if "url" in body:
            body |= {"url": NOWHERE, "events": [], "workspace_id": WORKSPACE}
        if "booking_ids" in body:
            body["booking_ids"] = [one("bookings")]
        if "resource_id" in body:
            body |= {"resource_id": uuid.uuid4().hex, "workspace_id": WORKSPACE}
            body |= {"starts_at": "2026-03-01T09:00:00Z", "ends_at": "2026-03-01T10:00:00Z"}
