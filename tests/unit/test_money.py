"""Money: integers in minor units, exact both ways, never a float."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payflow.core.errors import InvalidInput
from payflow.core.money import Money, exponent, share_bps

CURRENCIES = st.sampled_from(["NGN", "USD", "JPY", "UGX", "KWD", "BHD"])
MINOR = st.integers(min_value=-(2**63), max_value=2**63 - 1)


@pytest.mark.parametrize(
    ("currency", "places"),
    [("NGN", 2), ("USD", 2), ("GHS", 2), ("JPY", 0), ("UGX", 0), ("XOF", 0), ("KWD", 3), ("BHD", 3), ("TND", 3)],
)
def test_exponent_of_a_currency_is_the_iso_lists(currency: str, places: int) -> None:
    """Two decimals, none and three."""
    assert exponent(currency) == places


@pytest.mark.parametrize("code", ["ngn", "Naira", "", "XXX", "XAU", "NG", "NGNN", " NGN", "ＮＧＮ", "566"])
def test_exponent_of_what_is_no_currency_is_refused(code: str) -> None:
    """Lower case, names, numbers, look-alikes, metals and the test code are no money; the field is named."""
    with pytest.raises(InvalidInput) as caught:
        exponent(code)
    assert (caught.value.code, caught.value.pointer) == ("unknown_currency", "/currency")


@pytest.mark.parametrize("amount", [1.0, 0.1, True, False, "100", Decimal(1), None, b"1", float("nan"), [1], 1j])
def test_money_of_anything_but_an_integer_is_refused(amount: Any) -> None:
    """No float, bool, text or Decimal passes for minor units."""
    with pytest.raises(InvalidInput):
        Money(amount, "NGN")


@pytest.mark.parametrize(
    "amount",
    [0.5, 1.0, True, "1.50", None, float("inf")]
    + [Decimal(word) for word in ("NaN", "sNaN", "Infinity", "-Infinity", "1e31", "1e999999", "1e-31")],
)
def test_from_major_of_a_wrong_type_or_size_is_refused(amount: Any) -> None:
    """Only whole numbers and finite Decimals of a sane size are read as major units."""
    with pytest.raises(InvalidInput):
        Money.from_major(amount, "NGN")


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        (Decimal("15000.00"), "NGN", 1_500_000),
        (Decimal("0.01"), "USD", 1),
        (Decimal("1E+3"), "NGN", 100_000),
        (Decimal("-2.50"), "NGN", -250),
        (Decimal("0E-50"), "NGN", 0),
        (Decimal(500), "JPY", 500),
        (500, "JPY", 500),
        (Decimal("1.234"), "KWD", 1_234),
        (3, "KWD", 3_000),
        (Decimal("1.100000000000000000000000000000000000"), "USD", 110),
    ],
)
def test_from_major_is_exact(amount: Decimal | int, currency: str, minor: int) -> None:
    """Each currency's own exponent, no rounding."""
    assert Money.from_major(amount, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("0.001", "NGN"),
        ("0.5", "JPY"),
        ("1.0001", "KWD"),
        ("0.01000000000000000000000000000000000001", "NGN"),
        ("2999.99999999999999999999999999999999", "NGN"),
    ],
)
def test_from_major_with_more_decimals_than_the_currency_has_is_refused(amount: str, currency: str) -> None:
    """Nothing is rounded away, also beyond the 28 digits a Decimal's own arithmetic keeps."""
    with pytest.raises(InvalidInput):
        Money.from_major(Decimal(amount), currency)


@given(MINOR, CURRENCIES)
def test_to_major_and_back_is_the_same(minor: int, currency: str) -> None:
    """Major units are another spelling, not another amount."""
    money = Money(minor, currency)
    assert Money.from_major(money.to_major(), currency) == money


@given(MINOR, MINOR, CURRENCIES)
def test_sums_and_order_are_those_of_the_integers(one: int, other: int, currency: str) -> None:
    """Adding and comparing money is adding and comparing its minor units."""
    a, b = Money(one, currency), Money(other, currency)
    assert (a + b) - b == a
    assert (a + b).amount_minor == one + other
    assert (a < b, a <= b) == (one < other, one <= other)


@pytest.mark.parametrize("operation", ["__add__", "__sub__", "__lt__", "__le__"])
def test_two_currencies_never_meet(operation: str) -> None:
    """There is no exchange rate in here."""
    with pytest.raises(InvalidInput, match="cannot be mixed"):
        getattr(Money(1, "NGN"), operation)(Money(1, "USD"))


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(1_500_000, "NGN"), "NGN 15,000.00"),
        (Money(1_234_567, "JPY"), "JPY 1,234,567"),
        (Money(1, "KWD"), "KWD 0.001"),
        (Money(-5, "USD"), "USD -0.05"),
    ],
)
def test_money_in_words_shows_every_decimal(money: Money, text: str) -> None:
    """What people read has the currency's own number of decimals."""
    assert str(money) == text


@given(st.integers(0, 10**12), st.integers(0, 10_000))
def test_share_in_basis_points_is_rounded_half_up(amount: int, bps: int) -> None:
    """At most half a unit off, and never below the exact value by exactly half."""
    twice_off = 2 * (share_bps(amount, bps) * 10_000 - amount * bps)
    assert -10_000 < twice_off <= 10_000
