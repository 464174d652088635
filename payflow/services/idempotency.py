"""Idempotency keys: the first answer to a creating request is kept, and given again to its repetitions.

A key is claimed before the work and filled with the answer after it. A claim is a lease: if the first request died on
the way, the next one takes over with the same `resource_id`, under which the work may already be done. How keys,
answers and errors look in HTTP is web/idempotency.py's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from payflow.core.errors import Conflict, InvalidInput
from payflow.core.identifiers import new_id
from payflow.models.access import IdempotencyKey
from payflow.store.unit_of_work import Transaction, UnitOfWork

KEPT_HOURS = 72
LEASE_SECONDS = 90


class KeyReused(InvalidInput):
    """This Idempotency-Key was used with another path or body."""

    code = "idempotency_key_reused"


class KeyInUse(Conflict):
    """The first request with this Idempotency-Key is still running."""

    code = "idempotency_key_in_use"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to do the work. `resource_id` is the id the thing to be created must get."""

    scope: str
    key: str
    resource_id: str


class IdempotencyService:
    """Claims keys, keeps answers."""

    def __init__(self, units: UnitOfWork) -> None:
        self._units = units

    def claim(self, scope: str, key: str, fingerprint: str) -> Claim | Answer:
        """The right to work, or the answer that is there. Raises KeyReused, KeyInUse."""

        def step(tx: Transaction) -> Claim | Answer:
            now = tx.act.at
            row = IdempotencyKey(
                scope=scope,
                key=key,
                fingerprint=fingerprint,
                resource_id=new_id(),
                locked_until=now + timedelta(seconds=LEASE_SECONDS),
                created_at=now,
            )
            if tx.insert_idempotency_key(row):
                return Claim(scope, key, row.resource_id or "")
            known = tx.lock_idempotency_key(scope, key)
            if known.created_at <= now - timedelta(hours=KEPT_HOURS):
                known.fingerprint, known.resource_id, known.created_at = fingerprint, row.resource_id, now
                known.status_code = known.headers = known.body = None
                known.locked_until = row.locked_until
                return Claim(scope, key, row.resource_id or "")
            if known.fingerprint != fingerprint:
                raise KeyReused
            if known.status_code is not None:
                return Answer(known.status_code, known.headers or {}, known.body or b"")
            if known.locked_until > now:
                raise KeyInUse(max(1, round((known.locked_until - now).total_seconds())))
            known.locked_until = row.locked_until
            return Claim(scope, key, known.resource_id or "")

        return self._units.run(step)

    def keep(self, claim: Claim, answer: Answer) -> None:
        """Store the answer for the repetitions to come."""

        def step(tx: Transaction) -> None:
            row = tx.lock_idempotency_key(claim.scope, claim.key)
            if row.resource_id == claim.resource_id:
                row.status_code, row.headers, row.body = answer.status_code, dict(answer.headers), answer.body

        self._units.run(step)

    def release(self, claim: Claim) -> None:
        """Nothing worth keeping came of it: the next request may try, under the same resource id."""

        def step(tx: Transaction) -> None:
            row = tx.lock_idempotency_key(claim.scope, claim.key)
            if row.resource_id == claim.resource_id and row.status_code is None:
                row.locked_until = tx.act.at

        self._units.run(step)
