"""Which gateways do not answer, as the workers found."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.models.base import Base


class GatewayHealth(Base):
    """One row per gateway that ever fell silent, written on change only. Until `silent_until` it is left alone; a
    moment in the past means that it answers, or may be tried."""

    __tablename__ = "gateway_health"
    gateway: Mapped[str] = mapped_column(String(16), primary_key=True)
    silent_until: Mapped[datetime]
    changed_at: Mapped[datetime]
