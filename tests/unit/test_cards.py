"""Card numbers in free text are told from ids, amounts and times."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payflow.core.cards import holds_card_number
from payflow.core.identifiers import attempt_reference, new_id, order_number
from tests.rows import NOW

CARDS = [
    "4084084084084081", "4111 1111 1111 1111", "4111-1111-1111-1111", "4111.1111.1111.1111", "5531886652142950",
    "2223003122003222", "378282246310005", "6011111111111117", "30569309025904", "3530111333300000", "4222222222222",
    "5060990580000217499", "6759649826438453", "６０１１１１１１１１１１１１１７", "٤١١١١١١١١١١١١١١١",
]  # fmt: skip
HARMLESS = [
    "",
    "order ORD-20260115-7K3XQZ of 1500000 NGN", "4084084084084082", "1234567890123452", "1700000000000000006",
    "+2348012345678", "2026-01-15T12:00:00.123456Z", "01934567-8901-7234-8567-890123456789",
    "41111111-1111-4111-8111-111111111111",
    "0f4111111111111111e9", "a4111-1111-1111-1111b", "41111111111111111111111", "room 4 11",
]  # fmt: skip


@pytest.mark.parametrize("card", CARDS)
def test_a_card_number_is_found(card: str) -> None:
    """By each scheme, in groups or not, in digits of any script, in the middle of a sentence."""
    assert holds_card_number(card)
    assert holds_card_number(f"please charge {card}, thank you")
    assert holds_card_number(f"PAN:{card};CVV:123")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_card_number_passes(text: str) -> None:
    """A wrong check digit, no issuer's first digits, ids, times, longer numbers."""
    assert not holds_card_number(text)


def test_ids_of_ours_are_no_card_numbers() -> None:
    """Thousands of fresh ones."""
    ids = [new_id() for _ in range(3_000)] + [str(uuid.uuid4()) for _ in range(3_000)]
    ids += [uuid.uuid4().hex for _ in range(30_000)]  # as clients make idempotency keys
    assert not any(map(holds_card_number, ids))
    assert not any(holds_card_number(attempt_reference() + order_number(NOW)) for _ in range(1_000))


@given(st.text(max_size=60))
def test_no_text_makes_it_fail(text: str) -> None:
    """A verdict for whatever comes in."""
    assert holds_card_number(text) in (True, False)
