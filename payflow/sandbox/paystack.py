"""Paystack's API as its documentation, samples and test mode show it: routes, rules, refusals.

How things are written is in paystack_shapes.py; what happens to money, in counterparty.py.
"""

import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, Response, request

from payflow.sandbox import paystack_shapes as shapes
from payflow.sandbox.answers import ApiDesk
from payflow.sandbox.counterparty import Counterparty
from payflow.sandbox.dialect import Event
from payflow.sandbox.fault_table import FaultName
from payflow.sandbox.paystack_reading import (
    REFERENCE,
    Refusal,
    answer_json,
    is_number,
    is_within_dates,
    paged,
    read_amount,
    read_body,
    read_currency,
    read_email,
    read_metadata,
    read_text,
    refused,
    said,
    unknown_transaction,
)
from payflow.sandbox.records import Charge, ChargeStatus, Refund, RefundStatus

DEVELOPMENT_SECRET = "sk_test_sandbox"  # noqa: S105 - a made-up key for a made-up gateway
NAIRA_FEE_CAP = 200_000
REFUND_MINIMUM = {"USD": 100, "GHS": 100}


class Paystack:
    """The Paystack dialect."""

    gateway = "paystack"

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
        """Return the signature header; Paystack signs no time."""
        del now
        return {"x-paystack-signature": shapes.signature(body, secret)}

    def redirect_url(self, charge: Charge, outcome: str) -> str | None:
        """Return callback_url with trxref and reference; leaving goes to metadata.cancel_action, if given."""
        if outcome in ("abandon", "late"):
            metadata = charge.details.get("metadata")
            action = metadata.get("cancel_action") if isinstance(metadata, dict) else None
            return action if isinstance(action, str) and action else None
        if not charge.callback_url:
            return None
        parts = urlsplit(charge.callback_url)
        query = [*parse_qsl(parts.query, keep_blank_values=True),
                 ("trxref", charge.reference), ("reference", charge.reference)]  # fmt: skip
        return urlunsplit(parts._replace(query=urlencode(query)))

    def fee_minor(self, amount_minor: int, currency: str) -> int:
        """Return 1.5 % plus NGN 100 from NGN 2500 on, at most NGN 2000; 1.95 % elsewhere."""
        if currency != "NGN":
            return amount_minor * 195 // 10_000
        return min(amount_minor * 150 // 10_000 + (10_000 if amount_minor >= 250_000 else 0), NAIRA_FEE_CAP)

    def exponent(self, currency: str) -> int:
        """Return 2: Paystack counts in hundredths of every currency, XOF included."""
        del currency
        return 2

    def error_500(self, status: int) -> Response:
        """Return Paystack's server error."""
        return answer_json(status, {"status": False, "message": "An error occurred", "type": "api_error",
                                "code": "unknown", "meta": {"nextStep": "Try again later"}})  # fmt: skip

    def rate_limited(self, retry_after_seconds: int) -> Response:
        """Return Paystack's 429."""
        answer = answer_json(429, {"status": False, "message": "Please wait a few minutes and try again.",
                               "type": "api_error", "code": "rate_limited", "meta": {}})  # fmt: skip
        answer.headers["x-ratelimit-reset"] = str(retry_after_seconds)
        return answer

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint(self.gateway, __name__)
        routes.post("/transaction/initialize")(self.initialize)
        routes.get("/transaction/verify/<path:reference>")(self.verify)
        routes.get("/transaction/<number>")(self.fetch_transaction)
        routes.get("/transaction")(self.list_transactions)
        routes.post("/refund")(self.create_refund)
        routes.get("/refund")(self.list_refunds)
        routes.get("/refund/<number>")(self.fetch_refund)
        routes.post("/refund/retry_with_customer_details/<number>")(self.retry_refund)
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
        header = request.headers.get("Authorization")
        if header is None:
            raise Refusal("No Authorization Header was found", code="invalid_Key", http=401)
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refusal("Format is Authorization Bearer [secret key]", code="invalid_Key", http=401)
        if not hmac.compare_digest(key.strip().encode(), self._secret.encode()):
            raise Refusal(
                "Invalid key", code="invalid_Key", http=401,
                next_step="Ensure that you provide the correct authorization key for the request",
            )  # fmt: skip

    def _strike(self, fault: FaultName, reference: str, operation: str) -> dict[str, Any] | None:
        plan = self._party.faults.take(fault, gateway=self.gateway, reference=reference, operation=operation)
        return None if plan is None else plan.params

    # --- transactions

    def initialize(self) -> Response:
        """POST /transaction/initialize."""
        body = read_body()
        reference = body.get("reference")

        def work() -> Response:
            email, amount, currency = read_email(body), read_amount(body.get("amount")), read_currency(body)
            self._check_new(reference)
            charge = self._party.open_charge(
                self.gateway,
                reference=reference or None,
                amount_minor=amount,
                currency=currency,
                email=email,
                callback_url=read_text(body.get("callback_url")),
                details={"metadata": read_metadata(body.get("metadata"))},
            )
            wrong = self._strike(FaultName.WRONG_REFERENCE, charge.reference, "initialize")
            return said("Authorization URL created", {
                "authorization_url": self._page_url(charge), "access_code": charge.access_code,
                "reference": wrong["reference"] if wrong else charge.reference,
            })  # fmt: skip

        return self._serve("initialize", reference if isinstance(reference, str) else None, work)

    def _check_new(self, reference: object) -> None:
        """Refuse a reference that was ever used, whatever became of its transaction."""
        if reference in (None, ""):
            return
        if not isinstance(reference, str) or not REFERENCE.fullmatch(reference):
            raise Refusal("Invalid character in transaction reference")
        if self._party.state.charges_of(self.gateway, reference):
            raise Refusal(
                "Duplicate Transaction Reference", code="duplicate_reference",
                next_step="Try and create the Transaction or Charge with a new reference",
            )  # fmt: skip

    def verify(self, reference: str) -> Response:
        """GET /transaction/verify/{reference}."""

        def work() -> Response:
            charge = self._party.state.find_charge(reference, self.gateway)
            lost = self._strike(FaultName.NOT_FOUND_ON_VERIFY, reference, "verify")
            if charge is None or lost is not None:
                raise unknown_transaction(lost["status"] if lost else 400)
            return said("Verification successful", self._transaction(charge, "verify"))

        return self._serve("verify", reference, work)

    def fetch_transaction(self, number: str) -> Response:
        """GET /transaction/{id}."""
        charge = self._party.state.charges.get(int(number)) if is_number(number) else None

        def work() -> Response:
            if not is_number(number):
                raise Refusal("Transaction ID should be numeric.")
            lost = self._strike(FaultName.NOT_FOUND_ON_VERIFY, charge.reference, "fetch_transaction") if charge else {}
            if charge is None or lost is not None or charge.gateway != self.gateway:
                raise Refusal("Transaction not found", code="transaction_not_found", http=404)
            shown = self._transaction(charge, "fetch_transaction")
            return said("Transaction retrieved", {**shown, "plan": {}, "helpdesk_link": None})

        return self._serve("fetch_transaction", charge.reference if charge else None, work)

    def _transaction(self, charge: Charge, operation: str) -> dict[str, Any]:
        shown = shapes.transaction(charge, self._status(charge))
        if odd := self._strike(FaultName.UNKNOWN_STATUS, charge.reference, operation):
            shown["status"] = odd["status"]
        if wrong := self._strike(FaultName.WRONG_REFERENCE, charge.reference, operation):
            shown["reference"] = wrong["reference"]
        return shown

    def _status(self, charge: Charge) -> str:
        return shapes.transaction_status(charge, self._party.state.refunds_of(charge.id))

    def list_transactions(self) -> Response:
        """GET /transaction."""

        def work() -> Response:
            rows = [
                charge
                for charge in self._party.listed(self._party.state.charges.values(), self.gateway, "list_transactions")
                if request.args.get("status") in (None, self._status(charge))
                and request.args.get("reference") in (None, charge.reference)
                and is_within_dates(charge.created_at)
            ]
            page, meta = paged(rows)
            volume = sum(row.charged_minor for row in rows if row.status is ChargeStatus.PAID)
            shown = [shapes.transaction(row, self._status(row)) for row in page]
            return said("Transactions retrieved", shown, {**meta, "total_volume": volume})

        return self._serve("list_transactions", request.args.get("reference"), work)

    # --- refunds

    def create_refund(self) -> Response:
        """POST /refund; every allowed call is one more refund: Paystack has no idempotency key."""
        body = read_body()
        charge = self._charge_named(body.get("transaction"))

        def work() -> Response:
            if body.get("transaction") in (None, ""):
                raise Refusal("transaction is required", code="missing_params")
            if charge is None:
                raise Refusal("Transaction not found", code="transaction_not_found", http=404)
            amount = self._refund_amount(charge, body)
            notes = {key: str(body[key]) for key in ("customer_note", "merchant_note") if body.get(key)}
            refund = self._party.open_refund(charge, amount, details=notes)
            return said("Refund has been queued for processing", shapes.refund_created(refund, charge))

        return self._serve("refund", charge.reference if charge else None, work)

    def _charge_named(self, name: object) -> Charge | None:
        charge = self._party.state.find_charge(str(name), self.gateway)
        if charge is None and is_number(str(name)):
            charge = self._party.state.charges.get(int(str(name)))
        return charge

    def _refund_amount(self, charge: Charge, body: Mapping[str, Any]) -> int:
        if charge.status is not ChargeStatus.PAID:
            raise Refusal("Transaction has not been paid and cannot be refunded")
        left = self._party.refundable_minor(charge)
        if left <= 0 or charge.charged_back:
            raise Refusal("Transaction has been fully reversed", code="transaction_reversed")
        if body.get("currency") not in (None, "", charge.currency):
            raise Refusal("Transaction currency must match refund currency")
        # without an amount Paystack means the whole original amount, even after a part went back
        amount = charge.charged_minor if body.get("amount") in (None, "") else read_amount(body["amount"])
        if amount > left:
            raise Refusal("Total refund amount cannot exceed original transaction amount")
        if amount < REFUND_MINIMUM.get(charge.currency, 1):
            raise Refusal(f"Cannot refund less than {charge.currency} 1")
        if self._strike(FaultName.REFUND_NO_BALANCE, charge.reference, "refund") is not None:
            raise Refusal("Insufficient balance to fulfill this refund. Please top up.", code="insufficient_balance")
        return amount

    def _refund_numbered(self, number: str) -> Refund | None:
        refund = self._party.state.refunds.get(int(number)) if is_number(number) else None
        return refund if refund is not None and refund.gateway == self.gateway else None

    def fetch_refund(self, number: str) -> Response:
        """GET /refund/{id}."""
        refund = self._refund_numbered(number)

        def work() -> Response:
            if refund is None:
                raise Refusal("Refund not found", code="not_found", http=404)
            return said("Refund retrieved", shapes.refund_fetched(refund))

        return self._serve("fetch_refund", refund.reference if refund else None, work)

    def list_refunds(self) -> Response:
        """GET /refund; `transaction` takes the transaction's number, not its reference."""
        wanted = request.args.get("transaction")
        charge = self._party.state.charges.get(int(wanted)) if wanted and is_number(wanted) else None

        def work() -> Response:
            if wanted and not is_number(wanted):
                raise Refusal("Transaction ID should be numeric.")
            state = self._party.state
            candidates = state.refunds_of(int(wanted)) if wanted else list(state.refunds.values())
            ours = self._party.listed(candidates, self.gateway, "list_refunds")
            rows = [row for row in ours if is_within_dates(row.created_at)]
            page, meta = paged(rows)
            failed = sum(refund.status is RefundStatus.FAILED for refund in rows)
            shown = [shapes.refund_fetched(row) for row in page]
            per_page = str(meta["perPage"])  # a string here, a number in the list of transactions
            return said("Refunds retrieved", shown, {**meta, "perPage": per_page, "failedRefundCount": failed})

        return self._serve("list_refunds", charge.reference if charge else None, work)

    def retry_refund(self, number: str) -> Response:
        """POST /refund/retry_with_customer_details/{id}."""
        refund = self._refund_numbered(number)

        def work() -> Response:
            if refund is None:
                raise Refusal("Refund not found", code="not_found", http=404)
            if refund.status is not RefundStatus.NEEDS_ATTENTION:
                raise Refusal('Invalid Refund state, refund status should be "needs-attention"', http=422)
            details = read_body().get("refund_account_details")
            if not isinstance(details, dict) or not {"currency", "account_number", "bank_id"} <= set(details):
                raise Refusal("refund_account_details must have currency, account_number and bank_id")
            self._party.retry_refund(refund)
            return said("Refund retried and has been queued for processing", shapes.refund_fetched(refund))

        return self._serve("retry_refund", refund.reference if refund else None, work)
