"""A gateway is one file and one row: nothing else names one (docs/howto/add-a-gateway.md)."""

from __future__ import annotations

import ast
from pathlib import Path

from payflow.core.gateways import NAMES

ROOT = Path(__file__).resolve().parents[2]
HOMES = ("payflow/gateways/", "payflow/sandbox/", "payflow/core/gateways.py", "web/examples.py")
"""Adapters, the counterparty, the table, and the examples of the API's document."""
EVERY = (
    *(
        f"tests/contract/{name}.py"
        for name in (
            "any_gateway",
            "test_every_gateway",
            "test_every_gateway_in_trouble",
            "test_every_gateway_lists",
        )
    ),
    "tests/integration/test_journeys_every_gateway.py",
    "tests/integration/test_reconciliation.py",
    "tests/integration/test_reconciliation_of_refunds.py",
)


def named(path: Path) -> list[str]:
    """Where a file has a gateway's name among its values."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in NAMES
    ]


def test_the_product_names_no_gateway_outside_its_own_files() -> None:
    """No row, queue, setting or branch is one gateway's."""
    files = [ROOT / "worker.py", ROOT / "celeryconfig.py"]
    files += [path for folder in ("payflow", "tasks", "web") for path in sorted((ROOT / folder).rglob("*.py"))]
    strays = [place for path in files if not str(path.relative_to(ROOT)).startswith(HOMES) for place in named(path)]
    assert strays == []
    assert named(ROOT / "payflow/core/gateways.py"), "the check finds names where there are some"


def test_the_suite_over_every_gateway_names_none() -> None:
    """Nothing in it is special-cased."""
    assert [place for path in EVERY for place in named(ROOT / path)] == []
