"""Chargebacks, as a gateway tells of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.core.act import Act
from payflow.core.events import Event, EventType
from payflow.core.states import DisputeStatus
from payflow.models.base import Base, Identified, Minor, RowId, Stateful, one_of
from payflow.models.order import Order


class Dispute(Identified, Stateful, Base):
    """A customer's bank took the money back, or threatens to."""

    __tablename__ = "disputes"
    __table_args__ = (
        one_of("status", DisputeStatus),
        Index("uq_disputes_gateway_id", "gateway", "gateway_dispute_id", unique=True),
    )
    entity = "dispute"
    payment_id: Mapped[str] = mapped_column(RowId, ForeignKey("payments.id"))
    order_id: Mapped[str] = mapped_column(RowId, ForeignKey("orders.id"))
    gateway: Mapped[str] = mapped_column(String(16))
    gateway_dispute_id: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16), default=DisputeStatus.OPEN.value)
    amount_minor: Mapped[int] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))
    reason: Mapped[str] = mapped_column(String(255), default="")
    resolved_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own protocol

    def event(self, act: Act, *, order: Order) -> Event:
        """DISPUTE_OPENED. `amount` in minor units."""
        return Event(
            type=EventType.DISPUTE_OPENED,
            subject_id=self.id,
            order_id=order.id,
            user_id=order.user_id,
            workspace_id=order.workspace_id,
            at=act.at,
            dedupe_key=f"{EventType.DISPUTE_OPENED}:{self.id}",
            data={
                "order_id": order.id,
                "order_number": order.order_number,
                "payment_id": self.payment_id,
                "dispute_id": self.id,
                "amount": self.amount_minor,
                "currency": self.currency,
                "reason": self.reason,
            },
        )

    def history_order_id(self) -> str | None:
        return self.order_id
