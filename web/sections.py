"""How a section of the API is declared: its path, its tag, who may come in, which errors it can answer with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from flask_openapi3.types import ResponseDict

from web.errors import PROBLEM

BASE = "/api/v1"
BEARER = "bearer"
H = TypeVar("H", bound=Callable[..., Any])
_PROBLEM = {"content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def problems(*statuses: int) -> ResponseDict:
    """These errors, in the document's words."""
    return {str(status): dict(_PROBLEM) for status in statuses}


def section(name: str, path: str, about: str) -> APIBlueprint:
    """A section below `/api/v1`. It needs a caller unless a handler is marked `public`."""
    return APIBlueprint(
        name,
        f"web.{name}",
        url_prefix=f"{BASE}{path}",
        abp_tags=[Tag(name=name.replace("_", " "), description=about)],
        abp_security=[{BEARER: []}],
        abp_responses=problems(400, 401, 404, 422, 429, 500),
        operation_id_callback=lambda name, **_: name,  # what generated clients call their functions
    )


def public(handler: H) -> H:
    """Let anybody call this handler."""
    handler.is_public = True  # type: ignore[attr-defined]  # a mark on a function
    return handler


def needs_caller() -> bool:
    """Whether the present request must say who is calling: every API route, unless marked otherwise."""
    if request.endpoint is None or request.method == "OPTIONS" or not request.path.startswith(f"{BASE}/"):
        return False
    return not getattr(current_app.view_functions[request.endpoint], "is_public", False)
