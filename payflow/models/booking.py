"""Bookings: a slot of a resource, a price, an owner. Two confirmed bookings of a slot are refused by the database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.core.act import Act
from payflow.core.events import Event, EventType, timestamp
from payflow.core.money import Money
from payflow.core.states import BookingStatus
from payflow.models.base import Base, Identified, Minor, Stateful, one_of


class Booking(Identified, Stateful, Base):
    """A customer's claim on `[starts_at, ends_at)` of a resource.

    The overlap of confirmed bookings is refused by an exclusion constraint on PostgreSQL and a trigger on SQLite
    (see the first migration).
    """

    __tablename__ = "bookings"
    __table_args__ = (
        one_of("status", BookingStatus),
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
        CheckConstraint("ends_at > starts_at", name="slot_not_empty"),
        Index("ix_bookings_user", "user_id", "id"),
        Index("ix_bookings_workspace", "workspace_id", "id"),
        Index("ix_bookings_slot", "workspace_id", "resource_id", "starts_at"),
    )
    entity = "booking"
    user_id: Mapped[str] = mapped_column(String(255))
    workspace_id: Mapped[str] = mapped_column(String(64))
    resource_id: Mapped[str] = mapped_column(String(128))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    amount_minor: Mapped[int] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))
    status: Mapped[str] = mapped_column(String(16), default=BookingStatus.PENDING.value)
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own protocol

    @property
    def price(self) -> Money:
        return Money(self.amount_minor, self.currency)

    def history_order_id(self) -> str | None:
        return None

    def event(self, type_: EventType, act: Act, *, order_id: str | None) -> Event:
        """BOOKING_CONFIRMED or BOOKING_CANCELLED."""
        return Event(
            type=type_,
            subject_id=self.id,
            order_id=order_id,
            user_id=self.user_id,
            workspace_id=self.workspace_id,
            at=act.at,
            dedupe_key=f"{type_}:{self.id}:{self.moves}",
            data={
                "booking_id": self.id,
                "resource_id": self.resource_id,
                "amount": self.amount_minor,
                "currency": self.currency,
                "starts_at": timestamp(self.starts_at),
                "ends_at": timestamp(self.ends_at),
            },
        )
