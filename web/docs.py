"""The API's own description: OpenAPI 3.1 as JSON, and a page to browse it that loads nothing from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import flask_openapi3_swagger  # type: ignore[import-untyped]  # it has no types
from flask import Blueprint, Response, current_app, render_template, send_from_directory
from flask_openapi3.openapi import OpenAPI

from payflow.core.errors import NotFound
from web.openapi import document
from web.sections import BASE, public

pages = Blueprint("docs", __name__, url_prefix=BASE)
_VIEWER = Path(flask_openapi3_swagger.__file__).parent / "templates" / "swagger"
_VIEWER_FILES = ("css/swagger-ui.css", "js/swagger-ui-bundle.js")


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
