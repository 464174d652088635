"""Payments, one to one with orders, and the tries at gateways that make them up."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from payflow.core.act import Act
from payflow.core.events import Event, EventType
from payflow.core.money import Money
from payflow.core.states import LIVE_ATTEMPT, AttemptStatus, PaymentStatus
from payflow.models.base import Base, Identified, Minor, Owed, RowId, Stateful, one_of, partial_index
from payflow.models.order import Order

_LIVE = "status IN ({})".format(", ".join(f"'{status.value}'" for status in LIVE_ATTEMPT))


class Payment(Identified, Stateful, Base):
    """The money of one order. Amounts count the order's own money; what came in too much hangs on the attempts."""

    __tablename__ = "payments"
    __table_args__ = (
        one_of("status", PaymentStatus),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("captured_minor IN (0, amount_minor)", name="captured_whole_or_nothing"),
        CheckConstraint(
            "refunded_minor >= 0 AND refunded_minor <= refund_reserved_minor "
            "AND refund_reserved_minor <= captured_minor",
            name="refunds_within_capture",
        ),
        CheckConstraint(
            "(status IN ('success', 'refunded')) = (captured_minor = amount_minor)", name="success_means_captured"
        ),
        CheckConstraint("status <> 'refunded' OR refunded_minor = captured_minor", name="refunded_means_all"),
        Index("ix_payments_user", "user_id", "id"),
        Index("ix_payments_workspace", "workspace_id", "id"),
    )
    entity = "payment"
    order_id: Mapped[str] = mapped_column(RowId, ForeignKey("orders.id"), unique=True)
    user_id: Mapped[str] = mapped_column(String(255))
    workspace_id: Mapped[str] = mapped_column(String(64))
    amount_minor: Mapped[int] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))
    status: Mapped[str] = mapped_column(String(16), default=PaymentStatus.PENDING.value)
    gateway: Mapped[str] = mapped_column(String(16))
    payment_method: Mapped[str | None] = mapped_column(String(64))
    current_attempt_id: Mapped[str | None] = mapped_column(RowId)
    retry_count: Mapped[int] = mapped_column(default=0)
    captured_minor: Mapped[int] = mapped_column(Minor, default=0)
    refund_reserved_minor: Mapped[int] = mapped_column(Minor, default=0)
    """Refunds asked for and not failed, completed ones included."""
    refunded_minor: Mapped[int] = mapped_column(Minor, default=0)
    error: Mapped[str | None] = mapped_column(String(255))
    paid_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own protocol

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)

    @property
    def refundable_minor(self) -> int:
        """What may still be asked back (minor units)."""
        return self.captured_minor - self.refund_reserved_minor

    def history_order_id(self) -> str | None:
        return self.order_id

    def event(
        self, type_: EventType, act: Act, *, order: Order, reference: str, booking_ids: list[str], **extra: Any
    ) -> Event:
        """PAYMENT_INITIATED, PAYMENT_COMPLETED, PAYMENT_FAILED or PAYMENT_EXCESS. `amount` in minor units."""
        data = {
            "order_id": order.id,
            "order_number": order.order_number,
            "payment_id": self.id,
            "amount": self.amount_minor,
            "currency": self.currency,
            "payment_method": self.payment_method,
            "gateway": self.gateway,
            "gateway_reference": reference,
            "booking_ids": booking_ids,
            "error": self.error,
        }
        return Event(
            type=type_,
            subject_id=self.id,
            order_id=order.id,
            user_id=self.user_id,
            workspace_id=self.workspace_id,
            at=act.at,
            dedupe_key=f"{type_}:{reference}",
            data=data | extra,
        )


class PaymentAttempt(Identified, Stateful, Owed, Base):
    """One try at a gateway. `due_at` = when to call or ask the gateway next; `poll_step` counts the questions."""

    __tablename__ = "payment_attempts"
    __table_args__ = (
        one_of("status", AttemptStatus),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("application IN ('applied', 'surplus')", name="application_known"),
        CheckConstraint("(status = 'succeeded') = (application IS NOT NULL)", name="success_is_applied_or_surplus"),
        CheckConstraint("captured_minor >= 0", name="captured_not_negative"),
        CheckConstraint(
            "refund_reserved_minor >= 0 AND refund_reserved_minor <= captured_minor", name="refunds_within_capture"
        ),
        partial_index("uq_attempts_live", "payment_id", where=_LIVE, unique=True),
        partial_index("uq_attempts_applied", "payment_id", where="application = 'applied'", unique=True),
        partial_index(
            "uq_attempts_transaction",
            "gateway",
            "gateway_transaction_id",
            where="gateway_transaction_id IS NOT NULL",
            unique=True,
        ),
        partial_index("ix_attempts_session", "session_id", where="session_id IS NOT NULL"),
        Index("ix_attempts_payment", "payment_id"),
        partial_index("ix_attempts_due", "gateway", "due_at", where="due_at IS NOT NULL"),
        partial_index("ix_attempts_captured", "gateway", "created_at", where="captured_minor > 0"),
    )
    entity = "attempt"
    payment_id: Mapped[str] = mapped_column(RowId, ForeignKey("payments.id"))
    order_id: Mapped[str] = mapped_column(RowId, ForeignKey("orders.id"))
    gateway: Mapped[str] = mapped_column(String(16))
    reference: Mapped[str] = mapped_column(String(64), unique=True)
    amount_minor: Mapped[int] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))
    status: Mapped[str] = mapped_column(String(16), default=AttemptStatus.CREATED.value)
    application: Mapped[str | None] = mapped_column(String(8))
    """`applied`: settles its payment; `surplus`: a second success, to be given back."""
    payment_method: Mapped[str | None] = mapped_column(String(64))
    return_url: Mapped[str | None] = mapped_column(Text)
    authorization_url: Mapped[str | None] = mapped_column(Text)
    session_id: Mapped[str | None] = mapped_column(String(255))
    gateway_transaction_id: Mapped[str | None] = mapped_column(String(255))
    gateway_response: Mapped[dict[str, Any] | None]
    """The last answer, redacted; for staff."""
    captured_minor: Mapped[int] = mapped_column(Minor, default=0)
    captured_currency: Mapped[str | None] = mapped_column(String(3))
    fee_minor: Mapped[int | None] = mapped_column(Minor)
    refund_reserved_minor: Mapped[int] = mapped_column(Minor, default=0)
    poll_step: Mapped[int] = mapped_column(default=0)
    called_at: Mapped[datetime | None]
    """When initialize was first sent: from then on the gateway may know the reference."""
    error: Mapped[str | None] = mapped_column(String(255))
    correlation_id: Mapped[str | None] = mapped_column(String(128))
    routing: Mapped[str | None] = mapped_column(String(255))
    """Why payflow chose this gateway, in words; NULL = the customer named it."""
    replaces_id: Mapped[str | None] = mapped_column(RowId)
    """The try whose page never reached the customer, for which this one stands in."""
    listed_at: Mapped[datetime | None]
    """When reconciliation last saw its money at the gateway, or asked for it by name."""
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own protocol

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)

    @property
    def is_live(self) -> bool:
        return self.status in LIVE_ATTEMPT

    def is_perhaps_paid(self, now: datetime) -> bool:
        """Whether its gateway must tell its end before its order may end: it is live and the gateway may know of it, or
        it was given up here while a customer has its page and the gateway owes an answer."""
        if self.is_live:
            return self.called_at is not None
        is_owed = self.due_at is not None and (self.tries > 0 or self.due_at <= now)
        return is_owed and self.authorization_url is not None

    def history_order_id(self) -> str | None:
        return self.order_id
