"""What every row shares: typed columns, owed work, the one door for a status. Floor 2.

Portable between SQLite and PostgreSQL: integers for money, UTC timestamps, text enums with checks, partial indexes
declared for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    TypeDecorator,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, object_session

from payflow.core.act import Act
from payflow.core.identifiers import new_id
from payflow.core.states import check_move

MOVED = "moved"
"""Under this key a session's `info` lists the moves of its transaction, to be logged once they are committed."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; refuses naive ones. SQLite stores it without the zone and gets it back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A naive datetime reached the database.")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JsonObject = JSON().with_variant(JSONB(), "postgresql")
Minor = BigInteger
RowId = Uuid(as_uuid=False)


class Base(DeclarativeBase):
    """All tables of payflow."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime, dict[str, Any]: JsonObject}


def one_of(column: str, states: type[StrEnum]) -> CheckConstraint:
    """A check that a text column holds one of an enum's values."""
    words = ", ".join(f"'{state.value}'" for state in states)
    return CheckConstraint(f"{column} IN ({words})", name=f"{column}_known")


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """A partial index for both databases."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class Identified:
    """A UUIDv7 primary key and the time of creation."""

    id: Mapped[str] = mapped_column(RowId, primary_key=True, default=new_id)
    created_at: Mapped[datetime]


class Owed:
    """A row on which a step is owed.

    `due_at` says when (NULL: nothing is owed); `claimed_until` is a lease that runs out by itself, held by the worker
    `claimed_by` names (which gives up its dead predecessor's leases when it starts); `tries` counts failures in a row.
    Losing every message loses nothing: sweeps look at `due_at`.
    """

    due_at: Mapped[datetime | None]
    claimed_until: Mapped[datetime | None]
    claimed_by: Mapped[str | None] = mapped_column(String(128))
    tries: Mapped[int] = mapped_column(Integer, default=0)

    def owe_now(self, at: datetime) -> None:
        """A step is owed from `at` on, for anybody to take."""
        self.due_at, self.claimed_until = at, None

    def settle_due(self, due_at: datetime | None, *, seen: datetime | None) -> None:
        """End a claim: set the next due time, or none, unless somebody asked for a look since we claimed (`seen`)."""
        self.claimed_until = None
        if self.due_at == seen:
            self.due_at = due_at


class Transition(Base):
    """One change of a status; append-only, enforced by the database. What `explain` and the API's `history` tell."""

    __tablename__ = "transitions"
    __table_args__ = (
        Index("uq_transitions_entity", "entity_id", "sequence", unique=True),
        Index("ix_transitions_order", "order_id"),
    )
    id: Mapped[str] = mapped_column(RowId, primary_key=True, default=new_id)
    entity: Mapped[str] = mapped_column(String(16))
    entity_id: Mapped[str] = mapped_column(RowId)
    order_id: Mapped[str | None] = mapped_column(RowId)
    sequence: Mapped[int]
    from_status: Mapped[str] = mapped_column(String(16))
    to_status: Mapped[str] = mapped_column(String(16))
    why: Mapped[str] = mapped_column(String(255))
    actor: Mapped[str] = mapped_column(String(128))
    correlation_id: Mapped[str | None] = mapped_column(String(128))
    task: Mapped[str | None] = mapped_column(String(128))
    """The Celery task that did it: name and id."""
    at: Mapped[datetime]


class Stateful:
    """A row with a status that only `move_to` may set."""

    entity: ClassVar[str]
    id: Mapped[str]
    status: Mapped[str]
    moves: Mapped[int] = mapped_column(Integer, default=0)
    """How many times the status has changed; numbers the history rows without a gap."""
    updated_at: Mapped[datetime]

    def history_order_id(self) -> str | None:
        """The order this row's history belongs to."""
        raise NotImplementedError

    def move_to(self, status: StrEnum, act: Act, *, why: str) -> bool:
        """Change the status and write history; False if it is already so. Raises ForbiddenMove."""
        if not check_move(self.entity, self.id, self.status, status):
            return False
        session = object_session(self)
        if session is None:
            raise RuntimeError("move_to needs a row that belongs to a transaction")
        self.moves += 1
        session.add(
            Transition(
                entity=self.entity,
                entity_id=self.id,
                order_id=self.history_order_id(),
                sequence=self.moves,
                from_status=self.status,
                to_status=status.value,
                why=why[:255],
                actor=act.actor[:128],
                correlation_id=act.correlation_id,
                task=act.task,
                at=act.at,
            )
        )
        session.info.setdefault(MOVED, []).append(
            {
                "entity": self.entity,
                "entity_id": self.id,
                "from_status": self.status,
                "to_status": status.value,
                "correlation_id": act.correlation_id,
            }
        )
        self.status = status.value
        self.updated_at = act.at
        return True


def ids_of(rows: Iterable[Identified]) -> list[str]:
    """The ids of some rows, in order."""
    return [row.id for row in rows]
