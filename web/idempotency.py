"""Idempotency-Key in HTTP: which answer a repeated creating request gets. The rows are services/idempotency.py's."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from flask import Response, request

from payflow.core.cards import holds_card_number
from payflow.core.errors import PayflowError
from payflow.services.idempotency import Answer, Claim
from web.context import caller, web
from web.errors import Malformed, from_payflow

P = ParamSpec("P")
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT_HEADERS = ("Content-Type", "Location", "Preference-Applied", "Cache-Control")


def creates(handler: Callable[Concatenate[str | None, P], Response]) -> Callable[P, Response]:
    """Make a creating POST repeatable: the handler is given the id its new thing must get (None without a key).

    Only a request that passed its schema gets here, so a typing mistake does not use a key up.
    """

    @wraps(handler)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return handler(None, *args, **kwargs)
        if not _VISIBLE_ASCII.fullmatch(key) or holds_card_number(key):
            raise Malformed(
                "Idempotency-Key is 1 to 255 visible ASCII characters, and no card number.",
                code="invalid_idempotency_key",
            )
        claimed = web().idempotency.claim(_scope(), key, _fingerprint())
        if isinstance(claimed, Answer):
            return _replay(claimed)
        return _first(claimed, lambda: handler(claimed.resource_id, *args, **kwargs))

    wrapped.is_repeatable = True  # type: ignore[attr-defined]  # the document asks
    return wrapped


def _first(claim: Claim, work: Callable[[], Response]) -> Response:
    """Do the work and keep its answer; a right that led to nothing worth keeping is given back."""
    is_kept = False
    try:
        try:
            response = work()
        except PayflowError as error:
            response = from_payflow(error)
        if response.status_code < 500 and response.status_code not in (409, 429):
            headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
            web().idempotency.keep(claim, Answer(response.status_code, headers, response.get_data()))
            is_kept = True
        return response
    finally:
        if not is_kept:
            web().idempotency.release(claim)


def _replay(kept: Answer) -> Response:
    response = Response(kept.body, status=kept.status_code)
    response.headers.update(dict(kept.headers))
    response.headers["Idempotency-Replayed"] = "true"
    return response


def _scope() -> str:
    """No tenant can reach another's key."""
    rule = request.url_rule.rule if request.url_rule else request.path
    return hashlib.sha256(f"{caller().actor}\n{request.method}\n{rule}".encode()).hexdigest()


def _fingerprint() -> str:
    """Of the ids in the path and the canonical JSON: key order and white space do not matter."""
    canonical = json.dumps(request.get_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    ids = "/".join(str(value) for value in (request.view_args or {}).values())
    return hashlib.sha256((canonical + ids).encode()).hexdigest()
