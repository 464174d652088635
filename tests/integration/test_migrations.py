"""What a database of an older version holds is kept by the way to the newest one, and is asked about as if new."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, insert, inspect, select
from sqlalchemy.orm import Session

from payflow import migrations
from payflow.core.identifiers import new_id
from payflow.models.decision import Decision
from payflow.models.reconciliation import ReconciliationRun, ReconciliationSlice
from payflow.store.engine import make_engine
from tests.databases import new_database
from tests.rows import NOW, a_decision, a_difference, a_webhook, an_order


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Engine]:
    """A database as it was before questions could fit no order."""
    with new_database(tmp_path / "old.db") as url:
        engine = make_engine(url)
        migrate(engine, "0013")
        yield engine
        engine.dispose()


def migrate(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def put(connection: Connection, *rows: Any) -> None:
    """Write rows as far as the old tables have their columns."""
    for row in rows:
        there = {column["name"] for column in inspect(connection).get_columns(row.__tablename__)}
        values = {name: getattr(row, name) for name in there if hasattr(row, name)}
        connection.execute(insert(row.__table__).values(values))


def test_what_stood_open_and_fits_no_order_is_asked_about(old: Engine) -> None:
    """A parked webhook that fits nothing and a difference of nobody; not what is settled, placed or about an order."""
    order = an_order(version=1)
    known = a_decision(order)
    lost = a_webhook(parked_at=NOW, handled_at=None, outcome="unmatched", reference="PF-LOST")
    placed = a_webhook(parked_at=NOW, handled_at=None, outcome="parked", reference="PF-PLACED")
    run = ReconciliationRun(
        id=new_id(), created_at=NOW, since=NOW, until=NOW + timedelta(hours=1), asked_by="user:u-op"
    )
    part = ReconciliationSlice(
        id=new_id(), created_at=NOW, run_id=run.id, gateway="stripe", since=run.since, until=run.until, stage="recheck",
        pages=0, payments_listed=0, refunds_listed=0, asked=0, found=0, is_complete=False, tries=0,
    )  # fmt: skip
    nobodys = a_difference(part, transaction_id="pi_1")
    settled = a_difference(part, settled_at=NOW, settled_by="user:u-op")
    an_orders = a_difference(part, order_id=order.id)
    with old.begin() as connection:
        put(connection, order, known, lost, placed, run, part, nobodys, settled, an_orders)
    migrate(old, "head")
    with Session(old) as session:
        asked = {one.subject_id: one for one in session.scalars(select(Decision))}
    assert set(asked) == {known.subject_id, lost.id, nobodys.id}
    kept = asked[known.subject_id]
    assert (kept.id, kept.order_id, kept.amount_minor) == (known.id, order.id, known.amount_minor)
    about_lost = asked[lost.id]
    assert (about_lost.kind, about_lost.order_id, about_lost.amount_minor) == ("unmatched_webhook", None, None)
    assert (about_lost.created_at, about_lost.suggested_action) == (NOW, "ignore")
    assert "charge.success for reference PF-LOST" in about_lost.detail
    about_money = asked[nobodys.id]
    assert (about_money.kind, about_money.workspace_id) == ("reconciliation", None)
    assert (about_money.amount_minor, about_money.currency) == (1_000, "NGN")
    assert about_money.created_at == nobodys.decided_at
    assert about_money.detail == "stripe and we do not agree: unknown here, transaction pi_1."
