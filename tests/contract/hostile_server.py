"""A server on loopback that answers with whatever bytes it is told, then hangs up."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from types import TracebackType
from typing import Self


class HostileServer:
    """One script entry per connection; the last one repeats. Counts the requests that arrived whole.

    An entry is the bytes to answer; `delay_seconds` waits before, `drip_seconds` between single bytes.
    """

    def __init__(
        self,
        *script: bytes,
        delay_seconds: float = 0,
        drip_seconds: float = 0,
        tls: ssl.SSLContext | None = None,
        keep_alive: bool = False,
    ) -> None:
        self._script, self._delay, self._drip, self._tls, self._keep = (
            script,
            delay_seconds,
            drip_seconds,
            tls,
            keep_alive,
        )
        self.requests: list[bytes] = []
        self.connections = 0
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def base_url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with socket.create_connection(self._socket.getsockname()):
            pass
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if self._over.is_set():
                connection.close()
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            stream = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with stream:
                while self._one(stream) and self._keep:
                    pass
        except OSError:
            connection.close()

    def _one(self, stream: socket.socket) -> bool:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = stream.recv(65_536)
            if not piece:
                return False
            request += piece
        head, _, body = request.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += stream.recv(65_536)
        self.requests.append(head + b"\r\n\r\n" + body)
        answer = self._script[min(len(self.requests), len(self._script)) - 1]
        if not self._keep:
            answer = answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        self._over.wait(self._delay)
        if not self._drip:
            stream.sendall(answer)
            return True
        for byte in answer:
            if self._over.is_set():
                return False
            stream.sendall(bytes([byte]))
            time.sleep(self._drip)
        return True


def http(status: int, body: bytes, *headers: str, kind: str = "application/json", length: int | None = None) -> bytes:
    lines = [
        f"HTTP/1.1 {status} X",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
