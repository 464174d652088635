"""Stripe: Checkout Sessions and refunds. Its words, amounts, answers and webhooks have files of their own.

Source: Stripe API reference (Checkout Sessions, Refunds, Idempotent requests) and the official
Python library unless a line says otherwise. A session is found by its own id, a payment by its payment intent; both
carry our reference. Every command carries an idempotency key, so repeating one acts once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, final

from payflow import logs
from payflow.core.clock import Clock
from payflow.core.errors import AnswerNotUnderstood, ConfigurationError, GatewayRejected, InvalidInput
from payflow.core.money import Money
from payflow.gateways.answers import text_id, whole_number
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
from payflow.gateways.redaction import redact_text
from payflow.gateways.stripe_amounts import CURRENCIES, check_charge, to_wire
from payflow.gateways.stripe_form import created_within, session_form
from payflow.gateways.stripe_reading import REFUND_KEY, read_intent, read_refund, read_session
from payflow.gateways.stripe_webhook import intent_id, known_reference, read_webhook
from payflow.gateways.stripe_words import METHODS, REASONS, read_error
from payflow.gateways.transport import Transport

T = TypeVar("T", Verification, RefundResult)
API_VERSION = "2026-10-28.endive"
"""Pinned: an account's default version may change under us (Stripe docs, API versioning)."""

_SESSION_ID = re.compile(r"cs_[A-Za-z0-9_]{1,240}")
_METADATA_KEY = re.compile(r"[^\[\]]{1,40}")
_PER_PAGE, _MOST_PAGES = 100, 50
_LATEST = 99_999_999_999
"""Unix seconds that are still a date."""


@final
class StripeGateway(Gateway):
    """The adapter. Safe to share between threads."""

    name = "stripe"
    lost_initiate = LostInitiate.RESEND
    refund_is_idempotent = True

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
            raise ConfigurationError("Stripe signs its webhooks with an endpoint's secret, so it cannot be empty.")
        self._webhook_keys = tuple(secret.encode() for secret in webhook_secrets)
        self._clock = clock
        self._transport = Transport(
            gateway=self.name,
            base_url=base_url,
            secret_key=secret_key,
            dialect=Dialect(
                read_error=read_error,
                request_id_headers=("request-id",),
                should_retry_header="stripe-should-retry",
            ),
            clock=clock,
            options=options,
        )
        self._log = logs.get(__name__)

    def supports(self, currency: str) -> bool:
        """Whether Stripe charges in this currency at all; an account may take fewer."""
        return currency in CURRENCIES

    def check(self, request: InitiateRequest) -> None:
        """Refuse a reference, currency, amount, method, address or metadata Stripe could never take."""
        if known_reference(request.reference) is None:
            raise InvalidInput(
                "A reference at Stripe has up to 200 letters, digits and - . _ =.",
                code="invalid_reference",
                pointer="/reference",
            )
        check_charge(request.amount)
        if request.payment_method is not None and request.payment_method not in METHODS:
            raise InvalidInput(
                f"Stripe offers {', '.join(sorted(METHODS))}.",
                code="unknown_payment_method",
                pointer="/payment_method",
            )
        if request.customer_email and "@" not in request.customer_email:
            raise InvalidInput("This is no e-mail address.", code="invalid_email", pointer="/customer")
        metadata = request.metadata
        if len(metadata) > 49 or not all(
            _METADATA_KEY.fullmatch(key) and len(value) <= 500 for key, value in metadata.items()
        ):  # Stripe API, Metadata: 50 keys of 40 characters without brackets, values of 500
            raise InvalidInput("This metadata is too much for Stripe.", code="invalid_metadata", pointer="/metadata")

    def initiate(self, request: InitiateRequest) -> Initiated:
        """Open a hosted page (Stripe API, Create a Checkout Session); the reference is the idempotency key.

        What is sent depends on the request alone: sent again after OutcomeUnknown it gives the same page back, while
        any difference would be refused as `idempotency_error`. So `expires_at` is not counted from now: the page lives
        35 minutes longer than the order, which is Stripe's shortest life even if opened in the order's last second, and
        Stripe's own 24 hours where that would be more.
        """
        self.check(request)
        answer = self._transport.call(
            self._command(
                "initiate",
                "/v1/checkout/sessions",
                key=request.reference,
                form=session_form(request, now=self._clock.now()),
            )
        )
        session, url = answer.body, answer.body.get("url")
        if session.get("client_reference_id") != request.reference:
            raise self._odd("initiate", answer, "The answer is for another reference.")
        session_id = session.get("id")
        if not isinstance(session_id, str) or not _SESSION_ID.fullmatch(session_id):
            raise self._odd("initiate", answer, "The answer holds no session id.")
        if not isinstance(url, str) or not url.startswith("https://" if self._transport.is_encrypted else "http"):
            raise self._odd("initiate", answer, "The answer holds no usable url.")
        return Initiated(authorization_url=url, session_id=session_id, raw=answer.raw)

    def verify(self, attempt: AttemptRef) -> Verification:
        """Ask after a session (Stripe API, Retrieve a Checkout Session), with its payment intent inside.

        Stripe cannot be asked by our reference. Without a session id (the answer to `initiate` was lost) nobody has
        the page's address either, so nothing can have been paid: pending, not found, and no call is made.
        `reference` in the answer is empty when the session carries none: it is not ours then.
        """
        if attempt.session_id is None:
            return Verification(Outcome.PENDING, attempt.reference, message="No page is known yet.", found=False)
        path = f"/v1/checkout/sessions/{path_part(attempt.session_id)}"
        question = self._question(
            "verify", path, "/v1/checkout/sessions/{session}", query={"expand[0]": "payment_intent"}
        )
        try:
            answer = self._transport.call(question)
        except GatewayRejected as error:
            if error.http_status != 404 or error.code != "transaction_not_found":
                raise
            return Verification(Outcome.PENDING, attempt.reference, message=error.detail, found=False)
        session = answer.body
        if session.get("id") != attempt.session_id:
            raise self._odd("verify", answer, "The answer is about another session.")
        return self._told(read_session, session, "verify", answer)

    def end_page(self, attempt: AttemptRef) -> None:
        """End an open session (Stripe API, Expire a Checkout Session). Without a key, which would keep a 500 alive."""
        if attempt.session_id is None:
            return
        path = f"/v1/checkout/sessions/{path_part(attempt.session_id)}/expire"
        headers = {"Stripe-Version": API_VERSION}
        route = "/v1/checkout/sessions/{session}/expire"
        self._transport.call(Call("end_page", "POST", path, route, is_question=False, headers=headers))

    def check_refund(self, amount: Money) -> None:
        """Refuse an amount Stripe cannot express."""
        to_wire(amount)

    def refund(self, request: RefundRequest) -> RefundResult:
        """Give money back (Stripe API, Create a refund); our refund id is the idempotency key and stands in metadata.

        A key is remembered for a day only, and a stored 500 is all it gives back for as long. So the refunds that
        exist are looked through first: whenever and however often this is repeated, one refund comes of it. An
        account without enough balance raises GatewayUnavailable with code `insufficient_balance`.
        """
        if not REFUND_KEY.fullmatch(request.refund_id):
            raise InvalidInput("A refund id is made of letters, digits and - . _.", pointer="/refund_id")
        wire = to_wire(request.amount)
        intent = request.attempt.transaction_id or self._intent_of(request.attempt, "refund")
        made = [one for one in self._refunds_of(intent) if one.refund_id == request.refund_id]
        if made:
            return made[0]
        form = [("payment_intent", intent), ("amount", str(wire))]
        if request.reason in REASONS:
            form.append(("reason", REASONS[request.reason]))
        form.append(("metadata[refund_id]", request.refund_id))
        answer = self._transport.call(self._command("refund", "/v1/refunds", key=request.refund_id, form=tuple(form)))
        if intent_id(answer.body.get("payment_intent")) not in (None, intent):
            raise self._odd("refund", answer, "The answer is for another payment.")
        return self._told(read_refund, answer.body, "refund", answer)

    def fetch_refund(self, refund: RefundRef) -> RefundResult:
        """Ask after a refund (Stripe API, Retrieve a refund)."""
        if refund.gateway_refund_id is None:
            raise InvalidInput("Stripe finds a refund only by its own id.", pointer="/gateway_refund_id")
        path = f"/v1/refunds/{path_part(refund.gateway_refund_id)}"
        answer = self._transport.call(self._question("fetch_refund", path, "/v1/refunds/{refund}"))
        result = self._told(read_refund, answer.body, "fetch_refund", answer)
        if result.gateway_refund_id != refund.gateway_refund_id:
            raise self._odd("fetch_refund", answer, "The answer is for another refund.")
        return result

    def list_refunds(self, attempt: AttemptRef) -> list[RefundResult]:
        """Every refund of a payment (Stripe API, List all refunds, by payment intent): all or nothing."""
        return self._refunds_of(attempt.transaction_id or self._intent_of(attempt, "list_refunds"))

    def payments_made(self, window: Window, cursor: str | None = None) -> ListPage[ListedPayment]:
        """Stripe API, List all PaymentIntents: sessions cannot be listed by time; both carry our reference."""
        answer, rows, following = self._page("list_transactions", "/v1/payment_intents", created_within(window), cursor)
        told = (self._told(read_intent, row, "list_transactions", answer) for row in rows)
        made = (self._made_at(row, "list_transactions", answer) for row in rows)
        return ListPage(tuple(map(ListedPayment, told, made)), following)

    def refunds_made(self, window: Window, cursor: str | None = None) -> ListPage[ListedRefund]:
        """Stripe API, List all refunds, by time."""
        answer, rows, following = self._page("list_refunds", "/v1/refunds", created_within(window), cursor)
        told = (self._told(read_refund, row, "list_refunds", answer) for row in rows)
        made = (self._made_at(row, "list_refunds", answer) for row in rows)
        owners = (intent_id(row.get("payment_intent")) for row in rows)
        return ListPage(tuple(map(ListedRefund, told, made, owners)), following)

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookHint:
        """Check `Stripe-Signature` on its time and the raw bytes, then read what the event points at."""
        return read_webhook(self._webhook_keys, headers, body, now=self._clock.now())

    def callback_reference(self, query: Mapping[str, str]) -> str | None:
        """The session id that Stripe put in, or after a cancelled visit our own reference, which we put in."""
        session_id = query.get("session_id", "")
        return session_id if _SESSION_ID.fullmatch(session_id) else known_reference(query.get("reference"))

    # -- requests ------------------------------------------------------------------------------------------------

    def _command(self, operation: str, route: str, *, key: str, form: tuple[tuple[str, str], ...]) -> Call:
        headers = {"Stripe-Version": API_VERSION, "Idempotency-Key": key}
        return Call(operation, "POST", route, route, is_question=False, is_repeatable=True, form=form, headers=headers)

    def _question(self, operation: str, path: str, route: str, query: Mapping[str, str] | None = None) -> Call:
        headers = {"Stripe-Version": API_VERSION}
        return Call(operation, "GET", path, route, is_question=True, query=query or {}, headers=headers)

    def _intent_of(self, attempt: AttemptRef, operation: str) -> str:
        """The payment intent of a try that was paid before anybody wrote it down: one question learns it."""
        known = self.verify(attempt).transaction_id
        if known is None:
            raise GatewayRejected(
                "Stripe knows no payment of this try.",
                gateway=self.name,
                operation=operation,
                code="transaction_not_found",
            )
        return known

    def _refunds_of(self, intent: str) -> list[RefundResult]:
        """Page by page; an incomplete list would lead to a second refund, so it raises AnswerNotUnderstood instead."""
        found: dict[str, RefundResult] = {}
        following: str | None = None
        for _ in range(_MOST_PAGES):
            answer, rows, following = self._page("list_refunds", "/v1/refunds", {"payment_intent": intent}, following)
            known = len(found)
            for row in rows:
                if intent_id(row.get("payment_intent")) not in (None, intent):
                    raise self._odd("list_refunds", answer, "The list holds something that is no refund of this.")
                result = self._told(read_refund, row, "list_refunds", answer)
                found[result.gateway_refund_id or ""] = result
            if following is None:
                return list(found.values())
            if len(found) == known:
                raise self._odd("list_refunds", answer, "The list of refunds does not go on.")
        raise self._odd("list_refunds", answer, "The list of refunds does not end.")

    def _page(
        self, operation: str, route: str, query: Mapping[str, str], cursor: str | None
    ) -> tuple[Answer, list[dict[str, Any]], str | None]:
        """A page of a list (Stripe API, Pagination): the answer, its rows, the id to go on after."""
        query = {**query, "limit": str(_PER_PAGE), **({"starting_after": cursor} if cursor else {})}
        answer = self._transport.call(self._question(operation, route, route, query=query))
        rows, has_more = answer.body.get("data"), answer.body.get("has_more")
        if not isinstance(rows, list) or not isinstance(has_more, bool):
            raise self._odd(operation, answer, "The answer holds no list.")
        if not all(isinstance(row, dict) and text_id(row.get("id")) for row in rows):
            raise self._odd(operation, answer, "The list holds something without an id.")
        if has_more and not rows:
            raise self._odd(operation, answer, "The list does not go on.")
        return answer, rows, text_id(rows[-1]["id"]) if has_more else None

    # -- answers -------------------------------------------------------------------------------------------------

    def _made_at(self, row: Mapping[str, Any], operation: str, answer: Answer) -> datetime:
        seconds = whole_number(row.get("created"))
        if seconds is None or seconds > _LATEST:
            raise self._odd(operation, answer, "The list holds something without a time.")
        return datetime.fromtimestamp(seconds, UTC)

    def _told(
        self,
        read: Callable[[Mapping[str, Any]], tuple[str, T]],
        data: Mapping[str, Any],
        operation: str,
        answer: Answer,
    ) -> T:
        """What part of an answer tells, by one of the readers."""
        try:
            status, told = read(data)
        except ValueError as odd:
            raise self._odd(operation, answer, str(odd)) from None
        if told.outcome is Outcome.UNKNOWN:
            self._log.warning(
                "a status this adapter does not know",
                action="gateway.unknown_status",
                gateway=self.name,
                operation=operation,
                status=redact_text(status, limit=80),
                request_id=answer.request_id,
            )
        return told

    def _odd(self, operation: str, answer: Answer, detail: str) -> AnswerNotUnderstood:
        return AnswerNotUnderstood(
            redact_text(detail, limit=200),
            gateway=self.name,
            operation=operation,
            http_status=answer.http_status,
            request_id=answer.request_id,
        )
