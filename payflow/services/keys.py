"""Service keys of the booking platform's servers: only hashes are kept."""

from __future__ import annotations

from datetime import timedelta

from payflow.core.errors import InvalidInput, NotFound
from payflow.core.events import timestamp
from payflow.models.access import ServiceKey
from payflow.store.unit_of_work import Transaction, UnitOfWork

SCOPES = ("read", "operator")


class KeyService:
    """Make, list, rotate, revoke."""

    def __init__(self, units: UnitOfWork) -> None:
        self._units = units

    def add(self, name: str, *, key_hash: str, workspace_id: str | None, scope: str = "") -> str:
        """Store a key's SHA-256 (hex); the row's id. `scope` is space-separated. Raises InvalidInput."""
        if unknown := set(scope.split()) - set(SCOPES):
            raise InvalidInput(f"There is no scope {', '.join(sorted(unknown))}; known are {', '.join(SCOPES)}.")
        if workspace_id is not None and "operator" in scope.split():
            raise InvalidInput("A key bound to one workspace cannot have the scope `operator`.")

        def step(tx: Transaction) -> str:
            row = ServiceKey(name=name, key_hash=key_hash, workspace_id=workspace_id, scope=scope, created_at=tx.act.at)
            tx.add(row)
            tx.flush()
            return row.id

        return self._units.run(step)

    def rotate(self, key_id: str, *, key_hash: str, overlap_seconds: int) -> str:
        """Give a key a successor with the same rights; both work for the overlap. Raises NotFound."""

        def step(tx: Transaction) -> str:
            old = _find(tx, key_id)
            if old.revoked_at is not None and old.revoked_at <= tx.act.at:
                raise InvalidInput("That key is revoked; make a new one.")
            new = ServiceKey(
                name=old.name, key_hash=key_hash, workspace_id=old.workspace_id, scope=old.scope, created_at=tx.act.at
            )
            tx.add(new)
            tx.flush()
            until = tx.act.at + timedelta(seconds=overlap_seconds)
            old.revoked_at = min(old.revoked_at or until, until)
            return new.id

        return self._units.run(step)

    def revoke(self, key_id: str) -> None:
        """End a key now; repeating is a no-op. Raises NotFound."""

        def step(tx: Transaction) -> None:
            row = _find(tx, key_id)
            row.revoked_at = min(row.revoked_at or tx.act.at, tx.act.at)

        self._units.run(step)

    def used(self, key_id: str) -> None:
        """Note that a key is in use."""

        def step(tx: Transaction) -> None:
            _find(tx, key_id).last_used_at = tx.act.at

        self._units.run(step)

    def all(self) -> list[dict[str, str | None]]:
        """All keys, newest first, without anything secret."""
        with self._units.reading() as rows:
            return [
                {
                    "id": row.id,
                    "name": row.name,
                    "workspace_id": row.workspace_id,
                    "scope": row.scope,
                    "created_at": timestamp(row.created_at),
                    "last_used_at": timestamp(row.last_used_at) if row.last_used_at else None,
                    "revoked_at": timestamp(row.revoked_at) if row.revoked_at else None,
                }
                for row in rows.service_keys()
            ]


def _find(tx: Transaction, key_id: str) -> ServiceKey:
    row = tx.find(ServiceKey, key_id)
    if row is None:
        raise NotFound
    return row
