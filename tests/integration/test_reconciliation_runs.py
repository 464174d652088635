"""Reconciliation's runs: one a night, nothing left out, in slices, at a cost that follows the window."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import event, insert, inspect, text, update

from payflow.core.gateways import NAMES
from payflow.core.identifiers import attempt_reference, new_id
from payflow.models.payment import PaymentAttempt
from payflow.models.reconciliation import DifferenceKind, ReconciliationRun, ReconciliationSlice
from payflow.services.differences import Finding, is_gone, note
from payflow.services.reconciliation import STEPS_AT_ONCE
from payflow.services.reconciliation_steps import store_refunds, wider
from payflow.store.unit_of_work import Transaction
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


def test_a_night_left_incomplete_is_begun_again(house: House) -> None:
    """A gateway was down all night: the next run begins where the incomplete day began, not where the run ended."""
    service = house.container.reconciliation
    house.fault("error_500", gateway="stripe", times=None)
    service.open_nightly()
    house.drain()
    for _ in range(14):
        house.later(3_700)
    (first,) = house.rows(ReconciliationRun)
    assert {one.gateway: one.is_complete for one in slices(house, first.id)} == {
        name: name != "stripe" for name in NAMES
    }
    house.control("DELETE", "/sandbox/faults")
    house.later(DAY)
    service.open_nightly()
    latest = house.rows(ReconciliationRun)[-1]
    assert (latest.since, latest.until - latest.since) == (first.since, timedelta(days=3))


def test_every_night_of_a_week_is_made_up_for(house: House) -> None:
    """Two nights a gateway was down, the second while the first was not through: the third begins where the first did.
    Once they are compared, the next night begins where that one ended."""
    service = house.container.reconciliation
    service.open_nightly()
    house.fault("error_500", gateway="stripe", times=None)
    house.drain()
    house.clock.advance(DAY)
    service.open_nightly()
    first, second = house.rows(ReconciliationRun)
    assert second.since == first.since, "not through yet"
    for _ in range(14):
        house.later(3_700)
    assert not any(
        one.is_complete for run in (first, second) for one in slices(house, run.id) if one.gateway == "stripe"
    )
    house.control("DELETE", "/sandbox/faults")
    house.clock.advance(DAY)
    service.open_nightly()
    third = house.rows(ReconciliationRun)[-1]
    assert third.since == first.since
    house.later(200)
    house.drain()
    assert all(one.is_complete for one in slices(house, third.id))
    house.clock.advance(DAY)
    service.open_nightly()
    assert house.rows(ReconciliationRun)[-1].since == third.until


def test_a_gateway_that_was_switched_off_ends_as_incomplete(house: House) -> None:
    """Nobody takes its slices any more: the hour's ring closes them, and no night goes back for them."""
    service = house.container.reconciliation
    service.open_nightly()
    with house.container.engine.begin() as connection:
        theirs = update(ReconciliationSlice).where(ReconciliationSlice.gateway == "stripe")
        connection.execute(theirs.values(gateway="switched-off"))
    house.drain()
    service.open_nightly()
    (run,) = house.rows(ReconciliationRun)
    (off,) = [one for one in slices(house, run.id) if one.gateway == "switched-off"]
    assert (off.finished_at is not None, off.is_complete, off.due_at) == (True, False, None)
    assert off.error == "The gateway is switched off."
    house.clock.advance(DAY)
    service.open_nightly()
    assert house.rows(ReconciliationRun)[-1].since == run.until


def test_a_payment_listed_without_its_id_is_mended_too(house: House) -> None:
    """A row that names the reference alone: once its try counts money, the difference is gone."""
    (attempt,) = house.attempts(house.paid())
    until = house.clock.now()
    run_id = house.container.reconciliation.open(since=until - timedelta(days=1), until=until, actor="user:u-op")
    found = Finding(
        DifferenceKind.PAID_THERE, subject="no-id", at=attempt.created_at, there="succeeded", attempt=attempt
    )

    def step(tx: Transaction) -> bool:
        one = tx.slices_of(run_id)[0]
        note(tx, one, found)
        row = tx.difference(one.gateway, found.kind, found.subject)
        assert row is not None
        return is_gone(tx, row)

    assert house.container.units.run(step)


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


def _stored(house: House, number: int) -> None:
    """Captured payments of long ago, as many, straight into the tables."""
    order_id = house.paid()
    (known,) = house.attempts(order_id)
    fields = {column.key: getattr(known, column.key) for column in inspect(PaymentAttempt).column_attrs}
    ages = house.clock.now() - timedelta(days=400)

    def step(tx: Transaction) -> None:
        rows = [
            {
                **fields, "id": new_id(), "reference": attempt_reference(), "gateway_transaction_id": f"old-{one}",
                "application": "surplus", "created_at": ages + timedelta(minutes=one),
            }
            for one in range(number)
        ]  # fmt: skip
        tx.session.execute(insert(PaymentAttempt), rows)

    house.container.units.run(step)


def test_cost_follows_the_window_not_the_table(house: House) -> None:
    """Twenty payments of the day among five thousand stored: our side reads by indexes on time and name, and takes as
    many statements as if nothing else were stored."""
    for _ in range(20):
        house.paid()
    few = _statements(house)
    _stored(house, 5_000)
    many = _statements(house)
    assert len(many) <= len(few) + 2, "the one order more that the rows were copied from may cost a statement"
    reads = [
        (sql, values) for sql, values in many if sql.lstrip().startswith("SELECT") and "FROM payment_attempts" in sql
    ]
    assert len(reads) >= 3
    with house.container.engine.execution_options(reads_only=True).connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:
            connection.execute(text("SET enable_seqscan = off"))  # a table this small would be read whole rather
        explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
        for sql, values in reads:
            plan = "\n".join(str(row) for row in connection.exec_driver_sql(explain + sql, values))
            assert not re.search(r"SCAN payment_attempts|Seq Scan on payment_attempts", plan), (sql, plan)


def _statements(house: House) -> list[tuple[str, Any]]:
    """What a run of the last hour sends to the database."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
        sent.append((sql, values))

    until = house.clock.now() + timedelta(seconds=1)
    service = house.container.reconciliation
    run_id = service.open(since=until - timedelta(hours=1), until=until, gateways=["paystack"], actor="user:u-op")
    event.listen(house.container.engine, "before_cursor_execute", note)
    try:
        service.compare("paystack")
    finally:
        event.remove(house.container.engine, "before_cursor_execute", note)
    (one,) = slices(house, run_id)
    assert one.is_complete
    return sent


def test_a_long_slice_is_taken_in_turns(house: House) -> None:
    """A turn ends after some pages; the slice is due again behind whatever waits, and goes on where it stopped."""
    for _ in range(10 * (STEPS_AT_ONCE - 2) + 5):  # ten to a page; two steps go to the refunds
        house.pay_nobody("flutterwave")
    until = house.clock.now() + timedelta(seconds=1)
    service = house.container.reconciliation
    run_id = service.open(since=until - timedelta(hours=1), until=until, gateways=["flutterwave"], actor="user:u-op")
    service.compare("flutterwave")
    (one,) = slices(house, run_id)
    assert (one.finished_at, one.cursor, one.claimed_until, one.due_at) == (None, "19", None, house.clock.now())
    before = one.payments_listed
    service.compare("flutterwave")
    (one,) = slices(house, run_id)
    assert one.is_complete
    assert (before, one.payments_listed) == (180, 185)


def test_a_dead_workers_slice_is_taken_by_another(house: House) -> None:
    """Its lease runs out, or its successor of the same name gives it up; nothing is read twice over."""
    house.paid()
    until = house.clock.now() + timedelta(seconds=1)
    service = house.container.reconciliation
    run_id = service.open(since=until - timedelta(hours=1), until=until, gateways=["paystack"], actor="user:u-op")

    def claim(tx: Transaction) -> None:
        tx.claim(ReconciliationSlice, now=tx.act.at, lease_seconds=120, limit=1)

    house.container.units.run(claim)
    assert service.compare("paystack") == []
    assert slices(house, run_id)[0].finished_at is None
    house.later(121)
    assert slices(house, run_id)[0].is_complete


def test_two_workers_on_one_slice_skip_nothing(house: House) -> None:
    """A lease ran out while its holder waited for the gateway: the page it brings late moves the slice no further."""
    house.paid()
    until = house.clock.now() + timedelta(seconds=1)
    service = house.container.reconciliation
    run_id = service.open(since=until - timedelta(hours=1), until=until, gateways=["paystack"], actor="user:u-op")
    (seen,) = slices(house, run_id)
    page = house.container.gateways["paystack"].refunds_made(wider(seen))
    for _ in range(2):
        house.container.units.run(partial(store_refunds, seen=seen, page=page))
    (one,) = slices(house, run_id)
    assert (one.stage, one.pages) == ("mend_refunds", 1)
    house.drain()
    (one,) = slices(house, run_id)
    assert (one.is_complete, one.payments_listed, house.calls("list_transactions")) == (True, 1, 1)


def test_workers_leave_a_run_in_the_foreground_alone(house: House) -> None:
    """Until whoever takes it is gone for two minutes: then it is finished by a worker."""
    until = house.clock.now()
    service = house.container.reconciliation
    run_id = service.open(since=until - timedelta(hours=1), until=until, actor="user:cli-me", in_foreground=True)
    house.drain()
    assert not any(one.finished_at for one in slices(house, run_id))
    house.later(121)
    assert all(one.is_complete for one in slices(house, run_id))
