"""The contract of the three gateways has 70 numbered cases; each is a test that carries its number."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
NUMBERS = re.compile(r"test_cases?((?:_\d\d)+)_[a-z]")


def numbers(name: str) -> set[int]:
    """`test_case_24_25_money_that…` carries 24 and 25."""
    found = NUMBERS.match(name)
    return {int(number) for number in found.group(1).strip("_").split("_")} if found else set()


def test_every_case_of_the_contract_is_a_test_of_that_number() -> None:
    """01 to 70, none missing and none beyond; each of them asserts something."""
    carried: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and (found := numbers(node.name)):
                body = ast.dump(node)
                assert "Assert(" in body or "'raises'" in body or "assert_" in body, f"{path.name}::{node.name}"
                carried |= found
    assert sorted(carried) == list(range(1, 71))


def test_numbers_are_read_from_names() -> None:
    """A name without one carries none."""
    assert numbers("test_case_05_an_answer") == {5}
    assert numbers("test_case_24_25_39_money") == {24, 25, 39}
    assert numbers("test_refunds_24_hours_later") == set()
