"""Owed work: claiming rows by lease, asking whether something is due. One room for every table with due times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session


class Claims:
    """The owed rows of one transaction."""

    def __init__(self, session: Session, *, worker: str | None = None) -> None:
        self.session = session
        self.worker = worker
        """The worker that claims, as Celery names it."""

    def ask(self, model: type[Any], row_id: str, at: datetime) -> None:
        """Bring a row's next step forward to `at`, past its version: whoever holds it leaves this due time."""
        self.session.execute(
            update(model).where(model.id == row_id).values(due_at=at).execution_options(synchronize_session=False)
        )

    def claim(
        self,
        model: type[Any],
        *,
        now: datetime,
        lease_seconds: int,
        limit: int,
        ids: Sequence[str] | None = None,
        where: Sequence[Any] = (),
    ) -> dict[str, datetime | None]:
        """Claim owed rows by lease: id → the due time seen. `ids` claims those whatever their due time.

        A lease only saves work; what must not happen twice is guarded by status and version. Rows another worker has
        claimed are passed over, and come back by themselves when its lease runs out.
        """
        free = or_(model.claimed_until.is_(None), model.claimed_until <= now)
        owed = and_(model.due_at.is_not(None), model.due_at <= now) if ids is None else model.id.in_(ids)
        chosen = (
            select(model.id)
            .where(owed, free, *where)
            .order_by(model.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = self.session.execute(
            update(model)
            .where(model.id.in_(chosen))
            .values(claimed_until=now + timedelta(seconds=lease_seconds), claimed_by=self.worker)
            .returning(model.id, model.due_at)
            .execution_options(synchronize_session=False)
        )
        return {key: value for key, value in rows}  # noqa: C416 - rows, not pairs

    def end_claims(self, model: type[Any], ids: Sequence[str]) -> None:
        """End the leases on some rows that are still owed."""
        self.session.execute(
            update(model)
            .where(model.id.in_(ids), model.due_at.is_not(None))
            .values(claimed_until=None)
            .execution_options(synchronize_session=False)
        )

    def give_up_claims(self, model: type[Any], worker: str) -> int:
        """End the leases a worker of this name holds; how many."""
        done = self.session.execute(
            update(model)
            .where(model.claimed_by == worker, model.claimed_until.is_not(None), model.due_at.is_not(None))
            .values(claimed_until=None)
            .execution_options(synchronize_session=False)
        )
        return int(getattr(done, "rowcount", 0))

    def any_due(self, model: type[Any], now: datetime, *where: Any) -> bool:
        """Whether some row of this kind is owed a step (an index look-up)."""
        query = select(model.id).where(
            model.due_at.is_not(None),
            model.due_at <= now,
            or_(model.claimed_until.is_(None), model.claimed_until <= now),
            *where,
        )
        return self.session.scalars(query.limit(1)).first() is not None

    def oldest_due(self, model: type[Any]) -> datetime | None:
        """The earliest due time on record, for health and metrics."""
        found: datetime | None = self.session.scalar(select(func.min(model.due_at)))
        return found
