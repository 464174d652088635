"""Money: integer minor units and an ISO 4217 currency. No float ever enters.

Exponents come from the `iso4217` package (the maintained ISO list); Babel is for display only.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache

from iso4217 import Currency as IsoCurrency

from payflow.core.errors import InvalidInput

MAX_MINOR = 100_000_000_000
"""The largest single amount taken (minor units): a typing mistake, not a booking, lies beyond it."""
_LARGEST_POWER = 30
"""Beyond 10^30 nothing is money; turning `1e999999` into an integer would take for ever."""


@cache
def exponent(currency: str) -> int:
    """Decimal places of a currency (NGN 2, JPY 0, KWD 3). Raises InvalidInput for unknown or fund codes."""
    try:
        places = IsoCurrency(currency).exponent
    except ValueError:
        places = None
    if places is None:
        raise InvalidInput(
            f"{currency!r} is not an ISO 4217 currency code in capitals.", code="unknown_currency", pointer="/currency"
        )
    return int(places)


@dataclass(frozen=True, slots=True)
class Money:
    """`amount_minor` in minor units of `currency`; may be negative only inside the ledger."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int:
            raise InvalidInput("An amount is an integer in minor units.", code="invalid_amount", pointer="/amount")
        exponent(self.currency)

    @classmethod
    def from_major(cls, amount: Decimal | int, currency: str) -> Money:
        """Exact conversion from major units; refuses other types and more decimals than the currency has."""
        if type(amount) is not int and type(amount) is not Decimal:
            raise InvalidInput("An amount in major units is an integer or a Decimal.", code="invalid_amount")
        exact = Decimal(amount)
        if not exact.is_finite() or (exact and abs(exact.adjusted()) > _LARGEST_POWER):
            raise InvalidInput("That amount is out of range.", code="invalid_amount")
        minor = Fraction(exact) * 10 ** exponent(currency)  # a Decimal would round to its context's 28 digits
        if minor.denominator != 1:
            raise InvalidInput(f"{amount} has more decimals than {currency} allows.", code="invalid_amount")
        return cls(minor.numerator, currency)

    def to_major(self) -> Decimal:
        return Decimal(self.amount_minor).scaleb(-exponent(self.currency))

    def _same(self, other: Money) -> None:
        if other.currency != self.currency:
            raise InvalidInput(
                f"{self.currency} and {other.currency} cannot be mixed.", code="mixed_currencies", pointer="/currency"
            )

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount_minor + other.amount_minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount_minor - other.amount_minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        self._same(other)
        return self.amount_minor < other.amount_minor

    def __le__(self, other: Money) -> bool:
        self._same(other)
        return self.amount_minor <= other.amount_minor

    def __str__(self) -> str:
        return f"{self.currency} {self.to_major():,f}"


def share_bps(amount_minor: int, bps: int) -> int:
    """`bps` basis points of an amount, rounded half up (both non-negative)."""
    return (amount_minor * bps + 5_000) // 10_000
