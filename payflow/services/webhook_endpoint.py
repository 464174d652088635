"""Endpoints of outbound webhooks: made, changed, tried out and caught up by those who administer their workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from payflow import logs
from payflow.channels.webhook import WebhookSender
from payflow.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from payflow.core.events import TYPE_BY_OUTSIDE_NAME
from payflow.core.identifiers import new_id
from payflow.models.access import Workspace
from payflow.models.webhook_endpoint import PING, Disabled, WebhookDelivery, WebhookEndpoint, new_secret
from payflow.services.access import Caller
from payflow.services.delivery import disable, new_delivery
from payflow.store import outgoing
from payflow.store.repositories import Repositories
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
MOST_ENDPOINTS = 1_000
"""Of one workspace: each of its events is written once for each of them."""
MOST_RESENT = 10_000
"""Deliveries made due by one request."""


_STAFF_ONLY = "This needs an administrator of the workspace or an operator."


class EndpointDisabled(Conflict):
    """The endpoint is disabled; enable it first."""

    code = "endpoint_disabled"


class WebhookEndpointService:
    """What staff do with endpoints. A stranger's endpoint does not exist."""

    def __init__(self, units: UnitOfWork, sender: WebhookSender) -> None:
        self._units, self._sender = units, sender

    def create(
        self,
        caller: Caller,
        workspace_id: str,
        *,
        url: str,
        events: Sequence[str] = (),
        description: str = "",
        enabled: bool = True,
        endpoint_id: str | None = None,
    ) -> tuple[str, str]:
        """Make an endpoint: its id, and its secret, which is not shown again. `events` are outside names, none = all;
        `endpoint_id` where given: done before is done. Raises NotFound, Forbidden, InvalidInput, Conflict."""
        if not caller.administers(workspace_id):
            raise Forbidden(_STAFF_ONLY) if workspace_id in caller.workspaces else NotFound
        types = _types(events)
        self._sender.check(url)
        membership = caller.workspaces.get(workspace_id)

        def step(tx: Transaction) -> tuple[str, str]:
            known = tx.find(WebhookEndpoint, endpoint_id) if endpoint_id else None
            if known is not None:
                return known.id, known.secret
            if tx.find(Workspace, workspace_id) is None and caller.all_workspaces:
                raise NotFound
            tx.upsert_workspace(workspace_id, name=membership.name if membership else "", at=tx.act.at)
            if outgoing.count_endpoints(tx, workspace_id) >= MOST_ENDPOINTS:
                raise Conflict(f"A workspace has at most {MOST_ENDPOINTS} endpoints.", code="too_many_endpoints")
            at = tx.act.at
            row = WebhookEndpoint(
                id=endpoint_id or new_id(), workspace_id=workspace_id, url=url, description=description,
                secret=new_secret(), retired_secrets={}, enabled=True, created_at=at, updated_at=at,
            )  # fmt: skip
            row.subscribe(types, at)
            if not enabled:
                row.disable(Disabled.BY_HAND, at)
            tx.add(row)
            tx.flush()
            return row.id, row.secret

        made = self._units.run(step, actor=caller.actor)
        _note("created", caller, made[0])
        return made

    def change(self, caller: Caller, endpoint_id: str, changes: Mapping[str, Any]) -> None:
        """Set some of `url`, `events`, `description`, `enabled`. What was owed to an endpoint when it is disabled is
        given up; enabling it begins with the events to come. Raises NotFound, InvalidInput."""
        types = _types(changes["events"]) if "events" in changes else None
        with self._units.reading() as rows:
            _find(rows, caller, endpoint_id)
        if "url" in changes:
            self._sender.check(changes["url"])

        def step(tx: Transaction) -> None:
            row, at = _lock(tx, caller, endpoint_id), tx.act.at
            row.url, row.description = changes.get("url", row.url), changes.get("description", row.description)
            if types is not None and types != row.events:
                row.subscribe(types, at)
            if changes.get("enabled", row.enabled) != row.enabled:
                if row.enabled:
                    disable(tx, row, Disabled.BY_HAND)
                else:
                    row.enable(at)
            row.updated_at = at

        self._units.run(step, actor=caller.actor)
        _note("changed", caller, endpoint_id, fields=",".join(sorted(changes)))

    def delete(self, caller: Caller, endpoint_id: str) -> None:
        """Put an endpoint away, its secrets with it; its deliveries stay on record. Raises NotFound."""

        def step(tx: Transaction) -> None:
            row = _lock(tx, caller, endpoint_id)
            if row.enabled:
                disable(tx, row, Disabled.BY_HAND)
            row.secret, row.retired_secrets = "", {}
            row.deleted_at = row.updated_at = tx.act.at

        self._units.run(step, actor=caller.actor)
        _note("deleted", caller, endpoint_id)

    def rotate_secret(self, caller: Caller, endpoint_id: str, *, overlap_seconds: int) -> str:
        """A new secret, shown this once; the old one signs too for the overlap. Raises NotFound."""

        def step(tx: Transaction) -> str:
            row = _lock(tx, caller, endpoint_id)
            row.rotate(at=tx.act.at, overlap_seconds=overlap_seconds)
            row.updated_at = tx.act.at
            return row.secret

        secret = self._units.run(step, actor=caller.actor)
        _note("secret_rotated", caller, endpoint_id)
        return secret

    def ping(self, caller: Caller, endpoint_id: str, *, delivery_id: str | None = None) -> str:
        """Send a signed `ping`, once; the delivery's id (`delivery_id` where given: done before is done). What came of
        it stands in the log. Raises NotFound, EndpointDisabled."""

        def step(tx: Transaction) -> str:
            row = _lock(tx, caller, endpoint_id)
            if delivery_id is not None and tx.find(WebhookDelivery, delivery_id) is not None:
                return delivery_id
            _must_be_enabled(row)
            row.last_sequence += 1
            one = new_delivery(row, PING, tx.act.at, delivery_id=delivery_id, correlation_id=tx.act.correlation_id)
            outgoing.insert_deliveries(tx, [one])
            tx.ring("deliveries.send")
            return str(one["id"])

        return self._units.run(step, actor=caller.actor)

    def resend(self, caller: Caller, delivery_id: str) -> None:
        """Send a delivery again, whatever became of it, under the same `webhook-id`. Raises NotFound,
        EndpointDisabled."""

        def step(tx: Transaction) -> None:
            row = tx.get(WebhookDelivery, delivery_id)
            _must_be_enabled(_lock(tx, caller, row.endpoint_id))
            tx.lock(WebhookDelivery, delivery_id).resend(tx.act.at)
            tx.ring("deliveries.send")

        self._units.run(step, actor=caller.actor)
        _log.info("a webhook is sent again", action="delivery.resent", delivery_id=delivery_id, actor=caller.actor)

    def resend_many(
        self,
        caller: Caller,
        endpoint_id: str,
        *,
        since: datetime | None,
        until: datetime | None,
        failed_only: bool,
    ) -> int:
        """Send what an endpoint was (or was to be) told in [since, until) again, the oldest first, at most
        MOST_RESENT; how many. What is still on its way is left alone. Raises NotFound, EndpointDisabled."""

        def step(tx: Transaction) -> int:
            _must_be_enabled(_lock(tx, caller, endpoint_id))
            tx.ring("deliveries.send")
            return outgoing.owe_again(
                tx, endpoint_id, tx.act.at, since=since, until=until, failed_only=failed_only, at_most=MOST_RESENT
            )

        resent = self._units.run(step, actor=caller.actor)
        _note("resent", caller, endpoint_id, deliveries=resent)
        return resent


def _find(rows: Repositories, caller: Caller, endpoint_id: str) -> WebhookEndpoint:
    row = rows.get(WebhookEndpoint, endpoint_id)
    if row.deleted_at is not None or not caller.administers(row.workspace_id):
        raise NotFound
    return row


def _lock(tx: Transaction, caller: Caller, endpoint_id: str) -> WebhookEndpoint:
    tx.lock(WebhookEndpoint, endpoint_id)
    return _find(tx, caller, endpoint_id)


def _must_be_enabled(row: WebhookEndpoint) -> None:
    if not row.enabled:
        raise EndpointDisabled


def _types(names: Sequence[str]) -> str:
    """Outside names as the column holds them."""
    for position, name in enumerate(names):
        if name not in TYPE_BY_OUTSIDE_NAME:
            raise InvalidInput(
                f"There is no event {name!r}; known are {', '.join(TYPE_BY_OUTSIDE_NAME)}.",
                code="unknown_event",
                pointer=f"/events/{position}",
            )
    return " ".join(sorted({TYPE_BY_OUTSIDE_NAME[name].value for name in names}))


def _note(what: str, caller: Caller, endpoint_id: str, **more: str | int) -> None:
    _log.info(
        "a webhook endpoint was changed",
        action=f"webhook_endpoint.{what}",
        endpoint_id=endpoint_id,
        actor=caller.actor,
        **more,
    )
