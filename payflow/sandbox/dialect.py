"""What every gateway dialect offers the rest of the sandbox, and the neutral facts it turns into webhooks.

A new gateway is one more class with this shape. No gateway's field names here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from flask import Blueprint, Response

from payflow.sandbox.records import Charge, Dispute, Refund


class Fact(StrEnum):
    """Something happened at a gateway that it may tell the merchant about."""

    CHARGE_PAID = "charge_paid"
    CHARGE_FAILED = "charge_failed"
    CHARGE_EXPIRED = "charge_expired"
    REFUND_PENDING = "refund_pending"
    REFUND_PROCESSING = "refund_processing"
    REFUND_PROCESSED = "refund_processed"
    REFUND_FAILED = "refund_failed"
    REFUND_NEEDS_ATTENTION = "refund_needs_attention"
    DISPUTE_OPENED = "dispute_opened"
    DISPUTE_RESOLVED = "dispute_resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact with the records it is about."""

    fact: Fact
    charge: Charge
    refund: Refund | None = None
    dispute: Dispute | None = None


class Dialect(Protocol):
    """One gateway's way of speaking."""

    @property
    def gateway(self) -> str:
        """The gateway's name: its URL prefix here, and the last part of the merchant's webhook address."""
        ...

    def blueprint(self) -> Blueprint:
        """Return the routes, to be mounted under `/<gateway>`."""
        ...

    def webhooks(self, event: Event) -> list[tuple[str, str]]:
        """Return the (event name, exact body text) pairs this gateway sends for a fact; often none."""
        ...

    def sign(self, body: bytes, *, secret: str, now: datetime) -> Mapping[str, str]:
        """Return the headers that prove where `body` comes from."""
        ...

    def redirect_url(self, charge: Charge, outcome: str) -> str | None:
        """Return where the browser goes after `outcome` (success, decline, abandon, late), if anywhere."""
        ...

    def fee_minor(self, amount_minor: int, currency: str) -> int:
        """Return the gateway's fee for a charge."""
        ...

    def exponent(self, currency: str) -> int:
        """Return how many decimals of this currency the gateway's amounts carry."""
        ...

    def error_500(self, status: int) -> Response:
        """Return the gateway's own server error."""
        ...

    def rate_limited(self, retry_after_seconds: int) -> Response:
        """Return the gateway's own "too many requests", without the Retry-After header."""
        ...
