"""Refunds: money on its way back, reserved before anything is sent."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.core.act import Act
from payflow.core.events import Event, EventType
from payflow.core.money import Money
from payflow.core.states import RefundStatus
from payflow.models.base import Base, Identified, Minor, Owed, RowId, Stateful, one_of, partial_index
from payflow.models.order import Order


class RefundReason(StrEnum):
    CUSTOMER_REQUEST = "customer_request"
    BOOKING_CANCELLED = "booking_cancelled"
    DUPLICATE = "duplicate"
    FRAUDULENT = "fraudulent"
    SERVICE_ISSUE = "service_issue"
    OTHER = "other"


class RefundSource(StrEnum):
    API = "api"
    """Asked for by a person."""
    POLICY = "policy"
    """Asked for by a rule: a cancelled booking, a lost slot, a late payment."""
    SURPLUS = "surplus"
    """Money that came in too much: an excess or a second success."""
    GATEWAY = "gateway"
    """Made in the gateway's own dashboard and recorded here."""


class Approval(StrEnum):
    NOT_NEEDED = "not_needed"
    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"


class Refund(Identified, Stateful, Owed, Base):
    """`id` is the stable key sent to the gateway. `submitted_at` is set before the call: from then on, probe first."""

    __tablename__ = "refunds"
    __table_args__ = (
        one_of("status", RefundStatus),
        one_of("reason", RefundReason),
        one_of("source", RefundSource),
        one_of("approval", Approval),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name="completed_has_a_time"),
        partial_index(
            "uq_refunds_surplus",
            "attempt_id",
            where="source = 'surplus' AND status <> 'failed' AND requested_by NOT LIKE 'gateway:%'",
            unique=True,
        ),
        partial_index(
            "uq_refunds_gateway_id", "gateway", "gateway_refund_id", where="gateway_refund_id IS NOT NULL", unique=True
        ),
        partial_index("ix_refunds_due", "gateway", "due_at", where="due_at IS NOT NULL"),
        partial_index("ix_refunds_made", "gateway", "created_at", where="gateway_refund_id IS NOT NULL"),
        Index("ix_refunds_payment", "payment_id"),
        Index("ix_refunds_user", "user_id", "id"),
        Index("ix_refunds_workspace", "workspace_id", "id"),
    )
    entity = "refund"
    payment_id: Mapped[str] = mapped_column(RowId, ForeignKey("payments.id"))
    order_id: Mapped[str] = mapped_column(RowId, ForeignKey("orders.id"))
    attempt_id: Mapped[str] = mapped_column(RowId, ForeignKey("payment_attempts.id"))
    booking_id: Mapped[str | None] = mapped_column(RowId, ForeignKey("bookings.id"))
    """The booking whose cancellation asked for it; released once the money is back."""
    user_id: Mapped[str] = mapped_column(String(255))
    """The customer whose payment it is."""
    workspace_id: Mapped[str] = mapped_column(String(64))
    requested_by: Mapped[str] = mapped_column(String(128))
    gateway: Mapped[str] = mapped_column(String(16))
    amount_minor: Mapped[int] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))
    status: Mapped[str] = mapped_column(String(16), default=RefundStatus.PENDING.value)
    needs_attention: Mapped[bool] = mapped_column(default=False)
    reason: Mapped[str] = mapped_column(String(32))
    reason_description: Mapped[str] = mapped_column(String(500), default="")
    source: Mapped[str] = mapped_column(String(16))
    approval: Mapped[str] = mapped_column(String(16), default=Approval.NOT_NEEDED.value)
    approved_by: Mapped[str | None] = mapped_column(String(128))
    gateway_refund_id: Mapped[str | None] = mapped_column(String(255))
    gateway_response: Mapped[dict[str, Any] | None]
    submitted_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    poll_step: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(String(255))
    unanswered_since: Mapped[datetime | None]
    """Since when its gateway has not answered about it; NULL = it did, the last time."""
    correlation_id: Mapped[str | None] = mapped_column(String(128))
    listed_at: Mapped[datetime | None]
    """When reconciliation last saw it at the gateway, or asked for it by name."""
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own protocol

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)

    @property
    def is_surplus(self) -> bool:
        """Whether it gives back money that was never the order's."""
        return self.source == RefundSource.SURPLUS

    @property
    def was_made_there(self) -> bool:
        """Whether somebody made it at the gateway itself, without a word to us."""
        return self.requested_by.startswith("gateway:")

    def history_order_id(self) -> str | None:
        return self.order_id

    def event(self, type_: EventType, act: Act, *, order: Order) -> Event:
        """REFUND_REQUESTED, REFUND_COMPLETED or REFUND_FAILED. `amount` in minor units."""
        return Event(
            type=type_,
            subject_id=self.id,
            order_id=self.order_id,
            user_id=self.user_id,
            workspace_id=self.workspace_id,
            at=act.at,
            dedupe_key=f"{type_}:{self.id}:{self.moves}",
            data={
                "order_id": order.id,
                "order_number": order.order_number,
                "payment_id": self.payment_id,
                "refund_id": self.id,
                "amount": self.amount_minor,
                "currency": self.currency,
                "reason": self.reason,
                "reason_description": self.reason_description,
                "error": self.error,
            },
        )
