"""The OpenAPI 3.1 document: what flask-openapi3 gathers from the routes and schemas, with what it has no place for.

Headers, limits that every route shares, and examples are added here; docs/openapi.json is the kept copy, and a test
compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

from flask_openapi3.openapi import OpenAPI

from web.errors import PROBLEM
from web.examples import EXAMPLES
from web.sections import BASE

Part: TypeAlias = dict[str, Any]

_WAITING = ("initiate_payment", "confirm_return", "check_status")
_TAGGED = (
    "list_bookings", "show_booking", "list_orders", "show_order", "list_payments", "show_payment", "list_refunds",
    "show_refund", "list_notifications",
)  # fmt: skip
"""Reads whose answers have an ETag."""


def _header(about: str, schema: Part) -> Part:
    return {"description": about, "schema": schema}


_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
_HEADERS: Mapping[str, Part] = {
    "X-Request-ID": _header("The caller's, if it was sane, or a new one; in every log line about this.", _TEXT),
    "RateLimit-Limit": _header("Requests allowed in the present window.", _COUNT),
    "RateLimit-Remaining": _header("Requests left in it.", _COUNT),
    "RateLimit-Reset": _header("Seconds until it ends.", _COUNT),
    "Retry-After": _header("Seconds to wait before trying again.", _COUNT),
    "WWW-Authenticate": _header("How to authenticate.", _TEXT),
    "ETag": _header("Send it as `If-None-Match` and hear 304 while nothing has changed.", _TEXT),
    "Location": _header("Where the new object is.", {"type": "string", "format": "uri-reference"}),
    "Idempotency-Replayed": _header("`true` on the kept answer to a repeated request.", {"const": "true"}),
    "Preference-Applied": _header("The wait that was honoured.", _TEXT),
}
_ALWAYS = ("X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


def _parameter(name: str, about: str, schema: Part) -> Part:
    return {"name": name, "in": "header", "required": False, "description": about, "schema": schema}


_REQUEST_ID = _parameter(
    "X-Request-ID",
    "Names this request in logs, history and webhooks: up to 128 letters, digits, `.`, `_` or `-`; else a new one.",
    _TEXT,
)
_REPEATABLE = _parameter(
    "Idempotency-Key",
    "Makes the request repeatable for 72 hours.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
)
_PREFER = _parameter("Prefer", "`wait=N`: wait up to N seconds (at most 10) for the outcome.", _TEXT)
_IF_NONE_MATCH = _parameter("If-None-Match", "The `ETag` of the answer the client has.", _TEXT)
_SIGNED_BODY: Part = {
    "description": "As the gateway sends it; its signature is in the gateway's own header.",
    "required": True,
    "content": {"application/json": {"schema": {"type": "object"}}},
}


def document(app: OpenAPI) -> Part:
    """The whole document, the same from every installation of one version."""
    found: Part = json.loads(json.dumps(app.api_doc))
    found["servers"] = [{"url": "/", "description": "This installation."}]
    found["components"] |= {"headers": dict(_HEADERS), "responses": {}}
    for name, example in EXAMPLES.items():
        found["components"]["schemas"][name]["examples"] = [example]
    handlers = _handlers(app)
    for method, operation in _operations(found):
        _complete(operation, handlers[operation["operationId"], method])
        _share_problems(operation["responses"], found["components"]["responses"])
    return found


def _handlers(app: OpenAPI) -> dict[tuple[str, str], Any]:
    return {
        (rule.endpoint.rpartition(".")[2], method.lower()): app.view_functions[rule.endpoint]
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(f"{BASE}/")
        for method in rule.methods or ()
    }


def _operations(found: Part) -> Iterator[tuple[str, Part]]:
    for operations in found["paths"].values():
        yield from operations.items()


def _complete(operation: Part, handler: Any) -> None:
    name, responses = operation["operationId"], cast(Part, operation["responses"])
    is_repeatable = getattr(handler, "is_repeatable", False)
    parameters: list[Part] = operation.setdefault("parameters", [])
    for parameter in parameters:
        _plain(parameter)
    operation["description"] = operation.get("description", "").replace("<br/>", " ").strip() or operation["summary"]
    if getattr(handler, "is_public", False):
        operation["security"] = []
        if name != "receive_webhook":
            del responses["401"]
    if name == "receive_webhook":
        operation["requestBody"] = _SIGNED_BODY
    if "requestBody" in operation:
        responses |= {"413": _problem("Content Too Large"), "415": _problem("Unsupported Media Type")}
    responses["503"] = _problem("Service Unavailable")
    parameters.append(_REQUEST_ID)
    if is_repeatable:
        parameters.append(_REPEATABLE)
        responses.setdefault("409", _problem("Conflict"))
    if name in _WAITING:
        parameters.append(_PREFER)
    if name in _TAGGED:
        parameters.append(_IF_NONE_MATCH)
        responses["304"] = {"description": "Not Modified: the client has it already."}
    for status, response in responses.items():
        response["headers"] = {
            one: {"$ref": f"#/components/headers/{one}"}
            for one in _headers(name, is_repeatable=is_repeatable, status=status)
        }
    operation["responses"] = dict(sorted(responses.items()))


def _share_problems(responses: Part, shared: Part) -> None:
    """Errors look the same everywhere: each is written once, and pointed at."""
    for status, response in responses.items():
        if PROBLEM in response.get("content", ()):
            name = f"Problem{status}{'Replayable' if 'Idempotency-Replayed' in response['headers'] else ''}"
            shared[name] = response
            responses[status] = {"$ref": f"#/components/responses/{name}"}


def _headers(name: str, *, is_repeatable: bool, status: str) -> Iterator[str]:
    """Which headers an answer of that status may carry."""
    yield from _ALWAYS
    if status == "401":
        yield "WWW-Authenticate"
    if status in ("409", "429", "503"):
        yield "Retry-After"
    if name in _TAGGED and status in ("200", "304"):
        yield "ETag"
    if is_repeatable and status in ("201", "202"):
        yield "Location"
    if is_repeatable and status in ("201", "202", "403", "404", "422"):
        yield "Idempotency-Replayed"
    if name in _WAITING and status[0] == "2":
        yield "Preference-Applied"


def _problem(description: str) -> Part:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {PROBLEM: {"schema": schema}}}


def _plain(parameter: Part) -> None:
    """A query has no null: what is left out is left out."""
    schema = parameter["schema"]
    kinds = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update(kinds[0])
        schema.pop("default", None)
