"""A whole house for tests: real database, real sandbox gateway over HTTP, held clock; the test itself plays the worker.

`House.drain()` does what the workers do: it looks what is due and takes the steps, until nothing is due at this moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from payflow import migrations
from payflow.container import Container, build
from payflow.core.clock import HeldClock
from payflow.core.gateways import GATEWAYS, NAMES
from payflow.core.identifiers import attempt_reference
from payflow.core.money import Money
from payflow.gateways.base import InitiateRequest
from payflow.gateways.calls import TransportOptions
from payflow.models.order import Order
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund
from payflow.sandbox.app import RunningSandbox, SandboxConfig, start
from payflow.sandbox.clock import OffsetClock
from payflow.services.access import Caller, Membership
from payflow.services.booking import NewBooking
from payflow.settings import Settings

WORKSPACE = "w-harbour"
OTHER_WORKSPACE = "w-hill"
ADA = Caller(
    user_id="u-ada", email="ada@example.com", name="Ada Obi", workspaces={WORKSPACE: Membership("Harbour", "member")}
)
BEN = Caller(
    user_id="u-ben", email="ben@example.com", name="Ben Ito", workspaces={WORKSPACE: Membership("Harbour", "member")}
)
ADMIN = Caller(user_id="u-admin", email="admin@example.com", workspaces={WORKSPACE: Membership("Harbour", "admin")})
OPERATOR = Caller(user_id="u-op", email="op@example.com", is_operator=True)
PLATFORM = Caller(user_id="k-platform", is_service=True)


class RecordedBells:
    """Bells that only remember."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    def ring(self, kind: str) -> None:
        self.rung.append(kind)


@dataclass
class House:
    """See the module's docstring."""

    container: Container
    clock: HeldClock
    sandbox: RunningSandbox
    bells: RecordedBells
    serial: int = 0
    crashes: list[str] = field(default_factory=list)

    # -- what people do ------------------------------------------------------------------------------------------

    def booking(self, owner: Caller = ADA, *, amount: int = 150_000, currency: str = "NGN", **given: Any) -> str:
        """A pending booking in a slot nobody else has."""
        self.serial += 1
        start = given.pop("starts_at", self.clock.now() + timedelta(days=1))
        new = {
            "workspace_id": WORKSPACE,
            "resource_id": f"room-{self.serial}",
            "starts_at": start,
            "ends_at": start + timedelta(hours=1),
            "amount_minor": amount,
            "currency": currency,
            "user_id": owner.user_id,
            "user_email": owner.email,
            "user_name": owner.name,
        }
        return self.container.bookings.create(PLATFORM, NewBooking(**(new | given)))

    def order(self, owner: Caller = ADA, *bookings: str) -> str:
        """An order over the given bookings, or over two fresh ones."""
        return self.container.payments.create_order(owner, bookings or (self.booking(owner), self.booking(owner)))

    def initiated(self, owner: Caller = ADA, *bookings: str, gateway: str = "paystack") -> tuple[str, str]:
        """An order whose hosted page is open: (order id, reference)."""
        order_id = self.order(owner, *bookings)
        opened = self.container.payments.initiate_payment(owner, order_id, gateway=gateway)
        self.drain()
        return order_id, opened.reference

    def paid(self, owner: Caller = ADA, *bookings: str, gateway: str = "paystack") -> str:
        """An order paid and confirmed."""
        order_id, reference = self.initiated(owner, *bookings, gateway=gateway)
        self.pay(reference)
        self.ask(reference)
        return order_id

    def pay(self, reference: str, outcome: str = "success", **params: Any) -> dict[str, Any]:
        """What the customer does on the hosted page."""
        return self.control("POST", "/sandbox/pay", {"reference": reference, "outcome": outcome, **params})

    def pay_nobody(self, gateway: str = "paystack") -> str:
        """Somebody pays the merchant past payflow; the reference."""
        request = InitiateRequest(
            reference=attempt_reference(), amount=Money(500_000, "NGN"), customer_email="eve@example.com",
            customer_name="Eve", callback_url="https://shop.example/back", description="Nobody's",
        )  # fmt: skip
        self.container.gateways[gateway].initiate(request)
        self.pay(request.reference)
        return request.reference

    def ask(self, reference: str) -> None:
        """The browser comes back: a question is due, and taken."""
        self.container.payments.request_check(reference, caller=None)
        self.drain()

    def fault(self, name: str, **given: Any) -> None:
        """Plant a fault at the sandbox."""
        self.control("POST", "/sandbox/faults", {"fault": name, **given})

    # -- what workers and beat do --------------------------------------------------------------------------------

    def drain(self) -> int:
        """Take every step that is due now; how many rounds it took."""
        for round_ in range(60):
            due = self.container.sweeps.due()
            if not due:
                return round_
            for kind in due:
                self.step(kind)
        raise AssertionError(f"still due after 60 rounds: {self.container.sweeps.due()}")

    def step(self, kind: str) -> Any:
        """Take one kind of step as its task would."""
        name, _, gateway = kind.partition(":")
        house = self.container
        steps: dict[str, Callable[..., Any]] = {
            "payments.initiate": house.gateway_calls.initiate,
            "payments.verify": house.gateway_calls.verify,
            "refunds.submit": house.refund_calls.submit,
            "refunds.verify": house.refund_calls.verify,
            "bookings.confirm": house.bookings.confirm,
            "bookings.release": house.bookings.release,
            "orders.expire": house.expiry.expire,
            "notifications.fan_out": house.notifications.fan_out,
            "notifications.deliver": house.notifications.deliver,
            "deliveries.send": house.deliveries.send,
            "webhooks.process": house.webhooks.process,
            "reconciliation.compare": house.reconciliation.compare,
        }
        done = steps[name](*([gateway] if gateway else []))
        if name == "webhooks.process":
            for one, hints in done.refunds.items():
                house.refund_adoption.adopt(one, hints)
        return done

    def later(self, seconds: float) -> None:
        """Time passes, here and at the gateway; what is due then is taken."""
        self.clock.advance(seconds)
        self.drain()

    # -- what is on record ---------------------------------------------------------------------------------------

    def order_row(self, order_id: str) -> Order:
        with self.container.units.reading() as rows:
            order = rows.order(order_id)
            assert order is not None
            return order

    def payment_row(self, order_id: str) -> Payment:
        with self.container.units.reading() as rows:
            payment = rows.payment_of(order_id)
            assert payment is not None
            return payment

    def attempts(self, order_id: str) -> list[PaymentAttempt]:
        with self.container.units.reading() as rows:
            return rows.attempts_of(self.payment_row(order_id).id)

    def refunds(self, order_id: str) -> list[Refund]:
        with self.container.units.reading() as rows:
            return rows.refunds_of(self.payment_row(order_id).id)

    def rows(self, model: type[Any]) -> list[Any]:
        """All rows of a table, in id order."""
        with self.container.units.reading() as rows:
            return rows.all_of(model)

    def statuses(self, order_id: str) -> tuple[str, str, set[str]]:
        """(order's, payment's, bookings') statuses."""
        order = self.order_row(order_id)
        return order.status, self.payment_row(order_id).status, {item.booking.status for item in order.items}

    # -- the other side ------------------------------------------------------------------------------------------

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to the sandbox's control API, in process."""
        response = self.sandbox.app.test_client().open(path, method=method, json=body)
        assert response.status_code < 400, response.text
        return response.get_json()

    def webhooks(self) -> list[dict[str, Any]]:
        """What the gateway wants to tell, oldest first; the house has no web front, so a test carries it in."""
        found = self.control("GET", "/sandbox/webhooks")["webhooks"]
        return sorted(found, key=lambda row: str(row["id"]))

    def receive(self, row: dict[str, Any], gateway: str = "paystack") -> bool:
        """Carry one of the gateway's webhooks in, as the front would."""
        body = row["body"].encode()
        party, targets = self.sandbox.rooms.party, self.sandbox.rooms.targets
        secret = targets.secrets[gateway]
        headers = party.dialects[gateway].sign(body, secret=secret, now=party.clock.now())
        lower = {name.lower(): value for name, value in headers.items()}
        return self.container.webhooks.receive(gateway, lower, body)

    def charges(self, reference: str) -> int:
        """How often the gateway has really taken money for a reference."""
        by_reference = self.control("GET", f"/sandbox/charges?reference={reference}")["by_reference"]
        return int(by_reference.get(reference, {"charges": 0})["charges"])

    def calls(self, operation: str) -> int:
        """How many requests of one kind the gateway saw."""
        return len(self.control("GET", f"/sandbox/calls?operation={operation}")["calls"])

    def letters(self) -> list[dict[str, Any]]:
        """What the mail catcher holds, newest first."""
        found = self.control("GET", "/mail/messages")
        assert isinstance(found, list)
        return found


SECRET = "sk_test_house"
WEBHOOK_SECRET = "house-webhooks"
JWT_SECRET = "a-secret-for-tests-of-forty-characters-x"


def sandbox_config(**more: Any) -> SandboxConfig:
    """A sandbox that knows the house's secrets and sends no webhooks by itself."""
    proofs = {row.name: WEBHOOK_SECRET for row in GATEWAYS if row.webhook_secret_setting}
    return SandboxConfig(secrets=dict.fromkeys(NAMES, SECRET), webhook_secrets=proofs, **more)


def gateway_settings(sandbox_url: str) -> dict[str, str]:
    """What turns every gateway on, at the sandbox."""
    keys = {row.secret_key_setting: SECRET for row in GATEWAYS}
    places = {row.base_url_setting: f"{sandbox_url}/{row.name}" for row in GATEWAYS}
    proofs = {row.webhook_secret_setting: WEBHOOK_SECRET for row in GATEWAYS if row.webhook_secret_setting}
    return keys | places | proofs


def _no_wait(_seconds: float) -> None:
    """The pauses between quick repeats of a call take no time in here, like everything else under a held clock."""


@contextmanager
def open_house(database_url: str, **environ: str) -> Iterator[House]:
    """A house on a migrated database; closed at the end."""
    clock = HeldClock()
    sandbox = start(sandbox_config(smtp_port=0), clock=OffsetClock(clock))
    try:
        settings = Settings.from_environ(
            {
                "PAYFLOW_DATABASE_URL": database_url,
                "PAYFLOW_BROKER_URL": "memory://",
                "PAYFLOW_JWT_SECRET": JWT_SECRET,
                **gateway_settings(sandbox.url),
                "PAYFLOW_SMTP_URL": f"smtp://127.0.0.1:{sandbox.smtp_port}",
                "PAYFLOW_PUBLIC_URL": "http://127.0.0.1:8000",
                "PAYFLOW_RATE_LIMITS": "off",
                **environ,
            }
        )
        bells = RecordedBells()
        container = build(settings, clock=clock, bells=bells, transport=TransportOptions(sleep=_no_wait))
        migrations.upgrade(container.engine)
        try:
            yield House(container, clock, sandbox, bells)
        finally:
            container.engine.dispose()
    finally:
        sandbox.stop()
