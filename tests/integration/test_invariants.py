"""The audit finds what it says it finds: nothing in sound books, and every breach that is planted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from payflow.core.events import EventType
from payflow.models.access import Workspace
from payflow.models.ledger import LedgerPosting, PostingKind
from payflow.models.payment import PaymentAttempt
from payflow.store.audit import invariants
from tests.planted import identity, money, orders, telling, work  # noqa: F401 - importing them fills the shelves
from tests.planted.shelf import EXCUSES, PLANTS, Plant, put
from tests.planted.world import World, found_in
from tests.soundness import assert_same_money, audit


def test_sound_books_have_no_breach(world: World) -> None:
    """Paid, given back whole and in part, overpaid, mismatched, late, disputed, expired, untouched: nothing is found,
    though everything that is ever told happened in them, and every kind of posting."""
    assert audit(world.house, slo_seconds=60) == []
    assert_same_money(world.house)
    assert {one.type for one in world.events} == set(EventType)
    assert {one.kind for one in world.postings} == set(PostingKind)


def test_every_invariant_has_a_plant() -> None:
    """No rule is trusted that was never seen to bite."""
    assert [one.id for one in invariants()] == [f"I{number:02d}" for number in range(1, 34)]
    assert sorted({one.values[0] for one in PLANTS}) == [one.id for one in invariants()]


@pytest.mark.parametrize(("invariant", "plant", "given"), PLANTS)
def test_planted_breach_is_found(
    world: World, bypass: Session, invariant: str, plant: Plant, given: tuple[Any, ...]
) -> None:
    """With the database's own guards out of the way, the breach is reported under its number with the right row."""
    row = plant(world, bypass, *given)
    found = found_in(world, bypass)
    assert invariant in found, f"{invariant} does not bite"
    assert row in found[invariant].row_ids
    assert found[invariant].sentence


@pytest.mark.parametrize(("invariant", "plant", "given"), EXCUSES)
def test_what_is_in_order_is_not_found(
    world: World, bypass: Session, invariant: str, plant: Plant, given: tuple[Any, ...]
) -> None:
    """A state that payflow itself brings about, or a person has answered for, is no breach."""
    row = plant(world, bypass, *given)
    found = found_in(world, bypass)
    assert invariant not in found or row not in found[invariant].row_ids


def test_work_due_within_the_target_is_not_overdue(world: World, bypass: Session) -> None:
    """A due time that has just passed is a worker's business, not a breach."""
    just_now = world.house.clock.now() - timedelta(seconds=59)
    put(bypass, PaymentAttempt, world.attempts[world.open].id, due_at=just_now)
    assert "I19" not in found_in(world, bypass)


def test_bypass_leaves_no_trace(world: World) -> None:
    """What was planted is rolled back and the guards stand again."""
    assert audit(world.house, slo_seconds=60) == []
    with pytest.raises(Exception, match="append-only"):
        world.house.container.units.run(lambda tx: tx.session.execute(update(LedgerPosting).values(amount_minor=1)))
    assert world.house.rows(Workspace)
