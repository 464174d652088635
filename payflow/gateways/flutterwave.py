"""Flutterwave v3 (Standard): its routes and rules. What it is sent, its words and its webhooks have files beside.

Source: Flutterwave v3 docs and API reference (Flutterwave Standard, Transactions, Refunds, Common errors) unless a line
says otherwise. v4 is another API. Nothing is idempotent; our own refund id travels in `comments`. One `tx_ref` may own
several transactions, since the customer may try again on the same page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, final

from payflow import logs
from payflow.core.clock import Clock
from payflow.core.errors import AnswerNotUnderstood, GatewayError, GatewayRejected, InvalidInput
from payflow.core.money import Money
from payflow.gateways.answers import moment, text_id, whole_number
from payflow.gateways.base import (
    AttemptRef,
    Gateway,
    Initiated,
    InitiateRequest,
    ListedPayment,
    ListedRefund,
    ListPage,
    LostInitiate,
    Outcome,
    RefundRef,
    RefundRequest,
    RefundResult,
    Verification,
    WebhookHint,
    Window,
)
from payflow.gateways.calls import Answer, Call, Dialect, TransportOptions, path_part
from payflow.gateways.flutterwave_form import days_since, page_body, refund_body, whole_days
from payflow.gateways.flutterwave_reading import (
    CURRENCIES,
    MINIMUM_REFUND,
    PAYMENT_OPTIONS,
    PLAIN_SUCCESS,
    decimal,
    page_info,
    read_error,
    read_refund,
    read_transaction,
)
from payflow.gateways.flutterwave_webhook import WebhookKeys, known_reference, read_webhook
from payflow.gateways.redaction import redact_text
from payflow.gateways.transport import Transport

_REFUND_ID = re.compile(r"[A-Za-z0-9-]{1,100}")
_MOST_PAGES = 100


@final
class FlutterwaveGateway(Gateway):
    """The adapter. Safe to share between threads."""

    name = "flutterwave"
    lost_initiate = LostInitiate.RENEW
    refund_is_idempotent = False

    def __init__(
        self,
        *,
        secret_key: str,
        base_url: str,
        webhook_secrets: tuple[str, ...],
        clock: Clock,
        options: TransportOptions | None = None,
        webhook_url: str | None = None,
    ) -> None:
        """`webhook_url`: our webhook's address; refunds are told only there unless support switched it on."""
        self._webhook_keys = WebhookKeys.read(webhook_secrets)
        self._webhook_url = webhook_url
        self._transport = Transport(
            gateway=self.name,
            base_url=base_url,
            secret_key=secret_key,
            dialect=Dialect(read_error=read_error, is_refusal=lambda body: body.get("status") == "error"),
            clock=clock,
            options=options,
        )
        self._clock = clock
        self._log = logs.get(__name__)

    def supports(self, currency: str) -> bool:
        """Whether Flutterwave takes this currency at all; an account may take fewer."""
        return currency in CURRENCIES

    def check(self, request: InitiateRequest) -> None:
        """Refuse a reference, currency, amount, method or address Flutterwave could never take."""
        if known_reference(request.reference) is None:
            raise InvalidInput(
                "A reference at Flutterwave is made of up to 64 letters, digits, - and _.",
                code="invalid_reference",
                pointer="/reference",
            )
        if not self.supports(request.amount.currency):
            raise InvalidInput(
                f"Flutterwave does not take {request.amount.currency}.",
                code="unsupported_currency",
                pointer="/currency",
            )
        _check_positive(request.amount)
        if request.payment_method is not None and request.payment_method not in PAYMENT_OPTIONS:
            raise InvalidInput(
                f"Flutterwave offers {', '.join(sorted(PAYMENT_OPTIONS))}.",
                code="unknown_payment_method",
                pointer="/payment_method",
            )
        if "@" not in request.customer_email:
            raise InvalidInput(
                "Flutterwave needs the customer's e-mail address.", code="invalid_email", pointer="/customer"
            )

    def initiate(self, request: InitiateRequest) -> Initiated:
        """Open a hosted page (Flutterwave Standard, POST /payments). There is no transaction yet, only a link.

        After OutcomeUnknown nobody can tell whether a link exists, so a new reference is used and both are asked after.
        """
        self.check(request)
        body = page_body(request, now=self._clock.now())
        answer = self._transport.call(Call("initiate", "POST", "/payments", "/payments", is_question=False, json=body))
        url = self._data(answer, "initiate").get("link")
        if not isinstance(url, str) or not url.startswith("https://" if self._transport.is_encrypted else "http"):
            raise self._odd("initiate", answer, "The answer holds no usable link.")
        return Initiated(authorization_url=url, raw=answer.raw)

    def verify(self, attempt: AttemptRef) -> Verification:
        """Ask after our reference (Verify transaction status with reference), and after its other transactions.

        Which of several transactions Flutterwave answers with is not documented, so the list of the reference is read
        too: a success hidden behind a failed try is the payment, and one beyond that is reported as an extra.
        """
        route = "/transactions/verify_by_reference"
        try:
            answer = self._ask("verify", route, query={"tx_ref": attempt.reference})
        except GatewayRejected as error:
            if error.code != "transaction_not_found":
                raise
            # The normal answer until the customer starts paying.
            return Verification(Outcome.PENDING, attempt.reference, message=error.detail, found=False)
        told = self._verification(self._data(answer, "verify"), "verify", answer)
        if told.reference != attempt.reference:
            return told
        tries = [told, *self._other_tries(told)]
        paid = sorted(
            (one for one in tries if one.outcome is Outcome.SUCCEEDED), key=lambda one: not _covers(one, attempt.amount)
        )
        if paid:
            return replace(paid[0], extra_successes=tuple(paid[1:]))
        return next((one for one in tries if one.outcome is not Outcome.FAILED), told)

    def check_refund(self, amount: Money) -> None:
        """Refuse an amount Flutterwave could never give back."""
        _check_positive(amount)
        least = MINIMUM_REFUND.get(amount.currency)
        if least is not None and amount < least:
            raise InvalidInput(
                f"Flutterwave gives back no less than {least}.", code="amount_too_small", pointer="/amount"
            )

    def refund(self, request: RefundRequest) -> RefundResult:
        """Give money back (Transaction refund); found by the transaction's id.

        A repeat would give back twice, so after OutcomeUnknown look into `list_refunds` for our id first. An account
        without enough balance raises GatewayUnavailable with code `insufficient_balance`: a person must top it up.
        """
        if not _REFUND_ID.fullmatch(request.refund_id):
            raise InvalidInput("A refund id is made of letters, digits and hyphens.", pointer="/refund_id")
        self.check_refund(request.amount)
        owner = request.attempt.transaction_id or self._transaction(request.attempt).transaction_id or ""
        body = refund_body(request, told_at=self._webhook_url)
        path = f"/transactions/{path_part(owner)}/refund"
        answer = self._transport.call(
            Call("refund", "POST", path, "/transactions/{id}/refund", is_question=False, json=body)
        )
        data = self._data(answer, "refund")
        if text_id(data.get("tx_id")) not in (None, owner):
            raise self._odd("refund", answer, "The answer is for another transaction.")
        result = self._refund(data, request.amount.currency, "refund", answer)
        if data.get("status") in PLAIN_SUCCESS and result.outcome is Outcome.SUCCEEDED:
            return replace(result, outcome=Outcome.PENDING)
        return result

    def fetch_refund(self, refund: RefundRef) -> RefundResult:
        """Ask after a refund (Fetch a refunded transaction)."""
        if refund.gateway_refund_id is None:
            raise InvalidInput("Flutterwave finds a refund only by its own id.", pointer="/gateway_refund_id")
        answer = self._ask("fetch_refund", f"/refunds/{path_part(refund.gateway_refund_id)}", "/refunds/{id}")
        data = self._data(answer, "fetch_refund")
        owner = text_id(data.get("transaction_id"))
        if text_id(data.get("id")) != refund.gateway_refund_id or (
            owner and refund.attempt.transaction_id not in (None, owner)
        ):
            raise self._odd("fetch_refund", answer, "The answer is for another refund.")
        return self._refund(data, refund.amount.currency, "fetch_refund", answer)

    def list_refunds(self, attempt: AttemptRef) -> list[RefundResult]:
        """Every refund of a transaction: all since the day it was made, those of others left out here.

        All or nothing: an incomplete list would lead to a second refund, so it raises AnswerNotUnderstood instead. The
        server's own filter by transaction is not used: were it misread there, an empty list would look like an answer.
        """
        known = self._transaction(attempt)
        currency = known.amount.currency if known.amount else attempt.amount.currency
        days = days_since(known.paid_at, now=self._clock.now(), margin_days=1) if known.paid_at else {}
        return [
            self._refund(row, currency, "list_refunds", answer)
            for row, answer in self._rows("list_refunds", "/refunds", days)
            if text_id(row.get("transaction_id")) == known.transaction_id
        ]

    def payments_made(self, window: Window, cursor: str | None = None) -> ListPage[ListedPayment]:
        """Get transactions, by whole days."""
        answer, rows, following = self._page("list_transactions", "/transactions", whole_days(window), cursor)
        told = (self._verification(row, "list_transactions", answer) for row in rows)
        made = (self._made_at(row, "list_transactions", answer) for row in rows)
        return ListPage(tuple(map(ListedPayment, told, made)), following)

    def refunds_made(self, window: Window, cursor: str | None = None) -> ListPage[ListedRefund]:
        """Fetch multiple refunded transactions, by whole days. The rows name no currency."""
        answer, rows, following = self._page("list_refunds", "/refunds", whole_days(window), cursor)
        told = (self._refund(row, None, "list_refunds", answer) for row in rows)
        made = (self._made_at(row, "list_refunds", answer) for row in rows)
        owners = (text_id(row.get("transaction_id")) for row in rows)
        majors = (decimal(row.get("amount_refunded")) for row in rows)
        return ListPage(tuple(map(ListedRefund, told, made, owners, majors)), following)

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookHint:
        """Check `flutterwave-signature` or `verif-hash` on the raw bytes, then read what the event points at."""
        return read_webhook(self._webhook_keys, headers, body)

    def callback_reference(self, query: Mapping[str, str]) -> str | None:
        """`tx_ref` only: `transaction_id` may be missing, the text `null`, or somebody else's."""
        return known_reference(query.get("tx_ref"))

    def _ask(
        self, operation: str, path: str, route: str | None = None, *, query: Mapping[str, str] | None = None
    ) -> Answer:
        return self._transport.call(Call(operation, "GET", path, route or path, is_question=True, query=query or {}))

    def _transaction(self, attempt: AttemptRef) -> Verification:
        """The paid transaction of a try; by its own id where that is known."""
        if attempt.transaction_id is not None:
            return self._by_id(attempt.transaction_id, attempt.reference)
        known = self.verify(attempt)
        if known.transaction_id is None:
            raise GatewayRejected(
                "Flutterwave does not know this transaction.",
                gateway=self.name,
                operation="verify",
                code="transaction_not_found",
            )
        return known

    def _by_id(self, transaction_id: str, reference: str) -> Verification:
        path = f"/transactions/{path_part(transaction_id)}/verify"
        answer = self._ask("verify", path, "/transactions/{id}/verify")
        told = self._verification(self._data(answer, "verify"), "verify", answer)
        if (told.transaction_id, told.reference) != (transaction_id, reference):
            raise self._odd("verify", answer, "The answer is for another transaction.")
        return told

    def _other_tries(self, told: Verification) -> list[Verification]:
        """The reference's other transactions, oldest first; what the list calls paid is asked for by its own id."""
        query = days_since(told.paid_at, now=self._clock.now(), margin_days=30) | {"tx_ref": told.reference}
        try:
            others = [
                self._verification(row, "list_transactions", answer)
                for row, answer in self._rows("list_transactions", "/transactions", query)
                if row.get("tx_ref") == told.reference and text_id(row.get("id")) != told.transaction_id
            ]
            return [
                self._by_id(one.transaction_id or "", told.reference) if one.outcome is Outcome.SUCCEEDED else one
                for one in reversed(others)
            ]
        except GatewayError as error:
            if told.outcome is not Outcome.SUCCEEDED:
                raise  # a paid try may be hidden in the list: nothing can be said without it
            self._log.warning(
                "a paid reference could not be searched for a second payment",
                action="gateway.list_failed",
                gateway=self.name,
                reference=told.reference,
                error=error.code,
            )
            return []

    def _rows(self, operation: str, path: str, query: Mapping[str, str]) -> list[tuple[dict[str, Any], Answer]]:
        """Every row of a paged list, each once, all or nothing: all there were when its first page was read."""
        found: dict[str, tuple[dict[str, Any], Answer]] = {}
        following: str | None = None
        total: int | None = None
        for _ in range(_MOST_PAGES):
            answer, rows, following = self._page(operation, path, query, following)
            before = len(found)
            total = whole_number(page_info(answer.body).get("total")) if total is None else total
            for row in rows:
                found.setdefault(text_id(row.get("id")) or "", (row, answer))
            if len(found) == before or following is None:
                if total is not None and len(found) < total:
                    raise self._odd(operation, answer, "The list is incomplete.")
                return list(found.values())
        raise self._odd(operation, answer, "The list does not end.")

    def _page(
        self, operation: str, path: str, query: Mapping[str, str], cursor: str | None
    ) -> tuple[Answer, list[dict[str, Any]], str | None]:
        """A page by number: the answer, its rows, the next number."""
        answer = self._ask(operation, path, query={**query, **({"page": cursor} if cursor else {})})
        rows = answer.body.get("data")
        if answer.body.get("status") != "success" or not isinstance(rows, list):
            raise self._odd(operation, answer, "The answer holds no list.")
        if not all(isinstance(row, dict) and text_id(row.get("id")) for row in rows):
            raise self._odd(operation, answer, "The list holds something without an id.")
        page, pages = int(cursor or "1"), whole_number(page_info(answer.body).get("total_pages"))
        is_last = not rows or (pages is not None and page >= pages)
        return answer, rows, None if is_last else str(page + 1)

    def _made_at(self, row: Mapping[str, Any], operation: str, answer: Answer) -> datetime:
        at = moment(row.get("created_at"))
        if at is None:
            raise self._odd(operation, answer, "The list holds something without a time.")
        return at

    def _data(self, answer: Answer, operation: str) -> dict[str, Any]:
        """`data` of the envelope; `status` there tells only whether the call worked, never what became of the money."""
        data = answer.body.get("data")
        if answer.body.get("status") != "success" or not isinstance(data, dict):
            raise self._odd(operation, answer, "The answer holds no data.")
        return data

    def _verification(self, data: Mapping[str, Any], operation: str, answer: Answer) -> Verification:
        try:
            told = read_transaction(data)
        except ValueError as odd:
            raise self._odd(operation, answer, str(odd)) from None
        self._warn_if_unknown(told.outcome, data, operation, answer)
        return told

    def _refund(self, data: Mapping[str, Any], currency: str | None, operation: str, answer: Answer) -> RefundResult:
        try:
            told = read_refund(data, currency)
        except ValueError as odd:
            raise self._odd(operation, answer, str(odd)) from None
        self._warn_if_unknown(told.outcome, data, operation, answer)
        return told

    def _warn_if_unknown(self, outcome: Outcome, data: Mapping[str, Any], operation: str, answer: Answer) -> None:
        if outcome is Outcome.UNKNOWN:
            self._log.warning(
                "a status this adapter does not know",
                action="gateway.unknown_status",
                gateway=self.name,
                operation=operation,
                status=redact_text(str(data.get("status")), limit=50),
                request_id=answer.request_id,
            )

    def _odd(self, operation: str, answer: Answer, detail: str) -> AnswerNotUnderstood:
        return AnswerNotUnderstood(
            detail, gateway=self.name, operation=operation, http_status=answer.http_status, request_id=answer.request_id
        )


def _check_positive(amount: Money) -> None:
    if amount.amount_minor <= 0:
        raise InvalidInput("An amount is more than zero.", code="invalid_amount", pointer="/amount")


def _covers(told: Verification, asked: Money) -> bool:
    return told.amount is not None and told.amount.currency == asked.currency and asked <= told.amount
