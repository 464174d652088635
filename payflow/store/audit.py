"""The invariants of money and bookings, asked of the database; the queries themselves stand in audit.sql.

For tests, fault campaigns and an operator's own checks: it reads one snapshot and names what breaks a rule. What must
not enter: repairs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from sqlalchemy import String, bindparam, column, text

from payflow import bus
from payflow.core.states import MOVES
from payflow.models.base import RowId, UtcDateTime
from payflow.store.repositories import Repositories

KEY_LEASE_BOUND_SECONDS = 600
"""No idempotency key is ever locked further ahead than this: minutes more than any lease."""
KEY_LIFE_BOUND_HOURS = 96
"""No unanswered one is older: a day more than keys are kept."""
LONGEST_WAIT_DAYS = 30
"""No step ever waits longer; only an order's deadline may lie further ahead."""
LATELY_DAYS = 2
"""So far back letters are looked for, and so long a day's reconciliation may wait its turn."""

_HEADING = re.compile(r"^-- @(I\d\d) (.+)$", re.MULTILINE)
_NAMED_BY_TEXT = frozenset({"I14", "I29"})
"""Their offenders are a gateway with a currency, and a scope with a key; all others are row ids."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """`sql` selects the offenders as a column `id`."""

    id: str
    sentence: str
    sql: str


@dataclass(frozen=True, slots=True)
class Breach:
    """One invariant that does not hold, and the rows that break it."""

    invariant: str
    sentence: str
    row_ids: tuple[str, ...]


@cache
def invariants() -> tuple[Invariant, ...]:
    """All of them, in order."""
    parts = _HEADING.split((Path(__file__).parent / "audit.sql").read_text(encoding="utf-8"))[1:]
    return tuple(Invariant(*parts[start : start + 3]) for start in range(0, len(parts), 3))


def breaches(rows: Repositories, now: datetime, slo_seconds: int) -> list[Breach]:
    """Every invariant that does not hold in this transaction's snapshot; `now` is aware UTC.

    Work counts as overdue `slo_seconds` after its due time (I19, I25); every other rule holds at any moment.
    """
    bound = {
        "overdue": bindparam("overdue", now - timedelta(seconds=slo_seconds), UtcDateTime()),
        "far": bindparam("far", now + timedelta(seconds=KEY_LEASE_BOUND_SECONDS), UtcDateTime()),
        "never": bindparam("never", now + timedelta(days=LONGEST_WAIT_DAYS), UtcDateTime()),
        "lately": bindparam("lately", now - timedelta(days=LATELY_DAYS), UtcDateTime()),
        "stale": bindparam("stale", now - timedelta(hours=KEY_LIFE_BOUND_HOURS), UtcDateTime()),
        "edges": bindparam("edges", _legal_moves(), expanding=True),
        "kept": bindparam("kept", sorted(kind.value for kind in bus.KEPT_IN_APP), expanding=True),
        "mailed": bindparam("mailed", sorted(kind.value for kind in bus.EMAIL_EVENTS), expanding=True),
        "told": bindparam("told", sorted(kind.value for kind in bus.CUSTOMER_EVENTS), expanding=True),
    }
    found: list[Breach] = []
    for one in invariants():
        kind = String() if one.id in _NAMED_BY_TEXT else RowId
        used = (value for name, value in bound.items() if f":{name}" in one.sql)
        offenders = rows.session.scalars(text(one.sql).bindparams(*used).columns(column("id", kind))).all()
        if offenders:
            found.append(Breach(one.id, one.sentence, tuple(sorted({str(row_id) for row_id in offenders}))))
    return found


def _legal_moves() -> list[str]:
    return sorted(f"{entity}/{a}/{b}" for entity, moves in MOVES.items() for a, goals in moves.items() for b in goals)
