"""Who gets what on which route: every pair is really called, and docs/permissions.md is what came out.

A route without a row here fails: write how a request to it is made, then `make docs`, then read the difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from payflow.models.decision import Decision, DecisionKind
from payflow.models.reconciliation import Difference
from payflow.models.refund import RefundReason
from payflow.services.access import Caller, Membership
from tests.builders import API, STRANGER, a_booking_body, a_service_key, a_token, signed
from tests.committed import Committed
from tests.databases import clean_database
from tests.house import ADA, ADMIN, BEN, OPERATOR, OTHER_WORKSPACE, WORKSPACE, House, open_house
from web.app import create_app

CYD = Caller(user_id="u-cyd", email="cyd@example.com", workspaces={OTHER_WORKSPACE: Membership("Hill", "member")})
OTHER_ADMIN = Caller(user_id="u-hill", workspaces={OTHER_WORKSPACE: Membership("Hill", "admin")})
AUDIENCE = "payflow"
NOWHERE = "http://127.0.0.1:9/"


@dataclass(frozen=True)
class Scene:
    """What the calls are made on: everything is Ada's, in the workspace Harbour."""

    house: House
    booking: str
    order: str
    payment: str
    reference: str
    refund: str
    message: str

    def waiting_refund(self) -> str:
        return self.house.container.refunds.request_refund(
            ADA, self.payment, amount_minor=100, reason=RefundReason.OTHER
        )

    def endpoint(self) -> str:
        """A receiver of Harbour's events; nobody listens there."""
        return self.house.container.webhook_endpoints.create(ADMIN, WORKSPACE, url=NOWHERE)[0]

    def delivery(self) -> str:
        return self.house.container.webhook_endpoints.ping(ADMIN, self.endpoint())

    def difference(self) -> str:
        """Money at a gateway that fits no order, found by a comparison of the last hour."""
        self.house.pay_nobody()
        until = self.house.clock.now() + timedelta(seconds=1)
        service = self.house.container.reconciliation
        service.open(since=until - timedelta(hours=1), until=until, actor="user:u-op")
        self.house.drain()
        return str(self.house.rows(Difference)[-1].id)

    def question(self) -> str:
        """An open decision about Ada's order."""
        decision = Decision(
            kind=DecisionKind.UNDERPAID, subject_id=self.waiting_refund(), order_id=self.order,
            workspace_id=WORKSPACE, amount_minor=1, currency="NGN", detail="planted", suggested_action="ignore",
            created_at=self.house.clock.now(),
        )  # fmt: skip

        def step(tx: Any) -> str:
            tx.add(decision)
            tx.flush()
            return str(decision.id)

        return self.house.container.units.run(step)


@dataclass(frozen=True)
class Request:
    path: str = ""
    json: Any = None
    raw: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


def _webhook() -> Request:
    raw, headers = signed({"event": "charge.success", "data": {"id": 1, "reference": "x", "status": "success"}})
    return Request(raw=raw, headers=tuple(headers.items()))


_ALL_ROWS = Request("?page_size=100")

MADE: dict[tuple[str, str], Callable[[Scene], Request]] = {
    ("POST", "/bookings/"): lambda scene: Request(json=a_booking_body(scene.house)),
    ("GET", "/bookings/"): lambda _: _ALL_ROWS,
    ("GET", "/bookings/{id}/"): lambda scene: Request(scene.booking),
    ("POST", "/bookings/{id}/cancel/"): lambda scene: Request(scene.house.booking()),
    ("POST", "/payment/orders/"): lambda scene: Request(json={"booking_ids": [scene.house.booking()]}),
    ("GET", "/payment/orders/"): lambda _: _ALL_ROWS,
    ("GET", "/payment/orders/{id}/"): lambda scene: Request(scene.order),
    ("POST", "/payment/orders/{id}/cancel/"): lambda scene: Request(scene.house.order()),
    ("GET", "/payment/orders/{id}/timeline/"): lambda scene: Request(scene.order),
    ("POST", "/payment/payments/initiate/"): lambda scene: Request(json={"order_id": scene.house.order()}),
    ("GET", "/payment/payments/"): lambda _: _ALL_ROWS,
    ("GET", "/payment/payments/{id}/"): lambda scene: Request(scene.payment),
    ("GET", "/payment/payments/{id}/check-status/"): lambda scene: Request(scene.payment),
    ("POST", "/payment/payments/callback/"): lambda scene: Request(json={"reference": scene.reference}),
    ("GET", "/payment/payments/callback/"): lambda scene: Request(f"?reference={scene.reference}"),
    ("POST", "/payment/refunds/"): lambda scene: Request(
        json={"payment_id": scene.payment, "amount": 100, "reason": "other"}
    ),
    ("GET", "/payment/refunds/"): lambda _: _ALL_ROWS,
    ("GET", "/payment/refunds/{id}/"): lambda scene: Request(scene.refund),
    ("POST", "/payment/refunds/{id}/approve/"): lambda scene: Request(scene.waiting_refund()),
    ("POST", "/payment/refunds/{id}/reject/"): lambda scene: Request(scene.waiting_refund(), json={}),
    ("POST", "/payment/webhooks/{gateway}/"): lambda _: _webhook(),
    ("POST", "/payment/webhook-endpoints/"): lambda _: Request(json={"workspace_id": WORKSPACE, "url": NOWHERE}),
    ("GET", "/payment/webhook-endpoints/"): lambda _: _ALL_ROWS,
    ("GET", "/payment/webhook-endpoints/{id}/"): lambda scene: Request(scene.endpoint()),
    ("PATCH", "/payment/webhook-endpoints/{id}/"): lambda scene: Request(scene.endpoint(), json={"enabled": False}),
    ("DELETE", "/payment/webhook-endpoints/{id}/"): lambda scene: Request(scene.endpoint()),
    ("POST", "/payment/webhook-endpoints/{id}/rotate-secret/"): lambda scene: Request(scene.endpoint()),
    ("POST", "/payment/webhook-endpoints/{id}/ping/"): lambda scene: Request(scene.endpoint()),
    ("POST", "/payment/webhook-endpoints/{id}/resend/"): lambda scene: Request(scene.endpoint()),
    ("GET", "/payment/webhook-endpoints/{id}/deliveries/"): lambda scene: Request(scene.endpoint()),
    ("GET", "/payment/webhook-endpoints/deliveries/{id}/"): lambda scene: Request(scene.delivery()),
    ("POST", "/payment/webhook-endpoints/deliveries/{id}/resend/"): lambda scene: Request(scene.delivery()),
    ("GET", "/payment/decisions/"): lambda _: Request(),
    ("POST", "/payment/decisions/{id}/resolve/"): lambda scene: Request(scene.question(), json={"action": "ignore"}),
    ("GET", "/payment/reports/summary/"): lambda _: Request(),
    ("GET", "/payment/reports/reconciliation/"): lambda _: Request(),
    ("GET", "/payment/reports/reconciliation/differences/"): lambda _: Request(),
    ("POST", "/payment/reports/reconciliation/differences/{id}/close/"): lambda scene: Request(
        scene.difference(), json={"note": "looked into"}
    ),
    ("GET", "/notifications/"): lambda _: Request(),
    ("POST", "/notifications/{id}/read/"): lambda scene: Request(scene.message),
    ("POST", "/notifications/read-all/"): lambda _: Request(),
    ("GET", "/notifications/preferences/"): lambda _: Request(),
    ("PATCH", "/notifications/preferences/"): lambda _: Request(json={"locale": "fr"}),
    ("GET", "/workspaces/{id}/policy/"): lambda _: Request(WORKSPACE),
    ("PATCH", "/workspaces/{id}/policy/"): lambda _: Request(WORKSPACE, json={"refund_needs_approval": True}),
    ("GET", "/openapi.json"): lambda _: Request(),
    ("GET", "/docs/"): lambda _: Request(),
    ("GET", "/docs/{name}"): lambda _: Request("css/swagger-ui.css"),
}
"""Each route, and how a request to it is made that its owner may make. What a call uses up is made anew for each."""

PUBLIC = {
    ("GET", "/payment/payments/callback/"),
    ("POST", "/payment/webhooks/{gateway}/"),
    ("GET", "/openapi.json"),
    ("GET", "/docs/"),
    ("GET", "/docs/{name}"),
}
_OWNED_LISTS = ("/bookings/", "/payment/orders/", "/payment/payments/", "/payment/refunds/")
_LETTERS = {"u-ada": "A", "u-ben": "B", "u-cyd": "C"}
NOBODY = ("none", "expired", "unsigned", "audience")


def _credentials(house: House) -> dict[str, str | None]:
    now = int(time.time())
    return {
        "none": None,
        "expired": a_token(ADA, aud=AUDIENCE, exp=now - 60),
        "unsigned": jwt.encode({"sub": "u-ada", "aud": AUDIENCE, "exp": now + 60}, None, algorithm="none"),
        "audience": a_token(ADA, aud="another"),
        "owner": a_token(ADA, aud=AUDIENCE),
        "member": a_token(BEN, aud=AUDIENCE),
        "foreign": a_token(STRANGER, aud=AUDIENCE),
        "admin": a_token(ADMIN, aud=AUDIENCE),
        "foreign admin": a_token(OTHER_ADMIN, aud=AUDIENCE),
        "operator": a_token(OPERATOR, aud=AUDIENCE),
        "key": a_service_key(house),
        "key here": a_service_key(house, workspace_id=WORKSPACE),
        "key elsewhere": a_service_key(house, workspace_id=OTHER_WORKSPACE),
        "key read": a_service_key(house, scope="read"),
    }


def _routes(app: Flask) -> list[tuple[str, str]]:
    """Every route of the API, as the app knows them, with `{id}` for parameters."""
    found = set()
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(f"{API}/"):
            path = rule.rule.removeprefix(API)
            for converter in ("uuid:", "path:"):
                path = path.replace(f"<{converter}", "<")
            path = path.replace("<", "{").replace(">", "}")
            found |= {(method, path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    return sorted(found, key=lambda route: (route[1], route[0]))


def _call(app: Flask, route: tuple[str, str], made: Request, credential: str | None) -> TestResponse:
    method, path = route
    head, brace, tail = path.partition("{")
    url = f"{API}{head}{made.path}{tail.partition('}')[2]}" if brace else f"{API}{path}{made.path}"
    url = url.replace("/webhooks//", "/webhooks/paystack/")
    headers = dict(made.headers) | ({"Authorization": f"Bearer {credential}"} if credential else {})
    return app.test_client().open(url, method=method, json=made.json, data=made.raw, headers=headers)


def _outcome(app: Flask, route: tuple[str, str], made: Request, credential: str | None) -> str:
    with _call(app, route, made, credential) as answer:
        return _cell(answer)


def _cell(answer: TestResponse) -> str:
    """The status; of a list of rows also whose they are: A = Ada's, B = Ben's, C = Cyd's elsewhere."""
    found = answer.get_json(silent=True) if answer.status_code == 200 else None
    rows = found.get("results") if isinstance(found, dict) else None
    if rows is None or answer.request.path.removeprefix(API) not in _OWNED_LISTS:
        return str(answer.status_code)
    owners = {row.get("user_id") for row in rows}
    return f"200 {''.join(letter for owner, letter in _LETTERS.items() if owner in owners) or '–'}"


@pytest.fixture(scope="module")
def matrix(
    migrated_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], dict[str, str]]]:
    """Route → caller → what came back, each pair called once."""
    folder: Path = tmp_path_factory.mktemp("permissions")
    with (
        clean_database(migrated_database, folder) as url,
        open_house(url, PAYFLOW_JWT_AUDIENCE=AUDIENCE, PAYFLOW_WEBHOOK_ALLOW_PRIVATE="1") as house,
    ):
        app = create_app(house.container)
        policies = {"refund_needs_approval": True}
        for owner, workspace in ((ADA, WORKSPACE), (BEN, WORKSPACE), (CYD, OTHER_WORKSPACE)):
            paid = house.paid(owner, house.booking(owner, workspace_id=workspace))
            payment = house.payment_row(paid).id
            app.test_client().patch(
                f"{API}/workspaces/{workspace}/policy/",
                json=policies,
                headers={"Authorization": f"Bearer {a_token(OPERATOR, aud=AUDIENCE)}"},
            )
            refund = house.container.refunds.request_refund(owner, payment, amount_minor=100, reason=RefundReason.OTHER)
            if owner is ADA:
                mine = (paid, payment, refund)
        order, payment, refund = mine
        reference = house.attempts(order)[0].reference
        credentials = _credentials(house)
        messages = app.test_client().get(
            f"{API}/notifications/", headers={"Authorization": f"Bearer {credentials['owner']}"}
        )
        scene = Scene(
            house, house.booking(), order, payment, reference, refund, messages.get_json()["results"][0]["id"]
        )
        routes = _routes(app)
        assert set(routes) == set(MADE), set(routes) ^ set(MADE)
        yield {
            route: {
                name: _outcome(app, route, MADE[route](scene), credential) for name, credential in credentials.items()
            }
            for route in routes
        }


Matrix = dict[tuple[str, str], dict[str, str]]


def test_nobody_without_a_valid_credential_gets_anywhere(matrix: Matrix) -> None:
    """None, expired, unsigned or meant for somebody else: 401 on every route that is not public."""
    for route, answers in matrix.items():
        if route not in PUBLIC:
            assert {answers[name] for name in NOBODY} == {"401"}, route


def test_the_owner_is_let_in_and_nothing_breaks(matrix: Matrix) -> None:
    """Each row's request is one that somebody may make; no pair ends in a 5xx."""
    for route, answers in matrix.items():
        assert any(status.startswith(("2", "3")) for status in answers.values()), (route, answers)
        assert not any(status.startswith("5") for status in answers.values()), (route, answers)


def test_strangers_get_nothing_that_is_somebody_elses(matrix: Matrix) -> None:
    """Another customer, a member of the same workspace, a foreign administrator, a foreign key: no object, no row."""
    shared = PUBLIC | {
        ("POST", "/bookings/"), ("POST", "/notifications/read-all/"), ("GET", "/notifications/"),
        ("GET", "/payment/decisions/"), ("GET", "/payment/reports/summary/"),
        ("GET", "/notifications/preferences/"), ("PATCH", "/notifications/preferences/"),
    }  # fmt: skip
    strangers = {"member": {"B"}, "foreign": set(), "foreign admin": {"C"}, "key elsewhere": {"C"}}
    for route, answers in matrix.items():
        if route in shared:
            continue
        for name, own in strangers.items():
            status, _, seen = answers[name].partition(" ")
            assert set(seen) <= own | {"–"}, (route, name, answers[name])
            assert status in ("404", "403", "422") or (status == "200" and route[1].endswith("s/")), (route, name)


def test_reading_keys_write_nothing(matrix: Matrix) -> None:
    """403 on every route that is not a GET."""
    for route, answers in matrix.items():
        if route not in PUBLIC and route[0] != "GET":
            assert answers["key read"] == "403", route


def test_the_document_says_what_the_app_does(matrix: Matrix, committed: Committed) -> None:
    """docs/permissions.md, cell by cell."""
    names = list(next(iter(matrix.values())))
    lines = [
        *_HEAD,
        f"| route | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
        *(
            f"| `{method} {path}` | {' | '.join(answers[name] for name in names)} |"
            for (method, path), answers in matrix.items()
        ),
    ]
    committed.must_be("permissions.md", "\n".join(lines) + "\n")


_HEAD = """\
# Permissions

Written by `make docs` from what the running app answers (tests/integration/test_permissions.py); do not edit.

Everything a route is asked about is Ada's: her bookings, order, payment, refund and messages in the workspace Harbour;
webhook endpoints are Harbour's.
In lists the letters say whose rows were shown: A = Ada's, B = Ben's in the same workspace, C = Cyd's in another.

| caller | who |
|---|---|
| none, expired, unsigned, audience | no token; an expired one; one with `alg: none`; one for another service |
| owner | Ada, a customer |
| member | Ben, another customer and member of the same workspace |
| foreign | a customer of no workspace |
| admin, foreign admin | an administrator of Harbour; of another workspace |
| operator | a token with `operator` in its scope |
| key, key here, key elsewhere | a service key of the whole installation; bound to Harbour; bound to another workspace |
| key read | a service key with the scope `read` |

404 = does not exist for this caller; 403 = exists, but is not for this caller; 422 = the body names what does not exist
for this caller; – = no row at all. Routes outside the API (`/healthz`, `/readyz`, `/metrics`) ask for nothing and tell
no names.
""".splitlines()
