"""What clients get: every answer's shape. Fields may be added, none renamed.

Amounts are integers in minor units, moments RFC 3339 in UTC, ids UUIDs. Reports and outbound webhooks have files
beside.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from payflow.core.states import AttemptStatus, BookingStatus, OrderStatus, PaymentStatus, RefundStatus
from payflow.models.refund import Approval, RefundReason, RefundSource
from web.text import Id, Moment


class Shape(BaseModel):
    """Part of an answer; built from rows that may carry more than is shown."""

    model_config = ConfigDict(extra="ignore")


class Booking(Shape):
    id: Id
    user_id: str
    workspace_id: str
    resource_id: str
    starts_at: Moment
    ends_at: Moment
    amount: int
    currency: str
    status: BookingStatus
    created_at: Moment
    updated_at: Moment


class PaymentItem(Shape):
    """A payment as lists show it. `reference` and `authorization_url` are the current try's."""

    id: Id
    order_id: Id
    order_number: str
    user_id: str
    workspace_id: str
    status: PaymentStatus
    amount: int
    currency: str
    gateway: str
    payment_method: str | None
    reference: str | None
    authorization_url: str | None = Field(description="The gateway's page, while it can be paid there.")
    gateway_transaction_id: str | None
    retry_count: int
    refunded_amount: int
    refundable_amount: int
    error: str | None
    created_at: Moment
    updated_at: Moment
    paid_at: Moment | None


class Attempt(Shape):
    """One try at a gateway."""

    reference: str
    gateway: str
    status: AttemptStatus
    amount: int
    currency: str
    payment_method: str | None
    error: str | None
    created_at: Moment
    updated_at: Moment


class StaffAttempt(Attempt):
    """One try, with what only staff may see."""

    application: str | None
    captured_amount: int
    gateway_transaction_id: str | None
    next_check_at: Moment | None
    gateway_response: dict[str, Any] | None


class Move(Shape):
    """One change of status."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)
    from_: str = Field(alias="from")
    to: str
    why: str
    at: Moment


class Payment(PaymentItem):
    """A payment with its tries and history."""

    attempts: list[StaffAttempt | Attempt]
    history: list[Move]


class OrderItem(Shape):
    """An order as lists show it."""

    id: Id
    order_number: str
    status: OrderStatus
    user_id: str
    workspace_id: str
    currency: str
    subtotal: int
    discount: int
    tax: int
    total: int
    booking_count: int
    payment_method: str | None
    payment_reference: str | None
    created_at: Moment
    updated_at: Moment
    expires_at: Moment
    paid_at: Moment | None
    completed_at: Moment | None


class Order(OrderItem):
    """An order with its bookings and payment."""

    bookings: list[Booking]
    payment: PaymentItem | None


class Refund(Shape):
    id: Id
    payment_id: Id
    order_id: Id
    booking_id: Id | None
    user_id: str
    workspace_id: str
    status: RefundStatus
    needs_attention: bool
    approval: Approval
    amount: int
    currency: str
    gateway: str
    reason: RefundReason
    reason_description: str
    source: RefundSource
    gateway_refund_id: str | None
    created_at: Moment
    updated_at: Moment
    completed_at: Moment | None
    error: str | None


class Notification(Shape):
    id: Id
    event: str
    title: str
    body: str
    order_id: Id | None
    read_at: Moment | None
    created_at: Moment


class Preferences(Shape):
    """What a user hears of, and in which language."""

    locale: str | None = Field(description="The user's own choice; without one the token's or the workspace's counts.")
    languages: list[str] = Field(description="What messages are written in.")
    channels: dict[str, dict[str, bool]] = Field(description="Channel, event, whether it is on.")


class Read(Shape):
    """How many messages were marked read."""

    marked: int


class Policy(Shape):
    """A workspace's settings."""

    workspace_id: str
    name: str
    tax_bps: int
    order_ttl_seconds: int | None
    refund_window_hours: int
    refund_percent_bps: int
    refund_needs_approval: bool
    customers_may_book: bool
    late_payment: str
    excess_payment: str
    return_urls: list[str]
    enabled_gateways: list[str] | None
    locale: str | None = Field(description="Language of messages to those who want no other.")
    mail_from_name: str | None = Field(description="How the sender of letters is called.")
    mail_reply_to: str | None = Field(description="Where answers to letters go.")
    updated_at: Moment | None


class Decision(Shape):
    """A question about money, and what a person made of it."""

    id: Id
    kind: str
    subject_id: Id
    order_id: Id | None = Field(description="null: it fits no order; operators decide.")
    order_number: str | None
    workspace_id: str | None
    amount: int | None = Field(description="null, with the currency: not known.")
    currency: str | None
    detail: str
    suggested_action: str
    created_at: Moment
    age_seconds: Annotated[int, Field(description="How long it has waited, or did until it was resolved.")]
    resolved_at: Moment | None
    resolved_by: str | None
    action: str | None
    note: str | None


class TimelineEntry(Shape):
    at: Moment
    kind: str
    what: str
    subject_id: Id
    actor: str | None
    correlation_id: str | None
    task: str | None = Field(description="The Celery task that did it: name and id.")


class NextStep(Shape):
    """What is owed; without `due_at` it waits for somebody, or nothing more happens and it says why. Never none."""

    model_config = ConfigDict(extra="ignore", from_attributes=True)
    what: str
    due_at: Moment | None


class Timeline(Shape):
    """An order's story."""

    order_id: Id
    order_number: str
    status: OrderStatus
    why: str
    next: list[NextStep]
    entries: list[TimelineEntry]


class PageShape(Shape):
    next: str | None
    previous: str | None


class Bookings(PageShape):
    results: list[Booking]


class Orders(PageShape):
    results: list[OrderItem]


class Payments(PageShape):
    results: list[PaymentItem]


class Refunds(PageShape):
    results: list[Refund]


class Notifications(PageShape):
    unread_count: int
    results: list[Notification]


class Decisions(PageShape):
    results: list[Decision]


class FieldProblem(Shape):
    pointer: str
    code: str
    detail: str


class Problem(Shape):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None
    errors: list[FieldProblem] = []


class Accepted(Shape):
    """A webhook was stored."""

    received: bool
