"""Lists: pages that skip and double nothing, and the cache that shows nobody another's rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from payflow.embedded import EmbeddedBroker
from tests.builders import Client, a_booking_body, a_client, a_problem
from tests.house import ADA, ADMIN, BEN, OPERATOR, WORKSPACE, House, open_house
from web.app import create_app


def _walk(client: Client, url: str | None, direction: str = "next") -> Iterator[list[str]]:
    while url:
        page = client.get(url).get_json()
        yield [one["id"] for one in page["results"]]
        url = page[direction]


def test_pages_hold_every_row_once_while_rows_are_inserted(house: House, ada: Client) -> None:
    """New rows come at the front; a walk that has begun sees exactly the rows there were."""
    there = [house.booking() for _ in range(23)]
    seen: list[str] = []
    for page in _walk(ada, "/bookings/?page_size=5"):
        assert len(page) <= 5
        seen += page
        house.booking()
    assert seen == sorted(there, reverse=True)


def test_pages_go_back_the_way_they_came(house: House, ada: Client) -> None:
    """`previous` from the last page leads through the same pages to the first, which has none."""
    made = sorted((house.booking() for _ in range(12)), reverse=True)
    first = ada.get("/bookings/?page_size=5&status=pending").get_json()
    assert first["previous"] is None
    assert "status=pending" in first["next"]
    second = ada.get(first["next"]).get_json()
    third = ada.get(second["next"]).get_json()
    assert (third["next"], [one["id"] for one in third["results"]]) == (None, made[10:])
    back = list(_walk(ada, third["previous"], "previous"))
    assert back == [made[5:10], made[:5]]


def test_default_page_is_ten(house: House, ada: Client) -> None:
    """At most a hundred."""
    for _ in range(11):
        house.booking()
    assert len(ada.get("/bookings/").get_json()["results"]) == 10
    assert len(ada.get("/bookings/?page_size=100").get_json()["results"]) == 11
    a_problem(ada.get("/bookings/?page_size=1000"), 422)


def test_an_unchanged_answer_is_304(house: House, ada: Client) -> None:
    """By ETag; a change of the object changes the tag."""
    booking = house.booking()
    for path in ("/bookings/", f"/bookings/{booking}/", "/notifications/"):
        first = ada.get(path)
        assert first.headers["Cache-Control"] == "private, no-cache"
        again = ada.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    tag = ada.get(f"/bookings/{booking}/").headers["ETag"]
    ada.post(f"/bookings/{booking}/cancel/")
    assert ada.get(f"/bookings/{booking}/", headers={"If-None-Match": tag}).status_code == 200


@pytest.fixture
def cached_house(database_url: str, embedded_broker: EmbeddedBroker) -> Iterator[House]:
    """A house with a true cache server, empty."""
    with redis.Redis.from_url(embedded_broker.cache_url) as client:
        client.flushdb()
    with open_house(database_url, PAYFLOW_CACHE_URL=embedded_broker.cache_url) as house:
        yield house


def test_cached_lists_follow_every_write_for_everybody(cached_house: House) -> None:
    """Customer, administrator, operator: each sees its own view, and each view notices what was written."""
    house = cached_house
    app = create_app(house.container)
    people = {who.user_id: a_client(app, who) for who in (ADA, BEN, ADMIN, OPERATOR)}

    def counts() -> dict[str, int]:
        return {name: len(one.get("/bookings/").get_json()["results"]) for name, one in people.items()}

    assert counts() == {"u-ada": 0, "u-ben": 0, "u-admin": 0, "u-op": 0}
    house.booking()
    for _ in range(2):
        assert counts() == {"u-ada": 1, "u-ben": 0, "u-admin": 1, "u-op": 1}
    house.booking(BEN)
    assert counts() == {"u-ada": 1, "u-ben": 1, "u-admin": 2, "u-op": 2}

    order_id, reference = house.initiated()
    orders = {name: one.get(f"/payment/orders/{order_id}/") for name, one in people.items()}
    assert {name: one.status_code for name, one in orders.items()} == {
        "u-ada": 200,
        "u-ben": 404,
        "u-admin": 200,
        "u-op": 200,
    }
    payment_id = orders["u-ada"].get_json()["payment"]["id"]
    for name in ("u-ada", "u-op", "u-ada"):
        detail = people[name].get(f"/payment/payments/{payment_id}/")
        assert ("gateway_response" in detail.text) is (name == "u-op")
    house.pay(reference)
    house.ask(reference)
    for name in ("u-ada", "u-admin", "u-op"):
        assert people[name].get(f"/payment/orders/{order_id}/").get_json()["status"] == "completed"
        assert people[name].get(f"/payment/payments/{payment_id}/").get_json()["status"] == "success"
        assert people[name].get("/payment/payments/?status=success").get_json()["results"][0]["id"] == payment_id


def test_the_cache_is_used(cached_house: House) -> None:
    """The second reading of the same list does not need the database."""
    app = create_app(cached_house.container)
    ada = a_client(app, ADA)
    cached_house.booking()
    first = ada.get("/bookings/")
    cached_house.container.engine.dispose()
    with redis.Redis.from_url(str(cached_house.container.settings.cache_url)) as client:
        entries = [key for key in client.scan_iter() if b":bookings:user:u-ada:" in key]
        assert len(entries) == 1
        assert client.get(entries[0]) == first.data
        assert 0 < client.ttl(entries[0]) <= 60
        client.set(entries[0], b'{"from": "the cache"}')
    assert ada.get("/bookings/").get_json() == {"from": "the cache"}


def test_a_dead_cache_costs_speed_only(database_url: str) -> None:
    """Reads and writes go on; readiness tells."""
    with open_house(database_url, PAYFLOW_CACHE_URL="redis://127.0.0.1:9/0") as house:
        ada = a_client(create_app(house.container), ADA)
        assert ada.post("/bookings/", a_booking_body(house)).status_code == 201
        assert len(ada.get(f"/bookings/?workspace={WORKSPACE}").get_json()["results"]) == 1
        ready = ada.http.get("/readyz")
        assert (ready.status_code, ready.get_json()["checks"]["cache"]) == (200, "not reachable (costs speed only)")
