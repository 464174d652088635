"""How answers are put together: typed shape to JSON bytes, ETag, and the read cache in front of the database.

A cached answer's name holds who it was made for, so nobody is served another's rows; its family's stamp is read before
the database is, so a write that races with the reading wins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from flask import Response, request
from pydantic import BaseModel

from payflow.services.access import Caller
from web.context import caller, web

CACHED_SECONDS = 60
MOST_FAMILIES = 4
"""A caller who administers more workspaces than this is answered from the database."""


def answer(shape: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return _json(dump(shape), status, headers)


def dump(shape: BaseModel) -> bytes:
    return shape.model_dump_json(by_alias=True).encode()


def remembered(noun: str, make: Callable[[], BaseModel]) -> Response:
    """The answer to this GET: from the cache, or made now; 304 if the client has it already."""
    families = _families(noun, caller())
    body = _cached(families, make) if families else dump(make())
    return tagged(body)


def tagged(body: bytes) -> Response:
    """With an ETag, honouring If-None-Match."""
    response = _json(body, 200, None)
    response.set_etag(hashlib.sha256(body).hexdigest()[:32])
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = "Authorization"
    response.make_conditional(request)
    return response


def _json(body: bytes, status: int, headers: Mapping[str, str] | None) -> Response:
    response = Response(body, status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers.update(dict(headers or {}))
    return response


def _families(noun: str, who: Caller) -> list[str]:
    """The key families whose writes must be noticed by this caller's view; none = do not cache."""
    if who.all_workspaces:
        return [f"{noun}:all"]
    families = [] if who.is_service else [f"{noun}:user:{who.user_id}"]
    families += [f"{noun}:workspace:{workspace_id}" for workspace_id in who.administered]
    return families if len(families) <= MOST_FAMILIES else []


def _cached(families: list[str], make: Callable[[], BaseModel]) -> bytes:
    cache = web().container.cache
    stamps = [cache.stamp(family) for family in families]
    stamp = stamps[0]
    if stamp is None or None in stamps:
        return dump(make())
    who = caller()
    asked = f"{who.actor}\n{request.path.rstrip('/')}\n{request.query_string.decode('latin-1')}\n{stamps[1:]}"
    rights = f"{who.all_workspaces}\n{who.is_operator}\n{families}"
    name = hashlib.sha256(f"{asked}\n{rights}".encode()).hexdigest()
    known = cache.get(families[0], name)
    if known is not None:
        return known
    body = dump(make())
    cache.put(families[0], name, body, seconds=CACHED_SECONDS, stamp=stamp)
    return body
