"""Where a customer may be sent back to: what a browser would make of an address, not what it looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payflow.core.web_addresses import is_allowed_return_url

ALLOWED = ("https://good.example", "https://shop.example/pay", "http://127.0.0.1:8000")


@pytest.mark.parametrize(
    "url",
    [
        "https://good.example",
        "https://good.example/",
        "https://good.example/any/where?x=1&y=2#part",
        "https://GOOD.example/x",
        "HTTPS://good.example/x",
        "https://good.example?next=https://evil.example",
        "https://good.example#@evil.example",
        "https://shop.example/pay",
        "https://shop.example/pay/",
        "https://shop.example/pay/done?order=1",
        "http://127.0.0.1:8000/back",
    ],
)
def test_address_below_an_allowed_one_is_let_through(url: str) -> None:
    """Same scheme, host and port, and the path itself or below it."""
    assert is_allowed_return_url(url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "//evil.example",
        "//good.example",
        "https:evil.example",
        "https:/good.example",
        "https:///good.example",
        "https:\\\\evil.example",
        "https://good.example\\.evil.example",
        "https://good.example\\@evil.example",
        "\\\\evil.example",
        "https://evil.example/https://good.example",
        "https://evil.example?https://good.example",
        "https://good.example.evil.example",
        "https://good.examples",
        "https://evilgood.example",
        "https://good.example@evil.example",
        "https://good.example:443@evil.example",
        "https://user@good.example",
        "https://:password@good.example",
        "https://@good.example",
        "https://good.example:444",
        "https://good.example:80/",
        "https://good.example:port/",
        "https://good.example:99999/",
        "http://good.example",
        "ftp://good.example",
        "javascript:alert(1)//good.example",
        "javascript://good.example/%0aalert(1)",
        "data:text/html,https://good.example",
        "https://good.example%2eevil.example",
        "https://good.example%00.evil.example",
        "https://good.example\r\nLocation: https://evil.example",
        "https://good.example\t.evil.example",
        " https://good.example",
        "https://good.example/\x00",
        "https://gооd.example",
        "https://good.example。evil.example",
        "https://[good.example]/",
        "https://[::1",
        "https://shop.example/payments",
        "https://shop.example/pay-evil",
        "https://shop.example/",
        "https://shop.example/PAY",
        "https://shop.example/pay/../admin",
        "https://shop.example/pay/%2e%2e/admin",
        "https://shop.example/pay/.%2E/admin",
        "https://shop.example//pay",
        "http://127.0.0.1:8001/",
        "http://127.0.0.1/",
    ],
)
def test_address_that_leads_elsewhere_is_refused(url: str) -> None:
    """Every known trick: another host, port, scheme or folder, hidden credentials, control characters, look-alikes."""
    assert not is_allowed_return_url(url, ALLOWED)


def test_nothing_is_allowed_by_an_empty_list() -> None:
    """No list, no redirect."""
    assert not is_allowed_return_url("https://good.example", ())


@given(st.text(alphabet="/\\:@.?#%[]ehtpsgodxamlvi0 \t", max_size=40))
def test_no_text_makes_it_fail_or_leave_the_house(tail: str) -> None:
    """Whatever is appended to a host's beginning: an answer, and never yes for a host that merely begins alike."""
    assert not is_allowed_return_url(f"https://good.example.{tail}", ALLOWED) or tail[:1] in ("", "/")
    is_allowed_return_url(tail, ALLOWED)
