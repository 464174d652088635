"""What every answer says to browsers: policies, methods, origins, cookies, caching."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from payflow.core.errors import ConfigurationError
from payflow.settings import Settings
from tests.builders import API, Client, a_paid_payment, a_problem
from tests.house import House
from tests.unit.test_settings import LEAST

HOUSE = {
    "PAYFLOW_PUBLIC_URL": "https://pay.example",
    "PAYFLOW_CORS_ORIGINS": "https://shop.example",
    "PAYFLOW_DEMO": "1",
}


@pytest.fixture(scope="module")
def answers(house: House, anybody: Client, ada: Client) -> dict[str, TestResponse]:
    """One of each kind: data, lists, errors, pages, redirects, health, the document."""
    order_id, payment_id = a_paid_payment(house)
    reference = house.attempts(order_id)[0].reference
    return {
        "list": ada.get("/payment/orders/"),
        "detail": ada.get(f"/payment/payments/{payment_id}/"),
        "preferences": ada.get("/notifications/preferences/"),
        "unauthenticated": anybody.get("/payment/orders/"),
        "missing": ada.get("/nope/"),
        "method": ada.open("PUT", "/bookings/"),
        "invalid": ada.post("/bookings/", {}),
        "return page": anybody.get(f"/payment/payments/callback/?reference={reference}"),
        "no such payment": anybody.get("/payment/payments/callback/"),
        "docs": anybody.get("/docs/"),
        "document": anybody.get("/openapi.json"),
        "demo": anybody.http.get("/demo/"),
        "health": anybody.http.get("/healthz"),
        "metrics": anybody.http.get("/metrics"),
    }


def test_every_answer_has_the_headers_that_guard_browsers(answers: dict[str, TestResponse]) -> None:
    """CSP without unsafe-inline or wildcards, no framing, no sniffing, no referrer, TLS only."""
    for name, answer in answers.items():
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, name
        assert "frame-ancestors 'none'" in policy, name
        assert not any(word in policy for word in ("unsafe-inline", "unsafe-eval", "*", "http:")), name
        assert answer.headers["X-Content-Type-Options"] == "nosniff", name
        assert answer.headers["X-Frame-Options"] == "DENY", name
        assert answer.headers["Referrer-Policy"] == "no-referrer", name
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000", name
        assert "Server" not in answer.headers, name
        assert "X-Powered-By" not in answer.headers, name


def test_pages_hold_no_inline_script_or_style(answers: dict[str, TestResponse]) -> None:
    """The policy would forbid them; they are not there to begin with."""
    for name in ("return page", "no such payment", "docs", "demo"):
        page = answers[name].text
        assert " style=" not in page, name
        assert "<style" not in page, name
        assert "javascript:" not in page, name
        assert all(f" on{event}=" not in page for event in ("click", "load", "error", "submit")), name
        assert page.count("<script") == page.count("<script src=") + page.count('<script type="module" src='), name


def test_what_speaks_of_payments_is_not_kept_by_caches(answers: dict[str, TestResponse]) -> None:
    """Payment pages are no-store; the API's lists are private and asked for anew each time."""
    for name in ("return page", "no such payment", "unauthenticated", "missing", "invalid", "preferences"):
        assert answers[name].headers["Cache-Control"] == "no-store", name
    for name in ("list", "detail"):
        assert answers[name].headers["Cache-Control"] == "private, no-cache", name
        assert "Authorization" in answers[name].headers["Vary"], name


def test_there_are_no_cookies_and_so_nothing_to_forge_with(answers: dict[str, TestResponse]) -> None:
    """No session: a request carries its token or is nobody's, so another site's form can do nothing."""
    assert [name for name, answer in answers.items() if "Set-Cookie" in answer.headers] == []


def test_a_form_from_another_site_does_nothing(ada: Client, anybody: Client) -> None:
    """What a browser sends by itself has no token; with one, a form is no JSON."""
    form = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    a_problem(anybody.http.post(f"{API}/bookings/", data=b"{}", headers=form), 401)
    signed = form | {"Authorization": f"Bearer {ada.credential}"}
    a_problem(ada.http.post(f"{API}/bookings/", data=b'{"amount": 1}', headers=signed), 415)


def _routes(app: Flask) -> Iterator[tuple[str, set[str]]]:
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<uuid:id>", "01900000-0000-7000-8000-000000000000")
        yield path.replace("<gateway>", "paystack").replace("<id>", "w").replace("<path:name>", "x"), set()


def test_methods_nobody_offers_are_405(app: Flask, ada: Client) -> None:
    """TRACE, PUT, CONNECT and made-up ones, on every route; nothing is echoed."""
    paths = {path for path, _ in _routes(app) if "<" not in path}
    assert len(paths) > 25
    for path in paths:
        for method in ("TRACE", "PUT", "CONNECT", "PROPFIND", "JEFF"):
            answer = ada.open(method, f"http://localhost{path}", headers={"X-Echo": "echo-me"})
            assert answer.status_code == 405, (method, path)
            assert "echo-me" not in answer.text


def test_a_method_cannot_be_smuggled_in_a_header_or_parameter(house: House, ada: Client) -> None:
    """X-HTTP-Method-Override and `_method` are not listened to."""
    order_id = house.order()
    headers = {"X-HTTP-Method-Override": "POST", "X-Method-Override": "POST"}
    a_problem(ada.get(f"/payment/orders/{order_id}/cancel/?_method=POST", headers=headers), 405)
    assert house.order_row(order_id).status == "pending"


def test_another_origin_is_let_in_by_name_and_without_credentials(ada: Client) -> None:
    """The named origin gets itself back, never `*`, never with cookies; others and look-alikes get nothing."""
    allowed = ada.get("/bookings/", headers={"Origin": "https://shop.example"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "Access-Control-Allow-Credentials" not in allowed.headers
    for origin in (
        "https://evil.example", "null", "https://shop.example.evil.example", "http://shop.example",
        "https://shop.example:8443", "https://xshop.example", "https://shopxexample", "*",
    ):  # fmt: skip
        answer = ada.get("/bookings/", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers, origin


@pytest.mark.parametrize(
    "origins",
    ["*", "https://*.shop.example", "https://.*", "https://shop.example/path", "null", "https://(a|b).example"],
)
def test_a_list_of_origins_that_lets_everybody_in_stops_the_start(origins: str) -> None:
    """No wildcard: the sentence names the variable."""
    with pytest.raises(ConfigurationError, match="PAYFLOW_CORS_ORIGINS"):
        Settings.from_environ({**LEAST, "PAYFLOW_CORS_ORIGINS": origins})
