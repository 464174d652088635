"""The mutants are up to date: each change still applies, and the tests that are to notice it exist."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.__main__ import PAGE, DoesNotApply, mutated
from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=[one.mechanism for one in MUTANTS])
def test_a_mutant_applies_and_its_tests_exist(mutant: Mutant) -> None:
    """The text to change stands once, what comes of it is Python and something else, and each test named is there."""
    changed = mutated(mutant, ROOT)
    assert changed != (ROOT / mutant.file).read_text(encoding="utf-8")
    ast.parse(changed)
    for test in mutant.tests:
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert not name or name in names, test


def test_a_change_that_fits_nowhere_or_twice_is_an_error() -> None:
    """So a mutant cannot quietly stop to change anything."""
    for text in ("this stands nowhere", "import"):
        with pytest.raises(DoesNotApply):
            mutated(replace(MUTANTS[0], old=text), ROOT)


def test_the_page_names_every_mutant() -> None:
    """docs/mutation-check.md was written from this very table."""
    rows = [line.split(" | ")[:2] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert [tuple(row) for row in rows[1:]] == [(f"| {one.mechanism}", one.removed) for one in MUTANTS]
