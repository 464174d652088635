"""What every answer has in common: problem documents, request ids, headers; the document; health."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.builders import API, Client, a_problem
from tests.house import House, open_house
from web.app import create_app


def test_unknown_paths_and_methods_are_problem_documents(anybody: Client, ada: Client) -> None:
    """404 and 405, with and without a token, in and outside of the API; 405 names what is allowed."""
    for client in (anybody, ada):
        a_problem(client.get("/nope/"), 404, "not_found")
        a_problem(client.http.get("/nope"), 404, "not_found")
        a_problem(client.get("/payment//orders/"), 404, "not_found")
    a_problem(ada.get("/payment/orders/not-a-uuid/"), 404, "not_found")
    wrong = ada.open("PUT", "/bookings/")
    a_problem(wrong, 405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]
    a_problem(ada.open("TRACE", "/bookings/"), 405)


def test_an_unexpected_error_tells_nothing(app: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    """500 with the request's id; the reason is in the log."""

    def broken() -> str:
        raise RuntimeError("the secret inside")

    app.add_url_rule("/broken", view_func=broken)
    answer = app.test_client().get("/broken", headers={"X-Request-ID": "find-me"})
    problem = a_problem(answer, 500, "internal_error")
    assert problem["request_id"] == "find-me"
    assert "secret" not in answer.text
    logged = "".join(capsys.readouterr())
    assert "web.unexpected" in logged
    assert "the secret inside" in logged


@pytest.mark.parametrize("given", ["abc", "A.b_c-1", "x" * 128])
def test_a_sane_request_id_is_kept(ada: Client, given: str) -> None:
    """On every kind of answer."""
    for path in ("/bookings/", "/nope/", "/docs/", "/payment/payments/callback/"):
        assert ada.get(path, headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a;b", "<script>", "ä"])
def test_another_request_id_is_replaced(ada: Client, given: str) -> None:
    """By a fresh one."""
    answered = ada.get("/bookings/", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert answered
    assert answered != given


def test_the_request_id_goes_into_history(house: House, ada: Client, operator: Client) -> None:
    """One id from the request to the record of what it did."""
    order = ada.post("/payment/orders/", {"booking_ids": [house.booking()]}).get_json()
    ada.post(f"/payment/orders/{order['id']}/cancel/", headers={"X-Request-ID": "trace-1"})
    entries = operator.get(f"/payment/orders/{order['id']}/timeline/").get_json()["entries"]
    moved = next(one for one in entries if "cancelled by request" in one["what"])
    assert (moved["correlation_id"], moved["actor"]) == ("trace-1", "user:u-ada")


def test_security_headers_are_everywhere(ada: Client, anybody: Client) -> None:
    """On answers, errors and pages."""
    for answer in (
        ada.get("/bookings/"),
        ada.get("/nope/"),
        anybody.get("/docs/"),
        anybody.get("/payment/payments/callback/"),
        anybody.http.get("/healthz"),
    ):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe-inline" not in answer.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_body_without_a_length_is_counted_while_it_is_read(app: Flask, house: House, ada: Client) -> None:
    """Chunked bodies meet the same limit."""
    import io

    answer = app.test_client().post(
        f"{API}/bookings/",
        input_stream=io.BytesIO(b" " * 400_000),
        headers={
            "Authorization": f"Bearer {ada.credential}",
            "Content-Type": "application/json",
            "Transfer-Encoding": "chunked",
        },
        environ_overrides={"wsgi.input_terminated": True},
    )
    a_problem(answer, 413, "body_too_large")


def test_the_docs_page_loads_nothing_from_elsewhere(anybody: Client) -> None:
    """Viewer, style and script come from here."""
    page = anybody.get("/docs").text
    assert "http" not in page.replace("https://payflow", "")
    for path in ("/docs/css/swagger-ui.css", "/docs/js/swagger-ui-bundle.js"):
        with anybody.get(path) as file:
            assert file.status_code == 200
    a_problem(anybody.get("/docs/../../etc/passwd"), 404)


def test_health_tells_what_is_up_and_what_waits(house: House, anybody: Client) -> None:
    """Alive; ready with its dependencies and the age of the oldest owed work; metrics for Prometheus."""
    assert anybody.http.get("/healthz").get_json() == {"status": "ok"}
    house.initiated()
    house.order()
    house.clock.advance(30)
    ready = anybody.http.get("/readyz")
    assert ready.status_code == 200
    found = ready.get_json()
    assert found["status"] == "ready"
    assert found["checks"] == {"database": "ok", "migrations": "ok", "broker": "ok", "cache": "ok"}
    assert found["oldest_unhandled_seconds"]["payments"] == 25
    assert found["oldest_unhandled_seconds"]["refunds"] is None
    metrics = anybody.http.get("/metrics").text
    assert 'payflow_due_work{kind="payments"} 1.0' in metrics
    assert 'payflow_orders{status="processing"} 1.0' in metrics


def test_the_demo_is_served_only_where_it_is_on(anybody: Client, database_url: str) -> None:
    """Nothing of it by default; with PAYFLOW_DEMO its page stands at /demo/ under a strict policy."""
    a_problem(anybody.http.get("/demo/"), 404)
    with open_house(database_url, PAYFLOW_DEMO="1") as house:
        page = create_app(house.container).test_client().get("/demo/")
        assert page.status_code == 200
        assert "default-src" in page.headers["Content-Security-Policy"]
