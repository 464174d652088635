"""Hands for the contract suite: one gateway's adapter, whichever it is, and its counterparty at the sandbox over HTTP.

Nothing here knows a gateway's name: what differs is asked of the adapter (`supports`, `refund_is_idempotent`,
`lost_initiate`) or of the sandbox's dialect (`exponent`, `sign`, `redirect_url`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from payflow.core.clock import HeldClock
from payflow.core.identifiers import attempt_reference, new_id
from payflow.core.money import Money, exponent
from payflow.gateways.base import (
    AttemptRef,
    Gateway,
    InitiateRequest,
    ListedPayment,
    ListedRefund,
    ListPage,
    RefundRef,
    RefundRequest,
    RefundResult,
    Window,
)
from payflow.gateways.calls import CallRecord, TransportOptions
from payflow.gateways.registry import build_gateways
from payflow.sandbox.app import RunningSandbox
from payflow.settings import Settings
from tests.house import JWT_SECRET, SECRET, WEBHOOK_SECRET, gateway_settings

Listed = TypeVar("Listed", ListedPayment, ListedRefund)
CURRENCIES = ("NGN", "USD", "GHS", "HUF", "JPY", "XOF", "UGX", "ISK", "KWD", "TND")
"""Of two, none and three decimals, and those that some gateway counts otherwise than ISO 4217."""
SECRETS = (SECRET, WEBHOOK_SECRET)


@dataclass
class Desk:
    """One gateway's two sides."""

    name: str
    sandbox: RunningSandbox
    clock: HeldClock
    records: list[CallRecord] = field(default_factory=list)

    # -- our side ------------------------------------------------------------------------------------------------

    def adapter(self, *, limits: dict[str, Any] | None = None, **settings: str) -> Gateway:
        """The adapter as payflow builds it from its settings; `limits` are the transport's."""
        environ = {"PAYFLOW_JWT_SECRET": JWT_SECRET, "PAYFLOW_BROKER_URL": "memory://", "PAYFLOW_GATEWAYS": self.name}
        built = Settings.from_environ(environ | gateway_settings(self.sandbox.url) | settings)
        options = TransportOptions(recorder=self.records.append, sleep=lambda _seconds: None)
        return build_gateways(built, self.clock, replace(options, **(limits or {})))[self.name]

    def __post_init__(self) -> None:
        self.gateway = self.adapter()

    @property
    def currency(self) -> str:
        """One that this gateway takes, and that it counts as ISO 4217 does."""
        return next(one for one in CURRENCIES if self.gateway.supports(one) and self.exponent(one) == exponent(one))

    def money(self, major: int = 5_000, currency: str | None = None) -> Money:
        return Money.from_major(major, currency or self.currency)

    def request(self, amount: Money | None = None, **changes: Any) -> InitiateRequest:
        """A try under a fresh reference."""
        given: dict[str, Any] = {
            "reference": attempt_reference(),
            "amount": amount or self.money(),
            "customer_email": "ada@example.com",
            "customer_name": "Ada Obi",
            "callback_url": "https://shop.example/back",
            "description": "Two rooms",
        }
        return InitiateRequest(**(given | changes))

    def opened(self, amount: Money | None = None) -> AttemptRef:
        """A try whose page is open, as it would be on record."""
        request = self.request(amount)
        made = self.gateway.initiate(request)
        return AttemptRef(request.reference, request.amount, session_id=made.session_id)

    def paid(self, amount: Money | None = None) -> AttemptRef:
        """A try that is paid, with its transaction id learnt."""
        attempt = self.opened(amount)
        self.pay(attempt)
        return replace(attempt, transaction_id=self.gateway.verify(attempt).transaction_id)

    def refund_request(self, attempt: AttemptRef, amount: Money | None = None) -> RefundRequest:
        """Give back `amount`, or all."""
        return RefundRequest(new_id(), attempt, amount or attempt.amount, "customer_request")

    def listed(self, read: Callable[[Window, str | None], ListPage[Listed]], window: Window) -> list[Listed]:
        """Every row of a window, page after page; what a list by whole days shows besides is left out."""
        found: list[Listed] = []
        cursor: str | None = None
        while True:
            page = read(window, cursor)
            found += [row for row in page.rows if window.since <= row.at < window.until]
            if page.next is None:
                return found
            cursor = page.next

    def ask_back(self, request: RefundRequest, made: RefundResult) -> RefundResult:
        """What the gateway says now of a refund it has accepted."""
        ref = RefundRef(request.refund_id, request.attempt, request.amount, made.gateway_refund_id)
        return self.gateway.fetch_refund(ref)

    # -- their side ----------------------------------------------------------------------------------------------

    def control(self, method: str, path: str, body: Any = None) -> Any:
        response = self.sandbox.app.test_client().open(f"/sandbox/{path}", method=method, json=body)
        assert response.status_code < 400, response.text
        return response.get_json()

    def pay(self, attempt: AttemptRef, outcome: str = "success", **params: Any) -> dict[str, str]:
        """What the customer does on the page; the query the browser comes back with, empty if it does not."""
        body = {"reference": attempt.reference, "outcome": outcome, **params}
        back = self.control("POST", "pay", body)["redirect_url"]
        return dict(parse_qsl(urlsplit(back or "").query))

    def fault(self, name: str, *, operation: str | None = None, times: int | None = None, **params: Any) -> None:
        """Plant a fault, for ever unless `times` says otherwise."""
        body = {"fault": name, "gateway": self.name, "operation": operation, "times": times, "params": params}
        self.control("POST", "faults", body)

    def calm(self) -> None:
        self.control("DELETE", "faults")

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def calls(self, operation: str | None = None) -> list[str]:
        """The requests the gateway saw, oldest first, as `METHOD /route`."""
        rows = self.control("GET", "calls" + (f"?operation={operation}" if operation else ""))["calls"]
        return [f"{row['method']} {row['route']}" for row in rows]

    def charge(self, reference: str) -> dict[str, Any]:
        """The one page of a reference, from the gateway's own books."""
        (row,) = self.control("GET", f"charges?reference={reference}")["charges"]
        return dict(row)

    def refunds(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", "refunds")["refunds"]
        return found

    def webhooks(self) -> list[bytes]:
        """The bodies the gateway wants to send, oldest first."""
        rows = self.control("GET", "webhooks")["webhooks"]
        return [row["body"].encode() for row in sorted(rows, key=lambda row: int(row["id"]))]

    def signed(self, body: bytes, secret: str | None = None) -> dict[str, str]:
        """The headers that prove a body, as the gateway writes them."""
        party, targets = self.sandbox.rooms.party, self.sandbox.rooms.targets
        return dict(
            party.dialects[self.name].sign(body, secret=secret or targets.secrets[self.name], now=party.clock.now())
        )

    def exponent(self, currency: str) -> int:
        """The decimals of this gateway's amounts."""
        return self.sandbox.rooms.party.dialects[self.name].exponent(currency)

    def exact(self, amount: Money) -> Fraction:
        """An amount in the unit this gateway counts in."""
        return Fraction(amount.amount_minor * 10 ** self.exponent(amount.currency), 10 ** exponent(amount.currency))

    # -- what may not get out ------------------------------------------------------------------------------------

    def assert_no_secret(self, *things: object) -> None:
        """In nothing that is kept, shown or logged."""
        told = json.dumps([repr(thing) for thing in (*things, self.records, self.gateway)])
        assert not [secret for secret in (*SECRETS, "ada@example.com") if secret in told], told
