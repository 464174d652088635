"""Service keys of the booking platform's servers: only hashes are kept."""

from __future__ import annotations

from payflow.core.errors import NotFound
from payflow.core.events import timestamp
from payflow.models.access import ServiceKey
from payflow.store.unit_of_work import Transaction, UnitOfWork


class KeyService:
    """Make, list, revoke."""

    def __init__(self, units: UnitOfWork) -> None:
        self._units = units

    def add(self, name: str, *, key_hash: str, workspace_id: str | None) -> str:
        """Store a key's SHA-256 (hex); the row's id."""

        def step(tx: Transaction) -> str:
            row = ServiceKey(name=name, key_hash=key_hash, workspace_id=workspace_id, created_at=tx.act.at)
            tx.add(row)
            tx.flush()
            return row.id

        return self._units.run(step)

    def revoke(self, key_id: str) -> None:
        """End a key; repeating is a no-op. Raises NotFound."""

        def step(tx: Transaction) -> None:
            row = tx.find(ServiceKey, key_id)
            if row is None:
                raise NotFound
            row.revoked_at = row.revoked_at or tx.act.at

        self._units.run(step)

    def all(self) -> list[dict[str, str | None]]:
        """All keys, newest first, without anything secret."""
        with self._units.reading() as rows:
            return [
                {
                    "id": row.id,
                    "name": row.name,
                    "workspace_id": row.workspace_id,
                    "created_at": timestamp(row.created_at),
                    "last_used_at": timestamp(row.last_used_at) if row.last_used_at else None,
                    "revoked_at": timestamp(row.revoked_at) if row.revoked_at else None,
                }
                for row in rows.service_keys()
            ]
