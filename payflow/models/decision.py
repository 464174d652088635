"""The decision inbox: money that arrived wrong, late or twice, or fits nothing, and what a person made of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.models.base import Base, Identified, Minor, RowId, one_of, partial_index


class DecisionKind(StrEnum):
    UNDERPAID = "underpaid"
    OVERPAID = "overpaid"
    WRONG_CURRENCY = "wrong_currency"
    MODE_MISMATCH = "mode_mismatch"
    REFERENCE_MISMATCH = "reference_mismatch"
    LATE_PAYMENT = "late_payment"
    DUPLICATE_PAYMENT = "duplicate_payment"
    SLOT_TAKEN = "slot_taken"
    REFUND_FAILED = "refund_failed"
    REFUND_NEEDS_ATTENTION = "refund_needs_attention"
    REFUND_UNKNOWN = "refund_unknown"
    DISPUTE_OPENED = "dispute_opened"
    POLL_PLAN_EXHAUSTED = "poll_plan_exhausted"
    RECONCILIATION = "reconciliation"
    """A gateway's list and our books differ."""
    UNMATCHED_WEBHOOK = "unmatched_webhook"
    """A signed event that fits no try of ours, given up after its last try."""


class DecisionAction(StrEnum):
    ACCEPT = "accept"
    REFUND = "refund"
    EXTEND = "extend"
    IGNORE = "ignore"


class Decision(Identified, Base):
    """One open question about money, asked once per kind and subject."""

    __tablename__ = "decisions"
    __table_args__ = (
        one_of("kind", DecisionKind),
        Index("uq_decisions_once", "kind", "subject_id", unique=True),
        Index("ix_decisions_order", "order_id"),
        partial_index("ix_decisions_open", "id", where="resolved_at IS NULL"),
    )
    kind: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(RowId)
    """The attempt, refund, difference or webhook event it is about."""
    order_id: Mapped[str | None] = mapped_column(RowId, ForeignKey("orders.id"))
    """NULL = it fits no order."""
    workspace_id: Mapped[str | None] = mapped_column(String(64))
    """Who decides besides operators; NULL = nobody does."""
    amount_minor: Mapped[int | None] = mapped_column(Minor)
    """NULL, and no currency = not known."""
    currency: Mapped[str | None] = mapped_column(String(3))
    detail: Mapped[str] = mapped_column(String(500))
    suggested_action: Mapped[str] = mapped_column(String(16))
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None] = mapped_column(String(128))
    action: Mapped[str | None] = mapped_column(String(16))
    note: Mapped[str | None] = mapped_column(String(500))
