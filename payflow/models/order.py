"""Orders: what a customer pays for at once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from payflow.core.act import Act
from payflow.core.events import Event, EventType, timestamp
from payflow.core.money import MAX_MINOR, Money
from payflow.core.states import OrderStatus
from payflow.models.base import Base, Identified, Minor, Owed, RowId, Stateful, one_of, partial_index
from payflow.models.booking import Booking


class OrderBooking(Base):
    """A booking on an order, with its price as it stood then. A booking is active on at most one order."""

    __tablename__ = "order_bookings"
    __table_args__ = (
        partial_index("uq_order_bookings_active", "booking_id", where="active", unique=True),
        Index("ix_order_bookings_booking", "booking_id"),
        CheckConstraint("price_minor >= 0", name="price_not_negative"),
    )
    order_id: Mapped[str] = mapped_column(RowId, ForeignKey("orders.id"), primary_key=True)
    booking_id: Mapped[str] = mapped_column(RowId, ForeignKey("bookings.id"), primary_key=True)
    price_minor: Mapped[int] = mapped_column(Minor)
    active: Mapped[bool] = mapped_column(default=True)
    booking: Mapped[Booking] = relationship(lazy="raise")


class Order(Identified, Stateful, Owed, Base):
    """`due_at` is the deadline while it can still be paid, and "now" while its bookings wait for confirmation."""

    __tablename__ = "orders"
    __table_args__ = (
        one_of("status", OrderStatus),
        CheckConstraint("total_minor = subtotal_minor - discount_minor + tax_minor", name="total_adds_up"),
        CheckConstraint(f"total_minor > 0 AND total_minor <= {MAX_MINOR}", name="total_sane"),
        CheckConstraint("subtotal_minor >= 0 AND discount_minor >= 0 AND tax_minor >= 0", name="parts_not_negative"),
        CheckConstraint("status NOT IN ('paid', 'completed') OR paid_at IS NOT NULL", name="paid_has_a_time"),
        Index("ix_orders_user", "user_id", "id"),
        Index("ix_orders_workspace", "workspace_id", "id"),
        Index("ix_orders_code", text("substr(order_number, 14)")),  # the part people read to each other
        partial_index("ix_orders_due", "due_at", where="due_at IS NOT NULL"),
    )
    entity = "order"
    order_number: Mapped[str] = mapped_column(String(24), unique=True)
    user_id: Mapped[str] = mapped_column(String(255))
    workspace_id: Mapped[str] = mapped_column(String(64))
    currency: Mapped[str] = mapped_column(String(3))
    subtotal_minor: Mapped[int] = mapped_column(Minor)
    discount_minor: Mapped[int] = mapped_column(Minor)
    tax_minor: Mapped[int] = mapped_column(Minor)
    total_minor: Mapped[int] = mapped_column(Minor)
    booking_count: Mapped[int]
    """Bookings active on it; kept here so that a list needs no second query."""
    status: Mapped[str] = mapped_column(String(16), default=OrderStatus.PENDING.value)
    payment_method: Mapped[str | None] = mapped_column(String(64))
    payment_reference: Mapped[str | None] = mapped_column(String(64))
    correlation_id: Mapped[str | None] = mapped_column(String(128))
    expires_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column()
    items: Mapped[list[OrderBooking]] = relationship(
        lazy="raise", order_by=OrderBooking.booking_id, cascade="all, delete-orphan"
    )
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own protocol

    @property
    def total(self) -> Money:
        return Money(self.total_minor, self.currency)

    def history_order_id(self) -> str | None:
        return self.id

    def event(self, type_: EventType, act: Act) -> Event:
        """ORDER_CREATED, ORDER_EXPIRED or ORDER_CANCELLED. Amounts in minor units."""
        return Event(
            type=type_,
            subject_id=self.id,
            order_id=self.id,
            user_id=self.user_id,
            workspace_id=self.workspace_id,
            at=act.at,
            dedupe_key=f"{type_}:{self.id}:{self.moves}",
            data={
                "order_id": self.id,
                "order_number": self.order_number,
                "subtotal": self.subtotal_minor,
                "tax_amount": self.tax_minor,
                "total_amount": self.total_minor,
                "currency": self.currency,
                "booking_count": self.booking_count,
                "expires_at": timestamp(self.expires_at),
            },
        )
