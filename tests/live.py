"""The whole system in real processes for acceptance and fault tests: started by the launcher, driven over HTTP.

On the embedded default, or on the servers PAYFLOW_TEST_DATABASE_URL and PAYFLOW_TEST_BROKER_URL name (a database of its
own is made beside the named one).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import jwt
import requests
from sqlalchemy import create_engine, make_url, text

from payflow.container import Container, build
from payflow.dispatch import SilentBells
from payflow.launcher import Launcher
from payflow.models.order import Order
from payflow.services.access import Caller
from payflow.services.booking import NewBooking
from payflow.settings import Settings
from payflow.store.engine import normalise
from payflow.system import Ports

T = TypeVar("T")
WORKSPACE = "01900000-0000-7000-8000-0000000000bb"
PARTS = ("sandbox", "web", "money", "core", "beat")


class Live:
    """A running system and a customer in front of it."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self.settings = Settings.from_environ(launcher.environ)
        self.container: Container = build(self.settings, bells=SilentBells())
        self.api = launcher.addresses["web"].rstrip("/") + "/api/v1"
        self.sandbox = launcher.addresses["sandbox"].rstrip("/")
        self._slots = 0

    # -- people --------------------------------------------------------------------------------------------------

    def token(self, user_id: str = "live-ada", *, scope: str = "", role: str = "member") -> str:
        claims = {
            "sub": user_id,
            "email": f"{user_id}@example.com",
            "name": user_id,
            "workspaces": {WORKSPACE: {"name": "Live rooms", "role": role}},
            "scope": scope,
            "exp": datetime.now(UTC) + timedelta(hours=2),
        }
        return jwt.encode(claims, self.settings.jwt_secret or "", algorithm="HS256")

    def call(
        self, method: str, path: str, body: Any = None, *, user_id: str = "live-ada", **headers: str
    ) -> requests.Response:
        """One authenticated request."""
        return requests.request(
            method,
            self.api + path,
            json=body,
            headers={"Authorization": f"Bearer {self.token(user_id)}", **headers},
            timeout=30,
            allow_redirects=False,
        )

    def bookings(self, count: int, *, user_id: str = "live-ada") -> list[str]:
        """Pending bookings in slots nobody else has."""
        platform = Caller(user_id="live-platform", is_service=True)
        start = datetime(2030, 1, 1, tzinfo=UTC)
        found = []
        for _ in range(count):
            self._slots += 1
            new = NewBooking(
                workspace_id=WORKSPACE,
                resource_id=f"live-{uuid.uuid4().hex}",
                starts_at=start,
                ends_at=start + timedelta(hours=1),
                amount_minor=150_000,
                currency="NGN",
                user_id=user_id,
                user_email=f"{user_id}@example.com",
                user_name=user_id,
            )
            found.append(self.container.bookings.create(platform, new))
        return found

    def order(self) -> str:
        """An order over two fresh bookings."""
        answer = self.call("POST", "/payment/orders/", {"booking_ids": self.bookings(2)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def initiate(self, order_id: str, *, wait: int = 10) -> dict[str, Any]:
        answer = self.call(
            "POST", "/payment/payments/initiate/", {"order_id": order_id, "gateway": "paystack"}, Prefer=f"wait={wait}"
        )
        assert answer.status_code in (201, 202), answer.text
        found: dict[str, Any] = answer.json()
        return found

    def pay(self, reference: str, outcome: str = "success", **more: Any) -> None:
        self.control("POST", "/sandbox/pay", {"reference": reference, "outcome": outcome, **more})

    # -- the other side ------------------------------------------------------------------------------------------

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, self.sandbox + path, json=body, timeout=30)
        assert answer.status_code < 400, answer.text
        return answer.json()

    def charges(self) -> dict[str, int]:
        """reference → how often money was really taken."""
        found = self.control("GET", "/sandbox/charges?limit=100000")["by_reference"]
        return {reference: row["charges"] for reference, row in found.items()}

    def webhook(self, body: bytes) -> requests.Response:
        """A Paystack webhook with a true signature."""
        secret = self.settings.gateways["paystack"].secret_key
        signature = hmac.new(secret.encode(), body, hashlib.sha512).hexdigest()
        headers = {"x-paystack-signature": signature, "content-type": "application/json"}
        return requests.post(f"{self.api}/payment/webhooks/paystack/", data=body, headers=headers, timeout=30)

    def charge_success(self, reference: str) -> bytes:
        data = {"status": "success", "reference": reference, "amount": 300_000, "currency": "NGN", "domain": "test"}
        return json.dumps({"event": "charge.success", "data": {"id": 77, **data}}).encode()

    # -- what is on record ---------------------------------------------------------------------------------------

    def rows(self, sql: str, **values: Any) -> list[Any]:
        with self.container.engine.connect() as connection:
            return list(connection.execute(text(sql), values))

    def statuses(self, order_ids: Sequence[str]) -> dict[str, str]:
        with self.container.units.reading() as rows:
            return {order.id: order.status for order in rows.many(Order, order_ids)}

    def wait_for(self, question: Callable[[], T], seconds: float, what: str) -> T:
        """Poll with a deadline until the answer is true."""
        deadline = time.monotonic() + seconds
        while True:
            answer = question()
            if answer:
                return answer
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
            time.sleep(0.1)


@contextmanager
def running(data_dir: Path, *, parts: Sequence[str] = PARTS, **environ: str) -> Iterator[Live]:
    """Start the system on free ports; stop it at the end."""
    given = {key: value for key, value in os.environ.items() if not key.startswith(("PAYFLOW_", "PAYSTACK_"))}
    given["PAYFLOW_RATE_LIMITS"] = "off"
    named = os.environ.get("PAYFLOW_TEST_DATABASE_URL")
    broker = os.environ.get("PAYFLOW_TEST_BROKER_URL")
    if broker:
        given["PAYFLOW_BROKER_URL"] = broker
    with _own_database(named) as database_url:
        if database_url:
            given["PAYFLOW_DATABASE_URL"] = database_url
        launcher = Launcher(data_dir=data_dir, environ=given | environ, ports=Ports.free(), parts=parts, seed=False)
        with launcher:
            live = Live(launcher)
            try:
                yield live
            finally:
                live.container.engine.dispose()


@contextmanager
def _own_database(named: str | None) -> Iterator[str | None]:
    if not named:
        yield None
        return
    own = f"payflow_live_{uuid.uuid4().hex[:12]}"
    server = create_engine(normalise(named), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{own}"'))
    try:
        yield make_url(normalise(named)).set(database=own).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{own}" WITH (FORCE)'))
        server.dispose()


def completed(live: Live, order_ids: list[str]) -> bool:
    return set(live.statuses(order_ids).values()) == {"completed"}


def all_told(live: Live) -> bool:
    """Whether every event has its messages and every message is out."""
    owed = "SELECT id FROM notifications WHERE sent_at IS NULL AND parked_at IS NULL AND withdrawn_at IS NULL"
    return not live.rows("SELECT id FROM outbox_events WHERE fanned_out_at IS NULL") and not live.rows(owed)


def one_effect_each(live: Live, order_ids: list[str]) -> None:
    """Once everything owed is told: one capture per order, each message once."""
    live.wait_for(lambda: all_told(live), 60, "all messages are out")
    for order_id in order_ids:
        key = order_id if live.container.engine.dialect.name == "postgresql" else order_id.replace("-", "")
        kinds = Counter(
            row.kind for row in live.rows("SELECT kind FROM ledger_postings WHERE order_id = :order_id", order_id=key)
        )
        assert kinds["capture"] == 1, kinds
        sent = Counter(
            (row.event, row.channel, row.recipient)
            for row in live.rows(
                "SELECT event, channel, recipient FROM notifications WHERE order_id = :order_id", order_id=key
            )
        )
        assert sent["PAYMENT_COMPLETED", "email", "live-ada@example.com"] == 1, sent
        assert sent["PAYMENT_COMPLETED", "in_app", "live-ada"] == 1, sent
        assert max(sent.values()) == 1, sent
