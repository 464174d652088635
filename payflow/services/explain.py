"""Why an order is where it is, and what happens next and when, in plain words. Reads rows, decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payflow.core.events import timestamp
from payflow.core.money import Money
from payflow.services.access import Caller
from payflow.store.timeline import Timelines

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Next:
    """What is owed, by whom, and when (None: it waits for somebody)."""

    what: str
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Story:
    """An order's timeline with its explanation."""

    order: Row
    why: str
    next: list[Next]
    entries: list[Row]

    def as_json(self) -> Row:
        """`{order_id, order_number, status, why, next: [{what, due_at}], entries: [{at, kind, what, subject_id, actor,
        correlation_id, task}]}`; moments are RFC 3339."""
        return {
            "order_id": self.order["id"],
            "order_number": self.order["order_number"],
            "status": self.order["status"],
            "why": self.why,
            "next": [{"what": one.what, "due_at": timestamp(one.due_at) if one.due_at else None} for one in self.next],
            "entries": [entry | {"at": timestamp(entry["at"])} for entry in self.entries],
        }


class Explainer:
    """Tells orders' stories to staff."""

    def __init__(self, timelines: Timelines) -> None:
        self._timelines = timelines

    def story(self, caller: Caller, order_id: str) -> Story:
        """Raises NotFound for what the caller cannot see, Forbidden for the customer itself."""
        found = self._timelines.of_order(caller.visibility, order_id)
        order = found["order"]
        caller.must_administer(user_id=order["user_id"], workspace_id=order["workspace_id"])
        return Story(order, _why(found), _next(found), found["entries"])


def _why(found: Row) -> str:
    order, payment, attempts = found["order"], found["payment"], found["attempts"]
    number = order["order_number"]
    match order["status"]:
        case "pending":
            return f"{number} waits for its customer to start a payment."
        case "processing":
            last = attempts[-1] if attempts else None
            if last is None:
                return f"{number} is being paid."
            return f"{number} is being paid: {_attempt_words(last)}"
        case "failed":
            reason = (payment or {}).get("error") or "the gateway gave no reason"
            return f"The last try to pay {number} failed: {reason}. The customer may try again."
        case "paid":
            return f"The money for {number} is verified; its bookings are not confirmed yet."
        case "completed":
            return f"{number} is paid and its bookings are confirmed."
        case "refunded":
            return f"The money for {number} was given back whole."
        case "expired":
            return f"{number} was not paid in time." + _captured_words(payment)
        case _:
            return f"{number} was cancelled." + _captured_words(payment)


def _captured_words(payment: Row | None) -> str:
    return " Money came all the same." if payment and payment["captured_minor"] else ""


def _attempt_words(attempt: Row) -> str:
    gateway, reference = attempt["gateway"], attempt["reference"]
    words = {
        "created": f"{gateway} has not been asked for a page yet ({reference}).",
        "initiated": f"the customer has {gateway}'s page ({reference}); {gateway} has not reported an end.",
        "unknown": f"a call to {gateway} got no clear answer ({reference}), so it is being asked.",
    }
    said = words.get(attempt["status"], f"the try {reference} at {gateway} is {attempt['status']}.")
    return f"{said} Last trouble: {attempt['error']}" if attempt["error"] and attempt["tries"] else said


def _next(found: Row) -> list[Next]:
    order: Row = found["order"]
    steps: list[Next] = []
    open_questions = [one for one in found["decisions"] if one["resolved_at"] is None]
    steps += [Next(f"A person decides: {one['detail']}", None) for one in open_questions]
    for attempt in found["attempts"]:
        if attempt["due_at"] is not None:
            verb = (
                "asked for a page"
                if attempt["status"] in ("created", "unknown")
                else f"asked about {attempt['reference']}"
            )
            steps.append(Next(f"{attempt['gateway']} is {verb}.", attempt["due_at"]))
    steps += [step for refund in found["refunds"] if (step := _refund_step(refund)) is not None]
    if order["status"] == "paid" and order["due_at"] is not None:
        steps.append(Next("The bookings are confirmed.", order["due_at"]))
    elif order["status"] == "pending":
        steps.append(Next("The customer starts a payment.", None))
    if order["status"] in ("pending", "processing"):
        steps.append(Next("The order expires unless it is paid.", order["expires_at"]))
    elif order["status"] == "failed":
        steps.append(Next("The customer may try again until then; else it stays failed.", order["expires_at"]))
    return steps


def _refund_step(refund: Row) -> Next | None:
    money = Money(refund["amount_minor"], refund["currency"])
    if refund["status"] not in ("pending", "processing"):
        return None
    if refund["approval"] == "waiting":
        return Next(f"An administrator approves or rejects the refund of {money}.", None)
    if refund["needs_attention"]:
        return Next(f"The refund of {money} needs attention at {refund['gateway']}.", refund["due_at"])
    verb = "asked for" if refund["status"] == "pending" else "asked about"
    return Next(f"{refund['gateway']} is {verb} the refund of {money}.", refund["due_at"])
