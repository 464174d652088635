"""The launcher's own promises, shown on tiny children: ports, secrets, environment, watching, stopping."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from payflow.core.errors import ConfigurationError
from payflow.embedded import FolderLock
from payflow.launcher import Launcher
from payflow.processes import Part, Supervisor
from payflow.system import DevelopmentSecrets, Ports, child_environment, command_lines

SLEEPER = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)")


def until(question: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(log_dir=tmp_path / "logs", environ=os.environ, say=said.append)
    yield supervisor
    supervisor.stop()


def part(supervisor: Supervisor, name: str, command: tuple[str, ...] = SLEEPER, *, phase: int = 0) -> Part:
    return Part(name, command, lambda: "up" in supervisor.log_tail(name), phase, 2.0)


# ports


def test_every_busy_port_is_named_with_its_variable() -> None:
    """One start, one complete list: nobody fixes ports one error at a time."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        free = Ports.free()
        ports = Ports(web=one.getsockname()[1], flower=two.getsockname()[1], sandbox=free.sandbox, smtp=free.smtp)
        with pytest.raises(ConfigurationError) as caught:
            ports.check()
    message = caught.value.detail
    assert f"{ports.web} (web) is in use: set PAYFLOW_WEB_PORT" in message
    assert f"{ports.flower} (flower) is in use: set PAYFLOW_FLOWER_PORT" in message
    assert "SANDBOX" not in message


def test_one_port_for_two_parts_is_refused() -> None:
    """A clash inside the configuration is told before anything starts."""
    port = Ports.free().web
    with pytest.raises(ConfigurationError, match="given to both web and smtp"):
        Ports(web=port, smtp=port).check(["web", "smtp"])


def test_ports_come_from_the_environment() -> None:
    """Each default is overridden by its own variable; nonsense is refused by name."""
    assert Ports.from_environ({"PAYFLOW_WEB_PORT": "8100", "PAYFLOW_SMTP_PORT": " "}) == Ports(web=8100)
    with pytest.raises(ConfigurationError, match="PAYFLOW_SANDBOX_PORT"):
        Ports.from_environ({"PAYFLOW_SANDBOX_PORT": "70000"})


# secrets and environment


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    """Tokens stay valid over a restart, and only the owner can read them."""
    made = DevelopmentSecrets.of(tmp_path)
    assert DevelopmentSecrets.of(tmp_path) == made
    assert made.jwt_secret.startswith("development-")
    assert len(made.jwt_secret) >= 32
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def environment(tmp_path: Path, **given: str) -> dict[str, str]:
    return child_environment(
        given,
        data_dir=tmp_path,
        ports=Ports(),
        development=DevelopmentSecrets.of(tmp_path),
        broker_url="redis://127.0.0.1:1/0",
        cache_url="redis://127.0.0.1:1/2",
    )


def test_what_the_operator_set_is_kept(tmp_path: Path) -> None:
    """The embedded default fills gaps and overrides nothing; a secret given as a file counts as given."""
    found = environment(tmp_path, PAYFLOW_DATABASE_URL="postgresql://x", PAYFLOW_JWT_SECRET_FILE="/secret")
    assert found["PAYFLOW_DATABASE_URL"] == "postgresql://x"
    assert "PAYFLOW_JWT_SECRET" not in found
    assert found["PAYSTACK_BASE_URL"] == "http://127.0.0.1:8090/paystack"
    assert found["PAYFLOW_WEBHOOK_ALLOW_PRIVATE"] == "1"
    assert environment(tmp_path, PAYFLOW_WEBHOOK_ALLOW_PRIVATE="0")["PAYFLOW_WEBHOOK_ALLOW_PRIVATE"] == "0"


def test_own_gateway_key_goes_to_the_real_gateway_only(tmp_path: Path) -> None:
    """A real test key is never sent to the sandbox by default."""
    assert "PAYSTACK_BASE_URL" not in environment(tmp_path, PAYSTACK_SECRET_KEY="sk_test_of_my_own")


def test_live_mode_is_refused(tmp_path: Path) -> None:
    """`run` hands out logins, so it never runs on real money."""
    with pytest.raises(ConfigurationError, match="live mode"):
        environment(tmp_path, PAYFLOW_MODE="live")


def test_flower_never_starts_without_a_password(tmp_path: Path) -> None:
    """Flower can revoke tasks: it has a login and stays on the loopback address."""
    secrets = DevelopmentSecrets.of(tmp_path)
    command = command_lines(data_dir=tmp_path, ports=Ports(), development=secrets)["flower"]
    assert f"--basic-auth=ops:{secrets.flower_password}" in command
    assert "--address=127.0.0.1" in command


def test_second_launcher_on_one_folder_is_refused(tmp_path: Path) -> None:
    """Two systems on one folder would be two beats on one database."""
    lock = FolderLock(tmp_path)
    lock.acquire()
    with pytest.raises(ConfigurationError, match="in use by another payflow run"):
        Launcher(data_dir=tmp_path, environ=dict(os.environ), ports=Ports.free()).start()
    lock.release()


def test_unknown_part_is_refused(tmp_path: Path) -> None:
    """A typing error does not quietly start less than asked for."""
    with pytest.raises(ConfigurationError, match="Unknown parts wbe"):
        Launcher(data_dir=tmp_path, environ={}, parts=["wbe"])


# watching and stopping


def test_dying_child_is_started_again_and_said_so(supervisor: Supervisor, said: list[str]) -> None:
    """A part that dies comes back by itself, and the operator reads why."""
    supervisor.add(part(supervisor, "worker"))
    until(lambda: supervisor.is_ready("worker"))
    first = supervisor.pid("worker")
    supervisor.kill("worker")
    until(lambda: supervisor.pid("worker") not in (None, first))
    assert supervisor.starts("worker") == 2
    assert "worker was ended by SIGKILL; starting it again in 0.5 s" in said[0]


def test_waits_between_restarts_double(supervisor: Supervisor, said: list[str]) -> None:
    """A part that cannot live does not eat the machine."""
    supervisor.add(part(supervisor, "broken", (sys.executable, "-c", "raise SystemExit(3)")))
    until(lambda: supervisor.keeps_dying("broken"))
    assert [line.split(" in ")[1].split(" (")[0] for line in said] == ["0.5 s", "1 s", "2 s"]
    assert "exit code 3" in said[0]


def test_held_part_stays_down_until_resumed(supervisor: Supervisor) -> None:
    """Fault tests take a part away for as long as they like."""
    supervisor.add(part(supervisor, "beat"))
    until(lambda: supervisor.is_ready("beat"))
    supervisor.hold("beat")
    assert supervisor.pid("beat") is None
    supervisor.resume("beat")
    until(lambda: supervisor.pid("beat") is not None)


def test_stop_goes_by_phase_and_leaves_no_grandchild(tmp_path: Path) -> None:
    """Lower phases end first; what a child started itself, deaf to SIGTERM or not, goes with it."""
    supervisor = Supervisor(log_dir=tmp_path, environ=os.environ, say=print)
    trace = tmp_path / "trace"
    polite = (
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(trace)!r}, 'a').write(sys.argv[1]), sys.exit(0)))\n"
        "print('up', flush=True); time.sleep(600)\n"
    )
    parent = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('up', child.pid, flush=True); time.sleep(600)\n"
    )
    supervisor.add(part(supervisor, "late", (sys.executable, "-c", polite, "late "), phase=1))
    supervisor.add(part(supervisor, "early", (sys.executable, "-c", polite, "early "), phase=0))
    supervisor.add(part(supervisor, "deaf", (sys.executable, "-c", parent), phase=0))
    until(lambda: all(supervisor.is_ready(name) for name in supervisor.names))
    pids = [pid for name in supervisor.names if (pid := supervisor.pid(name))]
    grandchild = int(supervisor.log_tail("deaf").split()[1])

    supervisor.stop()

    assert trace.read_text() == "early late "
    until(lambda: all(is_gone(pid) for pid in [*pids, grandchild]))


def test_stop_now_ends_a_patient_stop(tmp_path: Path) -> None:
    """The second Ctrl-C does not wait for anything."""
    deaf = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    supervisor = Supervisor(log_dir=tmp_path, environ=os.environ, say=print)
    supervisor.add(
        Part("deaf", (sys.executable, "-c", deaf), lambda: "up" in supervisor.log_tail("deaf"), stop_seconds=60)
    )
    until(lambda: supervisor.is_ready("deaf"))
    supervisor.stop_now()
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 5


def test_sigkill_of_the_launcher_leaves_no_child(tmp_path: Path) -> None:
    """kill -9 of the watcher takes the children along, though it could not tell them."""
    script = (
        "import os, sys, time; from pathlib import Path; from payflow.processes import Part, Supervisor\n"
        "supervisor = Supervisor(log_dir=Path(sys.argv[1]), environ=os.environ, say=print)\n"
        "command = (sys.executable, '-c', 'import time; time.sleep(600)')\n"
        "supervisor.add(Part('child', command, lambda: True))\n"
        "while supervisor.pid('child') is None: time.sleep(0.01)\n"
        "time.sleep(0.3); print(supervisor.pid('child'), flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    until(lambda: is_gone(pid))
