"""Who gets in, and whose things exist for whom."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from flask import Flask

from payflow.core.errors import InvalidInput
from payflow.core.events import timestamp
from payflow.models.refund import RefundReason
from tests.builders import STRANGER, Client, a_client, a_paid_payment, a_problem, a_service_key, a_token
from tests.house import ADA, OTHER_WORKSPACE, WORKSPACE, House, open_house
from web.app import create_app

UNKNOWN = "01900000-0000-7000-8000-000000000000"


def _protected(app: Flask) -> list[tuple[str, str]]:
    """Every API route that needs a caller, as (method, path)."""
    found = []
    for rule in app.url_map.iter_rules():
        handler = app.view_functions[rule.endpoint]
        if not rule.rule.startswith("/api/v1/") or getattr(handler, "is_public", False):
            continue
        path = rule.rule.replace("<uuid:id>", UNKNOWN).replace("<id>", "w-harbour")
        found += [(method, path) for method in sorted(rule.methods or ()) if method not in ("HEAD", "OPTIONS")]
    return found


def test_every_route_but_the_public_ones_needs_a_valid_credential(app: Flask, house: House) -> None:
    """No token, an expired one, one signed by somebody else, without expiry, unsigned, no subject: 401 each time."""
    now = int(time.time())
    unsigned = jwt.encode({"sub": "u-ada", "exp": now + 60}, None, algorithm="none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the secret is short for HS512, which is not the point here
        another_algorithm = a_token(ADA, algorithm="HS512")
    credentials = {
        None: "unauthenticated",
        a_token(ADA, exp=now - 60): "token_expired",
        a_token(ADA, secret="another-secret-of-forty-characters-at-least"): "invalid_token",
        a_token(ADA, exp=None): "invalid_token",
        a_token(ADA, sub=None): "invalid_token",
        another_algorithm: "invalid_token",
        a_token(ADA, nbf=now + 600): "invalid_token",
        a_token(ADA, sub="u\u0000"): "invalid_token",
        a_token(ADA, workspaces=["w"]): "invalid_token",
        unsigned: "invalid_token",
        "nonsense": "invalid_token",
        "pfk_nonsense": "unauthenticated",
    }
    routes = _protected(app)
    assert len(routes) > 20
    for method, path in routes:
        for credential, code in credentials.items():
            answer = Client(app.test_client(), credential).open(method, path)
            a_problem(answer, 401, code)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert house.bells.rung == []


def test_only_the_intended_routes_are_public(app: Flask) -> None:
    """A new route is protected unless somebody says otherwise here."""
    public = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and getattr(app.view_functions[rule.endpoint], "is_public", False)
    }
    assert public == {
        "payments.return_from_gateway",
        "webhooks.receive_webhook",
        "docs.openapi",
        "docs.docs",
        "docs.viewer_file",
    }


def test_leeway_is_half_a_minute(app: Flask) -> None:
    """Clocks differ a little."""
    late = Client(app.test_client(), a_token(ADA, exp=int(time.time()) - 10))
    assert late.get("/bookings/").status_code == 200


def test_a_revoked_key_stops_working(app: Flask, house: House) -> None:
    """At once, in every process."""
    platform = Client(app.test_client(), a_service_key(house))
    assert platform.get("/bookings/").status_code == 200
    house.container.keys.revoke(str(house.container.keys.all()[0]["id"]))
    a_problem(platform.get("/bookings/"), 401)


def test_a_rotated_key_works_beside_its_successor_for_a_while(app: Flask, house: House) -> None:
    """Both during the overlap, then only the new one; rights stay; revoking ends an overlap at once."""
    old = Client(app.test_client(), a_service_key(house, workspace_id=WORKSPACE, scope="read"))
    old_id = str(house.container.keys.all()[0]["id"])

    def successor(name: str) -> Client:
        key_hash = hashlib.sha256(name.encode()).hexdigest()
        house.container.keys.rotate(old_id, key_hash=key_hash, overlap_seconds=60)
        return Client(app.test_client(), name)

    new = successor("pfk_successor")
    assert {one.get("/bookings/").status_code for one in (old, new)} == {200}
    a_problem(new.post("/bookings/", {}), 403, "read_only_key")
    another = successor("pfk_another")
    house.clock.advance(61)
    a_problem(old.get("/bookings/"), 401)
    house.container.keys.revoke(old_id)
    assert {one.get("/bookings/").status_code for one in (new, another)} == {200}
    with pytest.raises(InvalidInput):
        successor("pfk_too_late")


def test_revoking_ends_the_overlap(app: Flask, house: House) -> None:
    """A key that leaked while it was being rotated is ended at once."""
    old = Client(app.test_client(), a_service_key(house))
    old_id = str(house.container.keys.all()[0]["id"])
    house.container.keys.rotate(old_id, key_hash="0" * 64, overlap_seconds=86_400)
    house.container.keys.revoke(old_id)
    a_problem(old.get("/bookings/"), 401)


def test_the_last_use_of_a_key_is_noted_once_a_minute(app: Flask, house: House) -> None:
    """Exact enough to find keys nobody uses, without a write per request."""
    platform = Client(app.test_client(), a_service_key(house))

    def last_used() -> str | None:
        platform.get("/bookings/")
        return house.container.keys.all()[0]["last_used_at"]

    assert house.container.keys.all()[0]["last_used_at"] is None
    first = last_used()
    house.clock.advance(59)
    assert last_used() == first == timestamp(house.clock.now() - timedelta(seconds=59))
    house.clock.advance(1)
    assert last_used() == timestamp(house.clock.now())


def test_a_reading_key_changes_nothing(app: Flask, house: House) -> None:
    """Every unsafe route refuses it, before anything is looked at."""
    reader = Client(app.test_client(), a_service_key(house, scope="read"))
    refused = [(method, path) for method, path in _protected(app) if method != "GET"]
    assert len(refused) > 10
    for method, path in refused:
        a_problem(reader.open(method, path), 403, "read_only_key")
    assert reader.get("/payment/decisions/").status_code == 200


@pytest.mark.parametrize(("scope", "workspace"), [("write", None), ("operator", WORKSPACE)])
def test_a_key_with_a_scope_that_makes_no_sense_is_not_made(house: House, scope: str, workspace: str | None) -> None:
    """Said when it is made, not when it fails to work."""
    with pytest.raises(InvalidInput):
        a_service_key(house, scope=scope, workspace_id=workspace)


def test_audience_and_issuer_are_checked_where_set(database_url: str) -> None:
    """A token for another service is no token for this one."""
    with open_house(database_url, PAYFLOW_JWT_AUDIENCE="payflow", PAYFLOW_JWT_ISSUER="https://id.example") as house:
        app = create_app(house.container)
        good = {"aud": "payflow", "iss": "https://id.example"}
        assert Client(app.test_client(), a_token(ADA, **good)).get("/bookings/").status_code == 200
        for bad in ({"aud": "other"}, {"iss": "https://evil.example"}, {"aud": None}, {"iss": None}):
            a_problem(Client(app.test_client(), a_token(ADA, **(good | bad))).get("/bookings/"), 401, "invalid_token")


class _KeyServer(BaseHTTPRequestHandler):
    document: dict[str, Any] = {}  # noqa: RUF012 - one per test session
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        body = json.dumps(self.document).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        return None


@pytest.fixture
def key_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _KeyServer)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/jwks"
    server.shutdown()
    server.server_close()
    thread.join()


def test_tokens_by_key_set_go_with_their_own_algorithm(database_url: str, key_server: str) -> None:
    """RS256 and ES256 pass; a public key used as an HMAC secret, a crossed algorithm and an unknown key do not."""
    rsa_key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    rsa_jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key()))
    ec_jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec_key.public_key()))
    _KeyServer.document = {
        "keys": [
            {**rsa_jwk, "kid": "r", "use": "sig", "alg": "RS256"},
            {**ec_jwk, "kid": "e", "use": "sig", "alg": "ES256"},
        ]
    }
    claims = {"sub": "u-ada", "exp": int(time.time()) + 600}
    with open_house(database_url, PAYFLOW_JWKS_URL=key_server, PAYFLOW_JWT_SECRET="") as house:
        app = create_app(house.container)

        def status(token: str) -> int:
            return Client(app.test_client(), token).get("/bookings/").status_code

        assert status(jwt.encode(claims, rsa_key, algorithm="RS256", headers={"kid": "r"})) == 200
        assert status(jwt.encode(claims, ec_key, algorithm="ES256", headers={"kid": "e"})) == 200
        assert status(jwt.encode(claims, rsa_key, algorithm="RS256", headers={"kid": "e"})) == 401
        assert status(jwt.encode(claims, rsa_key, algorithm="PS256", headers={"kid": "r"})) == 401
        assert status(jwt.encode(claims, rsa_jwk["n"], algorithm="HS256", headers={"kid": "r"})) == 401
        asked = _KeyServer.asked
        for _ in range(5):
            assert status(jwt.encode(claims, ec_key, algorithm="ES256", headers={"kid": "unknown"})) == 401
        assert _KeyServer.asked <= asked + 1


def test_a_rotated_key_set_is_followed_at_once(database_url: str, key_server: str) -> None:
    """A token by the new key makes us look again; the key that is gone from the set is good no longer."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("old", "new")}

    def published(name: str) -> dict[str, Any]:
        jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(keys[name].public_key()))
        return {"keys": [{**jwk, "kid": name, "use": "sig", "alg": "ES256"}]}

    with open_house(database_url, PAYFLOW_JWKS_URL=key_server, PAYFLOW_JWT_SECRET="") as house:
        app = create_app(house.container)

        def client(name: str) -> Client:
            claims = {"sub": "u-ada", "exp": int(time.time()) + 600}
            return Client(app.test_client(), jwt.encode(claims, keys[name], algorithm="ES256", headers={"kid": name}))

        _KeyServer.document = published("old")
        early = client("old")
        assert early.get("/bookings/").status_code == 200
        _KeyServer.document = published("new")
        assert client("new").get("/bookings/").status_code == 200
        assert client("old").get("/bookings/").status_code == 401
        assert early.get("/bookings/").status_code == 200  # believed for a minute yet
        house.clock.advance(61)
        assert early.get("/bookings/").status_code == 401


def test_an_identity_provider_that_is_down_is_503(database_url: str) -> None:
    """Not the caller's fault, so not 401."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    token = jwt.encode({"sub": "u-ada", "exp": int(time.time()) + 60}, key, algorithm="RS256", headers={"kid": "r"})
    with open_house(database_url, PAYFLOW_JWKS_URL="http://127.0.0.1:9/jwks") as house:
        answer = Client(create_app(house.container).test_client(), token).get("/bookings/")
        a_problem(answer, 503, "identity_provider_unavailable")
        assert answer.headers["Retry-After"]


def test_foreign_things_do_not_exist(house: House, app: Flask, ben: Client) -> None:
    """Another customer gets 404 for every verb on every object, the same as for what never was; nothing changes."""
    booking = house.booking()
    order_id, payment_id = a_paid_payment(house)
    pending = house.order(ADA, booking)
    refund_id = house.container.refunds.request_refund(ADA, payment_id, amount_minor=100, reason=RefundReason.OTHER)
    messages = a_client(app, ADA).get("/notifications/").get_json()["results"]
    tries: list[tuple[str, str, Any]] = [
        ("GET", f"/bookings/{booking}/", None),
        ("POST", f"/bookings/{booking}/cancel/", None),
        ("GET", f"/payment/orders/{order_id}/", None),
        ("GET", f"/payment/orders/{order_id}/timeline/", None),
        ("POST", f"/payment/orders/{pending}/cancel/", None),
        ("POST", "/payment/payments/initiate/", {"order_id": pending}),
        ("GET", f"/payment/payments/{payment_id}/", None),
        ("GET", f"/payment/payments/{payment_id}/check-status/", None),
        ("POST", "/payment/refunds/", {"payment_id": payment_id, "reason": "other"}),
        ("GET", f"/payment/refunds/{refund_id}/", None),
        ("POST", f"/payment/refunds/{refund_id}/approve/", None),
        ("POST", f"/payment/refunds/{refund_id}/reject/", None),
        ("POST", f"/notifications/{messages[0]['id']}/read/", None),
    ]
    for caller in (ben, a_client(app, STRANGER)):
        for method, path, body in tries:
            problem = a_problem(caller.open(method, path, json=body), 404, "not_found")
            assert problem["detail"] == "There is no such object."
        for path in ("/bookings/", "/payment/orders/", "/payment/payments/", "/payment/refunds/", "/notifications/"):
            assert caller.get(path).get_json()["results"] == []
    assert house.order_row(pending).status == "pending"


def test_an_administrator_sees_its_workspace_and_no_other(house: House, admin: Client) -> None:
    """Rows of other workspaces do not exist for it."""
    here, there = house.booking(), house.booking(workspace_id=OTHER_WORKSPACE)
    assert [one["id"] for one in admin.get("/bookings/").get_json()["results"]] == [here]
    a_problem(admin.get(f"/bookings/{there}/"), 404)
    assert admin.get(f"/bookings/?workspace={OTHER_WORKSPACE}").get_json()["results"] == []


def test_an_operator_sees_everything(house: House, operator: Client) -> None:
    """`operator` in the scope."""
    made = {house.booking(), house.booking(workspace_id=OTHER_WORKSPACE)}
    assert {one["id"] for one in operator.get("/bookings/").get_json()["results"]} == made


def test_staff_routes_refuse_customers_with_403(house: House, ada: Client) -> None:
    """On their own objects too."""
    order_id, _ = a_paid_payment(house)
    for path in (
        f"/payment/orders/{order_id}/timeline/",
        "/payment/decisions/",
        "/payment/reports/summary/",
        f"/workspaces/{WORKSPACE}/policy/",
    ):
        a_problem(ada.get(path), 403, "forbidden")
    a_problem(ada.patch(f"/workspaces/{WORKSPACE}/policy/", {"tax_bps": 1}), 403)
    a_problem(ada.patch(f"/workspaces/{OTHER_WORKSPACE}/policy/", {"tax_bps": 1}), 404)
