"""The house's own rules, read from the code: one door for a status, one committer, no float in money, short files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import celeryconfig

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = [ROOT / "worker.py", ROOT / "celeryconfig.py"] + [
    path
    for folder in ("payflow", "tasks", "web")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "migrations/versions" not in str(path)
]
OURS = [path for path in PRODUCT if not path.is_relative_to(ROOT / "payflow" / "sandbox")]
"""Without the counterparty, which has a house of its own."""

MONEY_ROOMS = ("payflow/core/", "payflow/models/", "payflow/services/", "payflow/gateways/", "payflow/store/")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _nodes(paths: list[Path]) -> Iterator[tuple[Path, ast.AST]]:
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path, node


def test_a_status_is_assigned_only_in_move_to() -> None:
    """`row.status = …` appears once in the house: in models/base.py (docs/decisions/0001-floors.md)."""
    found = [
        f"{_name(path)}:{node.lineno}"
        for path, node in _nodes([path for path in OURS if not _name(path).startswith("payflow/demo")])
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute) and target.attr == "status"
    ]
    assert len(found) == 1, found
    assert found[0].startswith("payflow/models/base.py"), found


def test_only_the_unit_of_work_commits() -> None:
    """`.commit(` stands in store/unit_of_work.py alone (and in the migrations' own environment)."""
    homes = {
        _name(path)
        for path, node in _nodes(OURS)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit"
    }
    assert homes == {"payflow/store/unit_of_work.py", "payflow/migrations/env.py"}, homes


def test_no_float_in_money() -> None:
    """No float literal, no `float(` and no `/` division in the rooms where money is."""
    strays = []
    rooms = [path for path in OURS if _name(path).startswith(MONEY_ROOMS) and path.name != "transport.py"]
    for path, node in _nodes(rooms):  # the transport's seconds are not money
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
            strays.append(f"{_name(path)}:{node.lineno} float()")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            right = node.right
            is_path = isinstance(right, ast.Constant) and isinstance(right.value, str)
            if not is_path:
                strays.append(f"{_name(path)}:{node.lineno} division")
    assert not strays, strays


def test_no_broad_except_outside_the_rooms_that_may() -> None:
    """`except Exception` is web/errors.py's and tasks/base.py's to write, and that of calls made side by side."""
    strays = [
        f"{_name(path)}:{node.lineno}"
        for path, node in _nodes(OURS)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
        and _name(path) not in ("web/errors.py", "tasks/base.py", "payflow/services/side_by_side.py")
    ]
    assert not strays, strays


def test_product_code_does_not_sleep() -> None:
    """Waits are due times in the database; only the launcher, which watches processes, and the transport may pause."""
    may = (
        "payflow/launcher.py",
        "payflow/processes.py",
        "payflow/system.py",
        "payflow/embedded.py",
        "payflow/failpoints.py",
        "payflow/gateways/",
    )
    strays = [
        f"{_name(path)}:{node.lineno}"
        for path, node in _nodes(OURS)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sleep"
        and not _name(path).startswith((*may, "payflow/demo"))
    ]
    assert not strays, strays


def test_compares_of_secrets_take_constant_time() -> None:
    """Where a signature is checked, `hmac.compare_digest` is what compares."""
    for path in sorted((ROOT / "payflow" / "gateways").glob("*webhook*.py")):
        assert "compare_digest" in path.read_text(encoding="utf-8"), f"{_name(path)} compares secrets some other way"


def test_every_module_says_what_it_is_for() -> None:
    """Each file opens with a docstring."""
    bare = [
        _name(path)
        for path in PRODUCT
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert not bare, bare


def test_a_file_fits_a_readers_head() -> None:
    """About 400 lines at most; longer ones are redesigned, not trimmed."""
    long = [f"{_name(path)} ({count})" for path in PRODUCT if (count := path.read_text("utf-8").count("\n")) > 420]
    assert not long, long


def test_tasks_take_ids_only() -> None:
    """Every task's parameters are names of gateways and lists of ids."""
    strays = [
        f"{_name(path)}:{node.name}"
        for path, node in _nodes(sorted((ROOT / "tasks").glob("*.py")))
        if isinstance(node, ast.FunctionDef) and any("shared_task" in ast.dump(one) for one in node.decorator_list)
        for argument in node.args.args[1:]
        if argument.annotation is None
        or ast.unparse(argument.annotation) not in ("str", "list[str]", "list[str] | None")
    ]
    assert not strays, strays


def test_no_task_waits_in_the_broker() -> None:
    """Long waits are due times in the database: no countdown, no eta, no Celery retry, so none outlives its visibility.

    A message held longer than the visibility timeout is delivered again, in a loop (docs/decisions/0003).
    """
    strays = [
        f"{_name(path)}:{node.lineno}"
        for path, node in _nodes(OURS)
        if isinstance(node, ast.Call)
        and (
            {keyword.arg for keyword in node.keywords} & {"countdown", "eta", "retry_backoff", "autoretry_for"}
            or (isinstance(node.func, ast.Attribute) and node.func.attr == "retry" and _name(path).startswith("tasks/"))
        )
    ]
    assert not strays, strays


def test_a_task_ends_before_its_message_is_given_to_another() -> None:
    """The hard time limit stays below the visibility timeout, and nobody asks for a result."""
    visibility = celeryconfig.broker_transport_options.get("visibility_timeout")
    assert visibility is None or celeryconfig.task_time_limit < int(str(visibility))
    assert celeryconfig.task_acks_late
    assert celeryconfig.task_reject_on_worker_lost
    assert celeryconfig.result_backend is None
    assert celeryconfig.accept_content == ["json"]
