"""The table of gateways: one row each, read by the settings, the queues, the registry and the commands.

Data only: an adapter's class is named here, not imported. How to add one: docs/howto/add-a-gateway.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GatewayRow:
    """A gateway payflow can be built with."""

    name: str
    """In small letters: its word in the API, its part of the webhook address, of its settings and of its queue."""
    adapter: str
    """Where its class is: `module:Class`."""
    base_url: str
    test_keys: tuple[str, ...]
    """How its test keys begin: live mode refuses them."""
    webhook_secret_setting: str | None = None
    """The setting that webhooks are checked with; None = they are signed with the secret key itself."""

    @property
    def secret_key_setting(self) -> str:
        """The setting that holds its API key."""
        return f"{self.name.upper()}_SECRET_KEY"

    @property
    def base_url_setting(self) -> str:
        return f"{self.name.upper()}_BASE_URL"

    @property
    def poll_plan_setting(self) -> str:
        """The setting that says when to ask again."""
        return f"PAYFLOW_POLL_PLAN_{self.name.upper()}"

    @property
    def queue(self) -> str:
        """Where the tasks that call it wait."""
        return f"gateway.{self.name}"


GATEWAYS: tuple[GatewayRow, ...] = (
    GatewayRow(
        name="paystack",
        adapter="payflow.gateways.paystack:PaystackGateway",
        base_url="https://api.paystack.co",
        test_keys=("sk_test_",),
    ),
    GatewayRow(
        name="flutterwave",
        adapter="payflow.gateways.flutterwave:FlutterwaveGateway",
        base_url="https://api.flutterwave.com/v3",
        test_keys=("FLWSECK_TEST-",),
        webhook_secret_setting="FLUTTERWAVE_WEBHOOK_HASH",  # noqa: S106 - a setting's name
    ),
    GatewayRow(
        name="stripe",
        adapter="payflow.gateways.stripe:StripeGateway",
        base_url="https://api.stripe.com",
        test_keys=("sk_test_", "rk_test_"),
        webhook_secret_setting="STRIPE_WEBHOOK_SECRET",  # noqa: S106 - a setting's name
    ),
)
"""In routing order where PAYFLOW_GATEWAYS does not say otherwise."""

NAMES = tuple(row.name for row in GATEWAYS)
