"""The enabled gateways, built from the settings, and which one takes a payment. Floor 3."""

from __future__ import annotations

import pkgutil
from collections.abc import Collection, Mapping
from typing import Protocol

from payflow.core.clock import Clock
from payflow.core.errors import InvalidInput
from payflow.gateways.base import Gateway, InitiateRequest
from payflow.gateways.calls import TransportOptions
from payflow.settings import Settings

AUTO = "auto"
"""The word for "choose for me"."""


class GatewayMaker(Protocol):
    """What every adapter is built from."""

    def __call__(
        self,
        *,
        secret_key: str,
        base_url: str,
        webhook_secrets: tuple[str, ...],
        clock: Clock,
        options: TransportOptions | None = None,
        webhook_url: str | None = None,
    ) -> Gateway:
        """`webhook_url` is where the gateway's webhooks reach us, for those that must be told with each request."""
        ...


def build_gateways(settings: Settings, clock: Clock, options: TransportOptions | None = None) -> dict[str, Gateway]:
    """Every enabled gateway, in routing order. One call per process: each has its own pool and its own bulkhead."""
    built: dict[str, Gateway] = {}
    for name, given in settings.gateways.items():
        make: GatewayMaker = pkgutil.resolve_name(given.row.adapter)
        built[name] = make(
            secret_key=given.secret_key,
            base_url=given.base_url,
            webhook_secrets=given.webhook_secrets,
            clock=clock,
            options=options,
            webhook_url=f"{settings.public_url}/api/v1/payment/webhooks/{name}/",
        )
    return built


def choose(
    gateways: Mapping[str, Gateway],
    currency: str,
    wanted: str = AUTO,
    *,
    request: InitiateRequest | None = None,
    silent: Collection[str] = (),
) -> Gateway:
    """The wanted gateway, or for `auto` the first that takes the currency (and the whole request, where given). Those
    that do not answer at the moment (`silent`) come last.

    Raises InvalidInput: on `/gateway` when it is off, on `/currency` when none takes it, or what `check` said last.
    """
    if wanted != AUTO and wanted not in gateways:
        raise InvalidInput(f"The gateway {wanted!r} is not available.", code="unknown_gateway", pointer="/gateway")
    refusal = InvalidInput(f"No gateway takes {currency}.", code="unsupported_currency", pointer="/currency")
    in_order = sorted(gateways.values(), key=lambda one: one.name in silent)
    for gateway in in_order if wanted == AUTO else (gateways[wanted],):
        if not gateway.supports(currency):
            continue
        if request is None:
            return gateway
        try:
            gateway.check(request)
        except InvalidInput as error:
            refusal = error
        else:
            return gateway
    raise refusal
