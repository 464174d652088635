"""Where webhooks may go: the rules about addresses, before any name is looked up."""

from __future__ import annotations

import pytest

from payflow.core.destinations import UnfitDestination, is_public, read_destination

REFUSED = {
    "plain http": "http://hooks.example.com/x",
    "file": "file:///etc/passwd",
    "gopher": "gopher://hooks.example.com:70/_x",
    "no scheme": "hooks.example.com/x",
    "no host": "https:///x",
    "scheme only": "https:hooks.example.com",
    "a login": "https://user:password@hooks.example.com/",
    "an empty login": "https://@hooks.example.com/",
    "two hosts": "https://hooks.example.com@127.0.0.1/",
    "a backslash": "https://hooks.example.com\\@127.0.0.1/",
    "a line break": "https://hooks.example.com/\r\nHost: evil.example",
    "an encoded host": "https://%31%32%37.0.0.1/",
    "a tab": "https://hooks.exam\tple.com/",
    "a blank": "https://hooks.example.com/a b",
    "no ASCII": "https://hööks.example.com/",
    "full-width digits": "https://１２７.０.０.１/",
    "a fragment": "https://hooks.example.com/#@127.0.0.1",
    "redis": "https://hooks.example.com:6379/",
    "a port that is none": "https://hooks.example.com:port/",
    "a port too high": "https://hooks.example.com:99999/",
    "loopback": "https://127.0.0.1/",
    "short loopback": "https://127.1/",
    "decimal": "https://2130706433/",
    "hexadecimal": "https://0x7f000001/",
    "mixed": "https://0x7f.0.0.1/",
    "octal": "https://017700000001/",
    "octal parts": "https://0177.0.0.1/",
    "decimal of a public address": "https://134744072/",
    "trailing dot": "https://127.0.0.1./",
    "everything": "https://0.0.0.0/",
    "private": "https://10.1.2.3/",
    "metadata": "https://169.254.169.254/latest/meta-data/",
    "IPv6 loopback": "https://[::1]/",
    "IPv6 everything": "https://[::]/",
    "mapped": "https://[::ffff:127.0.0.1]/",
    "mapped in hex": "https://[::ffff:7f00:1]/",
    "NAT64": "https://[64:ff9b::7f00:1]/",
    "6to4": "https://[2002:7f00:1::]/",
    "scoped": "https://[fe80::1%25eth0]/",
    "broken brackets": "https://[::1/",
    "too long": "https://hooks.example.com/" + "x" * 2_000,
}


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED.keys())
def test_an_address_that_is_a_trap_is_refused_at_its_field(url: str) -> None:
    """Each with a sentence, a code and the field's name."""
    with pytest.raises(UnfitDestination) as caught:
        read_destination(url, allow_private=False)
    assert caught.value.pointer == "/url"
    assert caught.value.code.startswith(("invalid_url", "url_"))


PRIVATE = (
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::808:808",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1", "fc00::1",
    "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::1111%eth0",
    "localhost", "127.1", "2130706433", "",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_off_the_public_internet_is_not_public(address: str) -> None:
    """Loopback, private, link-local, metadata, multicast, reserved; and every IPv6 that carries an IPv4 inside."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "2606:4700:4700::1111"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    """The neighbours of the private ranges too."""
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "parts", "authority"),
    [
        ("https://Hooks.Example.com", ("hooks.example.com", 443, "/"), "hooks.example.com"),
        ("https://hooks.example.com:8443/a?b=c%20d", ("hooks.example.com", 8443, "/a?b=c%20d"), None),
        ("https://[2606:4700:4700::1111]/x", ("2606:4700:4700::1111", 443, "/x"), "[2606:4700:4700::1111]"),
        ("https://my_hooks.xn--hks-sna.example/", ("my_hooks.xn--hks-sna.example", 443, "/"), None),
    ],
)
def test_a_good_address_is_taken_apart(url: str, parts: tuple[str, int, str], authority: str | None) -> None:
    """Once, and the `Host` header names the port where it must."""
    found = read_destination(url, allow_private=False)
    assert (found.host, found.port, found.target) == parts
    assert found.authority == (authority or (parts[0] if parts[1] == 443 else f"{parts[0]}:{parts[1]}"))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/x", "http://localhost/", "https://[::1]:8443/", "https://10.0.0.1"]
)
def test_development_may_send_at_home(url: str) -> None:
    """The flag admits http, every port and private addresses."""
    assert read_destination(url, allow_private=True).port


@pytest.mark.parametrize(
    "url", ["file:///x", "http://a@127.0.0.1/", "http://127.1/", "http://x\r\n/", "gopher://127.0.0.1/"]
)
def test_development_is_no_excuse_for_a_broken_address(url: str) -> None:
    """Nor for other schemes, logins, or numbers that only look like one."""
    with pytest.raises(UnfitDestination):
        read_destination(url, allow_private=True)
