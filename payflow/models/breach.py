"""Invariants found broken: one row per invariant for as long as it stays so."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.models.base import Base, Identified, JsonObject, partial_index


class AuditBreach(Identified, Base):
    """What an audit found. `gone_at` NULL: the latest audit still found it."""

    __tablename__ = "audit_breaches"
    __table_args__ = (partial_index("uq_audit_breaches_open", "invariant", unique=True, where="gone_at IS NULL"),)
    invariant: Mapped[str] = mapped_column(String(8))
    """`I01` … as store/audit.sql numbers them."""
    sentence: Mapped[str] = mapped_column(String(255))
    row_count: Mapped[int]
    """How many rows broke it when last seen."""
    row_ids: Mapped[list[str]] = mapped_column(type_=JsonObject)
    """Some of them."""
    last_seen_at: Mapped[datetime]
    gone_at: Mapped[datetime | None]
