"""Lines to others that end when their time is over, however slowly the other side speaks. Floor 2."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def cut_at(deadline: float, line: Any) -> Iterator[None]:
    """Inside, the line's `sock` goes dead at the deadline (of `time.monotonic`): whoever reads from it sees it end."""
    cut = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, (line,))
    cut.daemon = True
    cut.start()
    try:
        yield
    finally:
        cut.cancel()


def _cut(line: Any) -> None:
    sock = line.sock
    if sock is not None:
        with suppress(OSError):  # it was over already
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
