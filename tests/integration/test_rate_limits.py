"""How often a caller may come: who shares a budget with whom, what the answers say, what an outage costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from flask import Flask

from payflow.core.errors import ConfigurationError
from payflow.core.rate_limits import DEFAULT_RATES, Rate, read_rates
from payflow.embedded import EmbeddedBroker, free_port
from payflow.settings import Settings
from tests.builders import API, Client, a_client, a_problem, a_service_key, signed
from tests.house import ADA, BEN, House, open_house
from web.app import create_app


@contextmanager
def limited(database_url: str, rules: str, **environ: str) -> Iterator[tuple[House, Flask]]:
    with open_house(database_url, PAYFLOW_RATE_LIMITS=rules, **environ) as house:
        yield house, create_app(house.container)


def test_rules_are_read_and_the_rest_stays() -> None:
    """One line of text; `off` is no limit at all."""
    assert read_rates("") == DEFAULT_RATES
    assert read_rates("initiate=5/second, default=9/hour") == {
        **DEFAULT_RATES,
        "initiate": Rate(5, 1),
        "default": Rate(9, 3_600),
    }
    assert read_rates("off") is None


@pytest.mark.parametrize("rules", ["on", "initiate", "initiate=0/minute", "initiate=5/week", "pay=5/minute", "a=b=c"])
def test_rules_that_make_no_sense_stop_the_start(rules: str) -> None:
    """The complaint names the variable and shows the word."""
    with pytest.raises(ConfigurationError, match=r"PAYFLOW_RATE_LIMITS: .*"):
        Settings.from_environ(
            {"PAYFLOW_BROKER_URL": "memory://", "PAYFLOW_JWT_SECRET": "x" * 40, "PAYFLOW_RATE_LIMITS": rules}
        )


def test_a_caller_beyond_its_rate_is_told_when_to_come_back(database_url: str) -> None:
    """Every answer says what is left; beyond it 429, a problem document, Retry-After; another caller is not touched."""
    with limited(database_url, "default=3/hour") as (_, app):
        ada = a_client(app, ADA)
        for left in (2, 1, 0):
            answer = ada.get("/bookings/")
            assert answer.status_code == 200
            assert (answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"]) == ("3", str(left))
            assert 0 < int(answer.headers["RateLimit-Reset"]) <= 3_600
            assert "Retry-After" not in answer.headers
        refused = ada.get("/bookings/")
        a_problem(refused, 429, "too_many_requests")
        assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]
        assert refused.headers["RateLimit-Remaining"] == "0"
        assert refused.headers["X-Content-Type-Options"] == "nosniff"
        assert a_client(app, BEN).get("/bookings/").status_code == 200


def test_each_rule_is_a_budget_of_its_own(database_url: str) -> None:
    """Paying is not stopped by reading; keys and users count apart; health is never limited."""
    with limited(database_url, "default=1/hour,initiate=1/hour,check_status=1/hour") as (house, app):
        order_id = house.order()
        ada, key = a_client(app, ADA), Client(app.test_client(), a_service_key(house))
        assert ada.get("/bookings/").status_code == 200
        a_problem(ada.get("/payment/orders/"), 429)
        opened = ada.post("/payment/payments/initiate/", {"order_id": order_id})
        assert opened.status_code == 202
        a_problem(ada.post("/payment/payments/initiate/", {"order_id": order_id}), 429)
        path = f"/payment/payments/{opened.get_json()['id']}/check-status/"
        assert ada.get(path).status_code == 200
        a_problem(ada.get(path), 429)
        assert key.get("/bookings/").status_code == 200
        assert [ada.http.get("/healthz").status_code for _ in range(5)] == [200] * 5


def test_refused_credentials_count_against_their_address(database_url: str) -> None:
    """Guessing keys is slowed down, whatever address the guesser claims to forward for; who has a token goes on."""
    with limited(database_url, "anonymous=3/hour") as (_, app):
        statuses = [
            app.test_client()
            .get(
                f"{API}/bookings/",
                headers={"Authorization": f"Bearer pfk_{guess}", "X-Forwarded-For": f"203.0.113.{guess}"},
            )
            .status_code
            for guess in range(5)
        ]
        assert statuses == [401, 401, 401, 429, 429]
        assert a_client(app, ADA).get("/bookings/").status_code == 200


def test_webhooks_are_limited_apart(database_url: str) -> None:
    """A flood of forged webhooks from one address does not use up the browser's way back, and the other way round."""
    with limited(database_url, "webhooks=2/hour,callback=1/hour") as (_, app):
        http = app.test_client()
        raw, headers = signed({"event": "charge.success", "data": {"reference": "x"}}, secret="wrong")
        address = f"{API}/payment/webhooks/paystack/"
        assert [http.post(address, data=raw, headers=headers).status_code for _ in range(3)] == [401, 401, 429]
        assert [http.get(f"{API}/payment/payments/callback/").status_code for _ in range(2)] == [404, 429]


def test_a_trusted_proxy_names_the_caller(database_url: str) -> None:
    """Behind one proxy the last forwarded address counts; what the client itself wrote before it does not."""
    with limited(database_url, "callback=1/hour", PAYFLOW_TRUSTED_PROXIES="1") as (_, app):
        http = app.test_client()

        def status(forwarded: str) -> int:
            return http.get(f"{API}/payment/payments/callback/", headers={"X-Forwarded-For": forwarded}).status_code

        assert [status("192.0.2.1"), status("192.0.2.2"), status("192.0.2.1")] == [404, 404, 429]
        assert status("198.51.100.7, 192.0.2.1") == 429


def test_processes_count_together_in_redis(database_url: str, embedded_broker: EmbeddedBroker) -> None:
    """Two apps on one cache share the budget, which is nobody else's to read."""
    with redis.Redis.from_url(embedded_broker.cache_url) as client:
        client.flushdb()
        with limited(database_url, "default=2/hour", PAYFLOW_CACHE_URL=embedded_broker.cache_url) as (house, app):
            first, second = a_client(app, ADA), a_client(create_app(house.container), ADA)
            assert [first.get("/bookings/").status_code, second.get("/bookings/").status_code] == [200, 200]
            a_problem(first.get("/bookings/"), 429)
            a_problem(second.get("/bookings/"), 429)
            counted = [key for key in client.scan_iter() if key.startswith(b"LIMITS")]
            assert len(counted) == 1
            assert b"u-ada" not in counted[0]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of sockets to a server that is not there
def test_without_redis_each_process_counts_for_itself(database_url: str) -> None:
    """An outage loosens the limits and stops nobody."""
    with limited(database_url, "default=2/hour", PAYFLOW_CACHE_URL=f"redis://127.0.0.1:{free_port()}/0") as (_, app):
        ada = a_client(app, ADA)
        assert [ada.get("/bookings/").status_code for _ in range(4)] == [200, 200, 429, 429]


def test_off_is_off(database_url: str) -> None:
    """No header, no counting."""
    with limited(database_url, "off") as (_, app):
        assert "RateLimit-Limit" not in a_client(app, ADA).get("/bookings/").headers
