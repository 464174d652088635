"""Secrets planted everywhere are found nowhere: not in logs, not in the database, not in answers, not in the tree."""

from __future__ import annotations

import ast
import base64
import json
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from payflow.core.errors import ConfigurationError, RuleBroken
from payflow.models.base import Base
from payflow.models.gateway_call import GatewayCall
from payflow.models.outbox import OutboxEvent
from payflow.models.webhook_event import WebhookEvent
from payflow.settings import Settings
from tests.architecture.test_house_rules import OURS, ROOT
from tests.builders import API, Client, a_booking_body, a_client, a_problem, a_service_key, a_token, signed
from tests.contract.hostile_server import HostileServer, http
from tests.house import ADA, JWT_SECRET, OPERATOR, SECRET, WEBHOOK_SECRET, House, open_house
from tests.rows import an_event
from tests.unit.test_logs import logging_to
from tests.unit.test_settings import LEAST
from web.app import create_app

CARD, GROUPED = "4084084084084081", "5531 8866 5214 2950"
PLANTED = {
    "card": CARD,
    "card in groups": GROUPED,
    "security code": "c0de-561",
    "pin": "p1n-3310",
    "gateway key": SECRET,
    "webhook secret": WEBHOOK_SECRET,
    "stripe webhook secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1LXNweSJ9.c2lnbmF0dXJl",
    "our token secret": JWT_SECRET,
    "password in an address": "hunter2secret",
    "card's address": "ada.obi@bank.example",
}
ECHO = {
    "status": False,
    "message": f"Card {CARD} ({GROUPED}) of ada.obi@bank.example refused for key {SECRET}, hash {WEBHOOK_SECRET}: "
    f"Authorization: Bearer {PLANTED['token']} {PLANTED['stripe webhook secret']} postgresql://p:hunter2secret@db/x",
    "code": "invalid",
    "data": {
        "card": {"number": CARD, "cvv": "c0de-561"},
        "pin": "p1n-3310",
        "authorization": {"authorization_code": PLANTED["token"]},
        "secret": SECRET,
        "customer": {"email": "ada.obi@bank.example"},
        "log": [GROUPED, {"note": f"Bearer {PLANTED['token']}"}],
        JWT_SECRET: 1,
    },
}
"""What a gateway that repeats everything it was ever told might answer."""
GATEWAYS = ("paystack", "flutterwave", "stripe")


@pytest.fixture
def spied(database_url: str) -> Iterator[House]:
    """A house whose gateways echo every secret."""
    answer = http(400, json.dumps(ECHO).encode(), f"X-Echo: {SECRET}")
    with HostileServer(answer) as server:
        places = {f"{name.upper()}_BASE_URL": server.base_url for name in GATEWAYS}
        with open_house(database_url, **places, PAYFLOW_RATE_LIMITS="off") as house:
            yield house


def everything_stored(house: House) -> str:
    """Every column of every row of every table."""
    found = [
        {column.key: getattr(row, column.key) for column in mapper.column_attrs}
        for mapper in Base.registry.mappers
        for row in house.rows(mapper.class_)
    ]
    return json.dumps(found, default=str, ensure_ascii=False)


def ours(lines: list[str]) -> list[str]:
    """Log lines of payflow; the mail catcher beside it is not its own."""
    return [line for line in lines if json.loads(line).get("logger") != "mail.log"]


def live_a_little(house: House) -> list[str]:
    """Orders, failing payments at each gateway, webhooks, odd requests, an error inside; every answer that came."""
    app = create_app(house.container)

    def broken() -> str:
        raise RuntimeError(str(ECHO["message"]).replace(PLANTED["card's address"], ""))

    app.add_url_rule("/broken", view_func=broken)
    key, token = a_service_key(house), a_token(ADA)
    ada, platform, operator = Client(app.test_client(), token), Client(app.test_client(), key), a_client(app, OPERATOR)
    told: list[str] = []

    def note(answer: Any) -> Any:
        told.append(answer.text + json.dumps(dict(answer.headers)))
        return answer.get_json(silent=True)

    of_ada = {"user_id": ADA.user_id, "user_email": ADA.email, "user_name": ADA.name}
    for gateway in GATEWAYS:
        booking = note(platform.post("/bookings/", a_booking_body(house, amount=1_500_000, **of_ada)))
        order = note(ada.post("/payment/orders/", {"booking_ids": [booking["id"]]}))
        note(ada.post("/payment/payments/initiate/", {"order_id": order["id"], "gateway": gateway}))
        house.drain()
        house.later(10)
        note(operator.get(f"/payment/orders/{order['id']}/timeline/"))
    for one in note(operator.get("/payment/payments/"))["results"]:
        note(operator.get(f"/payment/payments/{one['id']}/"))
    event = {"event": "charge.success", "data": {"id": 7, "reference": "PF-X", **ECHO["data"], "note": ECHO["message"]}}  # type: ignore[dict-item]  # a dict, above
    body, headers = signed(event)
    note(app.test_client().post(f"{API}/payment/webhooks/paystack/", data=body, headers=headers))
    note(
        app.test_client().post(f"{API}/payment/webhooks/paystack/", data=body, headers={"x-paystack-signature": SECRET})
    )
    house.drain()
    for field, value in PLANTED.items():
        note(ada.post("/payment/refunds/", {"payment_id": "x", "reason": "other", f"odd {field}": value}))
        note(ada.get(f"/payment/orders/?search={value}&token={value}", headers={"X-Request-ID": CARD}))
        note(Client(app.test_client(), value.replace(" ", "")).get("/bookings/"))
    note(ada.post("/payment/refunds/", {"payment_id": "x", "reason": "other", "reason_description": CARD}))
    note(app.test_client().get("/broken"))
    told.append(key)
    told.append(token)
    return told


def test_planted_secrets_are_found_nowhere(spied: House, capsys: pytest.CaptureFixture[str]) -> None:
    """A gateway echoes cards, codes, keys and tokens, clients send them in every place: no log line, no row and no
    answer holds one; our own token, key and credentials neither."""
    with logging_to(capsys) as written:
        *told, key, token = live_a_little(spied)
    written = ours(written)
    places = {"logs": "\n".join(written), "database": everything_stored(spied), "answers": "".join(told)}
    assert len(written) > 12
    assert len(spied.rows(GatewayCall)) >= 3
    assert len(spied.rows(WebhookEvent)) == 1
    hidden = PLANTED | {"service key": key, "our token": token}
    found = [(name, place) for name, value in hidden.items() for place, text in places.items() if value in text]
    assert found == []
    assert "408408408" not in "".join(places.values())


def test_nobody_is_named_in_the_logs(spied: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Addresses and names of customers are no log fields."""
    with logging_to(capsys) as written:
        live_a_little(spied)
    assert [one for one in (ADA.email, ADA.name) if one in "\n".join(ours(written))] == []


@pytest.mark.parametrize("given", [{}, {"type": None, "dedupe_key": "another"}], ids=["unique", "not null"])
def test_an_error_of_the_database_tells_no_values(spied: House, given: dict[str, Any]) -> None:
    """What was being written stays out of the error's text, and so out of the log of an unexpected one."""
    order = spied.order()
    (event,) = [row for row in spied.rows(OutboxEvent) if row.order_id == order]

    def refused(tx: Any) -> None:
        tx.add(an_event(**({"dedupe_key": event.dedupe_key} | given), payload={"user_email": "planted@example.com"}))

    with pytest.raises(RuleBroken) as caught:
        spied.container.units.run(refused)
    told = "".join(traceback.format_exception(caught.value))
    assert "planted@example.com" not in told
    assert "in refused" in told or "commit" in told  # the stack is there


def test_errors_are_generic_and_debug_is_off(spied: House) -> None:
    """No stack, no path, no version, no message from inside; the debugger is not there."""
    app = create_app(spied.container)

    def broken() -> str:
        raise RuntimeError("inside")

    app.add_url_rule("/broken", view_func=broken)
    answer = app.test_client().get("/broken")
    a_problem(answer, 500, "internal_error")
    assert not any(word in answer.text for word in ("inside", "Traceback", "File ", ".py", "werkzeug", "RuntimeError"))
    assert (app.debug, app.testing) == (False, False)
    assert app.test_client().get("/console").status_code == 404


def test_secrets_are_compared_in_constant_time() -> None:
    """No `==` on a digest, signature, secret or hash in the product; `hmac.compare_digest` is what compares."""
    telling = re.compile(r"signature|secret|digest|hmac|hexdigest|key_hash|password|verif")
    strays, compared = [], 0
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("compare_digest"):
                compared += 1
            if isinstance(node, ast.Compare) and any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
                sides = [node.left, *node.comparators]
                literal = any(isinstance(one, ast.Constant) for one in sides)  # a name or status, no secret
                if not literal and any(telling.search(ast.unparse(one)) for one in sides):
                    strays.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
    assert compared >= 3
    looked_up_by_hash = [one for one in strays if "ServiceKey.key_hash ==" in one]
    assert [one for one in strays if one not in looked_up_by_hash] == []


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"PAYFLOW_JWT_SECRET": ""}, "PAYFLOW_JWT_SECRET"),
        ({"PAYFLOW_JWT_SECRET": "   "}, "PAYFLOW_JWT_SECRET"),
        ({"PAYFLOW_JWT_SECRET": "short"}, "PAYFLOW_JWT_SECRET"),
        ({"STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_WEBHOOK_SECRET": ""}, "STRIPE_WEBHOOK_SECRET"),
        ({"STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_WEBHOOK_SECRET": " , ,"}, "STRIPE_WEBHOOK_SECRET"),
        ({"FLUTTERWAVE_SECRET_KEY": "FLWSECK_TEST-x"}, "FLUTTERWAVE_WEBHOOK_HASH"),
        ({"PAYFLOW_GATEWAYS": "paystack", "PAYSTACK_SECRET_KEY": ""}, "PAYSTACK_SECRET_KEY"),
        ({"PAYFLOW_JWT_SECRET_FILE": "/dev/null", "PAYFLOW_JWT_SECRET": ""}, "PAYFLOW_JWT_SECRET"),
    ],
)
def test_an_empty_or_missing_secret_stops_the_start(environ: dict[str, str], named: str) -> None:
    """Nothing is ever signed or checked with an empty key."""
    with pytest.raises(ConfigurationError, match=named):
        Settings.from_environ({**LEAST, **environ})


_LOOKS_LIVE = re.compile(
    r"sk_live_[0-9a-zA-Z]{20,}|FLWSECK-[0-9a-f]{32}|whsec_[0-9a-zA-Z+/]{30,}|rk_live_[0-9a-zA-Z]{20,}"
    r"|pfk_[0-9A-Za-z_-]{40,}|AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_EXAMPLE = base64.b64encode(b"example").decode().rstrip("=")[:-1]
"""How the secret in the API document's examples begins."""


def test_no_secret_lies_in_the_tree() -> None:
    """Product, deployment and documents hold nothing that looks like a live key."""
    paths: list[Path] = [
        ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "worker.py", "celeryconfig.py")
    ]
    for folder in ("payflow", "tasks", "web", "deploy", "docs"):
        paths += [path for path in sorted((ROOT / folder).rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    found = [
        f"{path.relative_to(ROOT)}: {hit.group()[:12]}…"
        for path in paths
        for hit in _LOOKS_LIVE.finditer(path.read_bytes().decode("utf-8", "ignore"))
        if _EXAMPLE not in hit.group()
    ]
    assert len(paths) > 150
    assert found == []
