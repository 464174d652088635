"""The sandbox's control API in a test's hands, and a merchant's webhook address."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flask.testing import FlaskClient

from payflow.sandbox.app import RunningSandbox, SandboxConfig, SandboxRooms, start
from payflow.sandbox.paystack_shapes import signature

SECRET = "sk_test_sandbox"


AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""When it is, unless a test moves the clock."""

KEY = {"Authorization": f"Bearer {SECRET}"}


ORDER = {"email": "ada@example.com", "amount": 20000, "currency": "NGN", "callback_url": "https://shop.example/back"}


DEADLINE_SECONDS = 10


class Receiver:
    """A merchant's webhook address on a real port: remembers what came, answers as told (200 when nothing is)."""

    def __init__(self) -> None:
        self.got: list[tuple[str | None, bytes]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.headers.get("x-paystack-signature"), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhooks/paystack/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def events(self) -> list[str]:
        return [json.loads(body)["event"] for _, body in self.got]

    @property
    def is_true(self) -> list[bool]:
        return [header == signature(body, SECRET) for header, body in self.got]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Desk:
    """One sandbox, driven by its own control API with the clock held, and a receiver for its webhooks."""

    def __init__(self, client: FlaskClient, rooms: SandboxRooms, receiver: Receiver) -> None:
        self.client, self.rooms, self.receiver = client, rooms, receiver

    def plant(self, fault: str, **more: Any) -> Any:
        answer = self.client.post("/sandbox/faults", json={"fault": fault, **more})
        assert answer.status_code == 201, answer.json
        return answer.json

    def initialize(self, reference: str = "PF-1") -> Any:
        body = {**ORDER, "reference": reference}
        return self.client.post("/paystack/transaction/initialize", json=body, headers=KEY)

    def pay(self, reference: str = "PF-1", **more: Any) -> Any:
        return self.client.post("/sandbox/pay", json={"reference": reference, **more})

    def paid(self, reference: str = "PF-1") -> None:
        self.initialize(reference)
        self.pay(reference)

    def verify(self, reference: str = "PF-1") -> Any:
        return self.client.get(f"/paystack/transaction/verify/{reference}", headers=KEY)

    def transaction(self, reference: str = "PF-1") -> Any:
        return self.verify(reference).json["data"]

    def refund(self, **body: Any) -> Any:
        return self.client.post("/paystack/refund", json={"transaction": "PF-1", **body}, headers=KEY)

    def refund_status(self) -> str:
        listed = self.client.get("/paystack/refund", headers=KEY).json["data"]
        return str(listed[0]["status"])

    def read(self, what: str) -> Any:
        return self.client.get(f"/sandbox/{what}").json

    def later(self, seconds: float) -> None:
        self.client.post("/sandbox/clock", json={"advance_seconds": seconds})

    def send(self) -> list[str]:
        """Send what is due and return all events received so far."""
        self.rooms.sender.send_due()
        return self.receiver.events


@contextmanager
def running(**settings: Any) -> Iterator[RunningSandbox]:
    sandbox = start(SandboxConfig(**settings))
    try:
        yield sandbox
    finally:
        sandbox.stop()


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; fail at the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)
