"""What reconciliation found, for the command line and the API: runs by gateway, differences in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from payflow.models.reconciliation import Difference, ReconciliationRun, ReconciliationSlice
from payflow.store.queries import Cursor, Page
from payflow.store.repositories import Repositories
from payflow.store.unit_of_work import UnitOfWork

MOST_SHOWN = 200
"""Differences shown with a run, settled ones last; the list of differences has them all."""
Row = dict[str, Any]


class ReconciliationReport:
    """Reads only. Amounts in minor units, times aware."""

    def __init__(self, units: UnitOfWork) -> None:
        self._units = units

    def runs(self, size: int, cursor: Cursor | None = None) -> Page:
        """Runs, newest first, each as `run` shows it."""
        with self._units.reading() as rows:
            page = rows.runs(size, cursor)
            shown = [_run(rows, rows.get(ReconciliationRun, row["id"])) for row in page.rows]
            return Page(shown, page.next, page.previous)

    def run(self, run_id: str) -> Row:
        """One run. Raises NotFound."""
        with self._units.reading() as rows:
            return _run(rows, rows.get(ReconciliationRun, run_id))

    def differences(self, state: str, size: int, cursor: Cursor | None = None) -> Page:
        """Differences of all runs, newest first; `state` is open, settled or all."""
        with self._units.reading() as rows:
            page = rows.differences(state, size, cursor)
            found = _differences(rows, rows.many(Difference, [row["id"] for row in page.rows]))
            return Page(found[::-1], page.next, page.previous)

    def unsettled(self, run_id: str | None = None) -> int:
        """How many differences are not settled: all there are, or those of a run."""
        with self._units.reading() as rows:
            return rows.unsettled(run_id)

    def difference(self, difference_id: str) -> Row:
        """One difference. Raises NotFound."""
        with self._units.reading() as rows:
            return _differences(rows, [rows.get(Difference, difference_id)])[0]


def _run(rows: Repositories, run: ReconciliationRun) -> Row:
    slices = rows.slices_of(run.id)
    ends = [one.finished_at for one in slices]
    finished_at = max(end for end in ends if end) if ends and all(ends) else None
    by_gateway: dict[str, list[ReconciliationSlice]] = {}
    for one in slices:
        by_gateway.setdefault(one.gateway, []).append(one)
    return {
        "id": run.id,
        "since": run.since,
        "until": run.until,
        "asked_by": run.asked_by,
        "state": _state(slices),
        "started_at": run.created_at,
        "finished_at": finished_at,
        "duration_seconds": int((finished_at - run.created_at).total_seconds()) if finished_at else None,
        "gateways": [_gateway(name, parts) for name, parts in by_gateway.items()],
        "differences": _differences(rows, rows.differences_of(run.id, MOST_SHOWN)),
    }


def _gateway(name: str, parts: Sequence[ReconciliationSlice]) -> Row:
    sums = ("payments_listed", "refunds_listed", "asked", "found")
    return {
        "gateway": name,
        "state": _state(parts),
        "error": next((one.error for one in parts if one.error), None),
        **{field: sum(getattr(one, field) for one in parts) for field in sums},
    }


def _state(parts: Sequence[ReconciliationSlice]) -> str:
    """`incomplete` as soon as one part could not be compared: what was not read may hold anything."""
    if any(one.error for one in parts):
        return "incomplete"
    return "complete" if all(one.finished_at for one in parts) else "running"


def _differences(rows: Repositories, found: Sequence[Difference]) -> list[Row]:
    numbers = rows.order_numbers([row.order_id for row in found if row.order_id])
    return [
        {
            "id": row.id,
            "kind": row.kind,
            "state": row.state,
            "gateway": row.gateway,
            "detail": row.sentence,
            "order_id": row.order_id,
            "order_number": numbers.get(row.order_id or ""),
            "reference": row.reference,
            "transaction_id": row.transaction_id,
            "subject": row.subject,
            "amount": row.amount_minor,
            "currency": row.currency,
            "here": row.here,
            "there": row.there,
            "at": row.at,
            "created_at": row.created_at,
            "last_seen_at": row.last_seen_at,
            "settled_at": row.settled_at,
            "settled_by": row.settled_by,
            "note": row.note,
        }
        for row in found
    ]
