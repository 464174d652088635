"""Real servers for the tests: private instances on free loopback ports in a temporary folder, gone afterwards.

    python -m tests.servers postgres+redis -- .venv/bin/python -m pytest
    python -m tests.servers --missing           # Debian packages that are not installed, one a line

The command sees PAYFLOW_TEST_DATABASE_URL and PAYFLOW_TEST_BROKER_URL. Programs come from the system; no service,
standard port or standard folder of it is touched. As root, PostgreSQL and RabbitMQ run as their packages' users.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from payflow.embedded import HOST, free_port, kill_group

DATABASE, BROKER = "PAYFLOW_TEST_DATABASE_URL", "PAYFLOW_TEST_BROKER_URL"


class CannotStart(Exception):
    """A server is missing or did not come up."""


@dataclass(frozen=True)
class Server:
    """One server made ready to start: its folder is prepared, its port chosen. Whoever starts `command` owns it."""

    name: str
    command: tuple[str, ...]
    is_up: Callable[[], bool]
    variable: str | None = None
    """What `address` goes by in the environment; None for a server that only helps another."""
    address: str = ""
    stop: signal.Signals = signal.SIGTERM
    seconds: float = 30
    """How long a start may take."""
    data: Path | None = None
    """What is deleted to have it start empty."""
    control: Callable[..., None] | None = None
    """Its control program, with these words."""


def postgres(folder: Path, *, keeps_commits: bool = False) -> list[Server]:
    """A PostgreSQL that does not wait for the disk; with `keeps_commits` a commit survives its own death."""
    programs, data, port = _postgres_programs(), folder / "data", free_port()
    _own(folder, "postgres")
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", "payflow", "--auth=trust", "--encoding=UTF8"]
    _once([*initdb, "--locale=C", "--no-sync"], user="postgres")
    single = [str(programs / "postgres"), "--single", "-D", str(data), "postgres"]
    _once(single, user="postgres", words="CREATE DATABASE payflow\n")
    options = {
        "listen_addresses": HOST,
        "port": str(port),
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "synchronous_commit": "on" if keeps_commits else "off",
        "full_page_writes": "off",
        "max_connections": "200",
        "deadlock_timeout": "100ms",
    }
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    command = [str(programs / "postgres"), "-D", str(data), *settings]
    ask = [str(programs / "psql"), "-h", HOST, "-p", str(port), "-U", "payflow", "-d", "payflow", "-qc"]

    def is_up() -> bool:
        return subprocess.run([*ask, "SELECT 1"], capture_output=True, check=False).returncode == 0

    address = f"postgresql+psycopg://payflow@{HOST}:{port}/payflow"
    words = _in(folder, command, user="postgres")
    return [Server("postgres", words, is_up, DATABASE, address, stop=signal.SIGINT)]


def redis(folder: Path) -> list[Server]:
    """A Redis that persists nothing."""
    port = free_port()
    command = [_program("redis-server"), "--port", str(port), "--bind", HOST, "--dir", str(folder)]
    words = _in(folder, [*command, "--save", "", "--appendonly", "no"])
    return [Server("redis", words, lambda: _listens(port), BROKER, f"redis://{HOST}:{port}/0")]


def rabbitmq(folder: Path) -> list[Server]:
    """A RabbitMQ node with its own name service, cookie and data."""
    port, name_port, peer_port = free_port(), free_port(), free_port()
    programs = Path("/usr/lib/rabbitmq/bin")
    if not (programs / "rabbitmq-server").exists():
        raise CannotStart("rabbitmq-server is not installed")
    (folder / "enabled_plugins").write_text("[].\n", encoding="ascii")
    _own(folder, "rabbitmq")
    node = f"payflow{port}@localhost"
    environ = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_DIST_PORT": str(peer_port),
        "ERL_EPMD_PORT": str(name_port),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none.env"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }

    def control(*words: str) -> None:
        command = _as_user([str(programs / "rabbitmqctl"), "-q", "-n", node, *words], "rabbitmq")
        subprocess.run(command, env=environ, capture_output=True, check=True)

    def is_up() -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            if _listens(port):
                control("await_startup", "--timeout", "60")
                return True
        return False

    names = _in(folder, [_program("epmd"), "-port", str(name_port), "-address", HOST], user="rabbitmq", environ=environ)
    broker = _in(folder, [str(programs / "rabbitmq-server")], user="rabbitmq", environ=environ)
    address = f"amqp://guest:guest@{HOST}:{port}//"
    return [
        Server("epmd", names, lambda: _listens(name_port)),
        Server(
            "rabbitmq",
            broker,
            is_up,
            BROKER,
            address,
            stop=signal.SIGKILL,
            seconds=90,
            data=folder / "mnesia",
            control=control,
        ),
    ]


SERVERS: Mapping[str, Callable[[Path], list[Server]]] = {"postgres": postgres, "redis": redis, "rabbitmq": rabbitmq}


@contextlib.contextmanager
def folder_for_servers() -> Iterator[Path]:
    """A temporary folder that other users may enter: as root, servers drop to users of their own."""
    with tempfile.TemporaryDirectory(prefix="payflow-servers-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def started(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Start the named servers; the environment variables that lead to them."""
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(folder_for_servers())
        found: dict[str, str] = {}
        for name in names:
            folder = base / name
            folder.mkdir()
            for server in SERVERS[name](folder):
                stack.enter_context(_running(server, folder))
                if server.variable:
                    found[server.variable] = server.address
        yield found


def missing() -> list[str]:
    """Debian packages needed for all of this and not installed."""
    absent = []
    try:
        _postgres_programs()
    except CannotStart:
        absent.append("postgresql")
    if shutil.which("redis-server") is None:
        absent.append("redis-server")
    if not Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists():
        absent.append("rabbitmq-server")
    return absent


# how


@contextlib.contextmanager
def _running(server: Server, folder: Path) -> Iterator[None]:
    log_path = folder / f"{server.name}.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            server.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + server.seconds
        while not server.is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"{server.name} did not start:\n{log_path.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(server.stop)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        kill_group(process)


def _in(
    folder: Path, command: Sequence[str], *, user: str | None = None, environ: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """A command line that runs in a folder, as a user, in an environment of its own if one is given."""
    words = ["-i", *(f"{name}={value}" for name, value in environ.items())] if environ is not None else []
    return ("env", "-C", str(folder), *words, *_as_user(command, user, tied=True))


def _as_user(command: Sequence[str], user: str | None, *, tied: bool = False) -> list[str]:
    """Drop root for servers that refuse it, and end them with us."""
    words = ["setpriv"]
    if tied:
        words += ["--pdeathsig", "TERM"]
    if user is not None and os.geteuid() == 0:
        words += [f"--reuid={_existing(user)}", f"--regid={_group(user)}", "--clear-groups"]
    return [*words, *command] if len(words) > 1 and shutil.which("setpriv") else list(command)


def _existing(user: str) -> str:
    try:
        return pwd.getpwnam(user).pw_name
    except KeyError:
        return "nobody"


def _group(user: str) -> str:
    return str(pwd.getpwnam(_existing(user)).pw_gid)


def _own(folder: Path, user: str) -> None:
    if os.geteuid() == 0:
        owner = pwd.getpwnam(_existing(user))
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)


def _once(command: Sequence[str], *, user: str | None = None, words: str = "") -> None:
    prepared = _as_user(command, user)
    done = subprocess.run(prepared, input=words, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode != 0:
        raise CannotStart(f"{command[0]}: {(done.stderr or done.stdout).strip()}")


def _program(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise CannotStart(f"{name} is not installed")
    return path


def _postgres_programs() -> Path:
    """The newest installed version's folder; Debian keeps the server's programs off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise CannotStart("postgresql is not installed")
    return Path(on_path).resolve().parent


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def main(arguments: Sequence[str]) -> int:
    if list(arguments) == ["--missing"]:
        for package in missing():
            print(package)
        return 0
    names = arguments[0].split("+") if arguments else []
    if len(arguments) < 3 or arguments[1] != "--" or not set(names) <= set(SERVERS):
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with started(names) as addresses:
            return subprocess.run(arguments[2:], env={**os.environ, **addresses}, check=False).returncode
    except CannotStart as error:
        print(f"tests.servers: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
