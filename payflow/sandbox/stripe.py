"""Stripe's API as its specification, samples and documentation show it: routes, rules, refusals.

How things are written is in stripe_shapes.py; what happens to money, in counterparty.py. The sandbox's `decline` is the
failure of a delayed payment, the only refusal that is final at Stripe; with the reason `card_declined` the card was
refused, so the page stays open and only `payment_intent.payment_failed` is sent. A session that is over may still be
paid here: money that comes too late can be tried.
"""

import hashlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, Response, request

from payflow.sandbox import stripe_shapes as shapes
from payflow.sandbox.counterparty import Counterparty
from payflow.sandbox.dialect import Event, Fact
from payflow.sandbox.fault_table import FaultName
from payflow.sandbox.records import Charge, ChargeStatus, Refund
from payflow.sandbox.stripe_desk import StripeDesk
from payflow.sandbox.stripe_keys import Kept, KeptRefusal, fingerprint, given_key
from payflow.sandbox.stripe_reading import (
    EMAIL,
    REASONS,
    REFUND_FIELDS,
    SESSION_FIELDS,
    Refusal,
    answer_json,
    check_steps,
    exponent,
    is_created_within,
    listed,
    missing,
    read_expiry,
    read_item,
    read_number,
    read_tree,
    read_words,
    unknown,
)

PLACEHOLDER = "{CHECKOUT_SESSION_ID}"
DEVELOPMENT_SECRET = "sk_test_sandbox_stripe"  # noqa: S105 - a made-up key for a made-up gateway
DEVELOPMENT_WEBHOOK_SECRET = "whsec_sandbox"  # noqa: S105 - likewise
DEFAULT_METHODS = ["card"]


class Stripe:
    """The Stripe dialect."""

    gateway = "stripe"

    def __init__(self, counterparty: Counterparty, *, secret: str, page_url: Callable[[Charge], str]) -> None:
        """Answer for `counterparty` to whoever knows `secret`; `page_url` gives the hosted page's address."""
        self._party = counterparty
        self._page_url = page_url
        self._desk = StripeDesk(counterparty, self.gateway, secret=secret)
        self._counter = itertools.count(1)
        self._restore_keys()

    # --- what the rest of the sandbox asks

    def webhooks(self, event: Event) -> list[tuple[str, str]]:
        """Return the webhooks for a fact, each an event with an id of its own."""
        now = self._party.clock.now()
        told = shapes.events(event, self._party.state.refunds_of(event.charge.id), now)
        return [
            (kind, shapes.event_body(kind, about, event_id=self._event_id(kind, about, now), now=now))
            for kind, about in told
        ]

    def _event_id(self, kind: str, about: Mapping[str, Any], now: datetime) -> str:
        words = f"{self._party.state.seed}:{kind}:{about['id']}:{now.isoformat()}:{next(self._counter)}"
        return f"evt_{hashlib.sha256(words.encode()).hexdigest()[:24]}"

    def sign(self, body: bytes, *, secret: str, now: datetime) -> Mapping[str, str]:
        """Return the signature header, with the machine's time in it.

        The sandbox's own clock may have been pushed ahead, and then every signature would look made for the future.
        """
        at = now - timedelta(seconds=self._party.clock.offset_seconds)
        return {"Stripe-Signature": shapes.signature(body, secret, int(at.timestamp()))}

    def redirect_url(self, charge: Charge, outcome: str) -> str | None:
        """Return success_url with the session's id once the session is complete, cancel_url for who leaves."""
        if outcome == "abandon":
            cancel_url = charge.details["cancel_url"]
            return cancel_url if isinstance(cancel_url, str) else None
        if outcome == "decline" and shapes.is_declined_card(charge):
            return None
        return (charge.callback_url or "").replace(PLACEHOLDER, shapes.session_id(charge)) or None

    def fee_minor(self, amount_minor: int, currency: str) -> int:
        """Return 2.9 % and thirty hundredths, where the currency has hundredths."""
        return amount_minor * 290 // 10_000 + (30 if exponent(currency) == 2 else 0)

    def exponent(self, currency: str) -> int:
        """Return how many decimals the API's amounts carry: 2 for UGX and ISK, 0 for JPY, 3 for KWD."""
        return exponent(currency)

    def error_500(self, status: int) -> Response:
        """Return Stripe's server error."""
        message = "An unknown error occurred"
        return answer_json(status, {"error": {"type": "api_error", "message": message}})

    def rate_limited(self, retry_after_seconds: int) -> Response:
        """Return Stripe's 429."""
        del retry_after_seconds
        message = "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits."
        return answer_json(429, {"error": {"type": "invalid_request_error", "code": "rate_limit", "message": message}})

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint(self.gateway, __name__)
        routes.post("/v1/checkout/sessions")(self.create_session)
        routes.get("/v1/checkout/sessions")(self.list_sessions)
        routes.get("/v1/checkout/sessions/<path:name>")(self.fetch_session)
        routes.post("/v1/checkout/sessions/<name>/expire")(self.expire_session)
        routes.get("/v1/payment_intents")(self.list_intents)
        routes.get("/v1/payment_intents/<path:name>")(self.fetch_intent)
        routes.post("/v1/refunds")(self.create_refund)
        routes.get("/v1/refunds")(self.list_refunds)
        routes.get("/v1/refunds/<path:name>")(self.fetch_refund)
        routes.after_request(self._dressed)
        return routes

    def _dressed(self, answer: Response) -> Response:
        answer.headers["Request-Id"] = f"req_{self._party.state.code('request', next(self._counter), 14)}"
        answer.headers["Stripe-Version"] = request.headers.get("Stripe-Version", shapes.API_VERSION)
        if "Idempotency-Key" in request.headers:
            answer.headers["Idempotency-Key"] = request.headers["Idempotency-Key"]
        return answer

    # --- keys of an earlier run

    def _restore_keys(self) -> None:
        """Take the keys of an earlier run out of what the journal kept."""
        state = self._party.state
        for charge in state.charges.values():
            if charge.gateway == self.gateway and charge.details.get("key"):
                key, asked = charge.details["key"]
                self._desk.keys.restore(key, Kept(asked, charge.created_at, charge.id, self._session_answer(charge)))
        for refund in state.refunds.values():
            if refund.gateway == self.gateway and refund.details.get("key"):
                key, asked = refund.details["key"]
                again = self._refund_answer(refund, state.charges[refund.charge_id])
                self._desk.keys.restore(key, Kept(asked, refund.created_at, refund.charge_id, again))

    def _session_answer(self, charge: Charge) -> Callable[[], Response]:
        """Answer with the session as it was when it was made."""
        fresh = replace(charge, status=ChargeStatus.OPEN, meanwhile=None, currency=charge.requested_currency)
        return lambda: answer_json(200, shapes.session(fresh, ("open", "unpaid"), url=self._page_url(charge)))

    def _refund_answer(self, refund: Refund, charge: Charge) -> Callable[[], Response]:
        return lambda: answer_json(200, shapes.refund(refund, charge, is_new=True))

    # --- sessions

    def create_session(self) -> Response:
        """POST /v1/checkout/sessions: one item, mode payment."""
        reference = request.form.get("client_reference_id")

        def work() -> tuple[Response, int]:
            form = read_tree(request.form.items(multi=True), SESSION_FIELDS)
            if form.get("mode") != "payment":
                raise missing("mode") if not form.get("mode") else Refusal("Invalid mode", param="mode")
            if not form.get("success_url"):
                raise missing("success_url")
            email = form.get("customer_email")
            if email is not None and not EMAIL.fullmatch(str(email)):
                raise Refusal(f"Invalid email address: {email}", code="email_invalid", param="customer_email")
            if reference is not None and not 0 < len(reference) <= 200:
                raise Refusal("Invalid string: must be at most 200 characters", param="client_reference_id")
            amount, currency, name = read_item(form)
            intent_data = form.get("payment_intent_data")
            details = {
                "client_reference_id": reference,
                "cancel_url": form.get("cancel_url"),
                "name": name,
                "metadata": read_words(form.get("metadata"), "metadata"),
                "intent_metadata": read_words(
                    intent_data.get("metadata") if isinstance(intent_data, dict) else None,
                    "payment_intent_data[metadata]",
                ),
                "methods": form.get("payment_method_types") or DEFAULT_METHODS,
                "expires_at": read_expiry(form.get("expires_at"), self._party.clock.now()),
                "key": [given_key(), fingerprint()] if given_key() else None,
            }
            charge = self._party.open_charge(
                self.gateway,
                reference=reference,
                amount_minor=amount,
                currency=currency,
                email=email or "",
                callback_url=form["success_url"],
                details=details,
            )
            answer = self._session_answer(charge)()
            if wrong := self._desk.strike(FaultName.WRONG_REFERENCE, charge, "initialize"):
                answer = answer_json(200, {**(answer.json or {}), "client_reference_id": wrong["reference"]})
            return answer, charge.id

        return self._desk.command("initialize", reference, work)

    def _session_named(self, name: str) -> Charge | None:
        charge = self._party.state.charge_by_code(name.removeprefix("cs_test_"))
        is_ours = charge is not None and charge.gateway == self.gateway and shapes.session_id(charge) == name
        return charge if is_ours else None

    def _status(self, charge: Charge) -> tuple[str, str]:
        """Return the session's status; an expiry is told as soon as somebody looks."""
        status = shapes.session_status(charge, self._party.clock.now())
        if status[0] == "expired" and not charge.details.get("is_closed"):
            charge.details["is_closed"] = True
            self._party.state.save(charge)
            self._party.announce(Event(fact=Fact.CHARGE_EXPIRED, charge=charge))
        return status

    def _session(self, charge: Charge, *, is_expanded: bool = False) -> dict[str, Any]:
        return shapes.session(charge, self._status(charge), url=self._page_url(charge), is_expanded=is_expanded)

    def fetch_session(self, name: str) -> Response:
        """GET /v1/checkout/sessions/{id}, with the payment intent inside when asked for."""
        charge = self._session_named(name)

        def work() -> Response:
            if charge is None or self._desk.strike(FaultName.NOT_FOUND_ON_VERIFY, charge, "verify") is not None:
                raise unknown("checkout.session", name)
            expand = [value for key, value in request.args.items(multi=True) if key.startswith("expand")]
            shown = self._session(charge, is_expanded="payment_intent" in expand)
            if odd := self._desk.strike(FaultName.UNKNOWN_STATUS, charge, "verify"):
                shown["status"] = odd["status"]
            if wrong := self._desk.strike(FaultName.WRONG_REFERENCE, charge, "verify"):
                shown["client_reference_id"] = wrong["reference"]
            return answer_json(200, shown)

        return self._desk.serve("verify", charge.reference if charge else None, work)

    def list_sessions(self) -> Response:
        """GET /v1/checkout/sessions, newest first, by payment intent if given."""
        wanted = request.args.get("payment_intent")

        def work() -> Response:
            rows = [
                charge
                for charge in self._party.listed(self._party.state.charges.values(), self.gateway, "list_transactions")
                if (wanted is None or (shapes.intent_status(charge) and shapes.intent_id(charge) == wanted))
            ]
            return answer_json(200, listed(rows, shapes.session_id, self._session))

        return self._desk.serve("list_transactions", None, work)

    def expire_session(self, name: str) -> Response:
        """POST /v1/checkout/sessions/{id}/expire."""
        charge = self._session_named(name)

        def work() -> tuple[Response, int]:
            if charge is None:
                raise unknown("checkout.session", name)
            status = self._status(charge)[0]
            if status != "open":
                message = (
                    'Only Checkout Sessions with a status in ["open"] can be expired. '
                    f"This Checkout Session has a status of `{status}`."
                )
                raise KeptRefusal(Refusal(message), charge.id)
            charge.details["is_closed"] = True
            self._party.state.save(charge)
            self._party.announce(Event(fact=Fact.CHARGE_EXPIRED, charge=charge))
            return answer_json(200, self._session(charge)), charge.id

        return self._desk.command("expire", charge.reference if charge else None, work)

    def _charge_named(self, name: str) -> Charge | None:
        """Find a payment by its intent's or its charge's id."""
        charge = self._party.state.charges.get(shapes.number_in(name))
        if charge is None or charge.gateway != self.gateway or shapes.intent_status(charge) is None:
            return None
        return charge if name in (shapes.intent_id(charge), shapes.charge_id(charge)) else None

    def fetch_intent(self, name: str) -> Response:
        """GET /v1/payment_intents/{id}."""
        charge = self._charge_named(name)

        def work() -> Response:
            if charge is None or not name.startswith("pi_"):
                raise unknown("payment_intent", name)
            if self._desk.strike(FaultName.NOT_FOUND_ON_VERIFY, charge, "fetch_transaction") is not None:
                raise unknown("payment_intent", name)
            shown = shapes.payment_intent(charge)
            if odd := self._desk.strike(FaultName.UNKNOWN_STATUS, charge, "fetch_transaction"):
                shown["status"] = odd["status"]
            return answer_json(200, shown)

        return self._desk.serve("fetch_transaction", charge.reference if charge else None, work)

    def list_intents(self) -> Response:
        """GET /v1/payment_intents, newest first, by time if given."""

        def work() -> Response:
            rows = [
                charge
                for charge in self._party.listed(self._party.state.charges.values(), self.gateway, "list_transactions")
                if shapes.intent_status(charge) is not None and is_created_within(charge.created_at)
            ]
            return answer_json(200, listed(rows, shapes.intent_id, shapes.payment_intent))

        return self._desk.serve("list_transactions", None, work)

    # --- refunds

    def create_refund(self) -> Response:
        """POST /v1/refunds: without an amount, all that is left."""
        name = request.form.get("payment_intent") or request.form.get("charge") or ""
        charge = self._charge_named(name)

        def work() -> tuple[Response, int]:
            form = read_tree(request.form.items(multi=True), REFUND_FIELDS)
            if not name:
                raise missing("payment_intent")
            if charge is None:
                raise unknown("payment_intent", name)
            reason, metadata = form.get("reason"), read_words(form.get("metadata"), "metadata")
            if reason is not None and reason not in REASONS:
                raise Refusal(f"Invalid reason: must be one of {', '.join(sorted(REASONS))}", param="reason")
            asked = read_number(form["amount"], "amount") if "amount" in form else None
            amount = self._refund_amount(charge, asked)
            details: dict[str, Any] = {"metadata": metadata, "reason": reason}
            if given_key():
                details["key"] = [given_key(), fingerprint()]
            refund = self._party.open_refund(charge, amount, details=details)
            return self._refund_answer(refund, charge)(), charge.id

        return self._desk.command("refund", charge.reference if charge else None, work)

    def _refund_amount(self, charge: Charge, asked: int | None) -> int:
        if asked is not None:
            check_steps(asked, charge.currency)
        if self._desk.strike(FaultName.REFUND_NO_BALANCE, charge, "refund") is not None:
            # whether the key remembers this is not known; here it does not, so that a topped-up balance helps
            raise Refusal(
                "Insufficient funds in your Stripe balance to refund this amount.", code="balance_insufficient"
            )
        if charge.status is not ChargeStatus.PAID:
            message = f"This PaymentIntent ({shapes.intent_id(charge)}) does not have a successful charge to refund."
            raise KeptRefusal(Refusal(message, param="payment_intent"), charge.id)
        if charge.charged_back:
            message = f"Charge {shapes.charge_id(charge)} has been charged back; cannot issue a refund."
            raise KeptRefusal(Refusal(message, code="charge_disputed"), charge.id)
        left = self._party.refundable_minor(charge)
        if left <= 0:
            message = f"Charge {shapes.charge_id(charge)} has already been refunded."
            raise KeptRefusal(Refusal(message, code="charge_already_refunded"), charge.id)
        amount = left if asked is None else asked
        if amount > left:
            message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
            raise KeptRefusal(Refusal(message, param="amount"), charge.id)
        if amount == 0:
            raise Refusal("Invalid positive integer", code="parameter_invalid_integer", param="amount")
        return amount

    def fetch_refund(self, name: str) -> Response:
        """GET /v1/refunds/{id}."""
        refund = self._party.state.refunds.get(shapes.number_in(name))
        if refund is not None and (refund.gateway != self.gateway or shapes.refund_id(refund) != name):
            refund = None

        def work() -> Response:
            if refund is None:
                raise unknown("refund", name)
            return answer_json(200, shapes.refund(refund, self._party.state.charges[refund.charge_id]))

        return self._desk.serve("fetch_refund", refund.reference if refund else None, work)

    def list_refunds(self) -> Response:
        """GET /v1/refunds, newest first, by payment intent or charge and by time if given."""
        wanted = request.args.get("payment_intent") or request.args.get("charge")
        charge = self._charge_named(wanted or "")

        def work() -> Response:
            state = self._party.state
            if wanted and charge is None:
                raise unknown("payment_intent", wanted)
            rows = state.refunds_of(charge.id) if charge else list(state.refunds.values())
            ours = [
                row
                for row in self._party.listed(rows, self.gateway, "list_refunds")
                if is_created_within(row.created_at)
            ]
            show = lambda row: shapes.refund(row, state.charges[row.charge_id])  # noqa: E731 - short, and used at once
            return answer_json(200, listed(ours, shapes.refund_id, show))

        return self._desk.serve("list_refunds", charge.reference if charge else None, work)
