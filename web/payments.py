"""`/payment/payments/`: starting a payment, watching it, and the way back from a gateway's page."""

from __future__ import annotations

from typing import cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Response, make_response, redirect, render_template, request

from payflow.core.errors import NotFound
from payflow.core.money import Money
from payflow.core.web_addresses import is_allowed_return_url
from payflow.store.shapes import Row
from web import schemas
from web.answers import answer, remembered
from web.bodies import ById, NewPayment, PaymentQuery, Reference
from web.context import caller, web
from web.idempotency import creates
from web.pages import links, read_cursor
from web.requests import StrictRequest
from web.sections import problems, public, section
from web.waiting import Waiter

api = section("payments", "/payment/payments", "Money for an order, collected at a gateway.")
_STAFF_FIELDS = ("application", "captured_amount", "gateway_transaction_id", "next_check_at", "gateway_response")


@api.post("/initiate/", responses={"201": schemas.Payment, "202": schemas.Payment, **problems(409)})
@creates
def initiate_payment(_: str | None, body: NewPayment) -> Response:
    """Start a payment

    202 with the payment, whose `authorization_url` follows; with `Prefer: wait=N` (at most 10 seconds) 201 once it is
    there. While a try is live, calling again returns that same try, never a second charge.
    """
    opened = web().container.payments.initiate_payment(
        caller(),
        body.order_id,
        gateway=body.gateway,
        payment_method=body.payment_method,
        return_url=body.return_url,
    )
    Waiter(_wait_seconds()).until(lambda: _has_page_or_end(opened.payment_id))
    payment = _shape(opened.payment_id)
    headers = {"Location": f"{api.url_prefix}/{opened.payment_id}/", **_preference_applied()}
    return answer(payment, 201 if payment.authorization_url else 202, headers)


@api.get("/", responses={"200": schemas.Payments})
def list_payments(query: PaymentQuery) -> Response:
    """List payments, newest first"""
    cursor = read_cursor(query.cursor)

    def make() -> schemas.Payments:
        page = web().queries.payments(caller().visibility, query.filters(), size=query.page_size, cursor=cursor)
        return schemas.Payments.model_validate({**links(page), "results": page.rows})

    return remembered("payments", make)


@api.get("/<uuid:id>/", responses={"200": schemas.Payment})
def show_payment(path: ById) -> Response:
    """Show a payment with its tries and history; the gateways' answers for staff"""
    return remembered("payments", lambda: _shape(str(path)))


@api.get("/<uuid:id>/check-status/", responses={"200": schemas.Payment})
def check_status(path: ById) -> Response:
    """Ask the gateway again, and answer the current truth

    Honours `Prefer: wait=N`: waits for the gateway's answer up to N seconds.
    """
    payment_id = str(path)
    web().container.payments.refresh(caller(), payment_id)
    return _after_asking(payment_id)


@api.post("/callback/", responses={"200": schemas.Payment})
def confirm_return(body: Reference) -> Response:
    """The customer is back from the gateway's page: ask the gateway, and answer the current truth"""
    payment_id = web().container.payments.request_check(body.reference, caller=caller())
    if payment_id is None:
        raise NotFound
    return _after_asking(payment_id)


@api.get(
    "/callback/",
    responses={"200": {"content": {"text/html": {}}}, "303": None, "404": {"content": {"text/html": {}}}},
    security=[{}],
)
@public
def return_from_gateway() -> Response:
    """The gateway sends the browser back here

    Nothing in the address is believed: it names a try, the gateway is asked, and the customer is sent on to the order's
    return address or shown how things stand.
    """
    found = _find_returning()
    if found is None:
        return _page("return.html", 404, found=None, amount="", words="")
    target = _return_target(found)
    if target is not None:
        sent = cast(Response, redirect(target, code=303))
        sent.headers["Cache-Control"] = "no-store"
        return sent
    amount = str(Money(found["amount"], found["currency"]))
    return _page("return.html", 200, found=found, amount=amount, words=_words(found))


def _shape(payment_id: str) -> schemas.Payment:
    row = web().queries.payment(caller().visibility, payment_id)
    if not caller().administers(row["workspace_id"]):
        for attempt in row["attempts"]:
            for field in _STAFF_FIELDS:
                del attempt[field]
    return schemas.Payment.model_validate(row)


def _wait_seconds() -> int:
    return cast(StrictRequest, request).wait_seconds


def _preference_applied() -> dict[str, str]:
    wait = _wait_seconds()
    return {"Preference-Applied": f"wait={wait}"} if wait else {}


def _has_page_or_end(payment_id: str) -> bool:
    progress = web().queries.attempt_progress(payment_id)
    return (
        progress is None
        or progress["authorization_url"] is not None
        or progress["status"] not in ("created", "unknown")
    )


def _after_asking(payment_id: str) -> Response:
    """Wait as preferred until the question that is due now has been answered."""
    asked = web().queries.attempt_progress(payment_id)

    def is_answered() -> bool:
        progress = web().queries.attempt_progress(payment_id)
        return progress is None or progress["due_at"] is None or progress != asked

    Waiter(_wait_seconds()).until(is_answered)
    return answer(_shape(payment_id), headers=_preference_applied())


def _find_returning() -> Row | None:
    """The try the browser comes back from, by whichever gateway's words are in the address; its question is due now."""
    query = request.args.to_dict()
    for gateway in web().container.gateways.values():
        reference = gateway.callback_reference(query)
        if reference is None or len(reference) > 255:
            continue
        if web().container.payments.request_check(reference, caller=None) is not None:
            return web().queries.returning(reference)
    return None


def _return_target(found: Row) -> str | None:
    """The return address, if it is still allowed, with the order and reference added."""
    settings = web().container.settings
    url = found["return_url"]
    allowed = (settings.public_url, *settings.return_url_allowlist, *found["return_urls"])
    if url is None or not is_allowed_return_url(url, allowed):
        return None
    parts = urlsplit(url)
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        ("order_id", found["order_id"]),
        ("reference", found["reference"]),
    ]
    return urlunsplit(parts._replace(query=urlencode(query)))


def _words(found: Row) -> str:
    """How the payment stands, for its customer."""
    if found["order_status"] in ("paid", "completed"):
        return "Your payment has arrived. Thank you."
    if found["payment_status"] in ("success", "refunded"):
        return "We received your payment and are looking after it. You will hear from us."
    if found["attempt_status"] == "failed":
        return "The payment did not go through. Nothing was taken; you can try again."
    if found["order_status"] in ("expired", "cancelled"):
        return "This order is closed. If you have paid, your money is safe and we will get in touch."
    return "We are asking the payment service about your payment. This takes a moment."


def _page(template: str, status: int, **values: object) -> Response:
    page = make_response(render_template(template, **values), status)
    page.headers["Cache-Control"] = "no-store"
    return page
