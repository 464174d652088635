"""Receivers of outbound webhooks on loopback: one in this process that records, one in its own that is the howto's."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from payflow.embedded import free_port

OK = 204
HOWTO = Path(__file__).resolve().parents[1] / "docs" / "howto" / "receive-webhooks.md"


@dataclass
class Arrived:
    """One request."""

    headers: dict[str, str]
    """Names in small letters."""
    raw: bytes
    status: int
    """What was answered; 0 = the connection was closed without an answer."""

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found


@dataclass
class Receiver:
    """Answers as told (`status`, `answer`, `location`), records everything, verifies nothing."""

    url: str = ""
    status: int = OK
    answer: bytes = b""
    location: str | None = None
    hold: threading.Event | None = None
    """Answers wait for it."""
    delay_seconds: float = 0.0
    is_mute: bool = False
    """Takes what comes and closes the connection instead of answering."""
    arrived: list[Arrived] = field(default_factory=list)

    @property
    def types(self) -> list[str]:
        return [one.body["type"] for one in self.arrived]


@contextmanager
def a_receiver() -> Iterator[Receiver]:
    """A recording receiver while inside."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            expected = int(self.headers["Content-Length"])
            raw = self.rfile.read(expected)
            if len(raw) < expected:
                self.close_connection = True  # its sender died in the middle: nothing has arrived
                return
            status = 0 if receiver.is_mute else receiver.status
            receiver.arrived.append(Arrived({key.lower(): value for key, value in self.headers.items()}, raw, status))
            if receiver.hold is not None:
                receiver.hold.wait(10)
            time.sleep(receiver.delay_seconds)
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", str(len(receiver.answer)))
            self.end_headers()
            self.wfile.write(receiver.answer)

        def log_message(self, *_args: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


@dataclass
class HowtoReceiver:
    """The receiver of docs/howto/receive-webhooks.md, in a process of its own."""

    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @contextmanager
    def running(self, secret: str) -> Iterator[None]:
        """Runs while inside, with this secret."""
        found = re.search(r"```python\n(.+?)```", HOWTO.read_text(encoding="utf-8"), re.DOTALL)
        assert found is not None
        script = self.folder / "receiver.py"
        script.write_text(found.group(1), encoding="utf-8")
        environ = {**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(self.port)}
        with (self.folder / "out.txt").open("w") as out:
            process = subprocess.Popen(
                [sys.executable, str(script)], env=environ, stdout=out, stderr=subprocess.DEVNULL
            )
        try:
            _wait_for(self.port, process)
            yield
        finally:
            process.terminate()
            process.wait(10)

    def lines(self) -> list[list[str]]:
        """What it printed: sequence, type, reference."""
        return [line.split() for line in (self.folder / "out.txt").read_text().splitlines()]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    over = threading.Event()
    for _ in range(200):
        assert process.poll() is None, "the receiver ended"
        with socket.socket() as line:
            if line.connect_ex(("127.0.0.1", port)) == 0:
                return
        over.wait(0.05)
    raise AssertionError("the receiver does not listen")
