"""The floors of docs/architecture.md: a file imports only from lower floors (docs/decisions/0001-floors.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSE = ("payflow", "tasks", "web", "worker", "celeryconfig")

FLOORS: dict[str, int] = {
    "worker": 8,
    "web": 7,
    "tasks": 7,
    "payflow.cli": 7,
    "payflow.staff_cli": 7,
    "payflow.reconcile_cli": 7,
    "payflow.__main__": 7,
    "payflow.launcher": 7,
    "payflow.system": 7,
    "payflow.processes": 7,
    "payflow.demo_data": 7,
    "payflow.demo": 7,
    "payflow.demo_journeys": 7,
    "payflow.demo_http": 7,
    "payflow.sandbox": 7,
    "payflow.container": 6,
    "payflow.services": 5,
    "payflow.store": 4,
    "payflow.dispatch": 4,
    "payflow.bus": 3,
    "payflow.embedded": 3,
    "payflow.migrations": 3,
    "payflow.gateways.registry": 3,
    "celeryconfig": 3,
    "payflow.models": 2,
    "payflow.gateways": 2,
    "payflow.channels": 2,
    "payflow.cache": 2,
    "payflow.settings": 2,
    "payflow.core": 1,
    "payflow.logs": 1,
    "payflow.failpoints": 1,
    "payflow.metrics": 1,
    "payflow": 0,
}
"""Longest prefix wins."""

SAME_ROOM = {
    "payflow.launcher": "launcher",
    "payflow.system": "launcher",
    "payflow.processes": "launcher",
    "payflow.cli": "cli",
    "payflow.staff_cli": "cli",
    "payflow.reconcile_cli": "cli",
    "payflow.__main__": "cli",
    "payflow.demo_data": "cli",
    "payflow.demo": "cli",
    "payflow.demo_journeys": "cli",
    "payflow.demo_http": "cli",
}
"""Files of one floor that are one room and may import each other."""

ALLOWED = {
    ("cli", "launcher"): "the cli starts the launcher, and the demo drives it",
    ("cli", "payflow.sandbox"): "`python -m payflow sandbox`",
    ("web", "cli"): "the demo page shows the demo's cast",
}
"""Rooms of one floor that may look at each other, and why."""


def _files() -> list[Path]:
    found = [ROOT / "worker.py", ROOT / "celeryconfig.py"]
    for folder in ("payflow", "tasks", "web"):
        found += sorted((ROOT / folder).rglob("*.py"))
    return found


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _prefix(module: str) -> str:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        candidate = ".".join(parts[:length])
        if candidate in FLOORS and (candidate != "payflow" or module == "payflow"):
            return candidate
    raise AssertionError(f"{module} stands on no floor: give it one in tests/architecture/test_floors.py")


def _room(module: str) -> str:
    prefix = _prefix(module)
    return SAME_ROOM.get(prefix, prefix)


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                full = f"{node.module}.{name.name}"
                yield node.lineno, full if _is_module(full) else node.module


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def _import_errors(path: Path) -> list[str]:
    module = _module(path)
    own, own_room = FLOORS[_prefix(module)], _room(module)
    errors = []
    for line, target in _imports(path):
        if target.split(".")[0] not in HOUSE or target == "payflow":
            continue
        room = _room(target)
        if room == own_room or FLOORS[_prefix(target)] < own or (own_room, room) in ALLOWED:
            continue
        errors.append(f"{path.relative_to(ROOT)}:{line} ({module}, floor {own}) imports {target}")
    return errors


def test_every_file_imports_only_from_lower_floors() -> None:
    """No room reaches up or sideways."""
    errors = [error for path in _files() for error in _import_errors(path)]
    assert not errors, "the floors sag (docs/decisions/0001-floors.md):\n" + "\n".join(errors)


def test_the_check_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of floor 1 that imports a service is caught."""
    rogue = ROOT / "payflow" / "core" / "money.py"
    copy = tmp_path / "payflow" / "core" / "money.py"
    copy.parent.mkdir(parents=True)
    copy.write_text(rogue.read_text() + "\nfrom payflow.services import order\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "payflow" / "services").mkdir()
    (tmp_path / "payflow" / "services" / "__init__.py").touch()
    (tmp_path / "payflow" / "services" / "order.py").touch()
    assert _import_errors(copy)


RULES: list[tuple[str, tuple[str, ...], str]] = [
    ("flask", ("web/", "payflow/sandbox/"), "Flask is the front's and the counterparty's"),
    ("flask_openapi3", ("web/",), "the API document is the front's"),
    (
        "celery",
        ("tasks/", "worker.py", "celeryconfig.py", "payflow/dispatch.py"),
        "jobs are sent by name, after a commit",
    ),
    (
        "kombu",
        ("tasks/", "worker.py", "celeryconfig.py", "payflow/dispatch.py"),
        "jobs are sent by name, after a commit",
    ),
    (
        "requests",
        ("payflow/gateways/transport.py", "payflow/channels/webhook.py", "payflow/sandbox/"),
        "one HTTP client, so that time-outs, redaction and limits hold everywhere",
    ),
    ("sqlalchemy", ("payflow/models/", "payflow/store/", "payflow/migrations/"), "SQL lives in the store"),
]


@pytest.mark.parametrize(("package", "homes", "why"), RULES, ids=[rule[0] for rule in RULES])
def test_a_package_stays_in_its_rooms(package: str, homes: tuple[str, ...], why: str) -> None:
    """Each of these packages is imported only where it belongs."""
    strays = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in _files()
        for line, target in _imports(path)
        if target.split(".")[0] == package and not str(path.relative_to(ROOT)).startswith(homes)
    ]
    assert not strays, f"{package} is imported outside {homes} ({why}): {strays}"


def test_the_web_names_no_task_module() -> None:
    """The web knows tasks by name only, never by import."""
    strays = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in _files()
        if path.is_relative_to(ROOT / "web")
        for line, target in _imports(path)
        if target.split(".")[0] in ("tasks", "worker", "celery")
    ]
    assert not strays
