"""Stripe's amounts: every currency by its own rule, there and back, and what is refused at the field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payflow.core.errors import (
    InvalidInput,
)
from payflow.core.money import MAX_MINOR, Money, exponent
from payflow.gateways.stripe_amounts import (
    CURRENCIES,
    LEAST_MAJOR,
    THREE_DECIMAL,
    TWO_DECIMAL,
    WHOLE_IN_HUNDREDTHS,
    ZERO_DECIMAL,
    check_charge,
    from_wire,
    to_wire,
)
from tests.contract.stripe_kit import (
    a_gateway,
    a_request,
)


def test_every_currency_is_counted_in_exactly_one_way() -> None:
    """The four tables do not overlap and hold ISO 4217 codes only; the least amounts are of their currencies."""
    tables = (ZERO_DECIMAL, WHOLE_IN_HUNDREDTHS, THREE_DECIMAL, TWO_DECIMAL)
    assert sum(map(len, tables)) == len(CURRENCIES)
    assert all(exponent(currency) in (0, 2, 3) for currency in CURRENCIES)
    assert {currency for currency in CURRENCIES if exponent(currency) == 3} == THREE_DECIMAL
    assert set(LEAST_MAJOR) <= CURRENCIES
    assert to_wire(Money(1_045, "HUF")) == 1_045  # 10.45, below Stripe's least, but a fair part of a refund


@given(st.sampled_from(sorted(CURRENCIES)), st.integers(1, MAX_MINOR))
def test_amounts_there_and_back_are_the_same_money_or_refused(currency: str, amount_minor: int) -> None:
    """No amount changes on the wire, whatever the currency; what a currency cannot hold there names the field."""
    money = Money(amount_minor, currency)
    step = 100 if currency in ("ISK", "UGX") else 10 if currency in THREE_DECIMAL else 1
    if money.amount_minor % (10 if currency in THREE_DECIMAL else 100 if currency == "MGA" else 1):
        with pytest.raises(InvalidInput) as caught:
            to_wire(money)
        assert caught.value.pointer == "/amount"
        return
    wire = to_wire(money)
    assert type(wire) is int
    assert from_wire(wire, currency.lower()) == money
    assert wire % step == 0


@pytest.mark.parametrize(("currency", "least"), LEAST_MAJOR.items())
def test_check_when_amount_is_at_or_below_the_least(currency: str, least: str) -> None:
    """The least amount passes, one unit less is refused and named."""
    whole = Money(int(least.replace(".", "")) * (1 if "." in least else 10 ** exponent(currency)), currency)
    assert str(whole.to_major()) in (least, f"{least}.00")
    a_gateway().check(a_request(whole.amount_minor, currency))
    with pytest.raises(InvalidInput) as caught:
        a_gateway().check(a_request(whole.amount_minor - 1, currency))
    assert (caught.value.pointer, caught.value.code) == ("/amount", "amount_too_small")


@pytest.mark.parametrize(
    ("currency", "most"),
    [("USD", 99_999_999), ("JPY", 99_999_999), ("UGX", 999_999), ("KWD", 99_999_990), ("IDR", 999_999_999_999)],
)
def test_check_when_amount_is_at_or_above_the_most(currency: str, most: int) -> None:
    """Eight digits on the wire, twelve for the rupiah."""
    check_charge(Money(most, currency))
    with pytest.raises(InvalidInput) as caught:
        check_charge(Money(most + (10 if currency == "KWD" else 1), currency))
    assert (caught.value.pointer, caught.value.code) == ("/amount", "amount_too_large")


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_check_when_amount_is_not_positive_then_refused(amount_minor: int) -> None:
    """Nothing and less than nothing cannot be collected."""
    with pytest.raises(InvalidInput):
        a_gateway().check(a_request(amount_minor, "NGN"))
