"""Bytes on the wire, against the real server with the settings of deploy/Procfile: slow, endless, huge, malformed."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psutil
import pytest

from tests.builders import a_token
from tests.databases import clean_database
from tests.house import ADA, JWT_SECRET, gateway_settings

ROOT = Path(__file__).resolve().parents[2]
LARGEST = 262_144
THREADS = 16


def served_as_deployed(port: int) -> list[str]:
    """The web line of the Procfile, on one worker."""
    line = next(one for one in (ROOT / "deploy/Procfile").read_text().splitlines() if one.startswith("web: "))
    words = shlex.split(re.sub(r"\$\{(\w+):-(\w+)\}", r"\2", line.removeprefix("web: ")))
    words[words.index("--bind") + 1] = f"127.0.0.1:{port}"
    words[words.index("--workers") + 1] = "1"
    assert words[words.index("--threads") + 1] == str(THREADS)
    return [sys.executable, "-m", *words]


@pytest.fixture(scope="module")
def port(migrated_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A gunicorn that answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    folder = tmp_path_factory.mktemp("wire")
    with clean_database(migrated_database, folder) as url, (folder / "web.log").open("wb") as log:
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PAYFLOW_DATABASE_URL": url,
            "PAYFLOW_BROKER_URL": "memory://",
            "PAYFLOW_JWT_SECRET": JWT_SECRET,
            "PAYFLOW_RATE_LIMITS": "off",
            **gateway_settings("http://127.0.0.1:9"),
        }
        server = subprocess.Popen(served_as_deployed(number), cwd=ROOT, env=environ, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while not _is_up(number):
                assert server.poll() is None, (folder / "web.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield number
        finally:
            server.terminate()
            server.wait(30)


def _is_up(port: int) -> bool:
    try:
        return status(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == 200
    except OSError:
        return False


def opened(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def read_status(connection: socket.socket) -> int:
    """The status of the answer; 0 for a connection closed without one."""
    head = b""
    while b"\r\n" not in head:
        piece = connection.recv(4_096)
        if not piece:
            return 0
        head += piece
    return int(head.split(b" ")[1])


def status(port: int, request: bytes) -> int:
    with closing(opened(port)) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have said no already
            connection.sendall(request)
        try:
            return read_status(connection)
        except ConnectionResetError:
            return 0


def post(*headers: str, body: bytes = b"", path: str = "/api/v1/bookings/") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {a_token(ADA)}", "Content-Type: application/json",
        "Connection: close", *headers,
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def memory(port: int) -> int:
    """Bytes the server's processes hold."""
    owner = next(
        one.pid
        for one in psutil.net_connections("tcp")
        if one.laddr and one.laddr.port == port and one.status == psutil.CONN_LISTEN and one.pid
    )
    process = psutil.Process(owner)
    return sum(one.memory_info().rss for one in (process, *process.children()))


def test_a_well_formed_request_is_answered(port: int) -> None:
    """What follows is refused for what it is, not because nothing works."""
    assert status(port, post("Content-Length: 2", body=b"{}")) == 422


def test_a_huge_body_is_413_by_its_length_alone(port: int) -> None:
    """Ten megabytes are announced, and refused before they are sent."""
    assert status(port, post("Content-Length: 10485760")) == 413


def test_a_chunked_body_without_end_is_cut_off_and_memory_stays_flat(port: int) -> None:
    """Without a length it is counted while it is read; twenty of them leave no trace in memory."""
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    before = memory(port)
    for _ in range(20):
        assert status(port, post("Transfer-Encoding: chunked", body=chunk * 40)) in (413, 0)
    assert memory(port) - before < 30_000_000
    assert status(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == 200


def test_silent_connections_hold_nobody_up_for_long(port: int) -> None:
    """As many as there are threads, saying nothing: they are put aside after five seconds, and requests answered."""
    with ExitStack() as stack:
        for _ in range(THREADS):
            stack.enter_context(closing(opened(port)))
        began = time.monotonic()
        assert status(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == 200
        assert status(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == 200
        assert time.monotonic() - began < 9


def test_half_sent_headers_hold_a_thread_each_and_no_more(port: int) -> None:
    """Slow-loris against web itself: all but one thread are busy with it, and the last one answers. More is the proxy's
    to keep away (docs/howto/production.md)."""
    with ExitStack() as stack:
        for _ in range(THREADS - 1):
            connection = stack.enter_context(closing(opened(port)))
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert status(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-Many: 1\r\n" * 200 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Bad\x00: 1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
        post("Content-Length: 2", "Content-Length: 3", body=b"{}"),
        post("Content-Length: -2", body=b"{}"),
        post("Content-Length: 2", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
        post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
        post("Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
    ],
    ids=range(13),
)
def test_what_is_no_http_is_refused(port: int, request_bytes: bytes) -> None:
    """Long lines, many headers, odd names, two lengths, length and chunks at once: no request is smuggled past."""
    assert status(port, request_bytes) in (0, *range(400, 502))


@pytest.mark.parametrize("method", ["TRACE", "PUT", "CONNECT", "TRACK"])
def test_methods_nobody_offers_are_refused(port: int, method: str) -> None:
    """Also by the server underneath."""
    assert status(port, f"{method} /api/v1/bookings/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()) in (400, 401, 405)


def test_the_server_does_not_tell_its_version(port: int) -> None:
    """A name at most."""
    with closing(opened(port)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := connection.recv(4_096):
            answer += piece
    assert not re.search(rb"(?i)^server:.*\d", answer, re.MULTILINE)
