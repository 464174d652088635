"""Outbound webhooks: signed by the Standard Webhooks scheme, sent to the very address that was checked. Knows no rows.

A receiver's URL is foreign input, so it must not become a way into our own network: the name is looked up once, every
address it has must be public, and the connection goes to one of those very addresses while TLS, SNI and `Host` keep the
name. Nothing here looks a name up a second time, follows a redirect, or takes a proxy from the environment.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http.client import HTTPException

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from standardwebhooks import Webhook
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from payflow.channels.lines import cut_at
from payflow.core.destinations import Destination, UnfitDestination, is_public, read_destination
from payflow.core.errors import DeliveryError

TIMEOUT_SECONDS = 15
CONNECT_SECONDS = 5
EXCERPT_BYTES = 2_000
Resolver = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook ready to go. `message_id` is the same on every repetition; `secrets` all sign, the newest first."""

    url: str
    message_id: str
    body: str
    secrets: Sequence[str]
    at: datetime
    """The moment of sending, signed as `webhook-timestamp`."""
    correlation_id: str | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one try. `error` is None exactly if the receiver took it (2xx)."""

    http_status: int | None
    duration_ms: int
    error: str | None
    excerpt: str
    """The beginning of the answer's body, as it came: not redacted."""


class WebhookSender:
    """Sends, one connection for each message. Safe to share between threads."""

    def __init__(
        self,
        *,
        allow_private: bool,
        resolver: Resolver | None = None,
        ca_bundle: str | None = None,
        timeout_seconds: int = TIMEOUT_SECONDS,
    ) -> None:
        self._allow_private, self._resolver = allow_private, resolver or _look_up
        self._ca_bundle = ca_bundle or DEFAULT_CA_BUNDLE_PATH
        self._timeout_seconds = timeout_seconds

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made on first use: reading the roots takes a while, and most processes never send."""
        return ssl.create_default_context(cafile=self._ca_bundle)

    def check(self, url: str) -> None:
        """Whether webhooks may go there. Raises UnfitDestination."""
        destination = read_destination(url, allow_private=self._allow_private)
        if not self._allow_private:
            self._addresses(destination)

    def send(self, message: Message) -> Receipt:
        """One try. What goes wrong on the way is in the receipt; nothing is raised for it."""
        started = time.monotonic()
        status, excerpt, error = None, "", None
        try:
            status, excerpt = self._post(message, started + self._timeout_seconds)
        except (UnfitDestination, DeliveryError) as refused:
            error = refused.detail
        except (HTTPError, HTTPException, OSError, ValueError) as problem:
            is_late = time.monotonic() - started >= self._timeout_seconds or isinstance(problem, TimeoutError)
            error = (
                f"There was no answer within {self._timeout_seconds} s."
                if is_late
                else f"The receiver could not be reached ({type(problem).__name__})."
            )
        if status is not None and not 200 <= status < 300:
            error = f"The receiver answered {status}" + (", and redirects are not followed." if status < 400 else ".")
        return Receipt(status, round((time.monotonic() - started) * 1_000), error, excerpt)

    def _post(self, message: Message, deadline: float) -> tuple[int, str]:
        destination = read_destination(message.url, allow_private=self._allow_private)
        connection = self._connected(destination, self._addresses(destination), deadline)
        try:
            with cut_at(deadline, connection):
                connection.timeout = _left(deadline)
                connection.request(
                    "POST",
                    destination.target,
                    body=message.body.encode(),
                    headers=_headers(message, destination),
                    preload_content=False,
                    decode_content=False,
                )
                response = connection.getresponse()
                try:
                    excerpt = response.read1(EXCERPT_BYTES).decode("utf-8", "replace")
                except (HTTPError, HTTPException, OSError, ValueError):
                    excerpt = ""  # the status is what counts
                return response.status, excerpt
        finally:
            connection.close()

    def _addresses(self, destination: Destination) -> Sequence[str]:
        """What the name stands for, each address of it checked. Raises UnfitDestination."""
        try:
            found = self._resolver(destination.host, destination.port)
        except (OSError, UnicodeError):
            found = ()
        if not found:
            raise UnfitDestination(f"The name {destination.host} is not known.", code="url_not_found")
        if not self._allow_private and not all(map(is_public, found)):
            raise UnfitDestination(f"{destination.host} is not on the public internet.", code="url_not_public")
        return found

    def _connected(self, destination: Destination, addresses: Sequence[str], deadline: float) -> HTTPConnection:
        """A connection to the first of these addresses that takes one."""
        for address in addresses[:-1]:
            try:
                return self._connect(destination, address, deadline)
            except (HTTPError, OSError):
                continue
        return self._connect(destination, addresses[-1], deadline)

    def _connect(self, destination: Destination, address: str, deadline: float) -> HTTPConnection:
        timeout = min(CONNECT_SECONDS, _left(deadline))
        connection = (
            HTTPSConnection(
                address, destination.port, timeout=timeout, ssl_context=self._tls, server_hostname=destination.host
            )
            if destination.scheme == "https"
            else HTTPConnection(address, destination.port, timeout=timeout)
        )
        connection.connect()
        return connection


def _headers(message: Message, destination: Destination) -> dict[str, str]:
    return {
        "Host": destination.authority,
        "Content-Type": "application/json",
        "Accept": "*/*",
        "User-Agent": "payflow-webhooks",
        "X-Request-ID": message.correlation_id or message.message_id,
        "webhook-id": message.message_id,
        "webhook-timestamp": str(int(message.at.timestamp())),
        "webhook-signature": signatures(message),
    }


def signatures(message: Message) -> str:
    """One signature for each secret that is valid, separated by blanks (Standard Webhooks, Signature scheme)."""
    at = message.at.astimezone(UTC)  # the library takes the clock's face for UTC, whatever its zone
    return " ".join(
        Webhook(secret).sign(msg_id=message.message_id, timestamp=at, data=message.body) for secret in message.secrets
    )


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _look_up(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
