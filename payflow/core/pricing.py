"""How an order's total comes about: `subtotal - discount + tax = total`, tax per order, rounded half up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from payflow.core.errors import InvalidInput
from payflow.core.money import MAX_MINOR, Money, share_bps


@dataclass(frozen=True, slots=True)
class Totals:
    """All amounts in minor units of `currency`."""

    currency: str
    subtotal_minor: int
    discount_minor: int
    tax_minor: int

    @property
    def total_minor(self) -> int:
        return self.subtotal_minor - self.discount_minor + self.tax_minor


def price(items: Iterable[Money], *, tax_bps: int, discount_minor: int = 0) -> Totals:
    """Price an order. Raises InvalidInput for mixed currencies, a discount above the subtotal or a zero total."""
    amounts = list(items)
    if not amounts:
        raise InvalidInput("An order needs at least one booking.", code="empty_order", pointer="/booking_ids")
    currency = amounts[0].currency
    if any(item.currency != currency for item in amounts):
        raise InvalidInput(
            "All bookings of an order must be in one currency.", code="mixed_currencies", pointer="/booking_ids"
        )
    subtotal = sum(item.amount_minor for item in amounts)
    if not 0 <= discount_minor <= subtotal:
        raise InvalidInput(
            "The discount must lie between zero and the subtotal.", code="invalid_discount", pointer="/discount"
        )
    totals = Totals(currency, subtotal, discount_minor, share_bps(subtotal - discount_minor, tax_bps))
    if totals.total_minor <= 0:
        raise InvalidInput(
            "The order's total is zero: there is nothing to pay.", code="zero_total", pointer="/booking_ids"
        )
    if totals.total_minor > MAX_MINOR:
        raise InvalidInput(
            "The order's total is above what can be taken.", code="total_too_large", pointer="/booking_ids"
        )
    return totals
