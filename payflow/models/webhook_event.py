"""The inbox: every signed webhook, stored once, handled once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.models.base import Base, Identified, Owed, partial_index


class WebhookEvent(Identified, Owed, Base):
    """`handled_at` is set in the effect's transaction. A reference nobody knows stays `unmatched` and visible."""

    __tablename__ = "webhook_events"
    __table_args__ = (
        Index("uq_webhook_events_key", "gateway", "event_key", unique=True),
        Index("ix_webhook_events_reference", "reference"),
        partial_index("ix_webhook_events_transaction", "transaction_id", where="transaction_id IS NOT NULL"),
        partial_index("ix_webhook_events_refund", "gateway_refund_id", where="gateway_refund_id IS NOT NULL"),
        partial_index("ix_webhook_events_due", "due_at", where="due_at IS NOT NULL"),
        partial_index("ix_webhook_events_parked", "parked_at", where="parked_at IS NOT NULL"),
    )
    gateway: Mapped[str] = mapped_column(String(16))
    event_key: Mapped[str] = mapped_column(String(255))
    event_type: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    reference: Mapped[str | None] = mapped_column(String(255))
    transaction_id: Mapped[str | None] = mapped_column(String(255))
    gateway_refund_id: Mapped[str | None] = mapped_column(String(255))
    dispute: Mapped[dict[str, Any] | None]
    """`{"id", "status", "amount_minor", "currency", "reason"}` for a chargeback's event."""
    body: Mapped[dict[str, Any]]
    """Redacted."""
    outcome: Mapped[str | None] = mapped_column(String(32))
    """matched, ignored, unmatched or parked."""
    handled_at: Mapped[datetime | None]
    parked_at: Mapped[datetime | None]
    correlation_id: Mapped[str | None] = mapped_column(String(128))
    task: Mapped[str | None] = mapped_column(String(128))
    """The Celery task that handled it: name and id."""
