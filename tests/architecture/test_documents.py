"""Documents that name tests name tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"`(?:tests/)?([a-z_/]+\.py)::(test_[a-z0-9_]+)`")
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if _NAMED.search(page.read_text(encoding="utf-8"))]


def test_some_page_names_tests() -> None:
    """The list of failures known from elsewhere does, one or more in each row."""
    page = ROOT / "docs" / "failure-cases.md"
    assert page in PAGES
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if "https://" in line]
    assert len(rows) > 40
    assert [row for row in rows if not _NAMED.search(row)] == []


def test_every_case_of_the_security_list_is_answered() -> None:
    """Fifty-four cases, numbered: each has tests, and a result that says how far they hold."""
    page = ROOT / "docs" / "security.md"
    assert page in PAGES
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+) \|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(number) for number, *_ in rows} == set(range(1, 55))
    assert [number for number, _, tests, result in rows if not _NAMED.search(tests) or not result.strip()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_named_tests_exist(page: Path) -> None:
    """A test that was renamed or deleted is noticed here."""
    gone = [
        f"{file}::{name}"
        for file, name in _NAMED.findall(page.read_text(encoding="utf-8"))
        if name not in _tests_in(ROOT / "tests" / file)
    ]
    assert gone == []


def _tests_in(path: Path) -> set[str]:
    if not path.exists():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
