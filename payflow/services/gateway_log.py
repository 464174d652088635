"""Keeps the gateway log: what was sent to gateways and what came back, as far as operators may read it.

Workers hand records to a thread of their own, which writes a batch at a time: a payment never waits for its log. What
is not written when a process is killed is lost; that money may have moved stands in the rows before every call.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from typing import Any

from payflow import logs
from payflow.core.errors import PayflowError
from payflow.gateways.calls import CallRecord
from payflow.gateways.readable import readable, readable_text
from payflow.models.gateway_call import GatewayCall
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)
_WAITING_AT_MOST = 2_000
_PAUSE_SECONDS = 0.25


class GatewayLog:
    """A `CallRecorder`. Writes at once, or from a thread of its own when `in_background`."""

    def __init__(self, units: UnitOfWork, *, in_background: bool) -> None:
        self._units, self._in_background = units, in_background
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_WAITING_AT_MOST)
        self._writing = threading.Lock()
        self._there_is_work = threading.Event()
        self._thread: threading.Thread | None = None
        if in_background:
            atexit.register(self.flush)

    def __call__(self, record: CallRecord) -> None:
        """Keep one exchange; when the database does not take it, a warning is all that remains."""
        self._waiting.append(_row(record))
        if not self._in_background:
            self.flush()
            return
        if not _is_alive(self._thread):  # first call, a forked child's first call, or an error nobody expected
            self._start()
        self._there_is_work.set()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            batch = []
            while self._waiting:
                batch.append(self._waiting.popleft())
            if not batch:
                return

            def step(tx: Transaction) -> None:
                for row in batch:
                    tx.add(GatewayCall(**row))

            try:
                self._units.run(step)
            except PayflowError as error:
                _log.warning(
                    "calls are missing in the gateway log",
                    action="gateway_log.lost",
                    calls=len(batch),
                    error=error.detail,
                )

    def _start(self) -> None:
        with self._writing:
            if _is_alive(self._thread):
                return
            self._thread = threading.Thread(target=self._write_on, name="gateway-log", daemon=True)
            self._thread.start()

    def _write_on(self) -> None:
        pause = threading.Event()
        while True:
            self._there_is_work.wait()
            pause.wait(_PAUSE_SECONDS)  # for more to come
            self._there_is_work.clear()
            self.flush()


def _is_alive(thread: threading.Thread | None) -> bool:
    return thread is not None and thread.is_alive()


def _row(record: CallRecord) -> dict[str, Any]:
    about = record.about
    return {
        "at": record.at,
        "gateway": record.gateway,
        "operation": record.operation[:32],
        "method": record.method,
        "route": record.route[:255],
        "order_id": about.order_id if about else None,
        "attempt_id": about.attempt_id if about else None,
        "refund_id": about.refund_id if about else None,
        "task": logs.task(),
        "http_status": record.http_status,
        "duration_ms": record.duration_ms,
        "request_id": record.request_id[:128] if record.request_id else None,
        "error_code": record.error_code,
        "error": readable_text(record.error)[:255] if record.error else None,
        "request": readable(record.request),
        "response": None if record.response is None else readable(record.response),
    }
