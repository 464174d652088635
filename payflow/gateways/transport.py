"""The only HTTP client of the gateways: time-outs, retries where repeating is safe, bulkhead, redaction, error mapping.

A call is a *question* (may always be repeated) or a *command* (may have taken effect). What went wrong is told thus:

    what happened                                   question                command
    nothing was sent (refused, DNS, certificate)    GatewayUnavailable      GatewayUnavailable
    time-out, reset, 408, 5xx                       GatewayUnavailable      OutcomeUnknown
    an answer that is no JSON object, 3xx           AnswerNotUnderstood     AnswerNotUnderstood
    429, or the gateway's own "try later"           GatewayUnavailable      GatewayUnavailable
    nothing was sent, for it was not answering      GatewayLeftAlone        GatewayLeftAlone
    401, 403 (logged as ERROR: a person must act)   GatewayRejected         GatewayRejected
    any other 4xx, a refusal in a 200               GatewayRejected         GatewayRejected

No gateway's own word stands here: a `Dialect` says how a gateway's errors read.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
import tenacity
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, ReadTimeoutError

from payflow import failpoints, logs
from payflow.core.clock import Clock
from payflow.core.errors import (
    AnswerNotUnderstood,
    ConfigurationError,
    GatewayError,
    GatewayLeftAlone,
    GatewayRejected,
    GatewayUnavailable,
    OutcomeUnknown,
)
from payflow.gateways.answers import json_text, parse_object, retry_after
from payflow.gateways.breaker import Breaker, LeftAlone
from payflow.gateways.calls import Answer, Call, CallRecord, Dialect, ErrorWords, TransportOptions, what_it_is_for
from payflow.gateways.redaction import redact_object, redact_text

_CHUNK = 65_536
_LONGEST_WAIT_SECONDS = 5
"""A `Retry-After` beyond this is for the caller's schedule, not for a waiting thread."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """How one try ended: an answer or an error, never both."""

    answer: Answer | None = None
    error: GatewayError | None = None
    response: dict[str, Any] | None = None
    may_repeat: bool | None = None
    """The gateway's own word on repeating, if it gave one."""
    is_made: bool = True
    """Whether a call was made at all."""


@dataclass(frozen=True, slots=True)
class _Received:
    """A whole answer off the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool = True


class Transport:
    """Speaks to one gateway. Safe to share between threads."""

    def __init__(
        self,
        *,
        gateway: str,
        base_url: str,
        secret_key: str,
        dialect: Dialect,
        clock: Clock,
        options: TransportOptions | None = None,
    ) -> None:
        if not secret_key.isascii() or not secret_key.isprintable() or not secret_key or " " in secret_key:
            raise ConfigurationError(f"The secret key of {gateway} must be printable ASCII without blanks.")
        self._gateway, self._base_url, self._dialect, self._clock = gateway, base_url.rstrip("/"), dialect, clock
        self._secret = secret_key
        self._options = options or TransportOptions()
        self._places = threading.BoundedSemaphore(self._options.max_calls)
        self._breaker = Breaker(gateway, clock, self._options.health)
        self._lock = threading.Lock()
        self._session: tuple[int, requests.Session] | None = None
        self._log = logs.get(__name__)

    @property
    def is_encrypted(self) -> bool:
        return self._base_url.startswith("https://")

    def call(self, call: Call) -> Answer:
        """Send, and send again where that is safe. Raises the errors drawn above."""
        started, was_unknown = self._options.timer(), False

        def once() -> _Tried:
            nonlocal was_unknown
            tried = self._once(call)
            was_unknown = was_unknown or isinstance(tried.error, OutcomeUnknown)
            return tried

        def is_owed(tried: _Tried) -> bool:
            return _may_repeat(call, tried) and self._options.timer() - started <= self._options.retry_within_seconds

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(is_owed),
            stop=tenacity.stop_after_attempt(self._options.tries),
            wait=_wait,
            sleep=self._options.sleep,
            retry_error_callback=_last,
        )
        tried: _Tried = retrying(once)
        if tried.answer is not None:
            return tried.answer
        error = tried.error or AnswerNotUnderstood(gateway=self._gateway, operation=call.operation)
        if was_unknown and not call.is_question and _is_silent_on_earlier_tries(error):
            # An earlier try may have taken effect, and this refusal says nothing of it.
            error = self._error(OutcomeUnknown, call, error.detail, http_status=error.http_status)
        raise error

    def _once(self, call: Call) -> _Tried:
        started, received = self._options.timer(), None
        try:
            with self._breaker.passing() as passage:
                if self._places.acquire(timeout=self._options.max_wait_seconds):
                    tried, received = self._try(call)
                    passage.was_silent = _is_silence(tried, received)
                else:
                    full = f"Too many calls to {self._gateway} are waiting already."
                    tried = _Tried(error=self._error(GatewayUnavailable, call, full), may_repeat=False, is_made=False)
        except LeftAlone as left:
            silent = f"{self._gateway} has not been answering; it is called again shortly."
            error = self._error(GatewayLeftAlone, call, silent, retry_after_seconds=left.seconds)
            tried = _Tried(error=error, may_repeat=False, is_made=False)
        return self._told(call, tried, received, started)

    def _try(self, call: Call) -> tuple[_Tried, _Received | None]:
        """The exchange; our place among those allowed at once is given back at its end."""
        try:
            failpoints.hit(f"{call.operation}.before_send")
            received = self._exchange(call)
            failpoints.hit(f"{call.operation}.after_send")
        except (requests.RequestException, HTTPError, OSError) as problem:
            return _Tried(error=self._failure(call, problem)), None
        finally:
            self._places.release()
        return self._read(call, received), received

    def _exchange(self, call: Call) -> _Received:
        response = self._open_session().request(
            call.method,
            self._base_url + call.path,
            params=dict(call.query) or None,
            data=_body(call),
            headers={**({"Content-Type": "application/json"} if call.json is not None else {}), **call.headers},
            auth=_Bearer(self._secret),
            timeout=(self._options.connect_seconds, self._options.read_seconds),
            allow_redirects=False,
            stream=True,
            verify=self._options.ca_bundle or True,
        )
        with response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            body, is_whole = bytearray(), True
            for chunk in self._chunks(response):
                body += chunk
                if len(body) > self._options.max_body_bytes:
                    is_whole = False
                    break
        return _Received(response.status_code, headers, bytes(body), is_whole)

    def _chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The body as it arrives, under one deadline: a dripping answer must not hold a thread for ever."""
        deadline = self._options.timer() + self._options.read_seconds
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            yield chunk
            if self._options.timer() > deadline:
                raise requests.ReadTimeout("The answer took too long.")

    def _open_session(self) -> requests.Session:
        """The process's own session: sockets must not be shared across a fork."""
        with self._lock:
            if self._session is None or self._session[0] != os.getpid():
                session = requests.Session()
                session.trust_env = not _is_loopback(self._base_url)  # a proxy is for the outside world
                session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
                session.headers["Accept"], session.headers["User-Agent"] = "application/json", "payflow"
                adapter = requests.adapters.HTTPAdapter(
                    pool_connections=1, pool_maxsize=self._options.max_calls, max_retries=0
                )
                session.mount("https://", adapter)
                session.mount("http://", adapter)
                self._session = (os.getpid(), session)
            return self._session[1]

    def _read(self, call: Call, received: _Received) -> _Tried:
        """From an answer to its meaning: the one place where an HTTP status becomes an error class."""
        problem, body = None, dict[str, Any]()
        try:
            body = parse_object(received.body, received.headers.get("content-type"), is_whole=received.is_whole)
        except ValueError as unreadable:
            problem = str(unreadable)
        status, kept = received.status, redact_object(body) if problem is None else None
        may_repeat = self._verdict(received.headers)
        is_readable = problem is None
        is_ok = 200 <= status < 300
        is_refused = is_readable and (400 <= status < 500 or (is_ok and self._dialect.is_refusal(body)))
        if is_ok and is_readable and not is_refused:
            answer = Answer(status, body, redact_object(body), received.headers, self._request_id(received.headers))
            return _Tried(answer=answer, response=kept)
        words = self._dialect.read_error(status, body) if problem is None else ErrorWords()
        wait = retry_after(received.headers, self._clock.now(), is_limited=status == 429)
        kind: type[GatewayError]
        if status == 429 or (is_refused and words.is_try_later):
            kind = GatewayUnavailable
        elif status >= 500 or status == 408:
            kind = GatewayUnavailable if call.is_question else OutcomeUnknown
        elif is_refused or status in (401, 403):
            kind = GatewayRejected
        else:  # 2xx or 4xx that is no JSON object, any 3xx
            kind = AnswerNotUnderstood
        error = self._error(
            kind,
            call,
            self._sentence(status, words, problem, received.body),
            code=words.code,
            http_status=status,
            gateway_code=self._clean(words.gateway_code),
            request_id=self._request_id(received.headers),
            retry_after_seconds=wait if wait is not None else words.retry_after_seconds,
        )
        if status in (401, 403) or words.needs_person:
            self._log.error(
                "a gateway refuses us: a person must act",
                action="gateway.refused",
                gateway=self._gateway,
                operation=call.operation,
                http_status=status,
                gateway_code=error.gateway_code,
                request_id=error.request_id,
            )
        return _Tried(error=error, response=kept, may_repeat=may_repeat)

    def _failure(self, call: Call, problem: Exception) -> GatewayError:
        """No whole answer came: what that means depends on whether anything had been sent."""
        name = type(_root(problem)).__name__
        if isinstance(problem, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader):
            return self._error(GatewayUnavailable, call, f"The address of {self._gateway} is unusable ({name}).")
        if _nothing_was_sent(problem):
            return self._error(GatewayUnavailable, call, f"{self._gateway} cannot be reached ({name}).")
        kind = GatewayUnavailable if call.is_question else OutcomeUnknown
        return self._error(kind, call, f"{self._gateway} did not answer ({name}).")

    def _sentence(self, status: int, words: ErrorWords, problem: str | None, body: bytes) -> str:
        if problem is None:
            return f"{self._gateway} answered {status}: {self._clean(words.message) or 'no reason given'}"
        excerpt = self._clean(" ".join(body[:400].decode("utf-8", "replace").split()), limit=80)
        return f"{self._gateway} answered {status} with {problem}: {excerpt or 'nothing'}"

    def _clean(self, text: str | None, *, limit: int = 200) -> str | None:
        return None if text is None else redact_text(text, limit=limit, secrets=(self._secret,))

    def _error(self, kind: type[GatewayError], call: Call, detail: str, **facts: Any) -> GatewayError:
        return kind(detail, gateway=self._gateway, operation=call.operation, **facts)

    def _verdict(self, headers: Mapping[str, str]) -> bool | None:
        name = self._dialect.should_retry_header
        return {"true": True, "false": False}.get(headers.get(name, "").lower()) if name else None

    def _request_id(self, headers: Mapping[str, str]) -> str | None:
        found = next((headers[name] for name in self._dialect.request_id_headers if headers.get(name)), None)
        return self._clean(found, limit=100)

    def _told(self, call: Call, tried: _Tried, received: _Received | None, started: float) -> _Tried:
        """Log one try, record it if a call was made, then hand it on."""
        duration_ms = round((self._options.timer() - started) * 1_000)
        request_id = self._request_id(received.headers) if received else None
        line = self._log.info if tried.error is None else self._log.warning
        line(
            "gateway call",
            action="gateway.call",
            gateway=self._gateway,
            operation=call.operation,
            http_status=received.status if received else None,
            duration_ms=duration_ms,
            request_id=request_id,
            error=tried.error.code if tried.error else None,
        )
        if self._options.recorder is not None and tried.is_made:
            sent = dict(call.json or call.form or call.query)
            self._options.recorder(
                CallRecord(
                    gateway=self._gateway,
                    operation=call.operation,
                    method=call.method,
                    route=call.route,
                    at=self._clock.now(),
                    duration_ms=duration_ms,
                    http_status=received.status if received else None,
                    request_id=request_id,
                    error_code=tried.error.code if tried.error else None,
                    request=redact_object(sent),
                    response=tried.response,
                    error=tried.error.detail if tried.error else None,
                    about=what_it_is_for(),
                )
            )
        return tried


class _Bearer(requests.auth.AuthBase):
    """The secret as an auth object, so that no ~/.netrc entry takes its place."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._secret}"
        return request


def _body(call: Call) -> bytes | list[tuple[str, str]] | None:
    if call.json is not None:
        return json_text(call.json).encode()
    return None if call.form is None else list(call.form)


def _may_repeat(call: Call, tried: _Tried) -> bool:
    error = tried.error
    if error is None or not (call.is_question or call.is_repeatable) or tried.may_repeat is False:
        return False
    if (error.retry_after_seconds or 0) > _LONGEST_WAIT_SECONDS:
        return False
    return tried.may_repeat is True or error.retryable


def _wait(state: tenacity.RetryCallState) -> float:
    jitter = tenacity.wait_random_exponential(multiplier=0.2, max=2)(state)
    tried = state.outcome.result() if state.outcome else None
    error = tried.error if tried else None
    return float((error.retry_after_seconds if error else None) or 0) + jitter


def _is_silence(tried: _Tried, received: _Received | None) -> bool:
    """Whether the gateway, not our request, is what is wrong."""
    return received is None or received.status >= 500 or isinstance(tried.error, AnswerNotUnderstood)


def _last(state: tenacity.RetryCallState) -> _Tried:
    tried: _Tried = state.outcome.result() if state.outcome else _Tried()
    return tried


def _is_silent_on_earlier_tries(error: GatewayError) -> bool:
    return isinstance(error, GatewayUnavailable) or error.http_status in (401, 403)


def _root(problem: BaseException) -> BaseException:
    """The error at the bottom of what requests and urllib3 wrapped around it."""
    for inner in (getattr(problem, "reason", None), *problem.args[:1]):
        if isinstance(inner, BaseException):
            return _root(inner)
    return problem


def _nothing_was_sent(problem: Exception) -> bool:
    """Whether the connection never came to be: then a command certainly had no effect."""
    if isinstance(problem, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    root = _root(problem)
    if isinstance(root, ReadTimeoutError):
        return False
    return isinstance(
        root, ConnectionRefusedError | ssl.SSLCertVerificationError | NameResolutionError | NewConnectionError
    )


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
