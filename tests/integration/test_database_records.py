"""The books, the history and what is stored once, kept by the database itself; on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, delete, inspect, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from payflow.core.act import Act
from payflow.models import Base
from payflow.models.act import HumanAct
from payflow.models.base import Transition
from payflow.models.ledger import LedgerPosting
from tests.bare_rows import paid_rows, store
from tests.rows import NOW, a_decision, a_dispute, a_notification, a_payment, a_posting, a_webhook, an_event, an_order

# -- the books and the history ---------------------------------------------------------------------------------------


def test_duplicate_ledger_fact_is_refused(engine: Engine) -> None:
    """The same fact about the same subject is posted once; a later part of it is another fact."""
    first = a_posting()
    store(engine, first)
    with pytest.raises(IntegrityError):
        store(engine, a_posting(subject_id=first.subject_id))
    store(engine, a_posting(subject_id=first.subject_id, part=1), a_posting(subject_id=first.subject_id, kind="fee"))


@pytest.mark.parametrize(
    "values", [{"amount_minor": 0}, {"amount_minor": -1}, {"credit_account": "gateway:paystack"}, {"kind": "gift"}]
)
def test_posting_that_moves_nothing_is_refused(engine: Engine, values: dict[str, Any]) -> None:
    """A posting moves a positive amount between two different accounts, for a reason that is known."""
    with pytest.raises(IntegrityError):
        store(engine, a_posting(**values))


def a_transition() -> Transition:
    return Transition(
        entity="order", entity_id=an_order().id, order_id=None, sequence=1, from_status="pending",
        to_status="processing", why="payment initiated", actor="system", at=NOW,
    )  # fmt: skip


def an_act() -> HumanAct:
    return HumanAct.of(Act(NOW, "user:u-admin"), "approved", entity="refund", entity_id=an_order().id, order_id=None)


@pytest.mark.parametrize(
    ("model", "row", "column"),
    [
        (LedgerPosting, a_posting, "amount_minor"),
        (Transition, a_transition, "why"),
        (HumanAct, an_act, "what"),
    ],
)
@pytest.mark.parametrize("verb", ["update", "delete"])
def test_ledger_and_history_are_append_only(
    engine: Engine, model: type[Any], row: Callable[[], Base], column: str, verb: str
) -> None:
    """Neither postings nor history rows can be changed or removed; corrections are further rows."""
    store(engine, row())
    statement: Any = delete(model) if verb == "delete" else update(model).values(**{column: 7})
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(statement)


def test_history_numbers_repeat_for_nobody(engine: Engine) -> None:
    """Two changes of one row cannot carry the same number."""
    first, second = a_transition(), a_transition()
    second.entity_id = first.entity_id
    store(engine, first)
    with pytest.raises(IntegrityError):
        store(engine, second)


# -- once for ever ---------------------------------------------------------------------------------------------------


def test_duplicate_webhook_key_is_refused(engine: Engine) -> None:
    """A gateway's event is in the inbox once; another gateway may use the same key."""
    first = a_webhook()
    store(engine, first)
    with pytest.raises(IntegrityError):
        store(engine, a_webhook(event_key=first.event_key))
    store(engine, a_webhook(event_key=first.event_key, gateway="stripe"))


def test_duplicate_event_recipient_channel_is_refused(engine: Engine) -> None:
    """One message per event, recipient and channel, for ever."""
    event = an_event()
    store(engine, event, a_notification(event))
    with pytest.raises(IntegrityError):
        store(engine, a_notification(event))
    store(engine, a_notification(event, channel="email"), a_notification(event, recipient="u-ben"))


def test_duplicate_fact_in_the_outbox_is_refused(engine: Engine) -> None:
    """The same fact is published once."""
    event = an_event()
    store(engine, event)
    with pytest.raises(IntegrityError):
        store(engine, an_event(dedupe_key=event.dedupe_key))


def test_a_question_is_asked_once_and_a_dispute_stored_once(engine: Engine) -> None:
    """A person is asked once per kind and subject; a gateway's dispute is one row."""
    order, payment, _ = paid_rows(engine)
    asked, disputed = a_decision(order), a_dispute(payment)
    store(engine, asked, disputed)
    with pytest.raises(IntegrityError):
        store(engine, a_decision(order, subject_id=asked.subject_id))
    with pytest.raises(IntegrityError):
        store(engine, a_dispute(payment, gateway_dispute_id=disputed.gateway_dispute_id))


def test_rows_without_their_parents_are_refused(engine: Engine) -> None:
    """Foreign keys hold on SQLite too, where they are off unless asked for."""
    with pytest.raises(IntegrityError):
        store(engine, a_payment(an_order()))


# -- the schema is the models' ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")  # SQLite hides them
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
def test_migrated_schema_is_what_the_models_say(engine: Engine) -> None:
    """Alembic finds nothing to add, drop or alter between the migrated database and the models."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = [
            one for one in compare_metadata(context, Base.metadata) if "bookings_slot_taken" not in repr(one)
        ]  # the exclusion constraint's own index: no model can say it for both databases
    assert found == []


def test_migrated_checks_are_what_the_models_say(engine: Engine) -> None:
    """Every CHECK of the models stands in the database and no other (Alembic does not compare these)."""
    there, said = set(), set()
    for table in Base.metadata.sorted_tables:
        there |= {(table.name, one["name"]) for one in inspect(engine).get_check_constraints(table.name)}
        said |= {(table.name, str(one.name)) for one in table.constraints if isinstance(one, CheckConstraint)}
    assert there == said
