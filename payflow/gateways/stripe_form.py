"""What Stripe is sent: the form that opens a page, braces in it as they must arrive, and the window of a list."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

from payflow.gateways.base import InitiateRequest, Window
from payflow.gateways.stripe_amounts import check_charge

_PAGE_OUTLIVES_ORDER = timedelta(minutes=35)
"""A page lives 30 minutes at least (Create a Checkout Session, `expires_at`); five are for slow clocks."""
_LONGEST_PAGE = timedelta(hours=23, minutes=55)


def session_form(request: InitiateRequest, *, now: datetime) -> tuple[tuple[str, str], ...]:
    """What opens a page (Stripe API, Create a Checkout Session). It depends on the request alone, but for a far end."""
    item, metadata = "line_items[0]", dict(request.metadata) | {"reference": request.reference}
    # Stripe fills the braces in, so they must reach it as they are.
    form = [
        ("mode", "payment"),
        ("success_url", _with_query(request.callback_url, "session_id={CHECKOUT_SESSION_ID}")),
        ("cancel_url", _with_query(request.callback_url, f"reference={request.reference}")),
        ("client_reference_id", request.reference),
        ("customer_email", request.customer_email),
        (f"{item}[quantity]", "1"),
        (f"{item}[price_data][currency]", request.amount.currency.lower()),
        (f"{item}[price_data][unit_amount]", str(check_charge(request.amount))),
        (f"{item}[price_data][product_data][name]", request.description[:250].strip() or request.reference),
        *((f"metadata[{key}]", value) for key, value in metadata.items()),
        *((f"payment_intent_data[metadata][{key}]", value) for key, value in metadata.items()),
        ("payment_method_types[0]", request.payment_method or ""),
        ("expires_at", _expires_at(request.expires_at, now)),
    ]
    return tuple((name, value) for name, value in form if value)


def _with_query(url: str, more: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{more}" if parts.query else more))


def _expires_at(order_ends: datetime | None, now: datetime) -> str:
    """When the page shall close, in Unix seconds; empty for Stripe's own 24 hours, which is the longest it allows."""
    if order_ends is None or order_ends + _PAGE_OUTLIVES_ORDER > now + _LONGEST_PAGE:
        return ""
    return str(int((order_ends + _PAGE_OUTLIVES_ORDER).timestamp()))


def created_within(window: Window) -> dict[str, str]:
    """The part of a list's query that names a window, in whole seconds (Stripe API, `created`)."""
    return {
        "created[gte]": str(int(window.since.timestamp())),
        "created[lt]": str(-int(-window.until.timestamp() // 1)),
    }
