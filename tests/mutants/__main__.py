"""`make mutants`: apply one mutant after the other to a copy of the tree, run its tests, and say which of them noticed.

Exit status 1: a mutant that nothing notices, a change that does not apply exactly once, or a test that fails without
any change. `--write` puts the table into docs/mutation-check.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "mutation-check.md"
LIMIT_SECONDS = 300
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_HEAD = """# Mutation check

Each mechanism that keeps money safe, switched off in a copy of the tree, and the first test that noticed.
Written by `make mutants ARGS=--write` from `tests/mutants/table.py`; `make mutants` fails while one goes unnoticed.

It runs on SQLite, which has no exclusion constraint, no `FOR UPDATE` and one writer at a time: the slot is kept by a
trigger there, and the order of row locks cannot be tried. `.ci/run` runs the same tests on PostgreSQL.

| mechanism | what was removed | noticed by |
|---|---|---|
"""


class DoesNotApply(Exception):
    """The text to be changed stands there not once."""


@dataclass(frozen=True)
class Found:
    """What became of one mutant: the test that failed, None where none did."""

    mutant: Mutant
    test: str | None


def mutated(mutant: Mutant, root: Path) -> str:
    """The file's text with the mechanism switched off. Raises DoesNotApply."""
    text = (root / mutant.file).read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise DoesNotApply(f"{mutant.mechanism}: {mutant.file} holds the text {text.count(mutant.old)} times, not once")
    return text.replace(mutant.old, mutant.new)


def main(arguments: Sequence[str]) -> int:
    options = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    options.add_argument("--only", default="", metavar="WORD", help="mutants whose mechanism holds this word")
    options.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    given = options.parse_args(arguments)
    chosen = [one for one in MUTANTS if given.only.lower() in one.mechanism.lower()]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="payflow-mutants-") as folder:
        copy = Path(folder) / "tree"
        _copy(copy)
        tests = sorted({test for one in chosen for test in one.tests})
        if failed := _first_failure(copy, tests):
            print(f"{failed} fails without any mutant: the check would prove nothing")
            return 1
        print(f"{len(tests)} tests pass as the tree is ({time.monotonic() - began:.0f} s)", flush=True)
        found = [_try(one, copy) for one in chosen]
    unnoticed = [one for one in found if one.test is None]
    print(f"{len(found) - len(unnoticed)} of {len(found)} noticed ({time.monotonic() - began:.0f} s)")
    if given.write and not given.only and not unnoticed:
        PAGE.write_text(_HEAD + "".join(_line(one) for one in found), encoding="utf-8")
    return 1 if unnoticed else 0


def _try(mutant: Mutant, copy: Path) -> Found:
    file = copy / mutant.file
    sound = file.read_text(encoding="utf-8")
    file.write_text(mutated(mutant, copy), encoding="utf-8")
    try:
        found = Found(mutant, _first_failure(copy, mutant.tests))
    finally:
        file.write_text(sound, encoding="utf-8")
    print(f"{mutant.mechanism:<58} {found.test or 'NOTHING NOTICED'}", flush=True)
    return found


def _copy(to: Path) -> None:
    """The files of the tree, changed or not, without what is ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)


def _first_failure(copy: Path, tests: Sequence[str]) -> str | None:
    """The first of the tests that fails in the copy, by its name; a run that does not end in time fails, too."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PAYFLOW_")}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environ |= {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400"}  # a stale .pyc would run the wrong code
    try:
        done = subprocess.run(
            command, cwd=copy, env=environ, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{tests[0]} (did not end)"
    if done.returncode == 0:
        return None
    named = _FAILED.search(done.stdout)
    if named is None:
        raise SystemExit(
            f"pytest ended with {done.returncode} and named no test:\n{done.stdout[-3_000:]}{done.stderr[-2_000:]}"
        )
    return named[1].partition("[")[0]


def _line(found: Found) -> str:
    file, _, name = str(found.test).partition("::")
    return f"| {found.mutant.mechanism} | {found.mutant.removed} | `{file}::{name}` |\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
