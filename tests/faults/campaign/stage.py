"""The stage: a whole payflow on servers of its own; the campaign may kill, freeze and restart every process of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import make_url

from payflow import failpoints
from payflow.embedded import HOST, DidNotStart, EmbeddedBroker
from payflow.launcher import Launcher
from payflow.processes import Part, Supervisor
from payflow.system import MONEY_QUEUES, Ports
from tests import servers
from tests.faults.campaign import NAIVE, SKEW
from tests.faults.campaign.proxy import Proxy
from tests.live import PARTS, Live
from tests.receivers import OK, a_receiver
from tests.servers import Server

STACKS = {"sqlite": (), "redis": ("postgres", "redis"), "rabbitmq": ("postgres", "rabbitmq")}
"""Name → servers; without any, SQLite and the embedded broker."""
STANDARD_PORTS = (1025, 5432, 5555, 5672, 6379, 8000, 8090, 15672, 25672, 4369)
_QUICK_POLLS = "2,2,3,3,5,5,5,5,10,10,10,30,30,30,60,60,60,600,600,3600"
_INSIDE = ("-I", "tests.faults.campaign.inside")


class Stage:
    """One stack, up and running. `say` gets a line for each thing worth knowing."""

    def __init__(self, stack: str, folder: Path, *, naive: str | None = None, say: Callable[[str], None]) -> None:
        self.stack, self.folder, self.say, self._naive = stack, folder, say, naive
        self.has_postgres, self.is_amqp = stack != "sqlite", stack == "rabbitmq"
        self.broker_part = {"sqlite": "valkey"}.get(stack, stack)
        self.points = folder / "points"
        self.journal = folder / "system" / failpoints.JOURNAL
        self._skew = folder / "skew"
        self._servers: Supervisor = Supervisor(log_dir=folder / "logs", environ=dict(os.environ), say=self._whisper)
        self._data: dict[str, Path | None] = {}
        self._controls: dict[str, Callable[..., None] | None] = {}
        self._embedded: EmbeddedBroker | None = None
        self._exits = contextlib.ExitStack()
        self.places = [folder]
        """The folders its processes live in."""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:  # an interrupt while starting must not leave half a stage
            self._exits.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.points.write_text("", encoding="ascii")
        self._skew.write_text("0", encoding="ascii")
        self._exits.callback(self._servers.stop)
        self.receiver = self._exits.enter_context(a_receiver())
        addresses = self._start_servers()
        broker = make_url(addresses.pop(servers.BROKER))
        self.proxy = Proxy(int(broker.port or 0))
        self._exits.callback(self.proxy.stop)
        through = broker.set(port=self.proxy.port).render_as_string(hide_password=False)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PAYFLOW_", "PAYSTACK_"))}
        environ |= {
            "PAYFLOW_BROKER_URL": through,
            "PAYFLOW_FAILPOINTS": f"@{self.points}",
            SKEW: str(self._skew),
            **{f"PAYFLOW_POLL_PLAN_{name}": _QUICK_POLLS for name in ("PAYSTACK", "FLUTTERWAVE", "STRIPE")},
        }
        if self.stack == "sqlite":
            environ["PAYFLOW_CACHE_URL"] = through.removesuffix("0") + "2"
        if servers.DATABASE in addresses:
            environ["PAYFLOW_DATABASE_URL"] = addresses[servers.DATABASE]
        if self._naive is not None:
            environ[NAIVE] = self._naive
        self.launcher = Launcher(
            data_dir=self.folder / "system",
            environ=environ,
            ports=Ports.free(),
            parts=PARTS,
            options={"money": _INSIDE, "core": _INSIDE, "sandbox": ("--refund-seconds", "1")},
            seed=False,
            say=self._whisper,
        )
        self._exits.enter_context(self.launcher)
        self.live = Live(self.launcher)
        failpoints.arm(None, self.folder)  # not in this process
        self._exits.callback(self.live.container.engine.dispose)

    def _start_servers(self) -> dict[str, str]:
        """Variable → address."""
        if self.stack == "sqlite":
            self._embedded = EmbeddedBroker(self.folder)
            self._embedded.claim()
            self._exits.callback(self._embedded.release)
            data = self._embedded.folder / "appendonlydir"
            command = tuple(self._embedded.command())
            self._serve(Server("valkey", command, self._embedded.is_up, data=data))
            return {servers.BROKER: self._embedded.url}
        found = {}
        base = self._exits.enter_context(servers.folder_for_servers())
        self.places.append(base)
        self._exits.callback(self._servers.stop)  # before their folder goes
        for name in STACKS[self.stack]:
            folder = base / name
            folder.mkdir()
            made = servers.postgres(folder, keeps_commits=True) if name == "postgres" else servers.SERVERS[name](folder)
            for server in made:
                self._serve(server)
                if server.variable:
                    found[server.variable] = server.address
        return found

    def _serve(self, server: Server) -> None:
        patience = 0.1 if server.stop == signal.SIGKILL else 5.0
        self._data[server.name] = server.data
        self._controls[server.name] = server.control
        self._servers.add(Part(server.name, server.command, server.is_up, 1, patience))
        self._until(lambda: self._servers.is_ready(server.name), server.seconds, f"{server.name} is up")

    def _whisper(self, line: str) -> None:
        with (self.folder / "stage.log").open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {line}\n")

    def _until(self, question: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not question():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {seconds:g} s")
            time.sleep(0.05)

    # -- servers -------------------------------------------------------------------------------------------------

    def kill_server(self, name: str, number: signal.Signals = signal.SIGKILL, *, empty: bool = False) -> None:
        """End a server; with `empty` its data is gone as well. It stays down until `start_server`."""
        if empty or number is signal.SIGKILL:
            self._servers.kill(name, signal.SIGKILL)
        else:
            self._servers.kill(name, number)
        self._servers.hold(name)
        data = self._data[name]
        if empty and data is not None:
            shutil.rmtree(data, ignore_errors=True)

    def start_server(self, name: str) -> None:
        """Start a server that was ended, and wait until it answers."""
        self._servers.resume(name)
        self._until(lambda: self._servers.is_ready(name), 120, f"{name} is up again")

    def signal_server(self, name: str, number: signal.Signals) -> None:
        self._servers.kill(name, number)

    def control_server(self, name: str, *words: str) -> None:
        """Tell a server something through its own control program."""
        control = self._controls[name]
        assert control is not None, name
        control(*words)

    # -- payflow's processes -------------------------------------------------------------------------------------

    def kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal a part's whole group; one that dies of it is started again at once."""
        with contextlib.suppress(DidNotStart):  # it is down already: just as well
            self.launcher.kill(part, number)
        if number is signal.SIGKILL:
            self.revive()

    def revive(self) -> None:
        """Whatever has died starts again now, not after a growing wait."""
        for part in PARTS:
            self.launcher.resume(part)

    def calm(self) -> None:
        """Take back whatever a fault may have left: everything runs, awake, on a good line and with the right clock."""
        self.proxy.listen()
        self.proxy.thaw()
        self.proxy.weather.delay_seconds = self.proxy.weather.lose_answers = 0.0
        self.set_skew(0)
        self.calm_receiver()
        self.arm("")
        for name in self._data:
            self.start_server(name)
        for part in PARTS:
            with contextlib.suppress(DidNotStart):  # it is down: it starts below
                self.launcher.kill(part, signal.SIGCONT)
        for name in self._data:
            self._servers.kill(name, signal.SIGCONT)
        self.revive()

    def calm_receiver(self) -> None:
        """The workspace's system takes what it is told and says so at once."""
        self.receiver.delay_seconds, self.receiver.status, self.receiver.is_mute = 0.0, OK, False

    def wait_ready(self, seconds: float = 60) -> None:
        """Until every part of payflow runs."""
        self._until(lambda: all(self.launcher.pid(part) for part in PARTS), seconds, "every part runs")

    @contextlib.contextmanager
    def another(self, name: str, words: Sequence[str]) -> Iterator[None]:
        """One more process of payflow while inside: `celery -A worker` and the words."""
        part = Part(name, (sys.executable, "-m", "celery", "-A", "worker", *words), lambda: True, 0, 3.0)
        extra = Supervisor(log_dir=self.folder / "logs", environ=self.launcher.environ, say=self._whisper)
        extra.add(part)
        try:
            yield
        finally:
            extra.stop()

    def another_money_worker(self) -> contextlib.AbstractContextManager[None]:
        """A second worker on the gateways' queues."""
        flags = ("--without-mingle", "--without-gossip", "-P", "threads", "-c", "8", *_INSIDE)
        return self.another("money2", ("worker", "-n", "money2@%h", "-Q", MONEY_QUEUES, *flags))

    def reconcile(self) -> str:
        """What every night does: the books are compared with the gateways' lists. What its command says."""
        words = (sys.executable, "-m", "payflow", "reconcile")
        environ = dict(self.launcher.environ)
        done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=300, check=False)
        return done.stdout.strip() or done.stderr.strip()

    def set_skew(self, seconds: float) -> None:
        """How wrong the workers' clocks are."""
        new = self._skew.with_suffix(".new")
        new.write_text(str(seconds), encoding="ascii")
        new.replace(self._skew)

    # -- fail-points ---------------------------------------------------------------------------------------------

    def arm(self, text: str) -> None:
        """Put fail-points in force in all processes, with fresh counters."""
        self.journal.unlink(missing_ok=True)
        new = self.points.with_suffix(".new")
        new.write_text(text, encoding="ascii")
        new.replace(self.points)

    def passages(self) -> list[str]:
        """The points that were come to since `arm`, in order."""
        with contextlib.suppress(FileNotFoundError):
            return [line.split(" ", 1)[0] for line in self.journal.read_text(encoding="ascii").splitlines()]
        return []


def left_running(places: Sequence[Path]) -> list[str]:
    """Processes that still live in these folders, by what /proc says of their environment and command line (Linux)."""
    names = [str(place).encode() for place in places]
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command, environ = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
            if command and int(folder.name) != os.getpid() and any(name in command + environ for name in names):
                found.append(f"{folder.name} {command.replace(bytes(1), b' ').decode(errors='replace')[:120]}")
    return found


def busy_standard_ports() -> set[int]:
    """Which of the usual ports somebody on this machine listens on."""

    def answers(port: int) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex((HOST, port)) == 0

    return {port for port in STANDARD_PORTS if answers(port)}
