"""Ids, order numbers and references: in order, readable, unguessable."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from payflow.core.identifiers import attempt_reference, is_uuid, new_id, order_number
from payflow.gateways.paystack_webhook import known_reference

READABLE = "[2-9A-HJ-NP-Z]"


def test_new_ids_sort_by_their_making_and_never_repeat() -> None:
    """UUIDv7 in canonical text: 20,000 in a row are distinct and sorted, which keyset pages rely on."""
    ids = [new_id() for _ in range(20_000)]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    assert all(UUID(one).version == 7 and str(UUID(one)) == one for one in ids[:100])


def test_new_id_tells_the_time_of_its_making() -> None:
    """The first 48 bits are Unix milliseconds (RFC 9562, section 5.7)."""
    before = datetime.now(UTC)
    made_ms = UUID(new_id()).int >> 80
    after = datetime.now(UTC)
    assert int(before.timestamp() * 1_000) - 1 <= made_ms <= int(after.timestamp() * 1_000) + 1


def test_order_number_holds_the_day_in_utc_and_six_readable_characters() -> None:
    """`ORD-YYYYMMDD-XXXXXX` without 0, O, 1 and I, which people mix up on the telephone."""
    numbers = {order_number(datetime(2026, 1, 5, 23, 59, tzinfo=UTC)) for _ in range(500)}
    assert all(re.fullmatch(f"ORD-20260105-{READABLE}{{6}}", number) for number in numbers)
    assert len(numbers) > 495


def test_references_are_unique_unguessable_and_in_every_gateways_alphabet() -> None:
    """`PF-` and 26 characters of 5 random bits; Paystack takes letters, digits and - . = only."""
    references = {attempt_reference() for _ in range(5_000)}
    assert len(references) == 5_000
    assert all(re.fullmatch(f"PF-{READABLE}{{26}}", reference) for reference in references)
    assert all(known_reference(reference) == reference for reference in references)
    for place in range(3, 29):
        assert len({reference[place] for reference in references}) == 32, f"place {place} is not random"


@pytest.mark.parametrize("text", ["018f2b7e-1c9a-7def-8abc-0123456789ab", "018F2B7E-1C9A-7DEF-8ABC-0123456789AB"])
def test_uuid_in_either_case_is_known(text: str) -> None:
    """Clients write both."""
    assert is_uuid(text)


@pytest.mark.parametrize(
    "text", ["", "x", "018f2b7e", "018f2b7e-1c9a-7def-8abc-0123456789ag", "1' OR '1'='1", "\x00" * 36]
)
def test_what_is_no_uuid_is_not_taken_for_one(text: str) -> None:
    """Anything else is refused before it reaches the database."""
    assert not is_uuid(text)


def test_order_number_of_a_clock_elsewhere_is_of_that_clocks_day() -> None:
    """Callers hand in UTC; the number is the day of what they hand in."""
    lagos = timezone(timedelta(hours=1))
    assert order_number(datetime(2026, 1, 6, 0, 30, tzinfo=lagos)).startswith("ORD-20260106-")
