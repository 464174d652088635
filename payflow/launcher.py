"""`python -m payflow run`: the whole system on one machine, started, watched and stopped. Floor 7.

The order of things stands here; what the parts are is payflow/system.py, how children are kept is payflow/processes.py.
Tests, the demo and the benchmarks use `Launcher` with ports and a folder of their own. What must not enter: imports of
web, tasks or services; the parts are processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from payflow.core.errors import ConfigurationError
from payflow.core.gateways import NAMES
from payflow.embedded import HOST, DidNotStart, EmbeddedBroker, FolderLock
from payflow.processes import Part, Supervisor
from payflow.system import (
    PARTS,
    WORKERS,
    DevelopmentSecrets,
    Ports,
    WorkerRoll,
    answers,
    child_environment,
    command_lines,
    write_private,
)

BROKER = "broker"
_SERVES = {"web": ("web",), "flower": ("flower",), "sandbox": ("sandbox", "smtp")}
_STOPS = {  # phase and patience: nothing new comes in, then work in hand is finished, then what it leans on goes
    "web": (0, 3.0),
    "beat": (0, 3.0),
    "money": (1, 7.0),
    "core": (1, 7.0),
    "flower": (1, 2.0),
    "sandbox": (2, 2.0),
    BROKER: (3, 3.0),
}


class Launcher:
    """The system as a context manager: entering starts it and waits until it is ready, leaving stops it.

    `parts` picks from `PARTS`; `options` appends arguments to a part's command line, e.g. `{"money": ("-c", "32")}`;
    `environ` is the whole environment to start from.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        environ: Mapping[str, str],
        ports: Ports | None = None,
        parts: Collection[str] = PARTS,
        options: Mapping[str, Sequence[str]] | None = None,
        seed: bool = True,
        say: Callable[[str], None] = print,
    ) -> None:
        unknown = set(parts) - set(PARTS)
        if unknown:
            raise ConfigurationError(f"Unknown parts {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}.")
        self.data_dir = data_dir.resolve()
        self.ports = ports or Ports.from_environ(environ)
        self.parts = tuple(name for name in PARTS if name in parts)
        self.environ: dict[str, str] = {}
        """What the children see. Filled by `start`."""
        self.login: str | None = None
        """What `python -m payflow token` printed while starting."""
        self.broker: EmbeddedBroker | None = None
        self._given = dict(environ)
        self._options = options or {}
        self._seed = seed
        self._say = say
        self._lock = FolderLock(self.data_dir)
        self._supervisor: Supervisor | None = None
        self._roll: WorkerRoll | None = None
        self._development: DevelopmentSecrets | None = None
        self._began = time.monotonic()
        self._announced: set[str] = set()
        self._is_stopping = threading.Event()

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:  # an interrupt while starting must not leave half a system
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # starting

    def start(self) -> None:
        """Check, make the folder, start the broker, migrate, start the parts, seed. Does not wait for them."""
        self.ports.check([port for name in self.parts for port in _SERVES.get(name, ())])
        self._lock.acquire()
        (self.data_dir / "logs").mkdir(exist_ok=True)
        self._development = DevelopmentSecrets.of(self.data_dir)
        broker_url = self._given.get("PAYFLOW_BROKER_URL", "").strip()
        cache_url = None
        if not broker_url and not self._given.get("PAYFLOW_BROKER_URL_FILE"):
            self.broker = EmbeddedBroker(self.data_dir)
            self.broker.claim()
            broker_url, cache_url = self.broker.url, self.broker.cache_url
        self.environ = child_environment(
            self._given,
            data_dir=self.data_dir,
            ports=self.ports,
            development=self._development,
            broker_url=broker_url,
            cache_url=cache_url,
        )
        write_private(self.data_dir / "environment", _own_variables(self.environ))
        self._supervisor = Supervisor(log_dir=self.data_dir / "logs", environ=self.environ, say=self._say)
        self._roll = WorkerRoll(self.environ, self._supervisor.log_since_start)
        self._start_parts()

    def _start_parts(self) -> None:
        commands = command_lines(data_dir=self.data_dir, ports=self.ports, development=self._secrets)
        if self.broker is not None:
            command = (*self.broker.command(), *self._options.get(BROKER, ()))
            phase, patience = _STOPS[BROKER]
            self._children.add(Part(BROKER, command, self.broker.is_up, phase, patience, signal.SIGTERM))
            self._wait_for([BROKER], 15)
        if "sandbox" in self.parts:  # it needs no database, so it starts while that is made
            self._add("sandbox", commands["sandbox"])
        self._once("migrate")
        for name in self.parts:
            if name != "sandbox":
                self._add(name, commands[name])
        if self._seed:
            self._once("seed")
            self.login = self._once("token", is_needed=False)

    def _add(self, name: str, command: Sequence[str]) -> None:
        phase, patience = _STOPS[name]
        question = self._question(name)
        self._children.add(Part(name, (*command, *self._options.get(name, ())), question, phase, patience))

    def _question(self, name: str) -> Callable[[], bool]:
        if name == "web":
            return answers(self.ports.web, "/readyz")
        if name == "sandbox":
            return answers(self.ports.sandbox, "/healthz")
        if name == "flower":
            return answers(self.ports.flower, "/healthcheck")
        if name in WORKERS and self._roll is not None:
            return self._roll.answers(name)
        return lambda: "beat" in self._children.log_tail(name).lower()

    def _once(self, command: str, *, is_needed: bool = True) -> str | None:
        """Run `python -m payflow <command>` to its end; its output, or None when it failed and is not needed."""
        if self._is_stopping.is_set():
            raise DidNotStart("Stopped while starting.")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "payflow", command],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DidNotStart(f"`payflow {command}` did not end within two minutes.") from None
        log_path = self.data_dir / "logs" / f"{command}.log"
        write_private(log_path, done.stderr + ("" if command == "token" else done.stdout))
        if done.returncode == 0:
            return done.stdout.strip()
        if not is_needed:
            return None
        last = "\n".join((done.stderr + done.stdout).splitlines()[-15:])
        raise DidNotStart(f"`payflow {command}` failed. The end of {log_path}:\n{last}")

    def wait_ready(self, timeout_seconds: float = 90.0, names: Collection[str] | None = None) -> None:
        """Wait until every part (or those named) is ready; DidNotStart carries the log of one that is not."""
        self._wait_for(list(names or self._children.names), timeout_seconds)

    def _wait_for(self, names: Sequence[str], timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        waiting = list(names)
        while waiting:
            for name in list(waiting):
                if self._is_stopping.is_set():
                    raise DidNotStart("Stopped while starting.")
                if self._children.is_ready(name):
                    waiting.remove(name)
                    self._announce(name)
                elif self._children.keeps_dying(name):
                    raise self._did_not_start(name, "keeps ending")
            if waiting and time.monotonic() > deadline:
                raise self._did_not_start(waiting[0], f"was not ready within {timeout_seconds:g} s")
            if waiting:
                time.sleep(0.1)

    def _announce(self, name: str) -> None:
        if name not in self._announced:
            self._announced.add(name)
            self._say(f"  {name:<8} ready after {time.monotonic() - self._began:4.1f} s")

    def _did_not_start(self, name: str, what: str) -> DidNotStart:
        path, tail = self._children.log_path(name), self._children.log_tail(name)
        return DidNotStart(f"{name} {what}. The end of {path}:\n{tail}")

    # while it runs

    @property
    def addresses(self) -> dict[str, str]:
        """Where things are, for people and for tests."""
        web, sandbox = f"http://{HOST}:{self.ports.web}", f"http://{HOST}:{self.ports.sandbox}"
        return {
            "web": web,
            "demo": f"{web}/demo/",
            "docs": f"{web}/api/v1/docs/",
            "flower": f"http://{HOST}:{self.ports.flower}/",
            "sandbox": sandbox,
            "mail": f"{sandbox}/mail/",
            "smtp": f"smtp://{HOST}:{self.ports.smtp}",
            "database": self.environ.get("PAYFLOW_DATABASE_URL", ""),
            "broker": self.environ.get("PAYFLOW_BROKER_URL", ""),
        }

    @property
    def flower_login(self) -> tuple[str, str]:
        return "ops", self._secrets.flower_password

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal a part's whole group. A part that dies of it comes back by itself, after 0.5 s at first."""
        self._forget(name)
        self._children.kill(name, number)

    def restart(self, name: str) -> None:
        """Stop a part in order and start it again; `wait_ready(names=[name])` waits for it."""
        self._forget(name)
        self._children.restart(name)

    def hold(self, name: str) -> None:
        """Stop a part and leave it down."""
        self._forget(name)
        self._children.hold(name)

    def resume(self, name: str) -> None:
        """Start a held part."""
        self._children.resume(name)

    def pid(self, name: str) -> int | None:
        return self._children.pid(name)

    def log(self, name: str, lines: int = 200) -> str:
        """The end of a part's log."""
        return self._children.log_tail(name, lines)

    def _forget(self, name: str) -> None:
        self._announced.discard(name)
        if self._roll is not None:
            self._roll.forget(name)

    # stopping

    def stop(self) -> None:
        """Stop all of it in order; data stays."""
        self._is_stopping.set()
        if self._supervisor is not None:
            self._supervisor.stop()
        if self.broker is not None:
            self.broker.release()
        self._lock.release()

    def interrupt(self) -> None:
        """Ask `wait` to end; the second time everything is killed at once. For signal handlers."""
        if self._is_stopping.is_set() and self._supervisor is not None:
            self._supervisor.stop_now()
        self._is_stopping.set()

    @property
    def was_interrupted(self) -> bool:
        return self._is_stopping.is_set()

    def wait(self) -> None:
        """Until `interrupt`."""
        while not self._is_stopping.wait(0.5):
            continue

    @property
    def _children(self) -> Supervisor:
        if self._supervisor is None:
            raise DidNotStart("The launcher has not been started.")
        return self._supervisor

    @property
    def _secrets(self) -> DevelopmentSecrets:
        if self._development is None:
            raise DidNotStart("The launcher has not been started.")
        return self._development


def main(environ: Mapping[str, str] | None = None) -> int:
    """The `run` command: start, print the addresses, stay until Ctrl-C or SIGTERM, stop. Returns the exit code."""
    given = dict(os.environ if environ is None else environ)
    began = time.monotonic()
    launcher = Launcher(data_dir=Path(given.get("PAYFLOW_DATA_DIR") or ".payflow"), environ=given)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        launcher.interrupt()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    print("Starting payflow ...", flush=True)
    try:
        launcher.start()
        launcher.wait_ready()
        print(_summary(launcher, time.monotonic() - began), flush=True)
        launcher.wait()
        print("\nStopping (Ctrl-C again kills at once) ...", flush=True)
    except (ConfigurationError, DidNotStart) as error:
        if not launcher.was_interrupted:
            print(f"\n{error.detail}", file=sys.stderr, flush=True)
            return 1
        print("\nStopping ...", flush=True)
    finally:
        launcher.stop()
    print("Stopped.", flush=True)
    return 0


def environment_of(data_dir: Path) -> dict[str, str]:
    """What the system last started on this folder was told; for commands typed in another terminal."""
    try:
        text = (data_dir / "environment").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _own_variables(environ: Mapping[str, str]) -> str:
    ours = ("PAYFLOW_", *(f"{name.upper()}_" for name in NAMES))
    own = {name: value for name, value in environ.items() if name.startswith(ours)}
    return "".join(f"{name}={value}\n" for name, value in sorted(own.items()) if "\n" not in value)


def _summary(launcher: Launcher, seconds: float) -> str:
    places = launcher.addresses
    user, password = launcher.flower_login
    login = launcher.login or f"PAYFLOW_DATA_DIR={launcher.data_dir} {sys.executable} -m payflow token"
    rows = [
        ("Demo page", places["demo"]),
        ("API docs", places["docs"]),
        ("Flower", f"{places['flower']}  ({user} / {password})"),
        ("Sandbox gateway", places["sandbox"] + "/"),
        ("Mail catcher", places["mail"]),
        ("First login", login),
        ("Data and logs", str(launcher.data_dir)),
    ]
    width = max(len(title) for title, _ in rows)
    lines = [f"  {title:<{width}}  " + text.replace("\n", "\n" + " " * (width + 4)) for title, text in rows]
    return "\n".join(["", f"payflow is ready ({seconds:.0f} s).", "", *lines, "", "Ctrl-C stops it."])
