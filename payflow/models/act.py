"""What people did by hand that moves no status: a refund approved, parked work taken up again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.core.act import Act
from payflow.core.identifiers import new_id
from payflow.models.base import Base, RowId


class HumanAct(Base):
    """One deed; append-only, enforced by the database. What moves a status is a Transition instead."""

    __tablename__ = "acts"
    __table_args__ = (Index("ix_acts_order", "order_id"), Index("ix_acts_entity", "entity_id"))
    id: Mapped[str] = mapped_column(RowId, primary_key=True, default=new_id)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(128))
    what: Mapped[str] = mapped_column(String(255))
    entity: Mapped[str] = mapped_column(String(16))
    entity_id: Mapped[str] = mapped_column(RowId)
    order_id: Mapped[str | None] = mapped_column(RowId)
    """NULL where the row names no order: a gateway's webhook, a digest."""
    correlation_id: Mapped[str | None] = mapped_column(String(128))

    @classmethod
    def of(cls, act: Act, what: str, *, entity: str, entity_id: str, order_id: str | None) -> HumanAct:
        """Who did it and when is the act's."""
        return cls(
            at=act.at,
            actor=act.actor[:128],
            what=what[:255],
            entity=entity,
            entity_id=entity_id,
            order_id=order_id,
            correlation_id=act.correlation_id,
        )
