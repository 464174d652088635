"""The six journeys of the headless demo, each a short script over public HTTP, and what must be true at its end.

`Walk` is one customer with an order: it acts through the API and the sandbox's controls, notes each step with its time,
and compares what payflow says with what the gateway's side remembers. What must not enter: imports of payflow's inside
beyond words and money; a journey sees what any client sees.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from payflow.bus import CUSTOMER_EVENTS, EMAIL_EVENTS
from payflow.channels.in_app import TITLES
from payflow.core.errors import PayflowError
from payflow.core.events import EventType
from payflow.core.money import Money
from payflow.demo_http import Api, Target

Json = dict[str, Any]
E = EventType

PRICES = (1_500_000, 350_000)
CURRENCY = "NGN"
SHORT_LIFE_SECONDS = 10
SETTLE_SECONDS = 45.0
"""The longest a step may take; a step that needs it is a failure worth reading about."""
ASK_AGAIN_SECONDS = 0.25


class JourneyFailed(PayflowError):
    """A journey did not end as it should."""

    code = "journey_failed"


@dataclass(frozen=True, slots=True)
class End:
    """What must be true when a journey is over. Amounts in minor units."""

    order: str
    payment: str
    bookings: str
    events: Sequence[EventType]
    """All that was published for the customer, repeats included; each makes one message per channel that wants it."""
    is_paid: bool = True
    refunded_minor: int = 0
    heard_by_webhook: bool | None = None
    """Whether the gateway's word about the charge came in; None = not looked at."""


@dataclass(slots=True)
class Walk:
    """One journey under way."""

    number: int
    target: Target
    gateway: str
    run_id: str
    began: float = field(default_factory=time.monotonic)
    steps: list[tuple[float, str]] = field(default_factory=list)
    order_id: str = ""
    order_number: str = ""
    payment_id: str = ""
    total_minor: int = 0
    references: list[str] = field(default_factory=list)
    end: End | None = None

    @property
    def name(self) -> str:
        return f"demo-{self.run_id}-{self.gateway}-{self.number}"

    @property
    def email(self) -> str:
        return f"{self.name}@example.com"

    @property
    def customer(self) -> Api:
        return self.target.api(self.name, email=self.email, workspace=self.name, role="member")

    @property
    def admin(self) -> Api:
        return self.target.api(f"{self.name}-admin", email="", workspace=self.name, role="admin")

    def note(self, text: str) -> None:
        """Write a step down with its time."""
        self.steps.append((time.monotonic() - self.began, text))

    def must(self, is_so: bool, what: str) -> None:
        if not is_so:
            raise JourneyFailed(what)

    def until(self, question: Callable[[], bool], what: str, *, seen: Callable[[], str] = str) -> None:
        """Ask until the answer is yes. Raises JourneyFailed saying what did not come, and what was seen instead."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not question():
            if time.monotonic() > deadline:
                raise JourneyFailed(f"waited {SETTLE_SECONDS:g} s in vain until {what}; {seen()}".rstrip("; "))
            time.sleep(ASK_AGAIN_SECONDS)

    # what the customer does

    def make_order(self, *, life_seconds: int | None = None) -> None:
        """Two bookings and an order over them; `life_seconds` is set as the workspace's policy first."""
        start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=1)
        booking_ids = []
        for hour, price in enumerate(PRICES):
            booking = {
                "workspace_id": self.name,
                "resource_id": f"Room {hour + 1}",
                "starts_at": (start + timedelta(hours=hour)).isoformat(),
                "ends_at": (start + timedelta(hours=hour + 1)).isoformat(),
                "amount": price,
                "currency": CURRENCY,
            }
            booking_ids.append(self.customer.post("/bookings/", booking)["id"])
        if life_seconds is not None:
            self.admin.patch(f"/workspaces/{self.name}/policy/", {"order_ttl_seconds": life_seconds})
            self.note(f"the workspace lets orders live for {life_seconds} s")
        order = self.customer.post("/payment/orders/", {"booking_ids": booking_ids})
        self.order_id, self.order_number, self.total_minor = order["id"], order["order_number"], order["total"]
        self.note(f"order over {self.money(self.total_minor)} for {len(booking_ids)} bookings")

    def initiate(self) -> str:
        """Start the payment and wait for the gateway's page; the try's reference."""
        body = {"order_id": self.order_id, "gateway": self.gateway}
        payment = self.customer.post("/payment/payments/initiate/", body, {"Prefer": "wait=5"})
        self.payment_id = payment["id"]
        self.until(lambda: bool(self.payment()["authorization_url"]), "the gateway's page is open")
        reference = str(self.payment()["reference"])
        self.must(reference not in self.references, "a new try must have a reference of its own")
        self.references.append(reference)
        self.note(f"{self.gateway} opened a page")
        return reference

    def pay(self, reference: str, outcome: str = "success") -> str | None:
        """Be the customer at the page; where the gateway would send the browser."""
        done = self.target.sandbox("POST", "/sandbox/pay", {"reference": reference, "outcome": outcome})
        self.must(done["outcome"] == outcome, f"the sandbox made {done['outcome']} of {outcome}")
        self.note({"success": "the customer paid", "decline": "the bank declined"}.get(outcome, "the customer left"))
        return str(done["redirect_url"]) if done["redirect_url"] else None

    def lose_webhooks(self, reference: str) -> None:
        fault = {"fault": "webhook_missing", "reference": reference, "gateway": self.gateway, "times": 9}
        self.target.sandbox("POST", "/sandbox/faults", fault)
        self.note("from here on the gateway's webhooks get lost")

    def ask_refund(self, amount_minor: int | None, words: str) -> None:
        """Ask money back and wait until it is."""
        body: Json = {"payment_id": self.payment_id, "reason": "customer_request"}
        if amount_minor is not None:
            body["amount"] = amount_minor
        refund_id = self.customer.post("/payment/refunds/", body)["id"]
        self.note(f"asked for {words} back")
        self.until(
            lambda: self.customer.get(f"/payment/refunds/{refund_id}/")["status"] == "completed", "the refund is done"
        )
        self.note(f"{words} is back: {self.money(self.payment()['refunded_amount'])} of {self.money(self.total_minor)}")

    # what it sees

    def order(self) -> Json:
        found: Json = self.customer.get(f"/payment/orders/{self.order_id}/")
        return found

    def payment(self) -> Json:
        found: Json = self.customer.get(f"/payment/payments/{self.payment_id}/")
        return found

    def wait_for(self, status: str, words: str) -> None:
        """Until the order has that status."""
        self.until(
            lambda: self.order()["status"] == status,
            f"the order is {status}",
            seen=lambda: f"it is {self.order()['status']}",
        )
        self.note(words)

    @staticmethod
    def money(minor: int) -> str:
        return str(Money(minor, CURRENCY))

    # what must be true

    def check(self, end: End) -> None:
        """Compare every account of what happened: the API's, the gateway's, the ledger's and the customer's mail."""
        self.end = end
        self.until(
            lambda: not self._differences(end), "all accounts agree", seen=lambda: "; ".join(self._differences(end))
        )
        charges = "one charge" if end.is_paid else "no charge"
        self.note(f"checked: order {end.order}, bookings {end.bookings}, {charges}, {self._messages_in_words()}")

    def check_again(self) -> None:
        """After a while nothing may have been added: exactly once stays exactly once."""
        if self.end is not None and (wrong := self._differences(self.end)):
            raise JourneyFailed("; ".join(wrong))

    def _messages_in_words(self) -> str:
        return f"messages in app {sum(self._in_app().values())}, by e-mail {sum(self._letters().values())}, none twice"

    def _differences(self, end: End) -> list[str]:
        order, payment = self.order(), self.payment()
        taken = self.total_minor if end.is_paid else 0
        pairs: list[tuple[str, object, object]] = [
            ("order", order["status"], end.order),
            ("payment", payment["status"], end.payment),
            ("bookings", {self._booking_status(one) for one in order["bookings"]} or {end.bookings}, {end.bookings}),
            ("refunded amount", payment["refunded_amount"], end.refunded_minor),
            ("refundable amount", payment["refundable_amount"], taken - end.refunded_minor),
            ("the gateway's charges", self._charges(), (int(end.is_paid), taken, end.refunded_minor)),
            ("messages", self._in_app(), Counter(event.value for event in end.events if event in CUSTOMER_EVENTS)),
            ("letters", self._letters(), Counter(TITLES[event] for event in end.events if event in EMAIL_EVENTS)),
        ]
        story = self.target.story(self.order_id)
        if story is not None:
            pairs.append(("ledger", _owed_to_workspace(story["ledger"]), taken - end.refunded_minor))
            if end.heard_by_webhook is not None:
                heard = any(row["outcome"] == "matched" for row in story["webhooks"])
                pairs.append(("heard by webhook", heard, end.heard_by_webhook))
        return [
            f"{what}: {_plain(found)} instead of {_plain(wanted)}" for what, found, wanted in pairs if found != wanted
        ]

    def _booking_status(self, booking: Json) -> str:
        return str(self.customer.get(f"/bookings/{booking['id']}/")["status"])

    def _charges(self) -> tuple[int, int, int]:
        """Times charged, taken and given back (minor units), over all tries, by the gateway's own books."""
        found = [self.target.sandbox("GET", f"/sandbox/charges?reference={one}")["charges"] for one in self.references]
        rows = [row for charges in found for row in charges]
        return (
            sum(row["charges"] for row in rows),
            sum(row["taken_minor"] for row in rows),
            sum(row["returned_minor"] for row in rows),
        )

    def _in_app(self) -> Counter[str]:
        return Counter(row["event"] for row in self.customer.get("/notifications/?page_size=100")["results"])

    def wait_for_letter(self, event: E) -> None:
        self.until(lambda: TITLES[event] in self._letters(), f"the letter “{TITLES[event]}” is out")

    def _letters(self) -> Counter[str]:
        letters = self.target.sandbox("GET", f"/mail/messages?to={self.email}")
        return Counter(letter["subject"].split(":")[0] for letter in letters)


def _owed_to_workspace(ledger: Sequence[Json]) -> int:
    """What the ledger says the seller is owed (minor units): its credits less its debits."""
    credited = [int(row["amount"]) for row in ledger if row["credit_account"].startswith("workspace:")]
    debited = [int(row["amount"]) for row in ledger if row["debit_account"].startswith("workspace:")]
    return sum(credited) - sum(debited)


def _plain(value: object) -> str:
    if isinstance(value, Counter):
        return ", ".join(f"{count}× {name}" for name, count in sorted(value.items())) or "none"
    if isinstance(value, set):
        return ", ".join(sorted(value)) or "none"
    return str(value)


# --- the journeys

_PAID = (E.ORDER_CREATED, E.PAYMENT_INITIATED, E.PAYMENT_COMPLETED)


def by_webhook(walk: Walk) -> None:
    """Paid; the gateway's webhook tells."""
    walk.make_order()
    walk.pay(walk.initiate())
    walk.wait_for("completed", "the webhook came: paid and confirmed")
    walk.check(End("completed", "success", "confirmed", _PAID, heard_by_webhook=True))


def by_redirect(walk: Walk) -> None:
    """Paid, the webhook is lost; the browser's way back tells."""
    walk.make_order()
    reference = walk.initiate()
    walk.lose_webhooks(reference)
    back = walk.pay(reference)
    walk.must(back is not None, "the gateway should send the browser back")
    walk.target.visit(str(back))
    walk.note("the browser came back")
    walk.wait_for("completed", "the gateway was asked: paid and confirmed")
    walk.check(End("completed", "success", "confirmed", _PAID, heard_by_webhook=False))


def by_poll(walk: Walk) -> None:
    """Paid, the webhook is lost and the browser closed; the scheduled question finds it."""
    walk.make_order()
    reference = walk.initiate()
    walk.lose_webhooks(reference)
    walk.pay(reference)
    walk.note("the browser was closed: nobody tells payflow")
    walk.wait_for("completed", "the scheduled question found it: paid and confirmed")
    walk.check(End("completed", "success", "confirmed", _PAID, heard_by_webhook=False))


def declined_then_paid(walk: Walk) -> None:
    """The bank declines, the customer tries again."""
    walk.make_order()
    walk.pay(walk.initiate(), "decline")
    walk.wait_for("failed", "the try failed, the order waits for another")
    walk.wait_for_letter(E.PAYMENT_FAILED)  # after a second try it would be withdrawn
    walk.pay(walk.initiate())
    walk.wait_for("completed", "paid and confirmed at the second try")
    walk.must(walk.payment()["retry_count"] == 1, "the second try should be counted")
    events = (*_PAID, E.PAYMENT_FAILED, E.PAYMENT_INITIATED)
    walk.check(End("completed", "success", "confirmed", events))


def expired(walk: Walk) -> None:
    """The customer leaves and the order's time runs out."""
    walk.make_order(life_seconds=SHORT_LIFE_SECONDS)
    walk.pay(walk.initiate(), "abandon")
    walk.wait_for("expired", "the gateway was asked once more, then the order expired")
    events = (E.ORDER_CREATED, E.PAYMENT_INITIATED, E.ORDER_EXPIRED)
    walk.check(End("expired", "cancelled", "pending", events, is_paid=False))


def refunded(walk: Walk) -> None:
    """Paid, given back in part, then in whole."""
    walk.make_order()
    walk.pay(walk.initiate())
    walk.wait_for("completed", "paid and confirmed")
    part = walk.total_minor // 3
    walk.ask_refund(part, "a third")
    walk.must(walk.order()["status"] == "completed", "a refund in part must leave the order as it is")
    walk.ask_refund(None, "the rest")
    walk.wait_for("refunded", "the order is refunded, its bookings are free")
    events = (*_PAID, *(E.REFUND_REQUESTED, E.REFUND_COMPLETED) * 2, *(E.BOOKING_CANCELLED,) * len(PRICES))
    walk.check(End("refunded", "refunded", "cancelled", events, refunded_minor=walk.total_minor))


@dataclass(frozen=True, slots=True)
class Journey:
    """A journey and how the table calls it."""

    title: str
    run: Callable[[Walk], None]


JOURNEYS = (
    Journey("paid, told by webhook", by_webhook),
    Journey("webhook lost, told by the redirect", by_redirect),
    Journey("both lost, found by asking", by_poll),
    Journey("declined, then tried again", declined_then_paid),
    Journey("abandoned and expired", expired),
    Journey("refunded in part, then whole", refunded),
)
