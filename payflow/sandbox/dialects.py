"""The table of gateways this sandbox plays: one row each, with the made-up secrets it starts with.

A new gateway is its dialect's file and one row here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from payflow.sandbox.counterparty import Counterparty
from payflow.sandbox.dialect import Dialect
from payflow.sandbox.flutterwave import DEVELOPMENT_HASH as FLUTTERWAVE_HASH
from payflow.sandbox.flutterwave import DEVELOPMENT_SECRET as FLUTTERWAVE_SECRET
from payflow.sandbox.flutterwave import Flutterwave
from payflow.sandbox.paystack import DEVELOPMENT_SECRET as PAYSTACK_SECRET
from payflow.sandbox.paystack import Paystack
from payflow.sandbox.records import Charge
from payflow.sandbox.stripe import DEVELOPMENT_SECRET as STRIPE_SECRET
from payflow.sandbox.stripe import DEVELOPMENT_WEBHOOK_SECRET as STRIPE_WEBHOOK_SECRET
from payflow.sandbox.stripe import Stripe


class DialectMaker(Protocol):
    """What every dialect is built from."""

    def __call__(self, counterparty: Counterparty, *, secret: str, page_url: Callable[[Charge], str]) -> Dialect:
        """Answer for `counterparty` to whoever knows `secret`; `page_url` gives the hosted page's address."""
        ...


@dataclass(frozen=True, slots=True)
class DialectRow:
    """A gateway, its made-up API key, and what its webhooks are signed with where that is not the key."""

    make: DialectMaker
    secret: str
    webhook_secret: str | None = None
    webhook_setting: str | None = None
    """payflow's name for it: the default of the command line."""


DIALECTS: Mapping[str, DialectRow] = {
    "paystack": DialectRow(Paystack, PAYSTACK_SECRET),
    "flutterwave": DialectRow(Flutterwave, FLUTTERWAVE_SECRET, FLUTTERWAVE_HASH, "FLUTTERWAVE_WEBHOOK_HASH"),
    "stripe": DialectRow(Stripe, STRIPE_SECRET, STRIPE_WEBHOOK_SECRET, "STRIPE_WEBHOOK_SECRET"),
}
