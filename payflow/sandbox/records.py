"""What the sandbox remembers: charges, refunds, disputes, webhook deliveries, calls.

Neutral records, the same for every gateway: amounts are integers in the unit the gateway counts in, statuses
are the sandbox's own words. A gateway's field names and status words belong into its dialect, not here.
"""

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Self


class ChargeStatus(StrEnum):
    """Where a charge stands."""

    OPEN = "open"
    """Initialised; no money moved (the customer has not come, left, or is still busy)."""
    FAILED = "failed"
    """The last try was declined; the customer may still try again on the same page."""
    PAID = "paid"
    """Money was taken, once and for all; refunds are rows of their own."""


class RefundStatus(StrEnum):
    """Where a refund stands."""

    PENDING = "pending"
    PROCESSING = "processing"
    PROCESSED = "processed"
    FAILED = "failed"
    NEEDS_ATTENTION = "needs_attention"


class DisputeStatus(StrEnum):
    """Where a chargeback stands, seen from the merchant."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


class DeliveryStatus(StrEnum):
    """What became of a webhook."""

    PENDING = "pending"
    DELIVERED = "delivered"
    REFUSED = "refused"
    """Sent once and not accepted, and not meant to be tried again (a forged one)."""
    SUPPRESSED = "suppressed"
    """Held back by the fault `webhook_missing`."""
    NO_TARGET = "no_target"
    """No webhook address is configured for this gateway."""
    GIVEN_UP = "given_up"


@dataclass(slots=True, kw_only=True)
class Record:
    """A row with an id that can go to JSON and back; fields ending in `_at` are aware datetimes."""

    status_type: ClassVar[type[StrEnum] | None] = None
    id: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready copy."""
        return {
            key: value.isoformat() if isinstance(value, datetime) else value
            for key, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Rebuild a row that `to_json` wrote."""
        values: dict[str, Any] = {
            key: datetime.fromisoformat(value) if key.endswith("_at") and value is not None else value
            for key, value in data.items()
        }
        if cls.status_type is not None:
            values["status"] = cls.status_type(values["status"])
        return cls(**values)


@dataclass(slots=True, kw_only=True)
class Charge(Record):
    """One transaction at a gateway, paid or not."""

    status_type: ClassVar[type[StrEnum] | None] = ChargeStatus
    gateway: str
    reference: str
    access_code: str
    requested_minor: int
    requested_currency: str
    charged_minor: int
    """What the customer really paid; differs from the request only by fault or by fees put on the customer."""
    currency: str
    fees_minor: int = 0
    email: str
    callback_url: str | None
    details: dict[str, Any] = field(default_factory=dict)
    """The dialect's own fields, echoed back in its answers."""
    status: ChargeStatus = ChargeStatus.OPEN
    meanwhile: str | None = None
    """The gateway's word for an unpaid charge whose customer is busy or left something running."""
    decline_reason: str | None = None
    charged_back: bool = False
    one_per_try: bool = False
    """Whether a try after a failed one is a charge of its own: same reference and page, another id."""
    created_at: datetime
    paid_at: datetime | None = None
    due_at: datetime | None = None
    due_outcome: str | None = None
    """What happens at `due_at`: a customer's outcome, or "money_arrives" for a payment left running."""


@dataclass(slots=True, kw_only=True)
class Refund(Record):
    """Money on its way back, whole or in part."""

    status_type: ClassVar[type[StrEnum] | None] = RefundStatus
    gateway: str
    charge_id: int
    reference: str
    amount_minor: int
    currency: str
    status: RefundStatus = RefundStatus.PENDING
    source: str = "api"
    """ "api" when the merchant's program asked, "dashboard" when a person did at the gateway."""
    details: dict[str, Any] = field(default_factory=dict)
    script: list[list[Any]] = field(default_factory=list)
    """What is still to come: pairs of seconds after creation and the status that begins then."""
    created_at: datetime
    updated_at: datetime
    processed_at: datetime | None = None

    @property
    def next_at(self) -> datetime | None:
        """When the next step of the script begins, if there is one."""
        return self.created_at + timedelta(seconds=self.script[0][0]) if self.script else None


@dataclass(slots=True, kw_only=True)
class Dispute(Record):
    """A chargeback."""

    status_type: ClassVar[type[StrEnum] | None] = DisputeStatus
    gateway: str
    charge_id: int
    reference: str
    amount_minor: int
    currency: str
    status: DisputeStatus = DisputeStatus.OPEN
    created_at: datetime
    resolved_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Delivery(Record):
    """One webhook on its way to the merchant."""

    status_type: ClassVar[type[StrEnum] | None] = DeliveryStatus
    gateway: str
    reference: str
    event: str
    body: str
    """The exact text that is signed and sent."""
    signature: str = "valid"
    """ "valid", "forged" (made with another key) or "missing"."""
    status: DeliveryStatus = DeliveryStatus.PENDING
    fault: str | None = None
    ordered: bool = True
    """Wait for an earlier webhook of the same reference that is being sent right now."""
    after_next: bool = False
    """Let the next webhook of the same reference overtake this one."""
    attempts: list[dict[str, Any]] = field(default_factory=list)
    created_at: datetime
    due_at: datetime


@dataclass(slots=True, kw_only=True)
class Call(Record):
    """One request that reached a gateway's API."""

    gateway: str
    operation: str
    method: str
    route: str
    reference: str | None
    status: int | None
    """The HTTP status answered; None when the connection was dropped instead."""
    fault: str | None
    called_at: datetime
