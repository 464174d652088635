"""`python -m payflow demo`: the main journeys, walked over public HTTP, and their ends checked. Floor 7.

Starts the whole system on ports and in a folder of its own, or drives one that runs (`--base-url`). What must not
enter: what a journey does (demo_journeys.py) and how requests are sent (demo_http.py).
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from payflow.core.errors import ConfigurationError, PayflowError
from payflow.core.gateways import GATEWAYS, NAMES
from payflow.demo_http import Target
from payflow.demo_journeys import JOURNEYS, Walk
from payflow.launcher import Launcher, environment_of
from payflow.system import Ports

POLL_PLAN = "4,4,5,5,10,10,20,60,60,300"
"""Seconds between questions in a system started for the demo: quick, so that a lost webhook does not take long."""
ALL = "all"
PARTS = ("sandbox", "web", "money", "core", "beat")
SECOND_LOOK_SECONDS = 2.0
GREEN, RED, FAINT, BOLD, PLAIN = "\033[32m", "\033[31m", "\033[2m", "\033[1m", "\033[0m"


@dataclass(frozen=True, slots=True)
class _Ended:
    walk: Walk
    title: str
    seconds: float
    error: str | None


def main(argv: Sequence[str]) -> int:
    """Walk the journeys; 0 if every order ended as it should, 1 otherwise."""
    options = _options(argv)
    environ = dict(os.environ)
    with _running(options, environ) as target:
        if options.base_url is None:
            print()
        return _walk_all(target, _gateways(options), options.only or range(1, len(JOURNEYS) + 1))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m payflow demo",
        description="Starts payflow with a sandbox gateway, walks six journeys of an order from booking to money "
        "back, and checks how each ended: states, charges at the gateway, ledger, messages.",
    )
    parser.add_argument(
        "--gateway", default=NAMES[0], choices=(*NAMES, ALL), help="who takes the money; all = each (%(default)s)"
    )
    parser.add_argument("--only", type=int, action="append", metavar="N", help="walk journey N alone; repeatable")
    parser.add_argument("--base-url", help="drive a system that runs at this address instead of starting one")
    parser.add_argument("--sandbox-url", help="its sandbox gateway; default: what `run` wrote into its data folder")
    parser.add_argument("--token-secret", help="its PAYFLOW_JWT_SECRET; default as above")
    options = parser.parse_args(list(argv))
    for number in options.only or ():
        if not 1 <= number <= len(JOURNEYS):
            parser.error(f"--only must be 1 to {len(JOURNEYS)}")
    return options


def _gateways(options: argparse.Namespace) -> tuple[str, ...]:
    return NAMES if options.gateway == ALL else (options.gateway,)


@contextmanager
def _running(options: argparse.Namespace, environ: Mapping[str, str]) -> Iterator[Target]:
    """The system to drive: the one named, or one started for the occasion and stopped afterwards."""
    if options.base_url is not None:
        known = {**environment_of(Path(environ.get("PAYFLOW_DATA_DIR") or ".payflow")), **environ}
        given = {"PAYFLOW_PUBLIC_URL": options.base_url, "PAYFLOW_SANDBOX_URL": options.sandbox_url}
        given["PAYFLOW_JWT_SECRET"] = options.token_secret
        yield _target({**known, **{name: value for name, value in given.items() if value}})
        return
    with tempfile.TemporaryDirectory(prefix="payflow-demo-", ignore_cleanup_errors=True) as folder:
        plans = {row.poll_plan_setting: environ.get(row.poll_plan_setting) or POLL_PLAN for row in GATEWAYS}
        wanted = {**environ, **plans}
        print("Starting payflow on ports of its own ...", flush=True)
        with Launcher(data_dir=Path(folder), environ=wanted, ports=Ports.free(), parts=PARTS, seed=False) as launcher:
            yield _target(launcher.environ)


def _target(environ: Mapping[str, str]) -> Target:
    names = ("PAYFLOW_PUBLIC_URL", "PAYFLOW_SANDBOX_URL", "PAYFLOW_JWT_SECRET")
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise ConfigurationError(
            f"The demo needs {', '.join(missing)}: name --base-url, --sandbox-url and --token-secret of a system that "
            "signs its logins with a secret and talks to the sandbox gateway."
        )
    base_url, sandbox_url, secret = (environ[name] for name in names)
    claims = {"aud": environ.get("PAYFLOW_JWT_AUDIENCE", ""), "iss": environ.get("PAYFLOW_JWT_ISSUER", "")}
    return Target(
        base_url.rstrip("/"), sandbox_url.rstrip("/"), secret, {name: value for name, value in claims.items() if value}
    )


def _walk_all(target: Target, gateways: Sequence[str], numbers: Sequence[int]) -> int:
    began, run_id = time.monotonic(), secrets.token_hex(4)
    walks = [Walk(number, target, gateway, run_id) for gateway in gateways for number in numbers]
    ended: list[_Ended] = []
    pool = ThreadPoolExecutor(max_workers=len(walks))
    try:
        for job in as_completed([pool.submit(_walk, walk) for walk in walks]):
            ended.append(job.result())
            print(_story(ended[-1]), flush=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C the system stops under what is still walking
    time.sleep(SECOND_LOOK_SECONDS)
    wrong = {one.walk.name: one.error or _second_look(one.walk) for one in ended}
    if len(gateways) > 1:
        print(_table(ended, gateways, numbers, wrong))
    complaints = [
        f"journey {one.walk.number} at {one.walk.gateway}: {wrong[one.walk.name]}"
        for one in sorted(ended, key=lambda one: (one.walk.gateway, one.walk.number))
        if wrong[one.walk.name]
    ]
    seconds = time.monotonic() - began
    if complaints:
        for line in complaints:
            print(_paint(RED, line), file=sys.stderr)
        print(f"{len(complaints)} of {len(walks)} did not end as they should ({seconds:.0f} s).", file=sys.stderr)
        return 1
    print(_paint(GREEN, f"{len(walks)} of {len(walks)} ended as they should ({seconds:.0f} s)."), end=" ")
    print("Looked a second time: nothing came twice.")
    return 0


def _walk(walk: Walk) -> _Ended:
    journey = JOURNEYS[walk.number - 1]
    error = None
    try:
        journey.run(walk)
    except PayflowError as problem:
        error = problem.detail
    return _Ended(walk, journey.title, time.monotonic() - walk.began, error)


def _second_look(walk: Walk) -> str | None:
    try:
        walk.check_again()
    except PayflowError as problem:
        return f"a moment later: {problem.detail}"
    return None


def _story(ended: _Ended) -> str:
    walk = ended.walk
    verdict = _paint(GREEN, "as it should") if ended.error is None else _paint(RED, "NOT as it should")
    head = f"{walk.number}  {walk.gateway:<12}{ended.title:<36}{walk.order_number or '-':<22}{ended.seconds:6.1f} s  "
    lines = [_paint(BOLD, head) + verdict]
    lines += [f"   {_paint(FAINT, f'{seconds:6.1f} s')}  {text}" for seconds, text in walk.steps]
    if ended.error is not None:
        lines.append(_paint(RED, f"   {'':8}  {ended.error}"))
    return "\n".join([*lines, ""])


def _table(
    ended: Sequence[_Ended], gateways: Sequence[str], numbers: Sequence[int], wrong: Mapping[str, str | None]
) -> str:
    """Journeys down, gateways across: the seconds each took, and whether it ended as it should."""
    at = {(one.walk.number, one.walk.gateway): one for one in ended}
    rows = [_paint(BOLD, f"{'journey':<38}" + "".join(f"{gateway:>16}" for gateway in gateways))]
    for number in numbers:
        cells = [at[number, gateway] for gateway in gateways]
        texts = [(f"{one.seconds:.1f} s {'WRONG' if wrong[one.walk.name] else 'ok'}") for one in cells]
        rows.append(f"{number} {JOURNEYS[number - 1].title:<36}" + "".join(f"{text:>16}" for text in texts))
    return "\n".join([*rows, ""])


def _paint(colour: str, text: str) -> str:
    return f"{colour}{text}{PLAIN}" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text
