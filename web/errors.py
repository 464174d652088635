"""Errors on the wire: the one table from error class to HTTP status, and problem+json (RFC 9457) for all of them.

The only place below which nothing is caught: what nobody expected becomes a plain 500 and an ERROR line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, make_response
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from payflow import logs
from payflow.core import errors as core
from payflow.gateways.base import SignatureInvalid, UnreadableWebhook
from payflow.services.idempotency import KeyReused
from web.auth import IdentityProviderUnavailable, Unauthenticated

_log = logs.get(__name__)
PROBLEM = "application/problem+json"


class Malformed(core.InvalidInput):
    """The request cannot be read."""

    code = "malformed"


STATUS: Mapping[type[core.PayflowError], HTTPStatus] = {
    Malformed: HTTPStatus.BAD_REQUEST,
    UnreadableWebhook: HTTPStatus.BAD_REQUEST,
    SignatureInvalid: HTTPStatus.UNAUTHORIZED,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    core.Forbidden: HTTPStatus.FORBIDDEN,
    core.NotFound: HTTPStatus.NOT_FOUND,
    core.Conflict: HTTPStatus.CONFLICT,
    KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    core.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    core.GatewayUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    core.GatewayError: HTTPStatus.BAD_GATEWAY,
    core.StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    IdentityProviderUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    core.PayflowError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The nearest class in an error's line of descent counts."""

_CODES = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
}
_FIELD_CODES = {"missing": "required", "extra_forbidden": "unknown_field"}
_EXPLAINED = (400, 401, 403, 404, 409, 413, 415, 422, 429, 502, 503)
"""Statuses whose detail may be told; anything else inside stays inside."""


def status_of(error: core.PayflowError) -> HTTPStatus:
    """The HTTP status an error is answered with."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def problem(
    status: int,
    *,
    code: str,
    detail: str,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document (RFC 9457). `errors` name fields by JSON pointer."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "request_id": logs.correlation_id(),
    }
    if errors:
        document["errors"] = list(errors)
    response = Response(json.dumps(document), status=int(status), content_type=PROBLEM)
    response.headers["Cache-Control"] = "no-store"
    response.headers.update(dict(headers or {}))
    return response


def from_payflow(error: core.PayflowError) -> Response:
    """The answer to an error of our own."""
    status = status_of(error)
    if status not in _EXPLAINED:
        _log.error("request failed", action="web.failed", error=type(error).__name__, code=error.code, exc_info=error)
        return _unexpected()
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = f'Bearer realm="payflow", error="{_bearer_error(error)}"'
    if isinstance(error, SignatureInvalid):
        headers["WWW-Authenticate"] = 'Signature realm="webhooks"'
    wait = getattr(error, "retry_after_seconds", None)
    if wait or error.retryable or status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(wait or 1)
    fields = [{"pointer": error.pointer, "code": error.code, "detail": error.detail}] if error.pointer else []
    return problem(status, code=error.code, detail=error.detail, errors=fields, headers=headers)


def _bearer_error(error: Unauthenticated) -> str:
    return "invalid_request" if error.code == "unauthenticated" else "invalid_token"


def from_validation(error: ValidationError) -> Response:
    """The answer to a body or query that does not fit its schema: 422, one entry per field. Input is not echoed."""
    fields = []
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in one["loc"])
        code = _FIELD_CODES.get(one["type"], one["type"])
        fields.append({"pointer": pointer, "code": code, "detail": f"{one['msg']}."})
    shown = ", ".join(field["pointer"].lstrip("/") or "the body" for field in fields[:5])
    return problem(422, code="invalid_input", detail=f"These fields are not acceptable: {shown}.", errors=fields[:50])


def from_http(error: HTTPException) -> Response:
    """The answer to an error of the framework (404, 405, 413, 415 …)."""
    status = error.code or 500
    if error.response is not None or status < 400:  # somebody aborted with a finished answer, or a redirect
        return make_response(error.get_response())
    if status >= 500:
        return _unexpected()
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return problem(status, code=_CODES.get(status, "error"), detail=error.description or "", headers=headers)


def _unexpected() -> Response:
    detail = "Something went wrong on our side. It has been noted under this request_id."
    return problem(500, code="internal_error", detail=detail)


def from_unexpected(error: Exception) -> Response:
    """The answer to what nobody expected: told in the log, not to the client."""
    _log.error("unexpected error", action="web.unexpected", error=type(error).__name__, exc_info=error)
    return _unexpected()


def register(app: Flask) -> None:
    """Hang the handlers in."""
    app.register_error_handler(core.PayflowError, from_payflow)
    app.register_error_handler(ValidationError, from_validation)
    app.register_error_handler(HTTPException, from_http)
    app.register_error_handler(Exception, from_unexpected)
