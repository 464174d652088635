"""The API's own description: OpenAPI 3.1 as JSON, and a page to browse it that loads nothing from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import flask_openapi3_swagger  # type: ignore[import-untyped]
from flask import Blueprint, Response, current_app, render_template, send_from_directory
from flask_openapi3.openapi import OpenAPI

from payflow.core.errors import NotFound
from web.sections import BASE, public

pages = Blueprint("docs", __name__, url_prefix=BASE)
_VIEWER = Path(flask_openapi3_swagger.__file__).parent / "templates" / "swagger"
_VIEWER_FILES = ("css/swagger-ui.css", "js/swagger-ui-bundle.js")

_REPEATABLE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request repeatable for 72 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=N`: wait up to N seconds (at most 10) for the outcome.",
    "schema": {"type": "string", "examples": ["wait=5"]},
}
_CREATING = ("/bookings/", "/payment/orders/", "/payment/payments/initiate/", "/payment/refunds/")
_WAITING = (
    ("/payment/payments/initiate/", "post"),
    ("/payment/payments/callback/", "post"),
    ("/payment/payments/{id}/check-status/", "get"),
)


@pages.get("/openapi.json")
@public
def openapi() -> Response:
    """The document."""
    return Response(json.dumps(document(cast(OpenAPI, current_app))), content_type="application/json")


@pages.get("/docs/")
@public
def docs() -> str:
    """The page."""
    return render_template("docs.html")


@pages.get("/docs/<path:name>")
@public
def viewer_file(name: str) -> Response:
    """The viewer's own files."""
    if name not in _VIEWER_FILES:
        raise NotFound
    return send_from_directory(_VIEWER, name, max_age=86_400)


def document(app: OpenAPI) -> dict[str, Any]:
    """What flask-openapi3 gathered, with the headers it has no place for."""
    found: dict[str, Any] = json.loads(json.dumps(app.api_doc))
    for path in _CREATING:
        _parameters(found, path, "post").append(_REPEATABLE)
    for path, method in _WAITING:
        _parameters(found, path, method).append(_PREFER)
    return found


def _parameters(found: dict[str, Any], path: str, method: str) -> list[Any]:
    parameters: list[Any] = found["paths"][BASE + path][method].setdefault("parameters", [])
    return parameters
