"""What every story must leave behind, whatever happened in it: sound books, and the same money as the gateway counted.

A test module asks for it once: `pytestmark = pytest.mark.usefixtures("sound_in_the_end")` (see conftest).
"""

from __future__ import annotations

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
        assert attempt.status in ("succeeded", "mismatched"), f"lost: {reference} is paid there, {attempt.status} here"
        is_not_counted = attempt.status == "mismatched" and not attempt.captured_minor
        assert is_not_counted or attempt.captured_minor == sums["taken_minor"], reference
        back = sum(one.amount_minor for one in refunds if one.attempt_id == attempt.id and one.status == "completed")
        assert back == sums["returned_minor"], f"{reference}: {back} went back here, {sums['returned_minor']} there"
