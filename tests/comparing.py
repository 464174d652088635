"""Runs of reconciliation at one gateway: taken by workers, and what they found."""

from __future__ import annotations

from datetime import timedelta

from structlog.testing import capture_logs

from payflow.models.decision import Decision
from payflow.models.reconciliation import Difference, ReconciliationSlice
from payflow.sandbox.records import Charge
from tests.house import House


def compare(house: House, gateway: str, *, days: int = 1) -> str:
    """A run over the days up to now, taken by workers at once; its id."""
    until = house.clock.now() + timedelta(seconds=1)
    since = until - timedelta(days=days)
    run_id = house.container.reconciliation.open(since=since, until=until, gateways=[gateway], actor="user:u-op")
    house.drain()
    return run_id


def reconcile(house: House, gateway: str, *, days: int = 1) -> str:
    """A run over the days up to now, taken by workers, its repairs looked at; the run's id."""
    run_id = compare(house, gateway, days=days)
    house.later(121)
    assert all(one.finished_at for one in slices(house, run_id))
    return run_id


def slices(house: House, run_id: str) -> list[ReconciliationSlice]:
    with house.container.units.reading() as rows:
        return rows.slices_of(run_id)


def differences(house: House) -> list[tuple[str, str | None]]:
    """(kind, how it was settled) of every difference on record."""
    return [(row.kind, row.settled_by) for row in house.rows(Difference)]


def questions(house: House) -> list[Decision]:
    """What is before a person because of a reconciliation."""
    return [row for row in house.rows(Decision) if row.kind == "reconciliation" and row.resolved_at is None]


def is_quiet(house: House, gateway: str, *, days: int = 1) -> bool:
    """Whether one more run changes nothing but its own rows."""
    before = [(row.kind, row.created_at, row.settled_at, row.decided_at) for row in house.rows(Difference)]
    asked = len(house.rows(Decision))
    with capture_logs() as lines:
        reconcile(house, gateway, days=days)
    after = [(row.kind, row.created_at, row.settled_at, row.decided_at) for row in house.rows(Difference)]
    loud = [line for line in lines if line["action"].startswith("reconciliation.") and line["log_level"] != "info"]
    return before == after and asked == len(house.rows(Decision)) and loud == []


def charge(house: House, reference: str) -> Charge:
    """The gateway's own record."""
    found = house.sandbox.rooms.party.state.find_charge(reference)
    assert found is not None
    return found
