"""Paystack: its routes and shapes. Its words, amounts and webhooks have files of their own.

Source: Paystack API reference and docs (Transactions, Refunds, Webhooks, Errors) unless a line says otherwise.
A refund has no idempotency key; our own id travels in `merchant_note` and comes back in every list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, final

from payflow import logs
from payflow.core.clock import Clock
from payflow.core.errors import AnswerNotUnderstood, ConfigurationError, GatewayRejected, InvalidInput
from payflow.core.events import timestamp
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
from payflow.gateways.paystack_amounts import (
    MINIMUM_SUBUNITS,
    charge_subunits,
    fee_minor,
    from_subunits,
    refund_subunits,
)
from payflow.gateways.paystack_webhook import known_reference, read_webhook
from payflow.gateways.paystack_words import CHANNELS, PAYMENT_OUTCOMES, REFUND_OUTCOMES, is_not_found, read_error
from payflow.gateways.redaction import redact_object, redact_text
from payflow.gateways.transport import Transport

_REFUND_ID = re.compile(r"[A-Za-z0-9-]{1,100}")
_NOTE = re.compile(r"payflow refund ([A-Za-z0-9-]+)")
_PER_PAGE, _MOST_PAGES = 100, 50


@final
class PaystackGateway(Gateway):
    """The adapter. Safe to share between threads."""

    name = "paystack"
    lost_initiate = LostInitiate.PROBE
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
        if not webhook_secrets or not all(webhook_secrets):
            raise ConfigurationError("Paystack signs its webhooks with the secret key, so it cannot be empty.")
        self._webhook_keys = tuple(secret.encode() for secret in webhook_secrets)
        self._transport = Transport(
            gateway=self.name,
            base_url=base_url,
            secret_key=secret_key,
            dialect=Dialect(read_error=read_error, is_refusal=lambda body: body.get("status") is False),
            clock=clock,
            options=options,
        )
        self._log = logs.get(__name__)

    def supports(self, currency: str) -> bool:
        """Whether Paystack takes this currency at all; an account may take fewer."""
        return currency in MINIMUM_SUBUNITS

    def check(self, request: InitiateRequest) -> None:
        """Refuse a reference, currency, amount, method or address Paystack could never take."""
        if known_reference(request.reference) is None:
            raise InvalidInput(
                "Paystack takes only letters, digits and - . = in a reference.",
                code="invalid_reference",
                pointer="/reference",
            )
        charge_subunits(request.amount)
        if request.payment_method is not None and request.payment_method not in CHANNELS:
            raise InvalidInput(
                f"Paystack offers {', '.join(sorted(CHANNELS))}.",
                code="unknown_payment_method",
                pointer="/payment_method",
            )
        if "@" not in request.customer_email:
            raise InvalidInput(
                "Paystack needs the customer's e-mail address.", code="invalid_email", pointer="/customer"
            )

    def initiate(self, request: InitiateRequest) -> Initiated:
        """Open a hosted page (Paystack API, Initialize transaction); no field for name, text, deadline.

        A reference is taken once for ever: after OutcomeUnknown ask `verify`; not found means it may be sent again.
        Raises GatewayRejected with code `duplicate_reference` when the reference is taken.
        """
        self.check(request)
        body: dict[str, Any] = {
            "email": request.customer_email,
            "amount": charge_subunits(request.amount),
            "currency": request.amount.currency,
            "reference": request.reference,
            "callback_url": request.callback_url,
        }
        if request.payment_method is not None:
            body["channels"] = [request.payment_method]
        if request.metadata:
            body["metadata"] = dict(request.metadata)
        route = "/transaction/initialize"
        answer = self._transport.call(Call("initiate", "POST", route, route, is_question=False, json=body))
        data = self._data(answer, "initiate")
        url, access_code = data.get("authorization_url"), data.get("access_code")
        if data.get("reference") != request.reference:
            raise self._odd("initiate", answer, "The answer is for another reference.")
        if not isinstance(url, str) or not url.startswith("https://" if self._transport.is_encrypted else "http"):
            raise self._odd("initiate", answer, "The answer holds no usable authorization_url.")
        return Initiated(
            authorization_url=url, session_id=access_code if isinstance(access_code, str) else None, raw=answer.raw
        )

    def verify(self, attempt: AttemptRef) -> Verification:
        """Ask after a reference (Paystack API, Verify transaction)."""
        call = Call(
            "verify",
            "GET",
            f"/transaction/verify/{path_part(attempt.reference)}",
            "/transaction/verify/{reference}",
            is_question=True,
        )
        try:
            answer = self._transport.call(call)
            data = self._data(answer, "verify")
        except GatewayRejected as error:
            if not is_not_found(error):
                raise
            return Verification(Outcome.PENDING, attempt.reference, message=error.detail, found=False)
        return replace(self._verification(data, "verify", answer), raw=answer.raw)

    def check_refund(self, amount: Money) -> None:
        """Refuse an amount Paystack could never give back."""
        refund_subunits(amount)

    def refund(self, request: RefundRequest) -> RefundResult:
        """Give money back (Paystack API, Create refund).

        The amount is always sent: left out it means the whole original amount, even after a partial refund. A repeat
        would give back twice, so after OutcomeUnknown look into `list_refunds` for our id first. An account without
        enough balance raises GatewayUnavailable with code `insufficient_balance`: a person must top it up.
        """
        if not _REFUND_ID.fullmatch(request.refund_id):
            raise InvalidInput("A refund id is made of letters, digits and hyphens.", pointer="/refund_id")
        body = {
            "transaction": request.attempt.reference,
            "amount": refund_subunits(request.amount),
            "currency": request.amount.currency,
            "merchant_note": f"payflow refund {request.refund_id}",
        }
        answer = self._transport.call(Call("refund", "POST", "/refund", "/refund", is_question=False, json=body))
        data = self._data(answer, "refund")
        transaction = data.get("transaction")
        if isinstance(transaction, dict) and transaction.get("reference") not in (None, request.attempt.reference):
            raise self._odd("refund", answer, "The answer is for another transaction.")
        return self._refund(data, "refund", answer)

    def fetch_refund(self, refund: RefundRef) -> RefundResult:
        """Ask after a refund (Paystack API, Fetch refund)."""
        if refund.gateway_refund_id is None:
            raise InvalidInput("Paystack finds a refund only by its own id.", pointer="/gateway_refund_id")
        path = f"/refund/{path_part(refund.gateway_refund_id)}"
        answer = self._transport.call(Call("fetch_refund", "GET", path, "/refund/{id}", is_question=True))
        result = self._refund(self._data(answer, "fetch_refund"), "fetch_refund", answer)
        if result.gateway_refund_id != refund.gateway_refund_id:
            raise self._odd("fetch_refund", answer, "The answer is for another refund.")
        return result

    def list_refunds(self, attempt: AttemptRef) -> list[RefundResult]:
        """Every refund of a transaction (Paystack API, List refunds, filtered by the numeric transaction id).

        All or nothing: an incomplete list would lead to a second refund, so it raises AnswerNotUnderstood instead.
        The filter is not in the published parameters, so rows of other transactions are left out here as well.
        """
        transaction_id = attempt.transaction_id or self._transaction_id(attempt)
        found: dict[str, RefundResult] = {}
        seen: set[str] = set()
        for page in range(1, _MOST_PAGES + 1):
            query = {"transaction": transaction_id, "perPage": str(_PER_PAGE), "page": str(page)}
            answer = self._transport.call(
                Call("list_refunds", "GET", "/refund", "/refund", is_question=True, query=query)
            )
            rows, meta = self._rows("list_refunds", answer)
            fresh = [row for row in rows if text_id(row.get("id")) not in seen]
            for row in fresh:
                seen.add(text_id(row.get("id")) or "")
                if _owner(row) == transaction_id:
                    result = self._refund(row, "list_refunds", answer)
                    found[result.gateway_refund_id or ""] = result
            pages, total = whole_number(meta.get("pageCount")), whole_number(meta.get("total"))
            if not fresh or (pages is not None and page >= pages):
                if total is not None and len(seen) < total:
                    raise self._odd("list_refunds", answer, "The list of refunds is incomplete.")
                return list(found.values())
        raise self._odd("list_refunds", answer, "The list of refunds does not end.")

    def payments_made(self, window: Window, cursor: str | None = None) -> ListPage[ListedPayment]:
        """Paystack API, List transactions."""
        answer, rows, following = self._page("list_transactions", "/transaction", window, cursor)
        told = (self._verification(row, "list_transactions", answer) for row in rows)
        made = (self._made_at(row, "list_transactions", answer) for row in rows)
        return ListPage(tuple(map(ListedPayment, told, made)), following)

    def refunds_made(self, window: Window, cursor: str | None = None) -> ListPage[ListedRefund]:
        """Paystack API, List refunds."""
        answer, rows, following = self._page("list_refunds", "/refund", window, cursor)
        told = (self._refund(row, "list_refunds", answer) for row in rows)
        made = (self._made_at(row, "list_refunds", answer) for row in rows)
        return ListPage(tuple(map(ListedRefund, told, made, map(_owner, rows))), following)

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookHint:
        """Check `x-paystack-signature` on the raw bytes, then read what the event points at."""
        return read_webhook(self._webhook_keys, headers, body)

    def callback_reference(self, query: Mapping[str, str]) -> str | None:
        """`reference`, or `trxref` which older pages send; the visit itself proves nothing."""
        return known_reference(query.get("reference")) or known_reference(query.get("trxref"))

    def _transaction_id(self, attempt: AttemptRef) -> str:
        known = self.verify(attempt)
        if known.transaction_id is None:
            raise GatewayRejected(
                "Paystack does not know this transaction.",
                gateway=self.name,
                operation="list_refunds",
                code="transaction_not_found",
            )
        return known.transaction_id

    def _data(self, answer: Answer, operation: str) -> dict[str, Any]:
        """`data` of the envelope; `status` there tells only whether the call worked, never what became of the money."""
        data = answer.body.get("data")
        if answer.body.get("status") is not True or not isinstance(data, dict):
            raise self._odd(operation, answer, "The answer holds no data.")
        return data

    def _page(
        self, operation: str, route: str, window: Window, cursor: str | None
    ) -> tuple[Answer, list[dict[str, Any]], str | None]:
        """A page by number: the answer, its rows, the next number. Official samples do not tell how many there are."""
        page = int(cursor or "1")
        query = {"from": timestamp(window.since), "to": timestamp(window.until)}
        query |= {"perPage": str(_PER_PAGE), "page": str(page)}
        answer = self._transport.call(Call(operation, "GET", route, route, is_question=True, query=query))
        rows, meta = self._rows(operation, answer)
        pages = whole_number(meta.get("pageCount"))
        is_last = not rows or (pages is not None and page >= pages)
        return answer, rows, None if is_last else str(page + 1)

    def _made_at(self, row: Mapping[str, Any], operation: str, answer: Answer) -> datetime:
        at = moment(row.get("createdAt") or row.get("created_at"))
        if at is None:
            raise self._odd(operation, answer, "The list holds something without a time.")
        return at

    def _rows(self, operation: str, answer: Answer) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
        rows, meta = answer.body.get("data"), answer.body.get("meta")
        if answer.body.get("status") is not True or not isinstance(rows, list):
            raise self._odd(operation, answer, "The answer holds no list.")
        if not all(isinstance(row, dict) and text_id(row.get("id")) for row in rows):
            raise self._odd(operation, answer, "The list holds something without an id.")
        return rows, meta if isinstance(meta, dict) else {}

    def _verification(self, data: Mapping[str, Any], operation: str, answer: Answer) -> Verification:
        """One transaction, as the question and the list answer it.

        Who bears the fee decides what `amount` is: when the customer does, it is more than we asked and
        `requested_amount` is what the payment is worth to the order.
        """
        reference, status, currency = data.get("reference"), data.get("status"), data.get("currency")
        if not isinstance(reference, str) or not isinstance(status, str) or not isinstance(currency, str):
            raise self._odd(operation, answer, "The answer lacks reference, status or currency.")
        paid = self._subunits(data.get("amount"), operation, answer)
        asked = data.get("requested_amount")
        worth = paid if asked is None else min(paid, self._subunits(asked, operation, answer))
        said = data.get("gateway_response")
        channel, domain, fees = data.get("channel"), data.get("domain"), whole_number(data.get("fees"))
        return Verification(
            outcome=self._outcome(PAYMENT_OUTCOMES, status, operation, answer),
            reference=reference,
            amount=self._money(worth, currency, operation, answer),
            transaction_id=text_id(data.get("id")),
            fee_minor=None if fees is None else fee_minor(fees, currency),
            payment_method=channel if isinstance(channel, str) else None,
            paid_at=moment(data.get("paid_at") or data.get("paidAt")),
            is_test={"test": True, "live": False}.get(domain) if isinstance(domain, str) else None,
            message=redact_text(said, limit=200) if isinstance(said, str) else None,
            raw=redact_object(data),
        )

    def _refund(self, data: Mapping[str, Any], operation: str, answer: Answer) -> RefundResult:
        status, refund_id, currency = data.get("status"), text_id(data.get("id")), data.get("currency")
        if not isinstance(status, str) or refund_id is None or not isinstance(currency, str):
            raise self._odd(operation, answer, "The answer lacks id, status or currency of the refund.")
        note = data.get("merchant_note")
        ours = _NOTE.search(note) if isinstance(note, str) else None
        return RefundResult(
            outcome=self._outcome(REFUND_OUTCOMES, status, operation, answer),
            gateway_refund_id=refund_id,
            amount=self._money(self._subunits(data.get("amount"), operation, answer), currency, operation, answer),
            refund_id=ours.group(1) if ours else None,
            needs_attention=status == "needs-attention",
            message=f"Paystack says {status}." if status in REFUND_OUTCOMES else None,
            raw=redact_object(data),
        )

    def _outcome(self, table: Mapping[str, Outcome], status: str, operation: str, answer: Answer) -> Outcome:
        outcome = table.get(status, Outcome.UNKNOWN)
        if outcome is Outcome.UNKNOWN:
            self._log.warning(
                "a status this adapter does not know",
                action="gateway.unknown_status",
                gateway=self.name,
                operation=operation,
                status=redact_text(status, limit=50),
                request_id=answer.request_id,
            )
        return outcome

    def _subunits(self, value: Any, operation: str, answer: Answer) -> int:
        number = whole_number(value)
        if number is None:
            raise self._odd(operation, answer, "The answer holds an amount that is no whole number.")
        return number

    def _money(self, subunits: int, currency: str, operation: str, answer: Answer) -> Money:
        try:
            return from_subunits(subunits, currency)
        except InvalidInput:
            raise self._odd(operation, answer, "The answer holds an unknown currency.") from None

    def _odd(self, operation: str, answer: Answer, detail: str) -> AnswerNotUnderstood:
        return AnswerNotUnderstood(
            detail, gateway=self.name, operation=operation, http_status=answer.http_status, request_id=answer.request_id
        )


def _owner(refund: Mapping[str, Any]) -> str | None:
    """The transaction a refund belongs to: its number, or the whole object."""
    transaction = refund.get("transaction")
    return text_id(transaction.get("id") if isinstance(transaction, dict) else transaction)
