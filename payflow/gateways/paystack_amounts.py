"""Paystack's amounts: hundredths of every currency, its least charges and refunds."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from payflow.core.errors import InvalidInput
from payflow.core.money import Money, exponent

MINIMUM_SUBUNITS: Mapping[str, int] = MappingProxyType(
    {"NGN": 50_00, "USD": 2_00, "GHS": 10, "ZAR": 1_00, "KES": 3_00, "XOF": 1_00}
)
"""Supported currencies and the least charge in each, in hundredths (Paystack docs, Supported currency)."""

MINIMUM_REFUND_SUBUNITS: Mapping[str, int] = MappingProxyType({"USD": 1_00})
"""Paystack docs, Errors: "Cannot refund less than USD 1"."""


def charge_subunits(amount: Money) -> int:
    """What to charge, in hundredths. Raises InvalidInput (`/amount`, `/currency`) for what Paystack never takes."""
    return _at_least(MINIMUM_SUBUNITS, amount, "takes")


def refund_subunits(amount: Money) -> int:
    """What to give back, in hundredths. Raises InvalidInput (`/amount`) for what Paystack never gives back."""
    return _at_least(MINIMUM_REFUND_SUBUNITS, amount, "gives back")


def from_subunits(subunits: int, currency: str) -> Money:
    """A fractional part of a currency without one is ignored (Paystack docs, Supported currency)."""
    return Money(subunits * 10 ** exponent(currency) // 100, currency)


def fee_minor(subunits: int, currency: str) -> int:
    """A fee in minor units, rounded up."""
    return int(-(-subunits * 10 ** exponent(currency) // 100))


def _at_least(least: Mapping[str, int], amount: Money, verb: str) -> int:
    """Hundredths for every currency, also for XOF which has none of its own (Paystack docs, Supported currency)."""
    currency = amount.currency
    if currency not in MINIMUM_SUBUNITS:
        raise InvalidInput(f"Paystack does not take {currency}.", code="unsupported_currency", pointer="/currency")
    if amount.amount_minor <= 0:
        raise InvalidInput("An amount is more than zero.", code="invalid_amount", pointer="/amount")
    subunits = int(amount.amount_minor * 10 ** (2 - exponent(currency)))
    if subunits < least.get(currency, 0):
        raise InvalidInput(
            f"Paystack {verb} no less than {currency} {Decimal(least[currency]).scaleb(-2)}.",
            code="amount_too_small",
            pointer="/amount",
        )
    return subunits
