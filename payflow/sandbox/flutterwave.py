"""Flutterwave's v3 API as its documentation and samples show it: routes (those after /v3), rules, refusals.

How things are written is in flutterwave_shapes.py; what happens to money, in counterparty.py. Where Flutterwave says
nothing, this takes the choice that is hardest for a merchant: see `initialize` and `verify`.
"""

import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, Response, request

from payflow.sandbox import flutterwave_shapes as shapes
from payflow.sandbox.answers import ApiDesk
from payflow.sandbox.counterparty import Counterparty
from payflow.sandbox.dialect import Event
from payflow.sandbox.fault_table import FaultName
from payflow.sandbox.flutterwave_reading import (
    Refusal,
    answer_json,
    is_number,
    is_within,
    paged,
    read_amount,
    read_body,
    read_currency,
    read_days,
    read_email,
    read_text,
    refused,
    said,
    unknown_transaction,
)
from payflow.sandbox.records import Charge, ChargeStatus, Refund

DEVELOPMENT_SECRET = "FLWSECK_TEST-sandbox"  # noqa: S105 - a made-up key for a made-up gateway
DEVELOPMENT_HASH = "sandbox-secret-hash"
STATIC_HEADER, SIGNED_HEADER = "verif-hash", "flutterwave-signature"
BOTH_HEADERS = (STATIC_HEADER, SIGNED_HEADER)
NAIRA_FEE_CAP = 200_000
REFUND_MINIMUM = {"NGN": 100_00, "KES": 10_00}
TRANSACTIONS_PER_PAGE, REFUNDS_PER_PAGE = 10, 20


def signature_of(configured: str) -> tuple[str, tuple[str, ...]]:
    """Read a configured secret hash as the merchant's side reads it: the bare hash and the headers it is shown in."""
    word = configured.split(",", maxsplit=1)[0].strip()
    for prefix, header in (("static:", STATIC_HEADER), ("hmac:", SIGNED_HEADER)):
        if word.startswith(prefix):
            return word.removeprefix(prefix), (header,)
    return word, BOTH_HEADERS


class Flutterwave:
    """The Flutterwave dialect."""

    gateway = "flutterwave"

    def __init__(self, counterparty: Counterparty, *, secret: str, page_url: Callable[[Charge], str]) -> None:
        """Answer for `counterparty` to whoever knows `secret`; `page_url` gives the hosted page's address."""
        self._party = counterparty
        self._secret = secret
        self._page_url = page_url
        self._desk = ApiDesk(counterparty, self.gateway)

    # --- what the rest of the sandbox asks

    def webhooks(self, event: Event) -> list[tuple[str, str]]:
        """Return the one webhook for a fact, or none."""
        body = shapes.webhook_body(event)
        return [] if body is None else [body]

    def sign(self, body: bytes, *, secret: str, now: datetime) -> Mapping[str, str]:
        """Return the proofs `secret` asks for: the hash itself, the body's HMAC under it; neither holds a time."""
        del now
        word, headers = signature_of(secret)
        proofs = {STATIC_HEADER: word, SIGNED_HEADER: shapes.signature(body, word)}
        return {name: proofs[name] for name in headers}

    def redirect_url(self, charge: Charge, outcome: str) -> str | None:
        """Return redirect_url with status, tx_ref and transaction_id, which is missing when the customer left."""
        if not charge.callback_url:
            return None
        newest = self._party.state.charge_by_code(charge.access_code) or charge
        status = {"success": "successful", "decline": "failed", "late": "completed"}.get(outcome, "cancelled")
        told = [("status", status), ("tx_ref", charge.reference)]
        if outcome != "abandon":
            told.append(("transaction_id", str(newest.id)))
        parts = urlsplit(charge.callback_url)
        query = [*parse_qsl(parts.query, keep_blank_values=True), *told]
        return urlunsplit(parts._replace(query=urlencode(query)))

    def fee_minor(self, amount_minor: int, currency: str) -> int:
        """Return 1.4 %, in naira at most NGN 2000."""
        fee = amount_minor * 140 // 10_000
        return min(fee, NAIRA_FEE_CAP) if currency == "NGN" else fee

    def exponent(self, currency: str) -> int:
        """Return the decimals of the currency itself: amounts are sent in major units."""
        return shapes.exponent(currency)

    def error_500(self, status: int) -> Response:
        """Return Flutterwave's server errors: the 503 after 28 seconds in the envelope, the others without it."""
        if status == 503:
            return refused(Refusal("An error occurred. Please contact support", status))
        words = "Application error. Please contact support"
        return answer_json(status, {"error_id": "ERRNO796977608T1", "message": words, "code": "app_error"})

    def rate_limited(self, retry_after_seconds: int) -> Response:
        """Return Flutterwave's 429."""
        del retry_after_seconds
        return refused(Refusal("Too many requests", 429))

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint(self.gateway, __name__)
        routes.post("/payments")(self.initialize)
        routes.get("/transactions/verify_by_reference")(self.verify)
        routes.get("/transactions/<number>/verify")(self.verify_by_number)
        routes.get("/transactions")(self.list_transactions)
        routes.post("/transactions/<number>/refund")(self.create_refund)
        routes.get("/refunds")(self.list_refunds)
        routes.get("/refunds/<number>")(self.fetch_refund)
        return routes

    def _serve(self, operation: str, reference: str | None, work: Callable[[], Response]) -> Response:
        def guarded() -> Response:
            try:
                self._check_key()
                return work()
            except Refusal as no:
                return refused(no)

        return self._desk.serve(operation, reference, guarded)

    def _check_key(self) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refusal("Authorization required", 401)
        if not hmac.compare_digest(key.strip().encode(), self._secret.encode()):
            raise Refusal("Invalid authorization key", 401)

    def _strike(self, fault: FaultName, reference: str, operation: str) -> dict[str, Any] | None:
        plan = self._party.faults.take(fault, gateway=self.gateway, reference=reference, operation=operation)
        return None if plan is None else plan.params

    # --- transactions

    def initialize(self) -> Response:
        """POST /payments. A tx_ref that was used gets one more link: what Flutterwave does then is not published."""
        body = read_body()
        reference = read_text(body.get("tx_ref"))

        def work() -> Response:
            if reference is None:
                raise Refusal("tx_ref is required")
            email, currency = read_email(body), read_currency(body)
            charge = self._party.open_charge(
                self.gateway,
                reference=reference,
                amount_minor=read_amount(body.get("amount"), currency),
                currency=currency,
                email=email,
                callback_url=read_text(body.get("redirect_url")),
                details={"meta": body.get("meta") or {}, "name": read_text(body["customer"].get("name"))},
            )
            charge.one_per_try = True
            self._party.state.save(charge)
            return said("Hosted Link", {"link": self._page_url(charge)})

        return self._serve("initialize", reference, work)

    def verify(self) -> Response:
        """GET /transactions/verify_by_reference. Of several transactions the oldest: which one is not published."""
        reference = request.args.get("tx_ref", "")

        def work() -> Response:
            started = [one for one in self._party.state.charges_of(self.gateway, reference) if shapes.is_started(one)]
            lost = self._strike(FaultName.NOT_FOUND_ON_VERIFY, reference, "verify")
            if not started or lost is not None:
                raise unknown_transaction(int(lost["status"]) if lost else 400)
            return said("Transaction fetched successfully", self._transaction(started[0], "verify"))

        return self._serve("verify", reference, work)

    def verify_by_number(self, number: str) -> Response:
        """GET /transactions/{id}/verify."""
        charge = self._charge_numbered(number)

        def work() -> Response:
            if charge is None or not shapes.is_started(charge):
                raise unknown_transaction()
            if lost := self._strike(FaultName.NOT_FOUND_ON_VERIFY, charge.reference, "fetch_transaction"):
                raise unknown_transaction(int(lost["status"]))
            return said("Transaction fetched successfully", self._transaction(charge, "fetch_transaction"))

        return self._serve("fetch_transaction", charge.reference if charge else None, work)

    def _charge_numbered(self, number: str) -> Charge | None:
        charge = self._party.state.charges.get(int(number)) if is_number(number) else None
        return charge if charge is not None and charge.gateway == self.gateway else None

    def _transaction(self, charge: Charge, operation: str) -> dict[str, Any]:
        shown = shapes.transaction(charge)
        if odd := self._strike(FaultName.UNKNOWN_STATUS, charge.reference, operation):
            shown["status"] = odd["status"]
        if wrong := self._strike(FaultName.WRONG_REFERENCE, charge.reference, operation):
            shown["tx_ref"] = wrong["reference"]
        return shown

    def list_transactions(self) -> Response:
        """GET /transactions, newest first."""
        reference = request.args.get("tx_ref")

        def work() -> Response:
            days = read_days()
            rows = [
                charge
                for charge in self._party.listed(self._party.state.charges.values(), self.gateway, "list_transactions")
                if shapes.is_started(charge)
                and reference in (None, charge.reference)
                and request.args.get("status") in (None, shapes.PAYMENT_STATUS[charge.status])
                and request.args.get("currency") in (None, charge.currency)
                and is_within(charge.created_at, days)
            ]
            page, meta = paged(rows, TRANSACTIONS_PER_PAGE)
            return said("Transactions fetched", [shapes.transaction_in_list(row) for row in page], meta)

        return self._serve("list_transactions", reference, work)

    # --- refunds

    def create_refund(self, number: str) -> Response:
        """POST /transactions/{id}/refund; every allowed call is one more refund: there is no idempotency key."""
        body = read_body()
        charge = self._charge_numbered(number)

        def work() -> Response:
            if charge is None or charge.status is not ChargeStatus.PAID:
                raise unknown_transaction()
            amount = self._refund_amount(charge, body)
            details = {key: str(body[key]) for key in ("comments", "callbackurl") if body.get(key)}
            refund = self._party.open_refund(charge, amount, details=details)
            return said("Transaction refund initiated", shapes.refund_created(refund, charge))

        return self._serve("refund", charge.reference if charge else None, work)

    def _refund_amount(self, charge: Charge, body: Mapping[str, Any]) -> int:
        left = self._party.refundable_minor(charge)
        if left <= 0 or charge.charged_back:
            raise Refusal("Transaction has already been refunded")
        amount = left if body.get("amount") in (None, "") else read_amount(body["amount"], charge.currency)
        if amount > left:
            raise Refusal("Refund amount cannot exceed the transaction amount")
        least = REFUND_MINIMUM.get(charge.currency, 1)
        if amount < least:
            raise Refusal(
                f"Amount should be above {charge.currency}{shapes.written(shapes.major(least, charge.currency))}"
            )
        if self._strike(FaultName.REFUND_NO_BALANCE, charge.reference, "refund") is not None:
            raise Refusal("Insufficient balance to process this refund")
        return amount

    def list_refunds(self) -> Response:
        """GET /refunds, newest first; the dates and `id`, the transaction's number, may be left out."""
        wanted = request.args.get("id")

        def work() -> Response:
            state = self._party.state
            days = read_days() if {"from", "to"} & set(request.args) else None
            rows = [
                refund
                for refund in self._party.listed(state.refunds.values(), self.gateway, "list_refunds")
                if wanted in (None, str(refund.charge_id)) and (days is None or is_within(refund.created_at, days))
            ]
            page, meta = paged(rows, REFUNDS_PER_PAGE)
            meta["page_info"]["page_size"] = REFUNDS_PER_PAGE
            shown = [shapes.refund_fetched(row, state.charges[row.charge_id]) for row in page]
            return said("Refunds fetched", shown, meta)

        charge = self._charge_numbered(wanted) if wanted else None
        return self._serve("list_refunds", charge.reference if charge else None, work)

    def fetch_refund(self, number: str) -> Response:
        """GET /refunds/{id}."""
        refund = self._refund_numbered(number)

        def work() -> Response:
            if refund is None:
                raise Refusal("Refund not found")
            return said("Refund fetched", shapes.refund_fetched(refund, self._party.state.charges[refund.charge_id]))

        return self._serve("fetch_refund", refund.reference if refund else None, work)

    def _refund_numbered(self, number: str) -> Refund | None:
        refund = self._party.state.refunds.get(int(number)) if is_number(number) else None
        return refund if refund is not None and refund.gateway == self.gateway else None
