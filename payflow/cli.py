"""`python -m payflow COMMAND`: what an engineer does by hand. Parses, calls one room, prints. Floor 7."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import jwt

from payflow import demo_data, logs, migrations, staff_cli
from payflow.container import Container, build
from payflow.core.errors import ConfigurationError, PayflowError
from payflow.dispatch import CeleryBells, SilentBells
from payflow.launcher import environment_of
from payflow.launcher import main as launch
from payflow.settings import Settings
from payflow.store.engine import make_engine


def main(argv: Sequence[str]) -> int:
    """Run one command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m payflow", description="payflow, a payment pipeline for bookings.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_, add_options, run in _COMMANDS:
        command = commands.add_parser(name, help=help_, description=help_)
        add_options(command)
        command.set_defaults(run=run)
    options, rest = parser.parse_known_args(list(argv))
    if rest and options.command not in _PASS_ON:
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return int(options.run(options) or 0)
    except ConfigurationError as error:
        print(f"payflow: {error.detail}", file=sys.stderr)
        return 2
    except PayflowError as error:
        print(f"payflow: {error.detail}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _settings() -> Settings:
    """From the environment; what it leaves open, from the system last started with `run` on this data folder."""
    data_dir = Path(os.environ.get("PAYFLOW_DATA_DIR", "").strip() or ".payflow")
    return Settings.from_environ({**environment_of(data_dir), **os.environ})


def _container() -> Container:
    logs.configure("WARNING")  # to stderr: stdout is the answer's
    return build(_settings(), bells=SilentBells())


def _migrate(_: argparse.Namespace) -> int:
    settings = _settings()
    migrations.upgrade(make_engine(settings.database_url))
    print(f"database is at version {migrations.head()}")
    return 0


def _seed(_: argparse.Namespace) -> int:
    count = demo_data.seed(_container())
    print(f"{count} demo bookings are ready" if count else "demo data is there already")
    return 0


def _token(options: argparse.Namespace) -> int:
    """A development token; needs PAYFLOW_JWT_SECRET, refuses in live mode."""
    settings = _settings()
    if settings.is_live or settings.jwt_secret is None:
        raise ConfigurationError(
            "Tokens are minted for development only: PAYFLOW_MODE=test and PAYFLOW_JWT_SECRET set."
        )
    workspaces = {
        key: {"name": name or demo_data.WORKSPACE_NAME, "role": role or "member"}
        for key, name, role in (f"{word}::".split(":")[:3] for word in options.workspace)
    }
    now = datetime.now(UTC)
    claims = {
        "sub": options.user,
        "email": options.email,
        "name": options.name,
        "workspaces": workspaces,
        "scope": options.scope,
        "iat": now,
        "exp": now + timedelta(seconds=options.seconds),
    }
    if settings.jwt_audience:
        claims["aud"] = settings.jwt_audience
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    print(jwt.encode(claims, settings.jwt_secret, algorithm="HS256"))
    return 0


def _token_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--user", default=demo_data.CUSTOMER_ID, help="the token's `sub`")
    command.add_argument("--email", default=demo_data.CUSTOMER_EMAIL)
    command.add_argument("--name", default=demo_data.CUSTOMER_NAME)
    command.add_argument(
        "--workspace",
        action="append",
        default=None,
        metavar="ID[:NAME[:ROLE]]",
        help="a workspace the user belongs to; repeatable; ROLE is admin or member",
    )
    command.add_argument("--scope", default="", help="space-separated; `operator` sees everything")
    command.add_argument("--seconds", type=int, default=8 * 3600, help="how long it is valid")
    command.set_defaults(workspace=[f"{demo_data.WORKSPACE_ID}:{demo_data.WORKSPACE_NAME}:member"])


def _keys(options: argparse.Namespace) -> int:
    """Make, list, rotate or revoke service keys; a key is shown once."""
    services = _container().keys
    key = f"pfk_{secrets.token_urlsafe(32)}"
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    if options.action in ("create", "rotate"):
        if options.action == "create":
            key_id = services.add(
                options.name, key_hash=key_hash, workspace_id=options.workspace_id, scope=options.scope
            )
        else:
            key_id = services.rotate(options.id, key_hash=key_hash, overlap_seconds=options.overlap_seconds)
        print(json.dumps({"id": key_id, "key": key, "note": "shown once; only its hash is kept"}))
    elif options.action == "revoke":
        services.revoke(options.id)
        print(f"revoked {options.id}")
    else:
        for row in services.all():
            print(json.dumps(row))
    return 0


def _keys_options(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="a new key, printed once")
    create.add_argument("--name", required=True)
    create.add_argument("--workspace-id", default=None, help="bind it to one workspace")
    create.add_argument(
        "--scope", default="", help="`read`: it may change nothing; `operator`: staff of every workspace"
    )
    rotate = actions.add_parser("rotate", help="a successor with the same rights, printed once")
    rotate.add_argument("id")
    rotate.add_argument("--overlap-seconds", type=int, default=86_400, help="how long the old key goes on working")
    revoke = actions.add_parser("revoke", help="end a key")
    revoke.add_argument("id")
    actions.add_parser("list", help="all keys, without their secrets")


def _sandbox(options: argparse.Namespace) -> int:
    from payflow.sandbox.cli import main as sandbox

    return int(sandbox(options.rest))


def _run(_: argparse.Namespace) -> int:
    return launch()


def _demo(options: argparse.Namespace) -> int:
    from payflow.demo import main as demo

    return demo(options.rest)


def _sweep(_: argparse.Namespace) -> int:
    """Ring for what is due once: for cron while beat is dead."""
    container = build(_settings())
    rung = container.sweeps.ring_due()
    if isinstance(container.bells, CeleryBells):
        container.bells.flush(timeout_seconds=10)
    print(f"rung: {', '.join(rung) or 'nothing is due'}")
    return 0


def _doctor(_: argparse.Namespace) -> int:
    """Say for each dependency whether it answers."""
    found = build(_settings()).ping()
    for name, state in found.items():
        print(f"{name:<12}{state}")
    return 0 if all(state == "ok" for state in found.values()) else 1


def _as_staff(run: staff_cli.Run, options: argparse.Namespace) -> int:
    return run(_container(), options)


def _no_options(_: argparse.ArgumentParser) -> None:
    return None


_PASS_ON = ("sandbox", "demo")
"""Commands that parse their own options."""

_COMMANDS: tuple[
    tuple[str, str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]], ...
] = (
    ("run", "start everything on the embedded default, or on the servers the environment names", _no_options, _run),
    ("migrate", "bring the database to the newest version", _no_options, _migrate),
    ("seed", "add demo data where there is none", _no_options, _seed),
    ("token", "print a development token", _token_options, _token),
    ("keys", "service keys of the booking platform's server", _keys_options, _keys),
    ("sandbox", "the sandbox gateway and mail catcher", _no_options, _sandbox),
    ("demo", "walk the main journeys and check their ends", _no_options, _demo),
    ("sweep", "ring for what is due once", _no_options, _sweep),
    *((name, help_, add_options, partial(_as_staff, run)) for name, help_, add_options, run in staff_cli.COMMANDS),
    ("doctor", "does every dependency answer?", _no_options, _doctor),
)
