"""What an order costs: it adds up, tax is rounded half up once, and what cannot be sold is refused."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payflow.core.errors import InvalidInput
from payflow.core.money import MAX_MINOR, Money
from payflow.core.pricing import price

AMOUNTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any)
RATES = st.integers(0, 10_000)


def naira(*amounts: int) -> list[Money]:
    return [Money(amount, "NGN") for amount in amounts]


@given(AMOUNTS, RATES, st.data())
def test_total_adds_up_and_no_part_is_negative(amounts: list[int], rate: int, data: st.DataObject) -> None:
    """subtotal - discount + tax = total, for every basket, rate and allowed discount."""
    discount = data.draw(st.integers(0, sum(amounts) - 1))
    totals = price(naira(*amounts), tax_bps=rate, discount_minor=discount)
    assert totals.subtotal_minor == sum(amounts)
    assert totals.total_minor == totals.subtotal_minor - totals.discount_minor + totals.tax_minor
    assert min(totals.subtotal_minor, totals.discount_minor, totals.tax_minor) >= 0
    assert totals.total_minor > 0


@given(AMOUNTS, RATES)
def test_tax_is_of_the_whole_order_rounded_half_up_once(amounts: list[int], rate: int) -> None:
    """The same as exact arithmetic with one rounding at the end, not one per booking."""
    exact = (Decimal(sum(amounts)) * rate / 10_000).quantize(Decimal(1), ROUND_HALF_UP)
    assert price(naira(*amounts), tax_bps=rate).tax_minor == exact


@given(st.permutations([1, 20, 300, 4_000]))
def test_order_of_bookings_does_not_matter(amounts: list[int]) -> None:
    """The basket has no first booking."""
    assert price(naira(*amounts), tax_bps=750) == price(naira(1, 20, 300, 4_000), tax_bps=750)


@pytest.mark.parametrize(("amount", "tax"), [(6, 0), (7, 1), (20, 2), (33, 2), (60, 5)])
def test_half_a_unit_of_tax_is_a_whole_one(amount: int, tax: int) -> None:
    """7.5 % of 6.67 and more rounds up, of less rounds down."""
    assert price(naira(amount), tax_bps=750).tax_minor == tax


@pytest.mark.parametrize(
    ("items", "discount", "code"),
    [
        ([], 0, "empty_order"),
        ([Money(1, "NGN"), Money(1, "USD")], 0, "mixed_currencies"),
        (naira(100), -1, "invalid_discount"),
        (naira(100), 101, "invalid_discount"),
        (naira(100), 100, "zero_total"),
        (naira(0, 0), 0, "zero_total"),
        (naira(MAX_MINOR, 1), 0, "total_too_large"),
    ],
)
def test_order_that_cannot_be_priced_is_refused(items: list[Money], discount: int, code: str) -> None:
    """Nothing in it, two currencies, a discount beyond it, nothing to pay, or too much: each under its own code."""
    with pytest.raises(InvalidInput) as caught:
        price(items, tax_bps=0, discount_minor=discount)
    assert caught.value.code == code
    assert caught.value.pointer is not None


def test_largest_total_is_still_taken() -> None:
    """The bound itself is inside."""
    assert price(naira(MAX_MINOR), tax_bps=0).total_minor == MAX_MINOR
