"""Lists on the wire: opaque cursors in, `{"next", "previous", "results"}` out. Newest first."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask import request

from payflow.store.queries import Cursor, Page
from web.context import web
from web.errors import Malformed

PAGE_SIZE, MAX_PAGE_SIZE = 10, 100


def read_cursor(text: str | None) -> Cursor | None:
    """A cursor we handed out. Raises Malformed for anything else."""
    if text is None:
        return None
    try:
        raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 17 or raw[:1] not in (b"n", b"p"):
        raise Malformed(
            "The cursor is not one of ours; take it from `next` or `previous`.",
            code="invalid_cursor",
            pointer="/cursor",
        )
    return Cursor(str(UUID(bytes=raw[1:])), is_backward=raw[:1] == b"p")


def write_cursor(cursor: Cursor) -> str:
    raw = (b"p" if cursor.is_backward else b"n") + UUID(cursor.row_id).bytes
    return base64.urlsafe_b64encode(raw).decode("ascii")


def links(page: Page) -> dict[str, Any]:
    """`next` and `previous`: addresses of the neighbouring pages with the same filters, or None."""
    return {"next": _link(page.next), "previous": _link(page.previous)}


def _link(cursor: Cursor | None) -> str | None:
    if cursor is None:
        return None
    kept = [(name, value) for name, value in request.args.items() if name != "cursor"]
    query = urlencode([*kept, ("cursor", write_cursor(cursor))])
    path = request.path if request.path.endswith("/") else f"{request.path}/"
    return f"{web().container.settings.public_url}{path}?{query}"
