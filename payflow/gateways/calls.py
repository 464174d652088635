"""The words between an adapter and the transport: a call, its answer, how errors read, what is recorded.

Values only; no HTTP here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

from payflow.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `path` is encoded already (`path_part`); `route` is its template, for logs and records."""

    operation: str
    method: str
    path: str
    route: str
    is_question: bool
    """Asking changes nothing at the gateway."""
    is_repeatable: bool = False
    """A command that carries an idempotency key: repeating it acts once."""
    query: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    form: tuple[tuple[str, str], ...] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer that is a JSON object."""

    http_status: int
    body: dict[str, Any] = field(repr=False)
    """As sent, decimals exact: for the adapter's eyes only."""
    raw: dict[str, Any] = field(repr=False)
    """Redacted: for keeping."""
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorWords:
    """What an error body says."""

    gateway_code: str | None = None
    message: str | None = None
    code: str | None = None
    """payflow's code for it, where the caller must tell it apart."""
    is_try_later: bool = False
    """The gateway refused for now only; nothing happened there."""
    retry_after_seconds: int | None = None
    needs_person: bool = False
    """Nothing gets better until somebody acts: logged as ERROR."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one gateway speaks of errors."""

    read_error: Callable[[int, Mapping[str, Any]], ErrorWords]
    is_refusal: Callable[[Mapping[str, Any]], bool] = lambda _body: False
    """Whether a body refuses although the HTTP status is 200."""
    request_id_headers: tuple[str, ...] = ("x-request-id", "request-id")
    should_retry_header: str | None = None
    """A header whose `true` or `false` overrules our own view (`stripe-should-retry`)."""


@dataclass(frozen=True, slots=True)
class About:
    """What a call is made for."""

    order_id: str
    attempt_id: str | None = None
    refund_id: str | None = None


_about: ContextVar[About | None] = ContextVar("about", default=None)


@contextmanager
def concerning(about: About) -> Iterator[None]:
    """Calls made inside are recorded as made for this."""
    token = _about.set(about)
    try:
        yield
    finally:
        _about.reset(token)


def what_it_is_for() -> About | None:
    """What the caller has said with `concerning`."""
    return _about.get()


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One exchange, redacted."""

    gateway: str
    operation: str
    method: str
    route: str
    at: datetime
    duration_ms: int
    http_status: int | None
    request_id: str | None
    error_code: str | None
    request: dict[str, Any]
    response: dict[str, Any] | None
    error: str | None = None
    about: About | None = None


class CallRecorder(Protocol):
    """Keeps every exchange, each try of its own. Must not raise: the call it tells of has happened already."""

    def __call__(self, record: CallRecord) -> None: ...


class HealthListener(Protocol):
    """Told when a gateway stops answering (it is left alone `until` then) and when it answers again (None). Must not
    raise."""

    def __call__(self, gateway: str, until: datetime | None) -> None: ...


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """Limits and hands of a transport; the defaults are for production."""

    connect_seconds: float = 3.0
    read_seconds: float = 30.0
    max_body_bytes: int = 1_048_576
    tries: int = 3
    """For what may be repeated."""
    retry_within_seconds: float = 5.0
    """No new try once this long has passed since the first began."""
    max_calls: int = 8
    """Calls at once per gateway and process: a hanging gateway must not take every thread."""
    max_wait_seconds: float = 3.0
    """The longest wait for one of those places."""
    ca_bundle: str | None = None
    recorder: CallRecorder | None = None
    health: HealthListener | None = None
    sleep: Callable[[float], None] = time.sleep
    timer: Callable[[], float] = time.monotonic


def path_part(text: str) -> str:
    """One path segment, encoded. Dots alone are refused: clients and proxies read them as "go up"."""
    if not text.strip("."):
        raise InvalidInput("A reference cannot be empty or dots alone.", code="invalid_reference", pointer="/reference")
    return quote(text, safe="")
