"""What every gateway can do, in payflow's words. No HTTP here, and no gateway's own word but inside `raw`.

A gateway raises only the errors of core/errors: GatewayRejected (final, nothing charged), GatewayUnavailable (did not
act, may be repeated), OutcomeUnknown and AnswerNotUnderstood (may have acted: probe first), InvalidInput (refused
locally, nothing sent).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from payflow.core.errors import PayflowError
from payflow.core.money import Money
from payflow.core.states import DisputeStatus

Row = TypeVar("Row")


class Outcome(StrEnum):
    """What a gateway says became of a payment or refund."""

    SUCCEEDED = "succeeded"
    PENDING = "pending"
    """Not final, or not known to the gateway (yet): ask again."""
    FAILED = "failed"
    """No money moved by this try; a gateway may still report success later."""
    UNKNOWN = "unknown"
    """The answer holds a status this adapter does not know: treated as pending, with a warning."""
    REVERSED = "reversed"
    """It was paid and money went back (refund, chargeback): never un-pays a payment."""


class LostInitiate(StrEnum):
    """What to do when nobody knows whether an `initiate` arrived."""

    RESEND = "resend"
    """The reference is an idempotency key: sending it again returns the same page (Stripe)."""
    PROBE = "probe"
    """Ask for the reference: unknown there, send it again; known, open a new attempt (Paystack)."""
    RENEW = "renew"
    """Open a new attempt at once and keep asking about the old one (Flutterwave)."""


class HintKind(StrEnum):
    """What a webhook is about."""

    PAYMENT = "payment"
    REFUND = "refund"
    DISPUTE = "dispute"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class InitiateRequest:
    """One try to collect money on a hosted page. `reference` is ours and is the idempotency key where there is one."""

    reference: str
    amount: Money
    customer_email: str
    customer_name: str
    callback_url: str
    """Where the gateway sends the browser afterwards."""
    description: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None
    payment_method: str | None = None


@dataclass(frozen=True, slots=True)
class Initiated:
    """The hosted page is ready."""

    authorization_url: str
    session_id: str | None = None
    """The gateway's id of the page or session, where later calls need it (Stripe `cs_…`, Paystack access code)."""
    raw: dict[str, Any] = field(default_factory=dict)
    """Redacted answer."""


@dataclass(frozen=True, slots=True)
class AttemptRef:
    """How a gateway finds a try again."""

    reference: str
    amount: Money
    session_id: str | None = None
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What the gateway says of one reference, asked server to server."""

    outcome: Outcome
    reference: str
    """The reference the answer speaks of; the caller compares it with the one it asked for."""
    amount: Money | None = None
    """What the customer's payment is worth to the order (fees the customer bears left out); None if not told."""
    transaction_id: str | None = None
    fee_minor: int | None = None
    payment_method: str | None = None
    paid_at: datetime | None = None
    is_test: bool | None = None
    """Whether this is test-mode money; None if the gateway does not tell."""
    message: str | None = None
    """The gateway's short reason, fit for a person; never a payload."""
    found: bool = True
    """False when the gateway does not know the reference."""
    extra_successes: tuple[Verification, ...] = ()
    """Further successful transactions on the same reference (Flutterwave allows them)."""
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Give `amount` of a paid try back. `refund_id` is our own stable id, sent as key or note."""

    refund_id: str
    attempt: AttemptRef
    amount: Money
    reason: str


@dataclass(frozen=True, slots=True)
class RefundRef:
    """How a gateway finds a refund again."""

    refund_id: str
    attempt: AttemptRef
    amount: Money
    gateway_refund_id: str | None = None


@dataclass(frozen=True, slots=True)
class RefundResult:
    """What the gateway says of one refund."""

    outcome: Outcome
    gateway_refund_id: str | None = None
    amount: Money | None = None
    refund_id: str | None = None
    """Our own id, where the gateway gives it back (Stripe metadata, Paystack merchant_note)."""
    needs_attention: bool = False
    message: str | None = None
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time: `since` belongs to it, `until` does not."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class ListedPayment:
    """One row of a gateway's list of transactions, read as its answer to a question is."""

    told: Verification
    """`reference` is empty where the row carries none of ours."""
    at: datetime
    """When it was made there."""


@dataclass(frozen=True, slots=True)
class ListedRefund:
    """One row of a gateway's list of refunds."""

    told: RefundResult
    at: datetime
    """When it was made there."""
    transaction_id: str | None
    """The payment it gives back."""
    major: Decimal | None = None
    """How much, in major units, where the row does not name its currency and `told.amount` is None for that."""


@dataclass(frozen=True, slots=True)
class ListPage(Generic[Row]):
    """Some rows of a list, in any order."""

    rows: tuple[Row, ...]
    next: str | None
    """Hand it back to get the page after this; None: there is none."""


@dataclass(frozen=True, slots=True)
class DisputeHint:
    """What a gateway tells of a chargeback. There is no call to ask it back, so the signed webhook is the source."""

    gateway_dispute_id: str
    status: DisputeStatus
    amount: Money | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WebhookHint:
    """What a signed webhook points at. A hint only: the gateway is asked before anything is believed."""

    kind: HintKind
    event_type: str
    event_key: str
    """Unique per fact at this gateway: its event id, or the SHA-256 of the raw body where it has none."""
    reference: str | None = None
    transaction_id: str | None = None
    gateway_refund_id: str | None = None
    dispute: DisputeHint | None = None
    raw: dict[str, Any] = field(default_factory=dict)
    """Redacted body."""


class SignatureInvalid(PayflowError):
    """The webhook's signature is missing or wrong."""

    code = "signature_invalid"


class UnreadableWebhook(PayflowError):
    """The webhook is signed but cannot be read."""

    code = "unreadable_webhook"


class Gateway(Protocol):
    """A payment gateway. One file each; adding one is that file and a row in payflow/core/gateways.py."""

    name: str
    lost_initiate: LostInitiate
    refund_is_idempotent: bool
    """Whether repeating `refund` with the same refund_id can never give money back twice."""

    def supports(self, currency: str) -> bool:
        """Whether this gateway takes the currency at all."""
        ...

    def check(self, request: InitiateRequest) -> None:
        """Refuse locally (InvalidInput naming the field) what this gateway could never take."""

    def initiate(self, request: InitiateRequest) -> Initiated:
        """Open a hosted page; the only call that can lead to a charge."""
        ...

    def verify(self, attempt: AttemptRef) -> Verification:
        """Ask what became of a try. Safe to repeat."""
        ...

    def end_page(self, attempt: AttemptRef) -> None:
        """See to it that nothing can be paid at the page any more; at a gateway that has no way to, nothing happens.
        Raises GatewayRejected when the page has come to an end by itself: then ask what became of the try."""
        return  # for gateways whose pages end by time alone

    def check_refund(self, amount: Money) -> None:
        """Refuse locally (InvalidInput, `/amount`) what this gateway could never give back."""

    def refund(self, request: RefundRequest) -> RefundResult:
        """Give money back. Repeated only as `refund_is_idempotent` allows."""
        ...

    def fetch_refund(self, refund: RefundRef) -> RefundResult:
        """Ask what became of a refund. Safe to repeat. Needs `gateway_refund_id`."""
        ...

    def list_refunds(self, attempt: AttemptRef) -> list[RefundResult]:
        """All refunds the gateway knows of a paid try: the probe after a refund with an unknown outcome."""
        ...

    def payments_made(self, window: Window, cursor: str | None = None) -> ListPage[ListedPayment]:
        """One page of all transactions made there in a window, whoever made them. Safe to repeat.

        Each is on some page; others may be too where the gateway lists by whole days. One call.
        """
        ...

    def refunds_made(self, window: Window, cursor: str | None = None) -> ListPage[ListedRefund]:
        """One page of all refunds made there in a window, in its dashboard too. Otherwise as `payments_made`."""
        ...

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookHint:
        """Check the signature on the raw bytes, then parse. Raises SignatureInvalid, then UnreadableWebhook. Names of
        headers come in any case."""
        ...

    def callback_reference(self, query: Mapping[str, str]) -> str | None:
        """Our reference (or the session id) out of the browser redirect's query; believes nothing else."""
        ...
