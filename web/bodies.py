"""What clients send: bodies, queries and path parts, checked by the letter. An unknown field in a body is refused.

Amounts are JSON integers in minor units (no text, no 1.0, no true). Prices of orders never come from here.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from payflow.core.destinations import LONGEST_URL
from payflow.core.events import TYPE_BY_OUTSIDE_NAME, EventType
from payflow.core.gateways import NAMES
from payflow.core.money import MAX_MINOR
from payflow.core.states import BookingStatus, OrderStatus, PaymentStatus, RefundStatus
from payflow.models.decision import DecisionAction
from payflow.models.refund import RefundReason
from payflow.services.order import MAX_BOOKINGS
from payflow.store.queries import Filters
from web.pages import MAX_PAGE_SIZE, PAGE_SIZE
from web.text import FreeLine, Line, MomentIn, Name, Note, RowId, no_card_number

Amount = Annotated[int, Field(strict=True, ge=0, le=MAX_MINOR, description="In minor units of the currency.")]
Currency = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^[A-Z]{3}$"),
    Field(description="ISO 4217, in capitals.", examples=["NGN"]),
]
Email = Annotated[
    str,
    StringConstraints(strict=True, max_length=320, pattern=r"^[^@\s,;<>\"\x00-\x1f]+@[^@\s,;<>\"\x00-\x1f]+$"),
    AfterValidator(no_card_number),
]
SenderName = Annotated[FreeLine, StringConstraints(max_length=100, pattern=r"^[^@<>\"\\]+$")]
"""A sender's name: it can look like no address."""
Locale = Annotated[str, StringConstraints(strict=True, min_length=2, max_length=35, pattern=r"^[A-Za-z0-9_-]+$")]
Url = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=2000), AfterValidator(no_card_number)]


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class NewBooking(Body):
    """A slot of a resource and its price."""

    workspace_id: Name
    resource_id: Annotated[FreeLine, StringConstraints(max_length=128)]
    starts_at: MomentIn
    ends_at: MomentIn
    amount: Amount
    currency: Currency
    user_id: Line | None = Field(None, description="Whose booking it is; only with a service key.")
    user_email: Email | None = Field(None, description="Only with a service key.")
    user_name: FreeLine | None = Field(None, description="Only with a service key.")


class NewOrder(Body):
    """The caller's own pending bookings of one workspace and currency."""

    booking_ids: Annotated[list[RowId], Field(strict=True, max_length=MAX_BOOKINGS)]
    discount: Amount = Field(0, description="In minor units; privileged callers only.")


class NewPayment(Body):
    """Which order to pay, and how."""

    order_id: RowId
    gateway: Name = Field("auto", examples=["auto", *NAMES])
    payment_method: Annotated[Name, AfterValidator(no_card_number)] | None = None
    return_url: Url | None = Field(None, description="Where the customer goes afterwards; must be on the allow-list.")


class Reference(Body):
    """A try's reference."""

    reference: Line


class NewRefund(Body):
    """What to give back, and why."""

    payment_id: RowId
    amount: Annotated[Amount, Field(gt=0)] | None = Field(
        None, description="In minor units; all that is left without it."
    )
    reason: RefundReason
    reason_description: Note = ""


class RefundVerdict(Body):
    """An optional remark."""

    model_config = ConfigDict(extra="forbid", openapi_extra={"required": False})  # type: ignore[typeddict-unknown-key]  # openapi3's
    note: Note = ""


class Remark(Body):
    """What was found out."""

    note: Note = ""


class Resolution(Body):
    """What a person makes of a question about money."""

    action: DecisionAction
    note: Note = ""


class PolicyChange(Body):
    """Settings to change; those left out stay."""

    tax_bps: Annotated[int, Field(strict=True, ge=0, le=10_000)] = Field(0, description="Basis points: 750 = 7.5 %.")
    order_ttl_seconds: Annotated[int, Field(strict=True, ge=10, le=2_592_000)] | None = None
    refund_window_hours: Annotated[int, Field(strict=True, ge=0, le=87_600)] = 720
    refund_percent_bps: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 10_000
    refund_needs_approval: StrictBool = False
    customers_may_book: StrictBool = True
    late_payment: Literal["accept", "refund", "decide"] = "accept"
    excess_payment: Literal["refund", "decide"] = "refund"
    return_urls: Annotated[list[Url], Field(max_length=20)] = []
    enabled_gateways: Annotated[list[Name], Field(max_length=20)] | None = None
    locale: Locale | None = None
    mail_from_name: SenderName | None = None
    mail_reply_to: Email | None = None


class PreferenceChange(Body):
    """What to hear of, and in which language; what is left out stays."""

    model_config = ConfigDict(extra="forbid", openapi_extra={"required": False})  # type: ignore[typeddict-unknown-key]  # openapi3's
    locale: Locale | None = Field(None, description="Such as `fr` or `en-GB`; null = the token's or the workspace's.")
    channels: dict[Literal["in_app", "email"], dict[EventType, StrictBool]] = Field(
        {}, description="Channel, event, on or off. What becomes of your money cannot be switched off in the app."
    )


EventNames = Annotated[
    list[Annotated[str, StringConstraints(strict=True, max_length=32), Field(examples=list(TYPE_BY_OUTSIDE_NAME))]],
    Field(strict=True, max_length=64, description="Which events it wants, as `payment.completed`; none = all."),
]
ReceiverUrl = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=LONGEST_URL),
    AfterValidator(no_card_number),
    Field(description="https, on the public internet."),
]


class NewEndpoint(Body):
    """Where a workspace's events are to be sent."""

    workspace_id: Name
    url: ReceiverUrl
    events: EventNames = []
    description: Note = ""
    enabled: StrictBool = True


class EndpointChange(Body):
    """What to change; what is left out stays."""

    url: ReceiverUrl | None = None
    events: EventNames | None = None
    description: Note | None = None
    enabled: StrictBool | None = None


class SecretRotation(Body):
    """How long the old secret signs too."""

    model_config = ConfigDict(extra="forbid", openapi_extra={"required": False})  # type: ignore[typeddict-unknown-key]  # openapi3's
    overlap_seconds: Annotated[int, Field(strict=True, ge=0, le=604_800)] = 86_400


class Resend(Body):
    """Which deliveries to send again, by when they were made; without times, all there are."""

    model_config = ConfigDict(extra="forbid", openapi_extra={"required": False})  # type: ignore[typeddict-unknown-key]  # openapi3's
    since: MomentIn | None = None
    until: MomentIn | None = None
    status: Literal["failed", "all"] = "failed"


class ById(BaseModel):
    """An object's id in the path."""

    id: UUID

    def __str__(self) -> str:
        return str(self.id)


class ByGateway(BaseModel):
    """A gateway's name in the path."""

    gateway: str


class ByWorkspace(BaseModel):
    """A workspace's id in the path."""

    id: Name


class PageQuery(BaseModel):
    """Which page."""

    page_size: int = Field(PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE)
    cursor: str | None = Field(None, max_length=64, description="Taken from `next` or `previous`.")


class ListQuery(PageQuery):
    """What every list can be narrowed by."""

    workspace: Name | None = None
    created_after: MomentIn | None = None
    created_before: MomentIn | None = None

    def filters(self) -> Filters:
        """As the read side takes them."""
        return Filters(**self.model_dump(exclude={"page_size", "cursor"}, mode="python"))


class BookingQuery(ListQuery):
    """Narrows bookings."""

    status: BookingStatus | None = None


class OrderQuery(ListQuery):
    """Narrows orders."""

    status: OrderStatus | None = None
    search: Annotated[str, StringConstraints(min_length=1, max_length=24, pattern=r"^[A-Za-z0-9-]+$")] | None = Field(
        None, description="Part of an order number."
    )


class PaymentQuery(ListQuery):
    """Narrows payments."""

    status: PaymentStatus | None = None
    gateway: Name | None = None


class RefundQuery(ListQuery):
    """Narrows refunds."""

    status: RefundStatus | None = None
    gateway: Name | None = None


class NotificationQuery(PageQuery):
    """Narrows messages."""

    unread: bool = False


class DecisionQuery(PageQuery):
    """Narrows decisions."""

    status: Literal["open", "resolved", "all"] = "open"
    workspace: Name | None = None


class EndpointQuery(PageQuery):
    """Narrows endpoints."""

    workspace: Name | None = None


class DeliveryQuery(PageQuery):
    """Narrows a delivery log."""

    status: Literal["pending", "delivered", "failed"] | None = None


class DifferenceQuery(PageQuery):
    """Narrows differences."""

    status: Literal["open", "settled", "all"] = "open"


class SummaryQuery(BaseModel):
    """The report's period and scope."""

    workspace: Name | None = None
    gateway: Name | None = None
    created_after: MomentIn | None = None
    created_before: MomentIn | None = None

    def filters(self) -> Filters:
        """As the read side takes them."""
        return Filters(**self.model_dump())
