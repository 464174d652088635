"""Fail-points: every name stands for a place in the code, they do what they say, and nothing when off."""

from __future__ import annotations

import ast
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import worker
from payflow import failpoints
from payflow.core.errors import ConfigurationError
from payflow.models.order import Order
from payflow.settings import Settings
from tests.house import ADA, House

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a-secret-for-tests-of-forty-characters-x"
OFF_THE_MONEY_PATH = {
    "demo_data.seed": "development only",
    "gateway_calls._put_off": "a later due time for an answer nobody could store; the lease's end asks again as well",
    "refund_adoption._put_off": "a later due time for a list nobody could store; the lease's end reads it as well",
    "refund_calls._put_off": "a later due time for an answer nobody could store; the lease's end asks again as well",
    "gateway_log.GatewayLog.flush": "a log; nothing depends on it",
    "health.HealthService.__call__": "advice to routing; losing it costs a detour",
    "keys.KeyService.add": "one row, typed by an operator",
    "keys.KeyService.rotate": "two rows, typed by an operator",
    "keys.KeyService.revoke": "one row, typed by an operator",
    "keys.KeyService.used": "when a key was last seen, to a minute",
    "notification.NotificationService.mark_read": "one mark on one row",
    "notification.NotificationService.mark_all_read": "one mark on some rows",
    "webhook_endpoint.WebhookEndpointService.create": "one row, made by staff",
    "webhook_endpoint.WebhookEndpointService.change": "one row, changed by staff",
    "webhook_endpoint.WebhookEndpointService.delete": "one row, put away by staff",
    "webhook_endpoint.WebhookEndpointService.rotate_secret": "one row, changed by staff",
    "webhook_endpoint.WebhookEndpointService.ping": "one delivery, asked for by staff",
    "webhook_endpoint.WebhookEndpointService.resend": "one row made due, by staff",
    "webhook_endpoint.WebhookEndpointService.resend_many": "some rows made due, by staff",
    "parked.ParkedService.replay": "one row made due, by an operator",
    "parked.ParkedService.close": "one row, by an operator",
    "policy.PolicyService.change": "one row, changed by staff",
    "audit.AuditService.run": "what was found; the next audit finds it again",
    "webhook.WebhookService.give_back": "ends a lease that would run out by itself",
    "digest.DigestService.tell": "tells operators what stands on record; the next beat tells it as well",
    "preferences.PreferenceService.change": "what a user wants to hear; asked again, it does the same",
    "reconciliation.ReconciliationService.open_nightly": "a run and its slices, opened again by the next ring",
    "reconciliation.ReconciliationService.open": "a run asked for by an operator",
    "reconciliation.ReconciliationService.close": "one row, by an operator",
    "reconciliation.ReconciliationService.compare.claim": "a lease that runs out; what a slice finds it finds again",
    "sweep.SweepService.housekeeping": "throws away what is too old to matter",
    "payment.PaymentService.complete_payment": "the contract's door for a step that `settle` takes",
    "payment.PaymentService.fail_payment": "the contract's door for a step that `settle` takes",
    "payment.PaymentService.complete_refund": "the contract's door for a step that `refund.record` takes",
}
"""Transactions without a fail-point, and why."""


def test_every_transaction_has_a_fail_point_or_a_reason() -> None:
    """The table names every step that is handed to a unit of work, and no step that is not there."""
    there = set(_steps())
    named = set(failpoints.STEPS.values())
    assert named - there == set(), "fail-points without a step"
    assert there - named - OFF_THE_MONEY_PATH.keys() == set(), "steps without a fail-point: name them in STEPS"
    assert OFF_THE_MONEY_PATH.keys() - there == set()


def test_every_task_and_place_is_named_and_there() -> None:
    """Tasks are the app's own; each other place stands in the code once, and no place is unnamed."""
    worker.app.finalize()
    tasks = {
        name
        for name in worker.app.tasks
        if name.partition(".")[0] in {task.partition(".")[0] for task in failpoints.TASKS}
    }
    without_money = {"sweeps.audit", "sweeps.digest", "sweeps.housekeeping"}
    assert set(failpoints.TASKS) == tasks - without_money
    written = [
        node.args[0].value
        for path in _product()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "failpoints.hit"
        and isinstance(node.args[0], ast.Constant)
    ]
    assert sorted(written) == sorted(failpoints.PLACES)


def test_every_call_to_a_gateway_is_named() -> None:
    """The operations adapters send are the table's."""
    sent = set()
    for path in sorted((ROOT / "payflow" / "gateways").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            if ast.unparse(node.func) in (
                "Call",
                "self._ask",
                "self._command",
                "self._question",
                "self._rows",
                "self._get",
            ):
                sent.add(node.args[0].value)
    assert set(failpoints.CALLS) <= sent
    assert sent - set(failpoints.CALLS) == set()


def test_a_step_is_known_by_its_function_however_it_is_wrapped(house: House, tmp_path: Path) -> None:
    """The unit of work finds the name of a nested step, and the journal counts each passage."""
    with failpoints.armed("web.order.before_commit=sleep0;web.order.after_commit=sleep0@2", tmp_path):
        house.order()
        house.order()
    lines = [line.split()[0] for line in (tmp_path / failpoints.JOURNAL).read_text().splitlines()]
    assert lines == ["web.order.before_commit", "web.order.after_commit"] * 2


def test_a_step_that_fails_before_its_commit_leaves_nothing_and_after_it_everything(
    house: House, tmp_path: Path
) -> None:
    """`raise` before the commit: no order. After it: the order is there though its caller saw an error."""
    bookings = (house.booking(), house.booking())
    with failpoints.armed("web.order.before_commit=raise@1", tmp_path), pytest.raises(failpoints.Injected):
        house.container.payments.create_order(ADA, bookings)
    assert house.rows(Order) == []
    with failpoints.armed("web.order.after_commit=raise", tmp_path), pytest.raises(failpoints.Injected):
        house.container.payments.create_order(ADA, bookings)
    assert len(house.rows(Order)) == 1


def test_once_is_once_over_all_processes(tmp_path: Path) -> None:
    """`@2` kills the second process that comes by, and none after it."""
    endings = []
    for _ in range(3):
        child = multiprocessing.get_context("spawn").Process(
            target=_pass_by, args=("deliver.after_send=kill9@2", tmp_path)
        )
        child.start()
        child.join(60)
        endings.append(child.exitcode)
    assert endings == [0, -signal.SIGKILL, 0]


def test_exit_ends_the_process_at_once(tmp_path: Path) -> None:
    """`exit` leaves with status 1."""
    child = multiprocessing.get_context("spawn").Process(target=_pass_by, args=("deliver.after_send=exit", tmp_path))
    child.start()
    child.join(60)
    assert child.exitcode == 1


def test_rules_in_a_file_change_while_the_process_runs(tmp_path: Path) -> None:
    """An empty file does nothing; once it names the point, the point acts."""
    file = tmp_path / "points"
    file.write_text("")
    with failpoints.armed(f"@{file}", tmp_path):
        failpoints.hit("deliver.after_send")
        file.write_text("deliver.after_send=raise\nsettle.before_commit=raise")
        with pytest.raises(failpoints.Injected):
            failpoints.hit("deliver.after_send")


def test_a_chance_of_nothing_never_strikes(tmp_path: Path) -> None:
    """`@p0` is passed by a hundred times."""
    with failpoints.armed("deliver.after_send=raise@p0", tmp_path):
        for _ in range(100):
            failpoints.hit("deliver.after_send")
    assert len((tmp_path / failpoints.JOURNAL).read_text().splitlines()) == 100


def test_a_wait_lasts_as_long_as_it_says(tmp_path: Path) -> None:
    """`sleep0.05` waits at least that long."""
    began = time.monotonic()
    with failpoints.armed("deliver.after_send=sleep0.05", tmp_path):
        failpoints.hit("deliver.after_send")
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize(
    "text", ["nowhere.at_all=kill9", "deliver.after_send=explode", "deliver.after_send", "settle.before_commit=kill9@x"]
)
def test_what_cannot_be_read_stops_the_start(text: str) -> None:
    """A misspelt point would test nothing, so it is refused by name."""
    with pytest.raises(ConfigurationError, match="PAYFLOW_FAILPOINTS"):
        _settings(PAYFLOW_FAILPOINTS=text)


def test_live_mode_refuses_to_start_with_fail_points() -> None:
    """Nobody breaks a process that handles real money."""
    with pytest.raises(ConfigurationError, match="PAYFLOW_FAILPOINTS"):
        _settings(PAYFLOW_MODE="live", PAYFLOW_FAILPOINTS="settle.before_commit=kill9")
    assert _settings(PAYFLOW_FAILPOINTS="settle.before_commit=kill9").failpoints == "settle.before_commit=kill9"
    assert _settings().failpoints is None


def test_off_they_do_nothing() -> None:
    """Without rules even a name that does not exist passes: nothing is looked up."""
    failpoints.arm(None, Path("/nowhere"))
    failpoints.hit("no.such.point")
    failpoints.hit_step(partial(os.getpid), "before_commit")


def _settings(**environ: str) -> Settings:
    return Settings.from_environ({"PAYFLOW_BROKER_URL": "memory://", "PAYFLOW_JWT_SECRET": SECRET, **environ})


def _pass_by(text: str, folder: Path) -> None:
    failpoints.arm(text, folder)
    failpoints.hit("deliver.after_send")


def _product() -> list[Path]:
    return [path for folder in ("payflow", "tasks", "web") for path in sorted((ROOT / folder).rglob("*.py"))]


def _steps() -> Iterator[str]:
    """Every function that is a step: nested ones and lambdas that take `tx`, and those `partial` makes into one."""
    for path in _product():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        of_module: dict[str, str] = {}
        yield from _nested_steps(tree, [path.stem], of_module, is_inside=False)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "partial" and node.args:
                yield from (
                    of_module[name] for name in [ast.unparse(node.args[0]).removeprefix("self.")] if name in of_module
                )


def _nested_steps(node: ast.AST, words: list[str], of_module: dict[str, str], *, is_inside: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        under = words
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            under = [*words, child.name]
        if isinstance(child, ast.FunctionDef | ast.Lambda) and _takes_a_transaction(child):
            name = ".".join(under).removesuffix(".step")
            if is_inside:
                yield name
            elif isinstance(child, ast.FunctionDef):
                of_module[child.name] = name
        yield from _nested_steps(child, under, of_module, is_inside=is_inside or isinstance(child, ast.FunctionDef))


def _takes_a_transaction(node: ast.FunctionDef | ast.Lambda) -> bool:
    return [argument.arg for argument in node.args.args if argument.arg != "self"][:1] == ["tx"]
