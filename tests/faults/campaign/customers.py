"""Customers: they order, pay on the hosted page and ask for money back, and do not give up when an answer is lost.

A customer repeats a request with the same Idempotency-Key until it is answered. What was promised to them is written
down here, apart from payflow's own rows: the oracle compares the two.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import requests
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from payflow.core.errors import PayflowError
from payflow.models.access import IdempotencyKey
from payflow.models.order import Order
from payflow.models.payment import Payment, PaymentAttempt
from payflow.services.access import Caller
from payflow.services.booking import NewBooking
from tests.live import WORKSPACE, Live

GATEWAYS = ("paystack", "flutterwave", "stripe")
APPROVING = "01900000-0000-7000-8000-0000000000cc"
"""A workspace whose refunds wait for approval."""
STAFF = "staff-1"
PRICE_MINOR = 150_000
ASK_SECONDS = 20.0
DEAD_LEASE_SECONDS = 3.0
"""A key that is still in use after this long belongs to a request that died; its 90 s lease is then ended by hand."""


class GaveUp(Exception):
    """A customer was not answered in time."""


class Refused(Exception):
    """payflow said no, finally."""


@dataclass
class Track:
    """One customer's order, as the customer knows it."""

    number: int
    gateway: str
    workspace: str = WORKSPACE
    booking_ids: tuple[str, ...] = ()
    order_id: str | None = None
    payment_id: str | None = None
    paid_reference: str | None = None
    paid_minor: int = 0
    refunds: dict[str, int] = field(default_factory=dict)
    """Acknowledged refund id → minor units."""
    goal: frozenset[str] = frozenset({"completed", "refunded"})
    """How the order may end."""
    kept_minor: int | None = None
    """What must stay with the merchant, where that is not what was paid less the refunds asked for."""
    trouble: str | None = None

    @property
    def user_id(self) -> str:
        return f"buyer-{self.number}"

    @property
    def can_be_refunded(self) -> bool:
        return self.paid_minor > 0 and not self.refunds and self.trouble is None and self.kept_minor is None


@dataclass(frozen=True)
class Sight:
    """What is on record of an order at the moment."""

    order: str
    payment_id: str | None
    reference: str | None
    attempt: str | None


class Crowd:
    """All customers of one run."""

    def __init__(self, live: Live, *, patience_seconds: float) -> None:
        self.live, self._patience = live, patience_seconds
        self.tracks: list[Track] = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(64, thread_name_prefix="customer")
        self._busy: set[Future[None]] = set()
        self._sights: dict[str, Sight] = {}
        self._watched: set[str] = set()
        self._end = threading.Event()
        self._watch = threading.Thread(target=self._look, name="watch", daemon=True)
        self._watch.start()

    def close(self) -> None:
        self._end.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._watch.join(5)

    # -- what customers do ---------------------------------------------------------------------------------------

    def arrive(self, gateway: str, *, workspace: str = WORKSPACE) -> Track:
        """A new customer with two bookings in their basket."""
        with self._lock:
            track = Track(len(self.tracks), gateway, workspace)
            self.tracks.append(track)
        track.booking_ids = tuple(self._book(track) for _ in range(2))
        return track

    def begin(self, act: Callable[..., None], track: Track, *args: Any) -> None:
        """Let a customer act while others do."""

        def guarded() -> None:
            try:
                act(track, *args)
            except (GaveUp, Refused) as problem:
                track.trouble = str(problem)

        with self._lock:
            self._busy.add(self._pool.submit(guarded))

    def finish(self, seconds: float) -> None:
        """Wait for every customer who is acting."""
        with self._lock:
            busy, self._busy = self._busy, set()
        done, late = wait(busy, seconds)
        for one in done:
            one.result()
        with self._lock:
            self._busy |= late

    def buy(self, track: Track) -> None:
        """Order, open the page, pay, wait for the confirmation."""
        self.order(track)
        self.pay(track)
        self.see(track, lambda seen: seen.order in track.goal, "the order is completed")

    def buy_and_regret(self, track: Track, minor: int | None) -> None:
        """The same, and then ask for money back."""
        self.buy(track)
        self.give_back(track, minor)

    def order(self, track: Track) -> None:
        body = {"booking_ids": list(track.booking_ids)}
        track.order_id = str(self.post(track.user_id, "/payment/orders/", body)["id"])
        with self._lock:
            self._watched.add(track.order_id)

    def initiate(self, track: Track) -> None:
        body = {"order_id": track.order_id, "gateway": track.gateway}
        track.payment_id = str(self.post(track.user_id, "/payment/payments/initiate/", body)["id"])

    def pay(self, track: Track, **fault: Any) -> None:
        """Open a page and pay there, once; `fault` is planted for this try at the gateway."""
        self.open_page(track)
        if fault:
            self.live.control("POST", "/sandbox/faults", {"reference": track.paid_reference, **fault})
        self.pay_there(track)

    def open_page(self, track: Track) -> None:
        self.initiate(track)
        track.paid_reference = self.see(track, lambda one: one.attempt == "initiated", "a page is open").reference

    def pay_there(self, track: Track) -> None:
        self.control("POST", "/sandbox/pay", {"reference": track.paid_reference, "outcome": "success"})
        track.paid_minor = 2 * PRICE_MINOR

    def order_and_open(self, track: Track) -> None:
        """Come as far as the hosted page, and leave it open."""
        self.order(track)
        self.open_page(track)

    def pay_at_last(self, track: Track) -> None:
        """Go on from there."""
        self.pay_there(track)
        self.see(track, lambda seen: seen.order in track.goal, "the order is completed")

    def give_back_slowly(self, track: Track, seconds: float) -> None:
        """Ask for all of it; the gateway takes its time."""
        plan = {"fault": "refund_slow", "reference": track.paid_reference, "params": {"seconds": seconds}}
        self.control("POST", "/sandbox/faults", plan)
        self.give_back(track)

    def give_back(self, track: Track, minor: int | None = None) -> None:
        """Ask for money back: so much, or all."""
        body: dict[str, Any] = {"payment_id": track.payment_id, "reason": "customer_request"}
        body |= {"amount": minor} if minor is not None else {}
        found = self.post(track.user_id, "/payment/refunds/", body)
        track.refunds[str(found["id"])] = int(found["amount"])

    # -- how they do it ------------------------------------------------------------------------------------------

    def post(self, user_id: str, path: str, body: Any = None, *, staff_of: str | None = None) -> dict[str, Any]:
        """A request, repeated with the same key until it is answered. Raises Refused, GaveUp."""
        headers = {"Authorization": f"Bearer {self.token(user_id, staff_of)}", "Idempotency-Key": uuid.uuid4().hex}
        deadline, in_use_since, last = time.monotonic() + self._patience, None, "no answer"
        while time.monotonic() < deadline:
            try:
                answer = requests.post(self.live.api + path, json=body, headers=headers, timeout=ASK_SECONDS)
            except requests.RequestException as error:
                last = type(error).__name__
                time.sleep(0.2)
                continue
            last = f"{answer.status_code} {answer.text[:200]}"
            if answer.status_code < 300:
                found: dict[str, Any] = answer.json()
                return found
            if "idempotency_key_in_use" in answer.text:
                in_use_since = in_use_since or time.monotonic()
                if time.monotonic() - in_use_since > DEAD_LEASE_SECONDS:
                    self._end_lease(headers["Idempotency-Key"])
            elif answer.status_code < 500 and answer.status_code != requests.codes.too_many_requests:
                raise Refused(f"{path}: {last}")
            time.sleep(0.2)
        raise GaveUp(f"{path}: {last}")

    def get(self, user_id: str, path: str, *, staff_of: str | None = None) -> dict[str, Any]:
        """A question, repeated until it is answered."""
        headers = {"Authorization": f"Bearer {self.token(user_id, staff_of)}"}
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                answer = requests.get(self.live.api + path, headers=headers, timeout=ASK_SECONDS)
                if answer.ok:
                    found: dict[str, Any] = answer.json()
                    return found
            time.sleep(0.2)
        raise GaveUp(path)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """The gateway's own side; asked again while it is out of reach."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self.live.control(method, path, body)
            except requests.RequestException as error:
                if time.monotonic() > deadline:
                    raise GaveUp(f"{path}: {type(error).__name__}") from None
                time.sleep(0.2)

    def token(self, user_id: str, staff_of: str | None = None) -> str:
        claims = {
            "sub": user_id,
            "email": f"{user_id}@example.com",
            "name": user_id,
            "workspaces": {one: {"name": "Rooms", "role": "member"} for one in (WORKSPACE, APPROVING)},
            "exp": datetime.now(UTC) + timedelta(hours=2),
        }
        if staff_of is not None:
            claims["workspaces"] = {staff_of: {"name": "Rooms", "role": "admin"}}
        return jwt.encode(claims, self.live.settings.jwt_secret or "", algorithm="HS256")

    def see(self, track: Track, is_there: Callable[[Sight], bool], what: str) -> Sight:
        """Wait until an order's rows show something."""
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            seen = self._sights.get(track.order_id or "")
            if seen is not None and is_there(seen):
                return seen
            if self._end.wait(0.05):
                break
        raise GaveUp(f"{track.order_id}: not within {self._patience:g} s: {what}; it is {seen}")

    def _look(self) -> None:
        while not self._end.wait(0.2):
            with self._lock:
                ids = sorted(self._watched)
            with contextlib.suppress(SQLAlchemyError, PayflowError):
                for order_id, seen in self._sight(ids):
                    self._sights[order_id] = seen
                    if seen.order in ("completed", "refunded"):
                        with self._lock:
                            self._watched.discard(order_id)

    def _sight(self, ids: Sequence[str]) -> Iterator[tuple[str, Sight]]:
        query = (
            select(Order.id, Order.status, Payment.id, PaymentAttempt.reference, PaymentAttempt.status)
            .outerjoin(Payment, Payment.order_id == Order.id)
            .outerjoin(PaymentAttempt, PaymentAttempt.id == Payment.current_attempt_id)
            .where(Order.id.in_(ids))
        )
        if ids:
            with self.live.container.units.reading() as rows:
                for order_id, order, payment_id, reference, attempt in rows.session.execute(query):
                    yield order_id, Sight(order, payment_id, reference, attempt)

    def _book(self, track: Track) -> str:
        start = datetime(2031, 1, 1, tzinfo=UTC)
        new = NewBooking(
            workspace_id=track.workspace,
            resource_id=f"room-{uuid.uuid4().hex}",
            starts_at=start,
            ends_at=start + timedelta(hours=1),
            amount_minor=PRICE_MINOR,
            currency="NGN",
            user_id=track.user_id,
            user_email=f"{track.user_id}@example.com",
            user_name=track.user_id,
        )
        return self.live.container.bookings.create(Caller(user_id="platform", is_service=True), new)

    def _end_lease(self, key: str) -> None:
        past = datetime.now(UTC) - timedelta(seconds=1)
        with contextlib.suppress(SQLAlchemyError), self.live.container.engine.begin() as connection:
            statement = update(IdempotencyKey).where(IdempotencyKey.key == key, IdempotencyKey.status_code.is_(None))
            connection.execute(statement.values(locked_until=past))


class Arrivals(threading.Thread):
    """Customers who come at random times, so many a second on average, until told to stop."""

    def __init__(self, crowd: Crowd, rng: random.Random, *, per_second: float, ready: Sequence[Track]) -> None:
        """`ready` have their bookings already: they come first, so that load does not wait for a database."""
        super().__init__(name="arrivals", daemon=True)
        self._crowd, self._rng, self._rate, self._ready = crowd, rng, per_second, list(ready)
        self._over = threading.Event()
        self.came: list[Track] = []

    def stop(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        for track in self._ready:
            if self._over.wait(self._rng.expovariate(self._rate)):
                break
            self.came.append(track)
            regret = self._rng.random()
            if regret < 0.35:
                self._crowd.begin(self._crowd.buy_and_regret, track, None)
            elif regret < 0.7:
                self._crowd.begin(self._crowd.buy_and_regret, track, PRICE_MINOR)
            else:
                self._crowd.begin(self._crowd.buy, track)
