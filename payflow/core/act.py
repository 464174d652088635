"""Who does something, when, and in answer to what: handed to every change of state so that history can tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Act:
    """`actor` is `user:ID`, `key:ID`, `gateway:NAME` or `system`; `at` is aware UTC."""

    at: datetime
    actor: str = "system"
    correlation_id: str | None = None
    task: str | None = None
    """The Celery task in which it happens: name and id."""
