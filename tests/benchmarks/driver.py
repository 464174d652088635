"""The client side of the benchmark: customers who order, pay on the hosted page and wait for their confirmation.

The driver talks HTTP like any client. That a page is open or an order completed it learns from the database, so that
its own waiting costs the measured processes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import cycle

import requests
from sqlalchemy import select, text
from sqlalchemy.engine import Engine

from payflow.models.order import Order
from payflow.models.payment import PaymentAttempt

TICK_SECONDS = 0.01
PATIENCE_SECONDS = 60.0


@dataclass
class Observed:
    """What one phase saw. Seconds throughout."""

    started: int = 0
    completed: list[str] = field(default_factory=list)
    """Order ids."""
    order_seconds: list[float] = field(default_factory=list)
    initiate_seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Watch(threading.Thread):
    """Tells waiting customers when their page is open and when their order is completed."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(name="watch", daemon=True)
        self._engine = engine
        self._lock = threading.Lock()
        self._pages: dict[str, threading.Event] = {}
        self._ends: dict[str, threading.Event] = {}
        self._stop = threading.Event()

    def page(self, order_id: str) -> threading.Event:
        with self._lock:
            return self._pages.setdefault(order_id, threading.Event())

    def end(self, order_id: str) -> threading.Event:
        with self._lock:
            return self._ends.setdefault(order_id, threading.Event())

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            with self._lock:
                pages, ends = list(self._pages), list(self._ends)
            if not pages and not ends:
                continue
            with self._engine.connect() as connection:
                open_pages = connection.scalars(
                    select(PaymentAttempt.order_id).where(
                        PaymentAttempt.order_id.in_(pages), PaymentAttempt.authorization_url.is_not(None)
                    )
                ).all()
                done = connection.scalars(select(Order.id).where(Order.id.in_(ends), Order.status == "completed")).all()
            with self._lock:
                for order_id in open_pages:
                    self._pages.pop(order_id).set()
                for order_id in done:
                    self._ends.pop(order_id).set()


class Driver:
    """Customers against one running system."""

    def __init__(self, base_url: str, sandbox_url: str, token: str, engine: Engine) -> None:
        self._base, self._sandbox, self._token = base_url, sandbox_url, token
        self._local = threading.local()
        self.gateways: Iterator[str] = cycle(("paystack",))
        """Where the customers pay, in turn."""
        self.watch = Watch(engine)
        self.watch.start()

    @property
    def _http(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers["Authorization"] = f"Bearer {self._token}"
        session: requests.Session = self._local.session
        return session

    def _post(self, path: str, body: object) -> dict[str, object]:
        answer = self._http.post(f"{self._base}/api/v1{path}", json=body, timeout=30)
        if answer.status_code >= 400:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:200]}")
        found: dict[str, object] = answer.json()
        return found

    def one_payment(self, bookings: Sequence[str], seen: Observed) -> None:
        """Order, initiate, pay, wait for the confirmation."""
        began = time.monotonic()
        order_id = str(self._post("/payment/orders/", {"booking_ids": list(bookings)})["id"])
        page = self.watch.page(order_id)
        ordered = time.monotonic()
        asked = {"order_id": order_id, "gateway": next(self.gateways)}
        payment = self._post("/payment/payments/initiate/", asked)
        initiated = time.monotonic()
        if not page.wait(PATIENCE_SECONDS):
            raise RuntimeError(f"no page for {order_id}")
        end = self.watch.end(order_id)
        paid = requests.post(
            f"{self._sandbox}/sandbox/pay", json={"reference": payment["reference"], "outcome": "success"}, timeout=30
        )
        paid.raise_for_status()
        if not end.wait(PATIENCE_SECONDS):
            raise RuntimeError(f"{order_id} was not completed in time")
        seen.completed.append(order_id)
        seen.order_seconds.append(ordered - began)
        seen.initiate_seconds.append(initiated - ordered)

    def start(self, bookings: Sequence[str], gateway: str) -> None:
        """Order and ask for a page; nobody waits for it."""
        order_id = str(self._post("/payment/orders/", {"booking_ids": list(bookings)})["id"])
        self._post("/payment/payments/initiate/", {"order_id": order_id, "gateway": gateway})

    def saturate_for(self, bookings: Sequence[Sequence[str]], *, in_flight: int, seconds: float) -> Observed:
        """As many of the payments as the system takes in that time, so many at once."""
        seen, left = Observed(), iter(bookings)
        began, lock = time.monotonic(), threading.Lock()

        def customer() -> None:
            while time.monotonic() < began + seconds:
                with lock:
                    pair = next(left, None)
                    seen.started += pair is not None
                if pair is None:
                    return
                try:
                    self.one_payment(pair, seen)
                except (RuntimeError, requests.RequestException) as error:
                    seen.errors.append(str(error))

        customers = [threading.Thread(target=customer) for _ in range(in_flight)]
        for one in customers:
            one.start()
        for one in customers:
            one.join()
        seen.seconds = time.monotonic() - began
        return seen

    def saturate(self, bookings: Sequence[Sequence[str]], *, in_flight: int) -> Observed:
        """All payments as fast as the system takes them, so many at a time."""
        return self._run(bookings, threads=in_flight, every_seconds=0.0)

    def open_loop(self, bookings: Sequence[Sequence[str]], *, per_second: float) -> Observed:
        """Payments arrive at a fixed rate whatever the system does."""
        return self._run(bookings, threads=64, every_seconds=1.0 / per_second)

    def _run(self, bookings: Sequence[Sequence[str]], *, threads: int, every_seconds: float) -> Observed:
        seen = Observed(started=len(bookings))
        began = time.monotonic()

        def customer(number: int) -> None:
            wait = began + number * every_seconds - time.monotonic()
            if every_seconds and wait > 0:
                time.sleep(wait)  # an arrival time, not a race
            try:
                self.one_payment(bookings[number], seen)
            except (RuntimeError, requests.RequestException) as error:
                seen.errors.append(str(error))

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(customer, range(len(bookings))))
        seen.seconds = time.monotonic() - began
        return seen


def confirmation_seconds(engine: Engine, order_ids: Sequence[str]) -> list[float]:
    """From the webhook's row to the order's completion, by the system's own clock, per order; sorted."""
    if not order_ids:
        return []
    query = text(
        "SELECT o.completed_at AS done, min(w.created_at) AS told FROM orders o"
        " JOIN payment_attempts a ON a.order_id = o.id JOIN webhook_events w ON w.reference = a.reference"
        " WHERE o.completed_at IS NOT NULL AND o.id = :order_id GROUP BY o.id, o.completed_at"
    )
    waits = []
    with engine.connect() as connection:
        for order_id in order_ids:
            key = order_id.replace("-", "") if engine.dialect.name == "sqlite" else order_id
            row = connection.execute(query, {"order_id": key}).one_or_none()
            if row is not None:
                waits.append(_moment(row.done) - _moment(row.told))
    return sorted(waits)


def _moment(value: object) -> float:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    assert isinstance(moment, datetime)
    return moment.timestamp()
