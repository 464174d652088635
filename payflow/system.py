"""What the whole system on one machine consists of: ports, secrets, the children's environment, their command lines.

Floor 7, data and small questions only: payflow/launcher.py acts on it. What must not enter: any import of the parts
themselves; they are commands here.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from payflow.core.errors import ConfigurationError
from payflow.core.gateways import GATEWAYS, GatewayRow
from payflow.embedded import HOST, free_port, is_port_free

ROOT = Path(__file__).resolve().parent.parent
MONEY_QUEUES = ",".join(gateway.queue for gateway in GATEWAYS)
CORE_QUEUES = "webhooks,bookings,notifications,deliveries,sweeps"
WORKERS = ("money", "core")
PARTS = ("sandbox", "web", "money", "core", "beat", "flower")
"""Everything but the embedded broker, which comes by itself when no broker is named."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports the system listens on, all on the loopback address."""

    web: int = 8000
    flower: int = 5555
    sandbox: int = 8090
    smtp: int = 1025

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Defaults, each overridden by PAYFLOW_<NAME>_PORT."""
        chosen = {}
        for port in fields(cls):
            text = environ.get(variable(port.name), "").strip()
            if not text:
                continue
            if not (text.isascii() and text.isdigit() and 0 < int(text) < 65_536):
                raise ConfigurationError(f"{variable(port.name)} must be a port number from 1 to 65535.")
            chosen[port.name] = int(text)
        return cls(**chosen)

    @classmethod
    def free(cls) -> Self:
        """Ports nobody uses at the moment, for tests."""
        chosen: dict[str, int] = {}
        for port in fields(cls):
            while (candidate := free_port()) in chosen.values():
                continue
            chosen[port.name] = candidate
        return cls(**chosen)

    def check(self, needed: Sequence[str] = ("web", "flower", "sandbox", "smtp")) -> None:
        """Raise ConfigurationError naming every busy port and the variable that moves it."""
        complaints, seen = [], dict[int, str]()
        for name in needed:
            port = int(getattr(self, name))
            if port in seen:
                complaints.append(f"port {port} is given to both {seen[port]} and {name}: set {variable(name)}")
            elif not is_port_free(port):
                complaints.append(f"port {port} ({name}) is in use: set {variable(name)} to another")
            seen[port] = name
        if complaints:
            raise ConfigurationError("Cannot start: " + "; ".join(complaints) + ".")


def variable(port_name: str) -> str:
    return f"PAYFLOW_{port_name.upper()}_PORT"


@dataclass(frozen=True, slots=True)
class DevelopmentSecrets:
    """Made once per data folder, so that logins outlive a restart."""

    jwt_secret: str
    flower_password: str

    @classmethod
    def of(cls, data_dir: Path) -> Self:
        """Read them, or make them in a file only its owner can read."""
        path = data_dir / "secrets.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            made = cls(jwt_secret="development-" + secrets.token_urlsafe(32), flower_password=secrets.token_urlsafe(12))
            text = json.dumps({"jwt_secret": made.jwt_secret, "flower_password": made.flower_password}, indent=1)
            write_private(path, text + "\n")
            return made
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"{path} cannot be read; delete it to have new secrets made.") from error


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner can read, whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def sandbox_settings(gateway: GatewayRow, sandbox_url: str) -> dict[str, str]:
    """What makes a gateway the sandbox's. The secrets open nothing; the sandbox reads the same variables."""
    settings = {
        gateway.secret_key_setting: f"{gateway.test_keys[0]}sandbox_{gateway.name}",
        gateway.base_url_setting: f"{sandbox_url}/{gateway.name}",
    }
    return settings | (
        {gateway.webhook_secret_setting: f"sandbox_{gateway.name}_webhooks"} if gateway.webhook_secret_setting else {}
    )


def child_environment(
    given: Mapping[str, str],
    *,
    data_dir: Path,
    ports: Ports,
    development: DevelopmentSecrets,
    broker_url: str,
    cache_url: str | None,
) -> dict[str, str]:
    """The operator's environment, filled up with the embedded default's: what was set stays as it was set."""
    if given.get("PAYFLOW_MODE", "").strip() == "live":
        raise ConfigurationError(
            "`run` is for development: it hands out logins and talks to a sandbox gateway. "
            "In live mode start web, workers and beat one by one; deploy/ shows how."
        )
    web, sandbox = f"http://{HOST}:{ports.web}", f"http://{HOST}:{ports.sandbox}"
    defaults = {
        "PAYFLOW_DATABASE_URL": f"sqlite:///{data_dir / 'payflow.db'}",
        "PAYFLOW_BROKER_URL": broker_url,
        "PAYFLOW_PUBLIC_URL": web,
        "PAYFLOW_WEB_PORT": str(ports.web),
        "PAYFLOW_SMTP_URL": f"smtp://{HOST}:{ports.smtp}",
        "PAYFLOW_DEMO": "1",
        "PAYFLOW_WEBHOOK_ALLOW_PRIVATE": "1",
        "PAYFLOW_SANDBOX_URL": sandbox,
        "PAYFLOW_MODE": "test",
    }
    if cache_url is not None:
        defaults["PAYFLOW_CACHE_URL"] = cache_url
    if not _is_set(given, "PAYFLOW_JWKS_URL"):
        defaults["PAYFLOW_JWT_SECRET"] = development.jwt_secret
    for gateway in GATEWAYS:
        if not _is_set(
            given, gateway.secret_key_setting
        ):  # with a key of one's own, the real gateway's test mode is meant
            defaults |= sandbox_settings(gateway, sandbox)
    filled = {name: value for name, value in defaults.items() if not _is_set(given, name)}
    path = os.pathsep.join(filter(None, [str(ROOT), given.get("PYTHONPATH", "")]))
    return {**given, **filled, "PAYFLOW_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return bool(environ.get(name, "").strip() or environ.get(f"{name}_FILE", "").strip())


def command_lines(*, data_dir: Path, ports: Ports, development: DevelopmentSecrets) -> dict[str, list[str]]:
    """Part name to command line."""
    python = [sys.executable, "-m"]
    celery = [*python, "celery", "-A", "worker"]
    worker = [*celery, "worker", "--without-mingle", "--without-gossip", "-l", "INFO", "-P", "threads"]
    return {
        "sandbox": [
            *(*python, "payflow", "sandbox", "--host", HOST, "--port", str(ports.sandbox)),
            *("--smtp-port", str(ports.smtp), "--webhook-base", f"http://{HOST}:{ports.web}"),
            *("--state", str(data_dir / "sandbox.json")),
        ],
        "web": [
            *(*python, "gunicorn", "web.app:create_app()", "--bind", f"{HOST}:{ports.web}", "--no-control-socket"),
            *("--worker-class", "gthread", "--workers", "1", "--threads", "16", "--graceful-timeout", "10"),
            *("--keep-alive", "30"),
        ],
        "money": [*worker, "-n", "money@%h", "-c", "16", "-Q", MONEY_QUEUES],
        "core": [*worker, "-n", "core@%h", "-c", "8", "-Q", CORE_QUEUES],
        "beat": [*celery, "beat", "-l", "INFO", "-s", str(data_dir / "beat-schedule"), "--pidfile="],
        "flower": [
            *(*celery, "flower", f"--address={HOST}", f"--port={ports.flower}"),
            f"--basic-auth=ops:{development.flower_password}",
        ],
    }


def answers(port: int, path: str) -> Callable[[], bool]:
    """A question: does GET of this path on a loopback port give 200?"""

    def ask() -> bool:
        connection = http.client.HTTPConnection(HOST, port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ask


class WorkerRoll:
    """Which workers answer a ping through Celery's control; an answer is remembered until `forget`."""

    def __init__(self, environ: Mapping[str, str], log_since_start: Callable[[str], str]) -> None:
        self._environ, self._log_since_start = dict(environ), log_since_start
        self._present: set[str] = set()
        self._patience_ends = time.monotonic() + 10

    def answers(self, name: str) -> Callable[[], bool]:
        """A question: has the worker of this name answered?"""
        return lambda: self._has_answered(name)

    def forget(self, name: str) -> None:
        """It is being restarted: ask anew."""
        self._present.discard(name)
        self._patience_ends = time.monotonic() + 10

    def _has_answered(self, name: str) -> bool:
        """A ping costs a process, so wait for the worker's own word first; after ten seconds ask in any case."""
        if name not in self._present:
            up = [node for node in WORKERS if node not in self._present and self._says_ready(node)]
            if name in up or time.monotonic() > self._patience_ends:
                self._present |= self._ping({name, *up})
        return name in self._present

    def _says_ready(self, name: str) -> bool:
        return " ready." in self._log_since_start(name)

    def _ping(self, names: set[str]) -> set[str]:
        places = ",".join(f"{name}@{socket.gethostname()}" for name in sorted(names))
        command = [sys.executable, "-m", "celery", "-A", "worker", "inspect", "ping", "-d", places, "-t", "3", "--json"]
        try:
            answer = subprocess.run(command, env=self._environ, capture_output=True, text=True, timeout=20, check=False)
        except subprocess.TimeoutExpired:
            return set()
        return {name for name in names if answer.returncode == 0 and f"{name}@" in answer.stdout}
