"""Writes down which gateways answer, so that every process knows: routing avoids the silent ones."""

from __future__ import annotations

from datetime import datetime

from payflow import logs
from payflow.core.errors import PayflowError
from payflow.models.health import GatewayHealth
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)


class HealthService:
    """A `HealthListener`: told by a process's breakers, seldom. What it writes is advice: losing it costs a detour."""

    def __init__(self, units: UnitOfWork) -> None:
        self._units = units

    def __call__(self, gateway: str, until: datetime | None) -> None:
        """Store that a gateway is left alone until then, or (None) that it answers."""

        def step(tx: Transaction) -> None:
            silent_until = until or tx.act.at
            row = tx.find(GatewayHealth, gateway)
            if row is None:
                tx.add(GatewayHealth(gateway=gateway, silent_until=silent_until, changed_at=tx.act.at))
            else:
                row.silent_until, row.changed_at = silent_until, tx.act.at

        if until is None:
            _log.info("a gateway answers again", action="gateway.answers", gateway=gateway)
        else:
            _log.error("a gateway does not answer", action="gateway.silent", gateway=gateway, until=until.isoformat())
        try:
            self._units.run(step)
        except PayflowError as error:
            _log.warning("health was not stored", action="gateway.health_lost", gateway=gateway, error=error.detail)
