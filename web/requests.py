"""How a request is read: strict JSON, its own id, what it prefers. Nothing is decided here."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from payflow import logs
from payflow.core.cards import holds_card_number
from web.errors import Malformed

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,4})\"?\s*(?=,|;|$)", re.IGNORECASE)
MAX_WAIT_SECONDS = 10


class StrictRequest(Request):
    """JSON bodies are read by the letter: UTF-8, one object, no NaN, no name twice, not nested beyond reason."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """The body as a dict; an empty body is an empty object. Raises Malformed, UnsupportedMediaType."""
        raw = self.raw_body()
        if not raw.strip():
            return {}
        if not self.is_json:
            raise UnsupportedMediaType("Send the body as application/json.")
        try:
            found = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
        except RecursionError:
            raise Malformed("The JSON is nested too deeply.", code="malformed_json") from None
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise Malformed(
                f"The body is not JSON as RFC 8259 has it: {reason[:200]}.", code="malformed_json"
            ) from None
        if not isinstance(found, dict):
            raise Malformed("The body must be a JSON object.", code="malformed_json")
        return found

    def raw_body(self) -> bytes:
        """The bytes as they came. A body without a length is cut off at the limit by werkzeug; here it is refused."""
        raw = self.get_data(cache=True)
        if self.content_length is None and len(raw) >= (self.max_content_length or len(raw) + 1):
            raise RequestEntityTooLarge("The body is larger than what is taken here.")
        return raw

    @property
    def wait_seconds(self) -> int:
        """`Prefer: wait=N` (RFC 7240), at most 10; 0 without it."""
        found = _WAIT.search(",".join(self.headers.getlist("Prefer")))
        return min(int(found.group(1)), MAX_WAIT_SECONDS) if found else 0


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


class RequestIds:
    """WSGI: gives every request an id (the client's, if sane), binds it to the logs and puts it on every answer."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        is_sane = _SANE_ID.fullmatch(given) and not holds_card_number(given)
        request_id = given if is_sane else str(uuid.uuid4())

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Callable[[bytes], object]:
            return start_response(status, [*headers, ("X-Request-ID", request_id)], *rest)

        with logs.bound(correlation_id=request_id):
            return self._app(environ, start)
