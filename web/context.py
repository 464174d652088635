"""What a request's handlers reach for: the rooms of this app and who is calling. Nothing is decided here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app, g

from payflow.container import Container
from payflow.services.access import Caller
from payflow.services.decision_desk import DecisionDesk
from payflow.services.explain import Explainer
from payflow.services.idempotency import IdempotencyService
from payflow.services.policy import PolicyService
from payflow.services.reconciliation_report import ReconciliationReport
from payflow.store.outgoing import OutgoingQueries
from payflow.store.queries import Queries
from payflow.store.reports import Reports
from web.auth import Authenticator

_NAME = "payflow"


@dataclass(frozen=True, slots=True)
class Web:
    """The rooms one app works with."""

    container: Container
    queries: Queries
    reports: Reports
    outgoing: OutgoingQueries
    reconciliation: ReconciliationReport
    authenticator: Authenticator
    explainer: Explainer
    idempotency: IdempotencyService
    policies: PolicyService
    decisions: DecisionDesk


def furnish(container: Container) -> Web:
    """The web's own rooms, built on a container."""
    queries = Queries(container.engine)
    return Web(
        container=container,
        queries=queries,
        reports=Reports(container.engine),
        outgoing=OutgoingQueries(container.engine),
        reconciliation=ReconciliationReport(container.units),
        authenticator=Authenticator(
            container.settings, container.clock, find_key=queries.service_key, note_use=container.keys.used
        ),
        explainer=Explainer(container.units),
        idempotency=IdempotencyService(container.units),
        policies=PolicyService(container.units, gateways=tuple(container.gateways)),
        decisions=DecisionDesk(container.units),
    )


def web() -> Web:
    """The rooms of the app that answers the present request."""
    return cast(Web, current_app.extensions[_NAME])


def install(extensions: dict[str, object], rooms: Web) -> None:
    """Put the rooms where `web()` finds them."""
    extensions[_NAME] = rooms


def caller() -> Caller:
    """Who is calling; authentication has put it there before any handler runs."""
    return cast(Caller, g.caller)
