"""Where outbound webhooks may go: what an address must look like, and which IP addresses are the public internet.

Rules without I/O. Names are looked up, and their addresses judged by `is_public`, in channels/webhook.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from payflow.core.errors import InvalidInput

LONGEST_URL = 2_000
PUBLIC_PORTS = (443, 8443)
_DEFAULT_PORTS = {"https": 443, "http": 80}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label like this makes C libraries read the whole name as an IPv4 address: 2130706433, 0x7f.1, 017700000001."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_FOR_US = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments (RFC 6890)
    IPv4Network("192.88.99.0/24"),  # 6to4 relays (RFC 7526)
    IPv6Network("2002::/16"),  # 6to4: an IPv4 address inside (RFC 3056)
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
)
"""What `is_global` lets through although no receiver lives there."""


class UnfitDestination(InvalidInput):
    """Webhooks cannot be sent to this address."""

    code = "invalid_url"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail, code=code, pointer="/url")


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL taken apart once: nothing behind this parses it a second time and comes to another host."""

    scheme: str
    host: str
    """A name in lower case, or an IP address without brackets."""
    port: int
    target: str
    """Path and query, as sent in the request line."""

    @property
    def authority(self) -> str:
        """The `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def read_destination(url: str, *, allow_private: bool) -> Destination:
    """The parts of an acceptable URL. Raises UnfitDestination.

    `allow_private` (development) admits plain http, every port, and private addresses.
    """
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or any(one in url for one in ' \\"<>^`{|}'):
        raise UnfitDestination("The URL has characters that do not belong there, or too many.")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise UnfitDestination("The URL cannot be read.") from None
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise UnfitDestination("The URL must begin with https://.", code="url_not_https")
    if "@" in parts.netloc:
        raise UnfitDestination("The URL must not hold a login.", code="url_with_login")
    if parts.fragment:
        raise UnfitDestination("The URL must not have a fragment (#).")
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    if not allow_private and port not in PUBLIC_PORTS:
        raise UnfitDestination("The port must be 443 or 8443.", code="url_port")
    _check_host(host, allow_private=allow_private)
    return Destination(parts.scheme, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _check_host(host: str, *, allow_private: bool) -> None:
    try:
        ip_address(host)
    except ValueError:
        labels = host.split(".")
        if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)) or _NUMBER.fullmatch(labels[-1]):
            raise UnfitDestination("The host must be a name, or an IP address in its usual form.") from None
        return
    if "%" in host or not (allow_private or is_public(host)):
        raise UnfitDestination("The host is not on the public internet.", code="url_not_public")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet. Of IPv6 only global unicast counts: addresses that carry an
    IPv4 address inside (mapped, NAT64, 6to4, Teredo) would reach what that one must not."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and (found.scope_id is not None or found not in _GLOBAL_UNICAST):
        return False
    return found.is_global and not found.is_multicast and not _is_reserved(found)


def _is_reserved(found: IPv4Address | IPv6Address) -> bool:
    return any(found.version == network.version and found in network for network in _NOT_FOR_US)
