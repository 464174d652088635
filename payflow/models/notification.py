"""Messages: one per event, recipient and channel, for ever. An in-app message is its own delivery."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from payflow.models.base import Base, Identified, Owed, RowId, one_of, partial_index


class Channel(StrEnum):
    IN_APP = "in_app"
    EMAIL = "email"
    WEBHOOK = "webhook"


class Notification(Identified, Owed, Base):
    """A message to one recipient on one channel; still owed while none of `sent_at`, `parked_at` and `withdrawn_at` is
    there."""

    __tablename__ = "notifications"
    __table_args__ = (
        one_of("channel", Channel),
        Index("uq_notifications_once", "event_id", "recipient", "channel", unique=True),
        Index("ix_notifications_recipient", "recipient", "channel", "id"),
        Index("ix_notifications_order", "order_id"),
        partial_index("ix_notifications_due", "due_at", where="due_at IS NOT NULL"),
        partial_index("ix_notifications_parked", "parked_at", where="parked_at IS NOT NULL"),
    )
    event_id: Mapped[str] = mapped_column(RowId, ForeignKey("outbox_events.id"))
    event: Mapped[str] = mapped_column(String(32))
    order_id: Mapped[str | None] = mapped_column(RowId)
    channel: Mapped[str] = mapped_column(String(8))
    recipient: Mapped[str] = mapped_column(String(320))
    """A user id (in_app), an e-mail address (email) or an endpoint id (webhook)."""
    title: Mapped[str] = mapped_column(String(255))
    body: Mapped[str] = mapped_column(Text)
    locale: Mapped[str | None] = mapped_column(String(35))
    """The language it is written in; NULL = English."""
    sent_at: Mapped[datetime | None]
    parked_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    """When it was found to be true no longer, before it could be sent."""
    read_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(String(255))
    correlation_id: Mapped[str | None] = mapped_column(String(128))
    task: Mapped[str | None] = mapped_column(String(128))
    """The Celery task that sent it: name and id."""


class NotificationPreferences(Base):
    """What a user wants to hear, and in which language. Users without a row hear everything."""

    __tablename__ = "notification_preferences"
    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    locale: Mapped[str | None] = mapped_column(String(35))
    """NULL = the token's or the workspace's."""
    switched_off: Mapped[dict[str, Any]]
    """Channel → the events it is silent about: `{"email": ["PAYMENT_FAILED"]}`."""
    updated_at: Mapped[datetime]


class Alert(Base):
    """Something operators were told of: once for ever per kind, row and moment since when it is so."""

    __tablename__ = "alerts"
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject_id: Mapped[str] = mapped_column(RowId, primary_key=True)
    since: Mapped[datetime] = mapped_column(primary_key=True)
    told_at: Mapped[datetime]
    digest_id: Mapped[str] = mapped_column(RowId, ForeignKey("outbox_events.id"))
    """The digest that told it."""
