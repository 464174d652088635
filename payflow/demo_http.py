"""The headless demo's way to the system: the public API with a token of its own making, and the sandbox's controls.

Standard library only, one short connection per request. What must not enter: what the requests are about.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import IO, Any
from urllib.parse import urlsplit

import jwt

from payflow.core.errors import ConfigurationError, PayflowError
from payflow.core.identifiers import new_id

Json = dict[str, Any]
TIMEOUT_SECONDS = 30
TOO_MANY, NOT_FOUND = 429, 404
REFUSALS_TAKEN = 10


class CallFailed(PayflowError):
    """A request was not answered as it should be."""

    code = "call_failed"

    def __init__(self, detail: str, *, status: int = 0) -> None:
        super().__init__(detail)
        self.status = status


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer to look at, not to follow."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _StayHere)


def call(method: str, url: str, body: Json | None = None, headers: Mapping[str, str] | None = None) -> Any:
    """Send a request; the answer's JSON, or None. Raises CallFailed with the problem's own words."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigurationError(f"{url!r} is not an http(s) address.")
    data = None if body is None else json.dumps(body).encode()
    sent = {"Accept": "application/json", **({"Content-Type": "application/json"} if data else {}), **(headers or {})}
    request = urllib.request.Request(url, data=data, method=method, headers=sent)  # noqa: S310 - scheme checked above
    for refusal in range(REFUSALS_TAKEN + 1):
        try:
            with _opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return _json(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == TOO_MANY and refusal < REFUSALS_TAKEN:
                    time.sleep(min(float(error.headers.get("Retry-After") or 1), 5))
                    continue
                if 300 <= error.code < 400:
                    return None
                problem = _json(error)
            raise CallFailed(f"{method} {url}: {error.code} {_words(problem)}", status=error.code) from None
        except OSError as error:
            raise CallFailed(f"{method} {url}: {error}") from None
    raise CallFailed(f"{method} {url}: refused {REFUSALS_TAKEN} times for haste", status=TOO_MANY)


def _json(answer: IO[bytes]) -> Any:
    text = answer.read()
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None  # a page for people


def _words(problem: object) -> str:
    if not isinstance(problem, dict):
        return ""
    fields = [f"{one.get('pointer')}: {one.get('detail')}" for one in problem.get("errors") or []]
    said = [problem.get("title"), problem.get("detail"), problem.get("error"), *fields]
    return " - ".join(str(word) for word in said if word)


@dataclass(frozen=True, slots=True)
class Api:
    """The public API as one caller sees it."""

    base_url: str
    token: str = field(repr=False)

    def get(self, path: str) -> Any:
        return self._send("GET", path)

    def post(self, path: str, body: Json, headers: Mapping[str, str] | None = None) -> Any:
        """POST with an idempotency key of its own."""
        return self._send("POST", path, body, {"Idempotency-Key": new_id(), **(headers or {})})

    def patch(self, path: str, body: Json) -> Any:
        return self._send("PATCH", path, body)

    def _send(self, method: str, path: str, body: Json | None = None, headers: Mapping[str, str] | None = None) -> Any:
        login = {"Authorization": f"Bearer {self.token}"}
        return call(method, f"{self.base_url}/api/v1{path}", body, {**login, **(headers or {})})


@dataclass(frozen=True, slots=True)
class Target:
    """A running system: payflow's address, the sandbox's, and the secret its logins are signed with."""

    base_url: str
    sandbox_url: str
    token_secret: str = field(repr=False)
    claims: Mapping[str, str] = field(default_factory=dict)
    """Further claims its tokens must carry (`aud`, `iss`)."""

    def api(self, user_id: str, *, email: str, workspace: str, role: str) -> Api:
        """The API for a user who is member or admin of one workspace."""
        claims = {
            **self.claims,
            "sub": user_id,
            "email": email,
            "name": "Ada Obi",
            "workspaces": {workspace: {"name": "Harbour Rooms", "role": role}},
            "scope": "",
            "exp": datetime.now(UTC) + timedelta(minutes=10),
        }
        return Api(self.base_url, jwt.encode(claims, self.token_secret, algorithm="HS256"))

    def sandbox(self, method: str, path: str, body: Json | None = None) -> Any:
        """The sandbox's controls and its mail catcher."""
        return call(method, self.sandbox_url + path, body)

    def visit(self, url: str) -> None:
        """Open a page as a browser would, without a login."""
        call("GET", url)

    def story(self, order_id: str) -> Json | None:
        """What the demo page knows of an order; None where that page is off."""
        try:
            found: Json = call("GET", f"{self.base_url}/demo/orders/{order_id}/story")
        except CallFailed as error:
            if error.status == NOT_FOUND:
                return None
            raise
        return found
