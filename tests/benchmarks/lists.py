"""`make bench-lists`: what lists and details cost beside few and many orders, on PostgreSQL and Redis of its own.

The app answers in this process, so the figures are the product's work and the servers', without HTTP between. Cold:
nothing is cached and each request is another one's; warm: the same request again and again. Look at the ratios (many /
few, within this run) and at the statements per request, which must not grow.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from flask.testing import FlaskClient
from sqlalchemy import create_engine, event, text

from payflow import migrations
from payflow.container import Container, build
from payflow.core.clock import SystemClock
from payflow.dispatch import SilentBells
from payflow.services.access import Caller, Membership
from payflow.settings import Settings
from payflow.store.engine import make_engine
from tests import servers
from tests.benchmarks.many_orders import order_number, row_id, seed, user_of
from tests.builders import API, a_token
from tests.house import JWT_SECRET
from web.app import create_app

Address = Callable[[int, int], str]
"""(order number, orders in all) → path."""
CUSTOMER, ADMIN, OPERATOR = "customer", "admin", "operator"


@dataclass(frozen=True)
class Look:
    """One kind of request."""

    name: str
    who: str
    address: Address


def _page(noun: str, more: str = "") -> Address:
    return lambda _number, _orders: f"/{noun}/?page_size=20{more}"


def _detail(noun: str, kind: str) -> Address:
    return lambda number, _orders: f"/{noun}/{row_id(kind, number)}/"


LOOKS = (
    Look("orders of a customer", CUSTOMER, _page("payment/orders")),
    Look("orders of a customer, by status", CUSTOMER, _page("payment/orders", "&status=completed")),
    Look("orders of a workspace", ADMIN, _page("payment/orders", "&workspace=many-1")),
    Look("orders, all", OPERATOR, _page("payment/orders")),
    Look("orders, search", OPERATOR, lambda number, _: f"/payment/orders/?search={order_number(number)}"),
    Look("payments of a customer", CUSTOMER, _page("payment/payments")),
    Look("payments, all, by gateway", OPERATOR, _page("payment/payments", "&gateway=paystack")),
    Look("refunds of a workspace", ADMIN, _page("payment/refunds", "&workspace=many-1")),
    Look("bookings of a customer", CUSTOMER, _page("bookings")),
    Look("notifications", CUSTOMER, _page("notifications")),
    Look("an order", CUSTOMER, _detail("payment/orders", "order")),
    Look("a payment", CUSTOMER, _detail("payment/payments", "payment")),
    Look("a booking", CUSTOMER, _detail("bookings", "booking")),
    Look("an order's timeline", OPERATOR, lambda number, _: f"/payment/orders/{row_id('order', number)}/timeline/"),
)


@dataclass
class Figures:
    """Milliseconds of some requests of one kind, and statements each."""

    cold: list[float]
    warm: list[float]
    statements: set[int]


class House:
    """One database with so many orders, and the app before it."""

    def __init__(self, url: str, cache_url: str, orders: int) -> None:
        environ = {
            "PAYFLOW_DATABASE_URL": url,
            "PAYFLOW_BROKER_URL": "memory://",
            "PAYFLOW_CACHE_URL": cache_url,
            "PAYFLOW_JWT_SECRET": JWT_SECRET,
            "PAYSTACK_SECRET_KEY": "sk_test_lists",
            "PAYFLOW_RATE_LIMITS": "off",
        }
        self.orders = orders
        self.container: Container = build(Settings.from_environ(environ), clock=SystemClock(), bells=SilentBells())
        self.client: FlaskClient = create_app(self.container).test_client()
        self._cache = redis.Redis.from_url(cache_url)
        self._statements = 0
        event.listen(self.container.engine, "before_cursor_execute", self._count)

    def close(self) -> None:
        self.container.engine.dispose()
        self._cache.close()

    def cold(self, one: Look, share: float) -> tuple[float, int]:
        """Milliseconds and statements of a request for an order that lies so far into the books, nothing cached."""
        self._cache.flushdb()
        self._statements = 0
        return self.ask(one, share), self._statements

    def ask(self, one: Look, share: float) -> float:
        """Milliseconds of a request."""
        number = 1 + int(share * (self.orders - 1)) // 20 * 20
        caller = {
            CUSTOMER: Caller(user_id=user_of(number, self.orders)),
            ADMIN: Caller(user_id="admin", workspaces={"many-1": Membership(name="Many", role="admin")}),
            OPERATOR: Caller(user_id="operator", is_operator=True),
        }[one.who]
        headers = {"Authorization": f"Bearer {a_token(caller)}"}
        began = time.perf_counter()
        answer = self.client.get(API + one.address(number, self.orders), headers=headers)
        taken = (time.perf_counter() - began) * 1000
        assert answer.status_code == 200, answer.text
        found = answer.get_json()
        assert found.get("results", True), f"{one.name} found nothing"
        return taken

    def _count(self, *_: object) -> None:
        self._statements += 1


@contextmanager
def house(server_url: str, cache_url: str, orders: int) -> Iterator[House]:
    """A database of its own beside the named one, filled; dropped at the end."""
    name = f"payflow_lists_{orders}"
    with create_engine(server_url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = server_url.rpartition("/")[0] + f"/{name}"
    engine = make_engine(url)
    migrations.upgrade(engine)
    began = time.monotonic()
    seed(engine, orders)
    engine.dispose()
    print(f"{orders:,} orders written in {time.monotonic() - began:.0f} s", file=sys.stderr)
    made = House(url, cache_url, orders)
    try:
        yield made
    finally:
        made.close()


def main() -> int:
    options = _options()
    with servers.started(["postgres", "redis"]) as addresses:
        database, cache = addresses[servers.DATABASE], addresses[servers.BROKER]
        with house(database, cache, options.few) as few, house(database, cache, options.many) as many:
            rows = [(one, *compare(one, (few, many), options.requests)) for one in LOOKS]
    print_rows(rows, options)
    return 0


def compare(one: Look, houses: Sequence[House], requests: int) -> list[Figures]:
    """The houses in turn, request by request: a machine that slows down slows all of them down."""
    found = [Figures([], [], set()) for _ in houses]
    for house_ in houses:
        house_.ask(one, 0.5)  # imports, connections, prepared statements
    for number in range(requests):
        for house_, figures in zip(houses, found, strict=True):
            taken, statements = house_.cold(one, number / requests)
            figures.cold.append(taken)
            figures.statements.add(statements)
    for house_ in houses:
        house_.ask(one, 0.5)
    for _ in range(requests):
        for house_, figures in zip(houses, found, strict=True):
            figures.warm.append(house_.ask(one, 0.5))
    return [Figures(sorted(one.cold), sorted(one.warm), one.statements) for one in found]


def print_rows(rows: Sequence[tuple[Any, ...]], options: argparse.Namespace) -> None:
    print(f"\nms, {options.requests} requests each; few = {options.few:,} orders, many = {options.many:,}\n")
    print(f"{'':<34}{'few: cold':>14}{'warm':>12}{'many: cold':>14}{'warm':>12}{'many / few, p50':>18}{'SQL':>8}")
    print(f"{'':<34}{'p50 p99':>14}{'p50 p99':>12}{'p50 p99':>14}{'p50 p99':>12}{'cold warm':>18}{'cold':>8}")
    for one, few, many in rows:
        cells = [_pair(few.cold), _pair(few.warm), _pair(many.cold), _pair(many.warm)]
        ratios = f"{_p(many.cold, 50) / _p(few.cold, 50):.2f} {_p(many.warm, 50) / _p(few.warm, 50):.2f}"
        statements = "/".join(str(max(one.statements)) for one in (few, many))
        print(f"{one.name:<34}{cells[0]:>14}{cells[1]:>12}{cells[2]:>14}{cells[3]:>12}{ratios:>18}{statements:>8}")


def _p(values: Sequence[float], percent: int) -> float:
    return values[min(len(values) - 1, len(values) * percent // 100)]


def _pair(values: Sequence[float]) -> str:
    return f"{_p(values, 50):.1f} {_p(values, 99):.1f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-lists", description=__doc__)
    parser.add_argument("--few", type=int, default=1_000, help="orders in the small database")
    parser.add_argument("--many", type=int, default=1_000_000, help="orders in the large one")
    parser.add_argument("--requests", type=int, default=100, help="requests of each kind, cold and warm")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
