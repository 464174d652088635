"""Stripe's amounts: which currencies it takes, how each is counted on the wire, its least and largest amounts.

Source: Stripe docs, Supported currencies ("Minor units in API amounts", "Special cases", "Minimum and maximum charge
amounts"). The wire often counts otherwise than ISO 4217, by which Money counts, so both ways are exact or refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from payflow.core.errors import InvalidInput
from payflow.core.money import Money, exponent

ZERO_DECIMAL = frozenset(
    {
        "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF",
    }
)  # fmt: skip
"""Sent as whole units. The ariary is among them, though ISO 4217 gives it two decimals."""

WHOLE_IN_HUNDREDTHS = frozenset({"ISK", "UGX"})
"""Without decimals, but sent ×100 and divisible by 100 (UGX 5 is 500), as they were counted before."""

THREE_DECIMAL = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
"""Sent ×1000; the last digit must be 0."""

TWO_DECIMAL = frozenset(
    {
        "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BMD", "BND", "BOB", "BRL",
        "BSD", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CNY", "COP", "CRC", "CVE", "CZK", "DKK", "DOP", "DZD", "EGP",
        "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR",
        "ILS", "INR", "JMD", "KES", "KGS", "KHR", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MKD",
        "MMK", "MNT", "MOP", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD",
        "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SBD", "SCR", "SEK", "SGD", "SHP",
        "SLE", "SOS", "SRD", "SZL", "THB", "TJS", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "USD", "UYU", "UZS",
        "WST", "XCD", "XCG", "YER", "ZAR", "ZMW",
    }
)  # fmt: skip
"""Sent in hundredths. HUF and TWD are whole only in payouts; they are charged with two decimals."""

CURRENCIES = ZERO_DECIMAL | WHOLE_IN_HUNDREDTHS | THREE_DECIMAL | TWO_DECIMAL
"""What a charge may be made in (Stripe docs, and the list in the API's own answer `Invalid currency`); an account, a
card or a method may take fewer. Codes that ISO 4217 has withdrawn (ANG, BGN, MRO, STD) are left out."""

LEAST_MAJOR: Mapping[str, str] = MappingProxyType(
    {
        "USD": "0.50", "AED": "2", "AUD": "0.50", "BRL": "0.50", "CAD": "0.50", "CHF": "0.50", "CZK": "15",
        "DKK": "2.50", "EUR": "0.50", "GBP": "0.30", "HKD": "4", "HUF": "175", "INR": "0.50", "JPY": "50",
        "MXN": "10", "MYR": "2", "NOK": "3", "NZD": "0.50", "PLN": "2", "RON": "2", "SEK": "3", "SGD": "0.50",
        "THB": "10",
    }
)  # fmt: skip
"""The least charge per settlement currency. Which currency an account settles in is not known here, so only a charge
made in one of these is held to its least; any other is left to Stripe, which answers `amount_too_small`."""

_LARGEST_WIRE, _LARGEST_WIRE_BY_CURRENCY = 99_999_999, {"IDR": 999_999_999_999}
"""Eight digits, twelve for IDR (Stripe API, PaymentIntent `amount`; docs, Supported currencies)."""


def wire_exponent(currency: str) -> int:
    """Decimal places of Stripe's amounts. Raises InvalidInput for a currency Stripe does not take."""
    if currency not in CURRENCIES:
        raise InvalidInput(f"Stripe does not take {currency}.", code="unsupported_currency", pointer="/currency")
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def to_wire(amount: Money) -> int:
    """The integer Stripe wants for an amount. Raises InvalidInput (`/amount`) for what it cannot express."""
    places, currency = wire_exponent(amount.currency), amount.currency
    if amount.amount_minor <= 0:
        raise InvalidInput("An amount is more than zero.", code="invalid_amount", pointer="/amount")
    wire, rest = divmod(amount.amount_minor * 10**places, 10 ** exponent(currency))
    step = _step(currency)
    if rest or wire % step:
        finest = Decimal(step).scaleb(-places)
        raise InvalidInput(
            f"Stripe takes {currency} only in steps of {finest:f}, not {amount.to_major():f}.",
            code="invalid_amount",
            pointer="/amount",
        )
    return int(wire)


def from_wire(wire: int, currency: str) -> Money:
    """Money for one of Stripe's amounts; the currency as Stripe writes it, in small letters.

    Raises InvalidInput for an unknown currency or an amount that the currency cannot hold.
    """
    code = currency.upper()
    minor, rest = divmod(wire * 10 ** exponent(code), 10 ** wire_exponent(code))
    if rest:
        raise InvalidInput(f"{wire} is no amount of {code}.", code="invalid_amount", pointer="/amount")
    return Money(int(minor), code)


def check_charge(amount: Money) -> int:
    """The wire amount of a charge. Raises InvalidInput (`/amount` or `/currency`) for what Stripe would never take."""
    wire, currency = to_wire(amount), amount.currency
    least = LEAST_MAJOR.get(currency)
    if least is not None and amount.to_major() < Decimal(least):
        raise InvalidInput(f"Stripe takes no less than {currency} {least}.", code="amount_too_small", pointer="/amount")
    largest = _LARGEST_WIRE_BY_CURRENCY.get(currency, _LARGEST_WIRE)
    if wire > largest:
        most = Decimal(largest - largest % _step(currency)).scaleb(-wire_exponent(currency))
        raise InvalidInput(
            f"Stripe takes no more than {currency} {most:f}.", code="amount_too_large", pointer="/amount"
        )
    return wire


def _step(currency: str) -> int:
    return 100 if currency in WHOLE_IN_HUNDREDTHS else 10 if currency in THREE_DECIMAL else 1
