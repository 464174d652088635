"""What every story must leave behind, whatever happened in it: sound books, and the same money as the gateway counted.

A test module asks for it once: `pytestmark = pytest.mark.usefixtures("sound_in_the_end")` (see conftest).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from payflow.core.money import exponent
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund
from payflow.store.audit import Breach, breaches
from tests.house import House

A_LONG_TIME = 10_000_000


def audit(house: House, *, slo_seconds: int = A_LONG_TIME) -> list[Breach]:
    """The invariants that do not hold now."""
    with house.container.units.reading() as rows:
        return breaches(rows, house.clock.now(), slo_seconds)


def assert_sound(house: House) -> None:
    """Every rule holds at once. Then the trouble ends and time passes: nothing stays undone, no money is lost."""
    assert audit(house) == []
    house.control("DELETE", "/sandbox/faults")
    for seconds in (30, 700, 3_700):
        house.later(seconds)
    assert audit(house, slo_seconds=60) == []
    assert_same_money(house)


def assert_same_money(house: House) -> None:
    """Each charge at the gateway is on record here, none twice; what went back there is what we say went back."""
    there = house.control("GET", "/sandbox/charges")["by_reference"]
    attempts: list[PaymentAttempt] = house.rows(PaymentAttempt)
    refunds: list[Refund] = house.rows(Refund)
    here = {attempt.reference: attempt for attempt in attempts}
    for reference, sums in there.items():
        assert sums["charges"] <= 1, f"charged twice: {reference}"
        if not sums["charges"]:
            continue
        attempt = here[reference]
        taken, returned = iso_minor(sums, "taken_minor"), iso_minor(sums, "returned_minor")
        assert attempt.status in ("succeeded", "mismatched"), f"lost: {reference} is paid there, {attempt.status} here"
        is_not_counted = attempt.status == "mismatched" and not attempt.captured_minor
        assert is_not_counted or attempt.captured_minor == taken, reference
        back = sum(one.amount_minor for one in refunds if one.attempt_id == attempt.id and one.status == "completed")
        assert back == returned, f"{reference}: {back} went back here, {returned} there"


def iso_minor(sums: Mapping[str, Any], field: str) -> int:
    """A sum the gateway counted in its own unit (Stripe counts UGX in hundredths), in ISO 4217's minor units."""
    minor = Decimal(sums[field]).scaleb(exponent(sums["currency"]) - sums["exponent"])
    assert minor == int(minor), f"{sums}: less than the smallest unit"
    return int(minor)
