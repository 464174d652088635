"""Amounts and moments as people write them where they live (CLDR, by Babel). For eyes only."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from babel.dates import format_date, format_time
from babel.numbers import parse_pattern

from payflow.channels.languages import locale_of
from payflow.core.money import Money, exponent

_NO_BREAK = "\N{NO-BREAK SPACE}"


def amount(money: Money, tag: str) -> str:
    """`€12.50`, `12,50 €`: the locale's signs and order, ISO 4217's decimals (CLDR drops some)."""
    locale = locale_of(tag)
    pattern = parse_pattern(locale.currency_formats["standard"].pattern)
    places = exponent(money.currency)
    pattern.frac_prec = (places, places)
    shown = pattern.apply(money.to_major(), locale, currency=money.currency, currency_digits=False)
    # CLDR's currencySpacing, which Babel leaves out: a code of letters does not touch the number.
    return re.sub(rf"({money.currency})(?=\d)", rf"\1{_NO_BREAK}", shown)


def moment(at: datetime, tag: str) -> str:
    """A moment to the minute, in UTC and said so: payflow does not know where the reader is."""
    locale, at = locale_of(tag), at.astimezone(UTC)
    return f"{format_date(at, 'medium', locale=locale)}, {format_time(at, 'short', locale=locale)} UTC"
