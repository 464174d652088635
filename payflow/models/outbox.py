"""The outbox: every published event, written in the transaction that makes it true."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.models.base import Base, Identified, Owed, RowId, partial_index


class OutboxEvent(Identified, Owed, Base):
    """`dedupe_key` makes a fact unique for ever; `due_at` is NULL once its subscribers' rows are written."""

    __tablename__ = "outbox_events"
    __table_args__ = (
        Index("ix_outbox_events_order", "order_id"),
        partial_index("ix_outbox_events_due", "due_at", where="due_at IS NOT NULL"),
        partial_index("ix_outbox_events_parked", "parked_at", where="parked_at IS NOT NULL"),
    )
    type: Mapped[str] = mapped_column(String(32))
    dedupe_key: Mapped[str] = mapped_column(String(160), unique=True)
    subject_id: Mapped[str] = mapped_column(RowId)
    order_id: Mapped[str | None] = mapped_column(RowId)
    user_id: Mapped[str] = mapped_column(String(255))
    workspace_id: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    fanned_out_at: Mapped[datetime | None]
    parked_at: Mapped[datetime | None]
    correlation_id: Mapped[str | None] = mapped_column(String(128))
    task: Mapped[str | None] = mapped_column(String(128))
    """The Celery task that told it to its recipients: name and id."""
