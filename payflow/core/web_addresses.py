"""Which addresses a customer may be sent back to."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit


def is_allowed_return_url(url: str, allowed: Iterable[str]) -> bool:
    """Whether a return URL has the scheme, host and port of an allowed address and lies below its path.

    Compared after parsing, so that `https://good.example@evil.example`, `//evil.example`, `https:evil.example` and
    `https:\\\\evil.example` are what they are.
    """
    if any(character in url for character in "\\\r\n\t ") or not url.isascii() or not url.isprintable():
        return False
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        return False
    if found.scheme not in ("http", "https") or not found.hostname or found.username is not None:
        return False
    if ".." in found.path.lower().replace("%2e", "."):  # browsers read %2e%2e as ".." too
        return False
    for address in allowed:
        base = urlsplit(address)
        same_host = (found.scheme, found.hostname, port) == (base.scheme, base.hostname, base.port)
        folder = base.path.rstrip("/")
        if same_host and (found.path == folder or found.path.startswith(f"{folder}/") or not folder):
            return True
    return False
