"""A webhook that cannot be worked in: it stops no neighbour, is tried again ever later, and parked in the end."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event as listen
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from payflow.core.errors import StoreUnavailable
from payflow.core.polling import INBOX_BACKOFF
from payflow.models.base import Transition
from payflow.models.dispute import Dispute
from payflow.models.webhook_event import WebhookEvent
from payflow.services.parked import ParkedService
from tests.house import House
from tests.rows import a_webhook

DISPUTE = {"id": "d-1", "status": "open", "amount_minor": 300_000, "currency": "NGN", "reason": "fraud"}
POISONS = [
    {"id": "d-9", "status": "open"},
    DISPUTE | {"id": "d-9", "status": "seventh heaven"},
    DISPUTE | {"id": "d-9", "amount_minor": "lots"},
    DISPUTE | {"id": "d-9", "amount_minor": 10**30},
]
"""Without its facts, in a word nobody knows, with a sum that is none, and with one no database can hold."""


def receive(house: House, reference: str, dispute: dict[str, Any], *, at: float) -> str:
    """An inbox row about a try's dispute, due now; its id."""
    house.clock.advance(at)
    now = house.clock.now()
    row = a_webhook(
        reference=reference, event_type="charge.dispute.create", kind="dispute", dispute=dispute, outcome=None,
        handled_at=None, due_at=now, created_at=now,
    )  # fmt: skip
    house.container.units.run(lambda tx: tx.add(row))
    return str(row.id)


def inbox(house: House) -> dict[str, WebhookEvent]:
    return {row.id: row for row in house.rows(WebhookEvent)}


@pytest.mark.parametrize("poison", POISONS)
def test_a_poison_webhook_stops_no_neighbour_and_counts_a_try(house: House, poison: dict[str, Any]) -> None:
    """The middle one of three: both others are worked in; of itself nothing stays but the try."""
    references = [house.attempts(house.paid())[0].reference for _ in range(3)]
    facts = [DISPUTE, poison, DISPUTE | {"id": "d-2"}]
    ids = [receive(house, one, what, at=0.001) for one, what in zip(references, facts, strict=True)]
    house.step("webhooks.process")
    rows = [inbox(house)[one] for one in ids]
    assert [row.outcome for row in rows] == ["matched", None, "matched"]
    assert [row.tries for row in rows] == [0, 1, 0]
    assert (rows[1].claimed_until, rows[1].handled_at) == (None, None)
    assert rows[1].due_at == INBOX_BACKOFF.next_at(1, house.clock.now())
    made = {row.id: row.gateway_dispute_id for row in house.rows(Dispute)}
    assert set(made.values()) == {"d-1", "d-2"}
    assert {row.entity_id for row in house.rows(Transition) if row.entity == "dispute"} <= made.keys()


def test_a_poison_webhook_is_parked_in_the_end_and_worked_in_once_it_is_mended(house: House) -> None:
    """In sight, not lost: whoever mends what was wrong takes it up again."""
    reference = house.attempts(house.paid())[0].reference
    event_id = receive(house, reference, POISONS[0], at=0.001)
    for _ in range(INBOX_BACKOFF.max_tries):
        assert inbox(house)[event_id].parked_at is None
        house.step("webhooks.process")
        house.clock.advance(3_600)
    row = inbox(house)[event_id]
    assert (row.tries, row.due_at, row.outcome) == (INBOX_BACKOFF.max_tries, None, "parked")
    parked = ParkedService(house.container.units)
    assert [one.id for one in parked.list()] == [event_id]

    def mend(tx: Any) -> None:
        tx.get(WebhookEvent, event_id).dispute = DISPUTE

    house.container.units.run(mend)
    parked.replay(event_id, actor="operator:op")
    house.step("webhooks.process")
    assert inbox(house)[event_id].outcome == "matched"
    assert [row.gateway_dispute_id for row in house.rows(Dispute)] == ["d-1"]


def test_a_lost_database_is_nobodys_poison(house: House) -> None:
    """Nothing of the batch is kept and nobody's try is counted: all of it is due as before."""
    references = [house.attempts(house.paid())[0].reference for _ in range(2)]
    facts = [DISPUTE, DISPUTE | {"id": "d-2"}]
    ids = [receive(house, one, what, at=0.001) for one, what in zip(references, facts, strict=True)]

    def lose(session: Session, _flush: Any, _instances: Any) -> None:
        if any(isinstance(row, Dispute) and row.gateway_dispute_id == "d-2" for row in session.new):
            raise OperationalError("INSERT", {}, Exception("server closed the connection unexpectedly"))

    listen.listen(Session, "before_flush", lose)
    try:
        with pytest.raises(StoreUnavailable):
            house.step("webhooks.process")
    finally:
        listen.remove(Session, "before_flush", lose)
    assert house.rows(Dispute) == []
    assert [(inbox(house)[one].tries, inbox(house)[one].claimed_until) for one in ids] == [(0, None), (0, None)]
    house.step("webhooks.process")
    assert {row.gateway_dispute_id for row in house.rows(Dispute)} == {"d-1", "d-2"}
