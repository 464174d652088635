"""Asks the database whether every invariant holds, and puts on record which do not. It repairs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from payflow import logs
from payflow.core.clock import Clock
from payflow.core.identifiers import new_id
from payflow.models.breach import AuditBreach
from payflow.store.audit import Breach, breaches
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
SLO_SECONDS = 600
"""Work that is due for longer counts as stuck."""
IDS_KEPT = 50


class AuditService:
    """Two audits at once are harmless: an invariant has one open row."""

    def __init__(self, units: UnitOfWork, clock: Clock) -> None:
        self._units, self._clock = units, clock

    def run(self, *, slo_seconds: int = SLO_SECONDS) -> list[Breach]:
        """What is broken now. Each is an ERROR line and a row that stays open until an audit finds it mended."""
        with self._units.reading() as rows:
            found = breaches(rows, self._clock.now(), slo_seconds)
        for one in found:
            _log.error(
                "an invariant is broken",
                action="audit.breach",
                invariant=one.invariant,
                rule=one.sentence,
                row_count=len(one.row_ids),
                row_ids=",".join(one.row_ids[:IDS_KEPT]),
            )
        self._units.run(lambda tx: _record(tx, found))
        return found


def _record(tx: Transaction, found: Sequence[Breach]) -> None:
    known = {row.invariant: row for row in tx.open_breaches()}
    broken = {one.invariant for one in found}
    for row in known.values():
        if row.invariant not in broken:
            row.gone_at = tx.act.at
    tx.insert_breaches([_row(one, tx.act.at) for one in found if one.invariant not in known])
    for one in found:
        if one.invariant in known:
            row = known[one.invariant]
            row.row_count, row.row_ids, row.last_seen_at = len(one.row_ids), list(one.row_ids[:IDS_KEPT]), tx.act.at


def _row(breach: Breach, at: datetime) -> AuditBreach:
    return AuditBreach(
        id=new_id(),
        invariant=breach.invariant,
        sentence=breach.sentence[:255],
        row_count=len(breach.row_ids),
        row_ids=list(breach.row_ids[:IDS_KEPT]),
        created_at=at,
        last_seen_at=at,
    )
