"""docs/howto/add-a-gateway.md works as it stands: its code, put into a copy of the tree, keeps the whole contract."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/howto/add-a-gateway.md"
STEP = re.compile(
    r"^\*\*`(?P<path>[\w/.]+)`\*\*, (?P<what>new|one row|one import):\n\n```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SUITE = (
    "tests/contract/test_every_gateway.py",
    "tests/contract/test_every_gateway_in_trouble.py",
    "tests/contract/test_every_gateway_lists.py",
    "tests/integration/test_journeys_every_gateway.py",
    "tests/integration/test_lost_answers_every_gateway.py",
    "tests/integration/test_contract_cases_in_rows.py",
    "tests/integration/test_reconciliation.py",
    "tests/integration/test_reconciliation_of_refunds.py",
)
END_OF_TABLE = {"payflow/core/gateways.py": '\n)\n"""In routing order', "payflow/sandbox/dialects.py": "\n}\n"}


def follow_the_page(tree: Path) -> list[tuple[str, str]]:
    """Do what the page says, and nothing else; what was done, as (file, kind of step)."""
    steps = []
    for step in STEP.finditer(PAGE.read_text(encoding="utf-8")):
        path, code = tree / step["path"], step["code"]
        if step["what"] == "new":
            assert not path.exists()
            path.write_text(code, encoding="utf-8")
        else:
            text = path.read_text(encoding="utf-8")
            marker = END_OF_TABLE[step["path"]] if step["what"] == "one row" else "\n\n\nclass "
            before, found, after = text.partition(marker)
            assert found, f"{step['path']} does not look as the page takes for granted"
            added = code.rstrip()
            if step["what"] == "one row":
                added = indent(added.removesuffix(",") + ",", "    ")
            path.write_text(f"{before}\n{added}{found}{after}", encoding="utf-8")
        steps.append((step["path"], step["what"]))
    return steps


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree as it stands, without its history."""
    tree = tmp_path / "tree"
    rubbish = shutil.ignore_patterns("__pycache__", "*.pyc")
    for folder in ("payflow", "tasks", "web", "tests"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=rubbish)
    for file in ("worker.py", "celeryconfig.py", "pyproject.toml"):
        shutil.copy(ROOT / file, tree / file)
    return tree


def test_the_page_adds_a_gateway_that_keeps_the_contract(copy: Path) -> None:
    """One file and one row here, one file and one row at the sandbox: every test of the contract passes."""
    assert follow_the_page(copy) == [
        ("payflow/gateways/cowrie.py", "new"),
        ("payflow/core/gateways.py", "one row"),
        ("payflow/sandbox/cowrie.py", "new"),
        ("payflow/sandbox/dialects.py", "one import"),
        ("payflow/sandbox/dialects.py", "one row"),
    ]
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITE, "-k", "cowrie"]
    ran = subprocess.run(command, cwd=copy, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout[-5_000:] + ran.stderr[-2_000:]
    told = re.search(r"^(\d+) passed, \d+ deselected", ran.stdout, re.MULTILINE)
    assert told, ran.stdout[-500:]
    assert int(told[1]) > 120, "the suite is parametrised over the table"


def test_the_pages_code_is_as_clean_as_the_houses(copy: Path) -> None:
    """Whoever starts from it starts clean: style, order and types of the two new files."""
    follow_the_page(copy)
    files = ["payflow/gateways/cowrie.py", "payflow/sandbox/cowrie.py"]
    for check in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy", "--no-incremental"]):
        ran = subprocess.run(
            [sys.executable, "-m", *check, *files], cwd=copy, capture_output=True, text=True, timeout=300, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
