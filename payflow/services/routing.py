"""Which gateway takes a payment when the customer leaves it to us: `"gateway": "auto"`.

In the workspace's order (`enabled_gateways`), or else that of PAYFLOW_GATEWAYS, the first that takes the currency and
the amount and that answers at the moment. If none answers, the first of the others: it is called as soon as it may be.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from payflow.core.errors import InvalidInput
from payflow.gateways.base import Gateway, InitiateRequest
from payflow.gateways.registry import AUTO, choose
from payflow.models.access import Workspace
from payflow.store.unit_of_work import Transaction


@dataclass(frozen=True, slots=True)
class Route:
    """A gateway's name, and why it was chosen (None: it was asked for)."""

    gateway: str
    why: str | None


class Routes:
    """Chooses gateways."""

    def __init__(self, gateways: Mapping[str, Gateway]) -> None:
        self._gateways = gateways

    def choose(self, tx: Transaction, workspace: Workspace, request: InitiateRequest, wanted: str) -> Route:
        """The gateway asked for, or for `auto` the best one. Raises InvalidInput as registry.choose does."""
        enabled = self._enabled(workspace)
        if wanted != AUTO:
            return Route(choose(enabled, request.amount.currency, wanted, request=request).name, None)
        silent = tx.silent_gateways(tx.act.at) & enabled.keys()
        chosen = choose(enabled, request.amount.currency, request=request, silent=silent).name
        return Route(chosen, _words(request, sorted(silent - {chosen}), ()))

    def another(
        self, tx: Transaction, workspace: Workspace, request: InitiateRequest, tried: Collection[str]
    ) -> Route | None:
        """A gateway that answers and was not tried yet; None if there is none."""
        silent = tx.silent_gateways(tx.act.at)
        left = {
            name: gateway
            for name, gateway in self._enabled(workspace).items()
            if name not in tried and name not in silent
        }
        try:
            chosen = choose(left, request.amount.currency, request=request).name
        except InvalidInput:
            return None
        return Route(chosen, _words(request, (), tried))

    def _enabled(self, workspace: Workspace) -> dict[str, Gateway]:
        allowed = workspace.enabled_gateways or list(self._gateways)
        return {name: self._gateways[name] for name in allowed if name in self._gateways}


def _words(request: InitiateRequest, silent: Collection[str], tried: Collection[str]) -> str:
    words = f"chosen for {request.amount.currency}"
    if silent:
        words += f"; not answering: {', '.join(silent)}"
    if tried:
        words += f"; could not open a page: {', '.join(tried)}"
    return words
