"""The gateway log: every exchange with a gateway, redacted, for operators."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.core.identifiers import new_id
from payflow.models.base import Base, RowId, partial_index


class GatewayCall(Base):
    """One request that was sent, each repetition on a row of its own. Nothing depends on these rows; they are thrown
    away after PAYFLOW_GATEWAY_LOG_DAYS."""

    __tablename__ = "gateway_calls"
    __table_args__ = (
        partial_index("ix_gateway_calls_order", "order_id", where="order_id IS NOT NULL"),
        Index("ix_gateway_calls_at", "at"),
    )
    id: Mapped[str] = mapped_column(RowId, primary_key=True, default=new_id)
    at: Mapped[datetime]
    """When its answer, or the lack of one, was noted."""
    gateway: Mapped[str] = mapped_column(String(16))
    operation: Mapped[str] = mapped_column(String(32))
    method: Mapped[str] = mapped_column(String(8))
    route: Mapped[str] = mapped_column(String(255))
    """A template, without ids."""
    order_id: Mapped[str | None] = mapped_column(RowId)
    attempt_id: Mapped[str | None] = mapped_column(RowId)
    refund_id: Mapped[str | None] = mapped_column(RowId)
    task: Mapped[str | None] = mapped_column(String(128))
    """The Celery task that called: name and id."""
    http_status: Mapped[int | None]
    """NULL = no whole answer came."""
    duration_ms: Mapped[int]
    request_id: Mapped[str | None] = mapped_column(String(128))
    """The gateway's own, to show to its support."""
    error_code: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None] = mapped_column(String(255))
    request: Mapped[dict[str, Any]]
    response: Mapped[dict[str, Any] | None]
