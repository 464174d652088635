"""Who may call: users as last seen in a token, workspaces with their policy, service keys, idempotency keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.models.base import Base, Identified, RowId


class User(Base):
    """A person as the last token or service call named them; the id is the token's `sub`."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    email: Mapped[str] = mapped_column(String(320), default="")
    name: Mapped[str] = mapped_column(String(255), default="")
    locale: Mapped[str | None] = mapped_column(String(35))
    """The language its last token asked for, as messages know it (`fr-CA`)."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Workspace(Base):
    """A seller on the booking platform, and how it wants its money handled."""

    __tablename__ = "workspaces"
    __table_args__ = (
        CheckConstraint("tax_bps BETWEEN 0 AND 10000", name="tax_sane"),
        CheckConstraint("refund_percent_bps BETWEEN 0 AND 10000", name="refund_percent_sane"),
        CheckConstraint("order_ttl_seconds IS NULL OR order_ttl_seconds >= 10", name="ttl_sane"),
        CheckConstraint("late_payment IN ('accept', 'refund', 'decide')", name="late_payment_known"),
        CheckConstraint("excess_payment IN ('refund', 'decide')", name="excess_payment_known"),
    )
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), default="")
    tax_bps: Mapped[int] = mapped_column(Integer, default=0)
    """Tax rate in basis points: 750 = 7.5 %."""
    order_ttl_seconds: Mapped[int | None]
    """How long an unpaid order lives; NULL = the installation's default."""
    refund_window_hours: Mapped[int] = mapped_column(Integer, default=24 * 30)
    """For how long after payment a customer may ask for money back."""
    refund_percent_bps: Mapped[int] = mapped_column(Integer, default=10_000)
    """The share given back when a paid booking is cancelled."""
    refund_needs_approval: Mapped[bool] = mapped_column(default=False)
    customers_may_book: Mapped[bool] = mapped_column(default=True)
    late_payment: Mapped[str] = mapped_column(String(16), default="accept")
    """Money that comes after expiry: accept if the slot is still free, refund, or let a person decide."""
    excess_payment: Mapped[str] = mapped_column(String(16), default="refund")
    return_urls: Mapped[list[str]] = mapped_column(type_=Base.type_annotation_map[dict[str, Any]], default=list)
    enabled_gateways: Mapped[list[str] | None] = mapped_column(type_=Base.type_annotation_map[dict[str, Any]])
    """In routing order; NULL = all the installation has."""
    locale: Mapped[str | None] = mapped_column(String(35))
    """The language of its messages to those who want no other."""
    mail_from_name: Mapped[str | None] = mapped_column(String(100))
    """How its letters' sender is called; the address is the installation's."""
    mail_reply_to: Mapped[str | None] = mapped_column(String(320))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ServiceKey(Identified, Base):
    """A `pfk_…` key of the booking platform's server; only its SHA-256 is kept (the key has 256 random bits)."""

    __tablename__ = "service_keys"
    name: Mapped[str] = mapped_column(String(128))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    workspace_id: Mapped[str | None] = mapped_column(String(64))
    """The one workspace it may act for; NULL = all."""
    scope: Mapped[str] = mapped_column(String(255), default="")
    """Space-separated: `read` = it may change nothing; `operator` = as staff of every workspace (unbound keys only)."""
    revoked_at: Mapped[datetime | None]
    """From when on it is refused; lies ahead while its successor is being rolled out."""
    last_used_at: Mapped[datetime | None]
    """Exact to a minute."""


class IdempotencyKey(Base):
    """One use of an `Idempotency-Key`, scoped to caller and route; kept 72 h."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created", "created_at"),)
    scope: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of caller, method and route: no tenant can reach another's key."""
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    resource_id: Mapped[str | None] = mapped_column(RowId)
    status_code: Mapped[int | None]
    """NULL while the first request is still running."""
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    locked_until: Mapped[datetime]
    created_at: Mapped[datetime]
