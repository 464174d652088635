"""Children and their watcher: start them, keep them running, stop them in order, leave none behind. Floor 7.

What must not enter: what the children are for. That is the launcher's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from payflow.embedded import DidNotStart, kill_group, spawn

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 10.0
_TICK_SECONDS = 0.05
_SETTLED_SECONDS = 30.0
"""A child that lived this long is forgiven its earlier deaths."""


@dataclass(frozen=True, slots=True)
class Part:
    """One child to run."""

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool]
    """A cheap question, asked repeatedly while starting."""
    stop_phase: int = 0
    """Parts of a lower phase are stopped first."""
    stop_seconds: float = 5.0
    """From SIGTERM to SIGKILL."""
    death_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends when the watcher itself is killed."""


@dataclass(slots=True)
class _Child:
    part: Part
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    is_wanted: bool = True
    starts: int = 0
    deaths_in_a_row: int = 0
    started_at: float = 0.0
    not_before: float = 0.0
    log_offset: int = 0


class Supervisor:
    """Runs parts. One thread does all the starting and reaping, so that children are tied to it and not to a caller."""

    def __init__(self, *, log_dir: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._log_dir = log_dir
        self._environ = dict(environ)
        self._say = say
        self._children: dict[str, _Child] = {}
        self._changed = threading.Condition()
        self._is_over = False
        self._hurry = False
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    # what a caller may ask

    @property
    def names(self) -> list[str]:
        return list(self._children)

    def add(self, part: Part) -> None:
        """Start a part and keep it running from now on. Its log begins anew."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        log_path = self._log_dir / f"{part.name}.log"
        log_path.write_bytes(b"")
        with self._changed:
            self._children[part.name] = _Child(part, log_path)
            if not self._thread.is_alive():
                self._thread.start()
            self._changed.notify_all()

    def pid(self, name: str) -> int | None:
        """The child's process id, None while it is down."""
        process = self._child(name).process
        return process.pid if process is not None and process.poll() is None else None

    def starts(self, name: str) -> int:
        """How often it has been started."""
        return self._child(name).starts

    def log_path(self, name: str) -> Path:
        return self._child(name).log_path

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The last lines it wrote."""
        text = self.log_path(name).read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def log_since_start(self, name: str) -> str:
        """What its present process wrote."""
        child = self._child(name)
        return child.log_path.read_bytes()[child.log_offset :].decode("utf-8", "replace")

    def is_ready(self, name: str) -> bool:
        """Whether it runs and says it is ready."""
        return self.pid(name) is not None and self._child(name).part.is_ready()

    def keeps_dying(self, name: str) -> bool:
        """Whether it died three times in a row without settling."""
        return self._child(name).deaths_in_a_row >= 3

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the whole group of a running child; one that dies of it is started again after a wait."""
        pid = self.pid(name)
        if pid is None:
            raise DidNotStart(f"{name} is not running.")
        os.killpg(pid, number)

    def hold(self, name: str) -> None:
        """Stop a part and leave it down until `resume`."""
        with self._changed:
            self._child(name).is_wanted = False
        self._end([self._child(name)])

    def resume(self, name: str) -> None:
        """Start a held part at once."""
        with self._changed:
            child = self._child(name)
            child.is_wanted, child.not_before, child.deaths_in_a_row = True, 0.0, 0
            self._changed.notify_all()

    def restart(self, name: str) -> None:
        """Stop a part in order and start it again at once."""
        self.hold(name)
        self.resume(name)

    def stop(self) -> None:
        """Stop everything, phase by phase, and leave nothing behind."""
        for phase in sorted({child.part.stop_phase for child in self._children.values()}):
            children = [child for child in self._children.values() if child.part.stop_phase == phase]
            with self._changed:
                for child in children:
                    child.is_wanted = False
            self._end(children)
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def stop_now(self) -> None:
        """SIGKILL everything; a `stop` under way ends at once. Safe to call from a signal handler."""
        self._hurry = True
        for child in list(self._children.values()):
            child.is_wanted = False
            process = child.process
            if process is not None and process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    # how it is done

    def _child(self, name: str) -> _Child:
        try:
            return self._children[name]
        except KeyError:
            raise DidNotStart(f"There is no part {name!r}; there are {', '.join(self._children)}.") from None

    def _end(self, children: Iterable[_Child]) -> None:
        """SIGTERM, wait, SIGKILL. Returns when the watcher has reaped every one."""
        waiting = list(children)
        for child in waiting:
            if child.process is not None:
                child.process.terminate()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.process.pid, signal.SIGCONT)  # a frozen one must wake to hear it
        began = time.monotonic()
        with self._changed:
            while waiting := [child for child in waiting if child.process is not None]:
                for child in waiting:
                    late = time.monotonic() - began > child.part.stop_seconds
                    if (late or self._hurry) and child.process is not None:
                        with contextlib.suppress(ProcessLookupError):
                            os.killpg(child.process.pid, signal.SIGKILL)
                self._changed.wait(_TICK_SECONDS)

    def _watch(self) -> None:
        with self._changed:
            while not self._is_over:
                for child in self._children.values():
                    self._tend(child)
                self._changed.wait(_TICK_SECONDS)

    def _tend(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if child.is_wanted and now >= child.not_before:
                part = child.part
                with child.log_path.open("ab") as log:
                    child.log_offset = log.tell()
                    child.process = spawn(part.command, log=log, environ=self._environ, death_signal=part.death_signal)
                child.starts += 1
                child.started_at = now
            return
        code = child.process.poll()
        if code is None:
            return
        kill_group(child.process)  # whatever it had started goes with it
        child.process = None
        self._changed.notify_all()
        if child.is_wanted:
            if now - child.started_at > _SETTLED_SECONDS:
                child.deaths_in_a_row = 0
            wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**child.deaths_in_a_row)
            child.deaths_in_a_row += 1
            child.not_before = now + wait
            self._say(f"{child.part.name} {_ending(code)}; starting it again in {wait:g} s (log: {child.log_path})")


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
