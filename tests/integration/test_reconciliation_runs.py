"""Reconciliation's runs: one a night, nothing left out, in slices, at a cost that follows the window."""

from __future__ import annotations

from datetime import timedelta

from payflow.core.gateways import NAMES
from payflow.models.reconciliation import ReconciliationRun, ReconciliationSlice
from tests.house import House

DAY = 86_400


def slices(house: House, run_id: str) -> list[ReconciliationSlice]:
    with house.container.units.reading() as rows:
        return rows.slices_of(run_id)


def test_two_beats_make_one_run(house: House) -> None:
    """Rung twice, and every hour after: one run a night, over the day that has ended."""
    house.paid()
    house.later(DAY)
    service = house.container.reconciliation
    first = service.open_nightly()
    assert [service.open_nightly(), first is None] == [None, False]
    house.drain()
    (run,) = house.rows(ReconciliationRun)
    assert (run.until - run.since, run.until.hour, run.asked_by) == (timedelta(days=1), 0, "beat")
    assert {one.gateway for one in slices(house, run.id)} == set(NAMES)
    house.later(DAY)
    assert service.open_nightly() is not None
    assert len(house.rows(ReconciliationRun)) == 2


def test_nights_without_beat_are_made_up_for(house: House) -> None:
    """The next run begins where the last one ended, or where it was incomplete; old days are looked at once more."""
    service = house.container.reconciliation
    service.open_nightly()
    house.drain()
    house.clock.advance(3 * DAY)
    run_id = service.open_nightly()
    assert run_id is not None
    first, second = house.rows(ReconciliationRun)
    assert {one.since for one in slices(house, second.id)} == {second.since + timedelta(days=day) for day in range(3)}
    assert (second.since, second.until - second.since) == (first.until, timedelta(days=3))
    house.drain()
    house.clock.advance(5 * DAY)
    service.open_nightly()
    latest = house.rows(ReconciliationRun)[-1]
    starts = {one.since for one in slices(house, latest.id)}
    assert starts == {latest.since + timedelta(days=day) for day in range(5)} | {first.since}
