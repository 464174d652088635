"""A workspace's settings: how it wants its money handled. Its administrators and operators read and change them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payflow import logs
from payflow.core.errors import Forbidden, InvalidInput, NotFound
from payflow.core.web_addresses import is_allowed_return_url
from payflow.models.access import Workspace
from payflow.services.access import Caller
from payflow.services.preferences import known_locale
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)

FIELDS = (
    "tax_bps",
    "order_ttl_seconds",
    "refund_window_hours",
    "refund_percent_bps",
    "refund_needs_approval",
    "customers_may_book",
    "late_payment",
    "excess_payment",
    "return_urls",
    "enabled_gateways",
    "locale",
    "mail_from_name",
    "mail_reply_to",
)


class PolicyService:
    """Read and change. `gateways` are the names this installation has."""

    def __init__(self, units: UnitOfWork, *, gateways: tuple[str, ...]) -> None:
        self._units, self._gateways = units, gateways

    def read(self, caller: Caller, workspace_id: str) -> dict[str, Any]:
        """The settings. Raises NotFound for strangers, Forbidden for plain members."""
        _must_administer(caller, workspace_id)
        with self._units.reading() as rows:
            workspace = rows.find(Workspace, workspace_id)
            if workspace is None and caller.all_workspaces:
                raise NotFound
            return _shown(workspace) if workspace is not None else _shown(_unwritten(workspace_id))

    def change(self, caller: Caller, workspace_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set some settings; those not named stay. Raises InvalidInput naming the field."""
        _must_administer(caller, workspace_id)
        self._check(changes)
        if changes.get("locale") is not None:
            changes = {**changes, "locale": known_locale(changes["locale"])}
        membership = caller.workspaces.get(workspace_id)

        def step(tx: Transaction) -> dict[str, Any]:
            if tx.find(Workspace, workspace_id) is None and caller.all_workspaces:
                raise NotFound
            workspace = tx.upsert_workspace(workspace_id, name=membership.name if membership else "", at=tx.act.at)
            for field in FIELDS:
                if field in changes:
                    setattr(workspace, field, changes[field])
            workspace.updated_at = tx.act.at
            tx.flush()
            return _shown(workspace)

        shown = self._units.run(step, actor=caller.actor)
        _log.info(
            "workspace policy changed",
            action="policy.changed",
            workspace_id=workspace_id,
            actor=caller.actor,
            fields=",".join(sorted(changes)),
        )
        return shown

    def _check(self, changes: Mapping[str, Any]) -> None:
        for position, url in enumerate(changes.get("return_urls") or ()):
            if not is_allowed_return_url(url, [url]):
                raise InvalidInput(
                    "A return URL is an absolute http(s) address.",
                    code="invalid_url",
                    pointer=f"/return_urls/{position}",
                )
        for position, name in enumerate(changes.get("enabled_gateways") or ()):
            if name not in self._gateways:
                raise InvalidInput(
                    f"The gateway {name!r} is not available here.",
                    code="unknown_gateway",
                    pointer=f"/enabled_gateways/{position}",
                )


def _must_administer(caller: Caller, workspace_id: str) -> None:
    if caller.administers(workspace_id):
        return
    if workspace_id in caller.workspaces:
        raise Forbidden("This needs an administrator of the workspace or an operator.")
    raise NotFound


def _unwritten(workspace_id: str) -> Workspace:
    """A workspace nobody has booked in yet has the default settings."""
    return Workspace(
        id=workspace_id,
        name="",
        tax_bps=0,
        order_ttl_seconds=None,
        refund_window_hours=24 * 30,
        refund_percent_bps=10_000,
        refund_needs_approval=False,
        customers_may_book=True,
        late_payment="accept",
        excess_payment="refund",
        return_urls=[],
        enabled_gateways=None,
        locale=None,
        mail_from_name=None,
        mail_reply_to=None,
    )


def _shown(workspace: Workspace) -> dict[str, Any]:
    shown = {field: getattr(workspace, field) for field in FIELDS}
    return {"workspace_id": workspace.id, "name": workspace.name, **shown, "updated_at": workspace.updated_at}
