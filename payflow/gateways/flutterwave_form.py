"""What Flutterwave v3 is sent: the bodies that open a page and give money back, and the days of a list."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from payflow.gateways.base import InitiateRequest, RefundRequest, Window
from payflow.gateways.flutterwave_reading import refund_note

_LONGEST_SESSION_MINUTES = 1_440
_ZONES = timedelta(hours=2)


def page_body(request: InitiateRequest, *, now: datetime) -> dict[str, Any]:
    """What opens a page (Flutterwave Standard, POST /payments)."""
    body: dict[str, Any] = {
        "tx_ref": request.reference,
        "amount": request.amount.to_major(),
        "currency": request.amount.currency,
        "redirect_url": request.callback_url,
        "customer": {"email": request.customer_email, "name": request.customer_name},
        "customizations": {"description": request.description},
    }
    if request.payment_method is not None:
        body["payment_options"] = request.payment_method
    if request.metadata:
        body["meta"] = dict(request.metadata)
    if request.expires_at is not None:
        minutes = -(-(request.expires_at - now) // timedelta(minutes=1))
        body["session_duration"] = min(max(minutes, 1), _LONGEST_SESSION_MINUTES)
    return body


def refund_body(request: RefundRequest, *, told_at: str | None) -> dict[str, Any]:
    """What gives money back (Transaction refund). `told_at`: our webhook's address, where its end shall be told."""
    body: dict[str, Any] = {
        "amount": request.amount.to_major(),
        "comments": refund_note(request.refund_id),
    }
    if told_at is not None:
        body["callbackurl"] = told_at
    return body


def whole_days(window: Window) -> dict[str, str]:
    """`from` and `to`, both included. Which zone's days they are is not published: two hours more at each end."""
    start, end = window.since - _ZONES, window.until + _ZONES
    return {"from": f"{start:%Y-%m-%d}", "to": f"{end:%Y-%m-%d}"}


def days_since(since: datetime | None, *, now: datetime, margin_days: int) -> dict[str, str]:
    """`from` and `to`, YYYY-MM-DD, wide enough for any time zone. Both are required of a list of transactions."""
    start = min(since or now - timedelta(days=365), now) - timedelta(days=margin_days)
    end = max(since or now, now) + timedelta(days=1)
    return {"from": f"{start:%Y-%m-%d}", "to": f"{end:%Y-%m-%d}"}
