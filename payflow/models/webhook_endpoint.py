"""Outbound webhooks: where a workspace wants its events sent, and each event's way there, for ever."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from payflow.core.events import EventType, timestamp
from payflow.models.base import Base, Identified, Owed, RowId, partial_index

SECRET_BYTES = 32
"""Standard Webhooks asks for 24 to 64."""
SETTLES_SECONDS = 60
"""No transaction lasts so long."""
PING = "PING"
"""The type of a delivery that tells of nothing but itself."""


class Disabled(StrEnum):
    """Why an endpoint gets nothing."""

    BY_HAND = "by_hand"
    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """Five days of nothing but failures."""


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64, as Standard Webhooks has it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


class WebhookEndpoint(Identified, Base):
    """A receiver. `last_sequence` numbers what it is told; a deleted one keeps its row, for its deliveries' sake."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint("enabled = (disabled_at IS NULL)", name="disabled_has_a_time"),
        CheckConstraint("deleted_at IS NULL OR NOT enabled", name="deleted_is_disabled"),
        Index("ix_webhook_endpoints_workspace", "workspace_id", "id"),
    )
    workspace_id: Mapped[str] = mapped_column(String(64))
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(String(500), default="")
    events: Mapped[str] = mapped_column(String(1000), default="")
    """Types it wants, space-separated; empty = all."""
    secret: Mapped[str] = mapped_column(String(128))
    """Kept as it is, for it signs."""
    retired_secrets: Mapped[dict[str, Any]]
    """Secret → until when it signs too (RFC 3339)."""
    last_sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(16))
    subscribed_at: Mapped[datetime]
    """From when on it surely gets what it is set to now. A little later than the change itself: a fan-out that was
    under way then may have known the old setting."""
    failing_since: Mapped[datetime | None]
    """When the first of an unbroken row of failures happened; NULL = the last try went well."""
    deleted_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]

    def wants(self, kind: EventType) -> bool:
        return not self.events or kind.value in self.events.split()

    def rotate(self, *, at: datetime, overlap_seconds: int) -> None:
        """A new secret; the old one, and older ones still in their overlap, go on signing for a while."""
        until = timestamp(at + timedelta(seconds=overlap_seconds))
        valid = self._retired(at)
        self.retired_secrets = {**valid, self.secret: until} if overlap_seconds else valid
        self.secret = new_secret()

    def secrets_at(self, at: datetime) -> list[str]:
        """All that sign at that moment, the newest first."""
        retired = self._retired(at)
        return [self.secret, *sorted(retired, key=lambda secret: str(retired[secret]), reverse=True)]

    def _retired(self, at: datetime) -> dict[str, Any]:
        return {secret: until for secret, until in self.retired_secrets.items() if datetime.fromisoformat(until) > at}

    def disable(self, reason: Disabled, at: datetime) -> None:
        self.enabled, self.disabled_at, self.disabled_reason = False, at, reason.value

    def enable(self, at: datetime) -> None:
        self.enabled, self.disabled_at, self.disabled_reason, self.failing_since = True, None, None, None
        self.subscribe(self.events, at)

    def subscribe(self, events: str, at: datetime) -> None:
        """From now on it wants these types (space-separated; empty = all)."""
        self.events, self.subscribed_at = events, at + timedelta(seconds=SETTLES_SECONDS)


class WebhookDelivery(Identified, Owed, Base):
    """One event on its way to one endpoint, for ever one row however often it is sent. Owed while `due_at` is set,
    delivered or given up (`parked_at`) afterwards."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("uq_webhook_deliveries_once", "event_id", "endpoint_id", unique=True),
        Index("uq_webhook_deliveries_sequence", "endpoint_id", "sequence", unique=True),
        Index("ix_webhook_deliveries_endpoint", "endpoint_id", "id"),
        Index("ix_webhook_deliveries_order", "order_id"),
        partial_index("ix_webhook_deliveries_due", "due_at", "endpoint_id", where="due_at IS NOT NULL"),
        partial_index("ix_webhook_deliveries_parked", "parked_at", where="parked_at IS NOT NULL"),
    )
    endpoint_id: Mapped[str] = mapped_column(RowId, ForeignKey("webhook_endpoints.id"))
    event_id: Mapped[str | None] = mapped_column(RowId, ForeignKey("outbox_events.id"))
    """NULL for a ping."""
    type: Mapped[str] = mapped_column(String(32))
    order_id: Mapped[str | None] = mapped_column(RowId)
    sequence: Mapped[int] = mapped_column(BigInteger)
    """The order of events as this endpoint sees them; grows by one."""
    tries_made: Mapped[int] = mapped_column(default=0)
    """All there were, resends too; `tries` counts the failures since it was last asked for."""
    http_status: Mapped[int | None]
    """Of the last try; NULL = no answer came."""
    duration_ms: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(255))
    tried_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    parked_at: Mapped[datetime | None]
    correlation_id: Mapped[str | None] = mapped_column(String(128))

    @property
    def message_id(self) -> str:
        """The `webhook-id`: the event's, the same on every resend."""
        return self.event_id or self.id

    def resend(self, at: datetime) -> None:
        """Owe it anew, as if it had never been tried; the tries stay on record."""
        self.delivered_at, self.parked_at, self.error, self.tries = None, None, None, 0
        self.owe_now(at)

    def park(self, at: datetime, error: str) -> None:
        """Give it up until somebody asks for it."""
        self.parked_at, self.due_at, self.claimed_until, self.error = at, None, None, error[:255]


class WebhookTry(Base):
    """One request to a receiver."""

    __tablename__ = "webhook_tries"
    __table_args__ = (Index("ix_webhook_tries_delivery", "delivery_id", "id"),)
    id: Mapped[str] = mapped_column(RowId, primary_key=True)
    delivery_id: Mapped[str] = mapped_column(RowId, ForeignKey("webhook_deliveries.id"))
    at: Mapped[datetime]
    url: Mapped[str] = mapped_column(Text)
    http_status: Mapped[int | None]
    duration_ms: Mapped[int]
    error: Mapped[str | None] = mapped_column(String(255))
    excerpt: Mapped[str] = mapped_column(String(500))
    """The beginning of the answer, redacted."""
    task: Mapped[str | None] = mapped_column(String(128))
    """The Celery task that sent it: name and id."""
