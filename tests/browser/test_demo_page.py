"""The demo page in a real browser, against the whole system in real processes.

PAYFLOW_SCREENSHOTS names a folder to keep the pictures in (the README's come from there); otherwise they go to a
temporary one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from payflow.launcher import Launcher
from payflow.system import Ports
from tests.browser import chromium
from tests.browser.chromium import Chromium

PARTS = ("sandbox", "web", "money", "core", "beat")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(chromium.missing() is not None, reason=str(chromium.missing())),
]


def by(test_id: str) -> str:
    return f'[data-testid="{test_id}"]'


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """payflow with a sandbox gateway, on ports of its own."""
    folder = tmp_path_factory.mktemp("payflow")
    with Launcher(
        data_dir=folder, environ=dict(os.environ), ports=Ports.free(), parts=PARTS, say=lambda _: None
    ) as run:
        yield run


@pytest.fixture
def page(system: Launcher, tmp_path: Path) -> Iterator[Chromium]:
    """A window on the demo page, signed in, with bookings to choose from."""
    with Chromium(tmp_path / "profile", height=1110) as browser:
        open_demo(browser, system)
        yield browser
        broken = [line for line in browser.complaints() if line.startswith(system.addresses["web"])]
        assert not [line for line in broken if "net::ERR_" not in line], broken  # a server that was down on purpose


def open_demo(browser: Chromium, system: Launcher) -> None:
    browser.open(system.addresses["demo"])
    browser.wait_for_text(by("picked-count"), "2 chosen")


def folder_for_pictures(tmp_path: Path) -> Path:
    return Path(os.environ.get("PAYFLOW_SCREENSHOTS") or tmp_path)


def shown(browser: Chromium, css: str) -> int:
    return int(browser.js("return document.querySelectorAll(arguments[0]).length", css))


def wait_until_told(browser: Chromium) -> None:
    browser.wait_for_text(by("order-status"), "completed")
    browser.wait_for_text(by("next"), "everyone has been told")


def test_paying_on_the_hosted_page_when_the_customer_comes_back_then_everything_is_there(
    page: Chromium, tmp_path: Path
) -> None:
    """The main job: pick, pay at the gateway, come back, and see the order confirmed and everyone told, each once."""
    page.click(by("journey-hosted"))
    page.wait(lambda: "/checkout/" in page.url, "the gateway's page")
    page.click("#pay")
    page.wait(lambda: "/demo/" in page.url, "the way back")

    wait_until_told(page)
    for stage in ("order", "pay", "verified", "confirmed", "messages"):
        assert shown(page, f"{by(f'stage-{stage}')}[data-state=done]") == 1, stage
    assert shown(page, f"{by('order-booking')} [data-status=confirmed]") == 2
    assert shown(page, f"{by('message')}[data-event=PAYMENT_COMPLETED][data-channel=in_app]") == 1
    assert shown(page, f"{by('message')}[data-event=PAYMENT_COMPLETED][data-channel=email][data-sent=yes]") == 1
    assert shown(page, by("posting")) >= 1
    assert "in balance" in page.text(by("ledger-balance"))
    page.wait(lambda: page.js("return document.getAnimations().length") == 0, "stillness")
    page.screenshot(folder_for_pictures(tmp_path) / "demo.png", whole_page=False)


def test_a_refund_in_part_and_then_whole_frees_the_bookings(page: Chromium) -> None:
    """A part leaves the order as it is, the whole ends it; and what is no amount is refused."""
    page.click(by("journey-webhook"))
    wait_until_told(page)

    page.type(by("refund-amount"), "a lot")
    page.click(by("refund-part"))
    page.wait_for_text(by("error"), "not an amount")
    page.type(by("refund-amount"), "1000.50")
    page.click(by("refund-part"))
    page.wait_for_text(by("next"), "NGN 1,000.50 of NGN")
    assert shown(page, f"{by('order-booking')} [data-status=confirmed]") == 2

    page.click(by("refund-all"))
    page.wait_for_text(by("order-status"), "refunded")
    page.wait(lambda: shown(page, f"{by('order-booking')} [data-status=cancelled]") == 2, "the bookings are free")


def test_a_declined_payment_when_tried_again_is_paid(page: Chromium) -> None:
    """A decline is not the end: the same order goes to the gateway a second time."""
    page.click(by("journey-decline"))
    page.wait_for_text(by("order-status"), "failed")

    page.click(by("retry"))
    page.wait(lambda: "/checkout/" in page.url, "the gateway's page")
    page.click("#pay")
    page.wait(lambda: "/demo/" in page.url, "the way back")

    wait_until_told(page)
    assert shown(page, by("attempt")) == 2


def test_money_that_comes_after_the_order_expired_still_finds_it(page: Chromium) -> None:
    """Late money is recorded, and accepted while the slots are free."""
    page.click(by("journey-late"))
    page.wait_for_text(by("order-status"), "expired", seconds=40)
    page.wait_for_text(by("order-status"), "completed", seconds=40)


def test_the_page_when_the_server_goes_away_says_so_and_recovers(page: Chromium, system: Launcher) -> None:
    """A server that is down is said plainly; what was shown stays, and comes alive again with the server."""
    page.click(by("journey-webhook"))
    wait_until_told(page)
    number = page.text(by("order-number"))

    system.hold("web")
    try:
        page.wait(lambda: not page.js("return document.getElementById('offline').hidden"), "the notice", seconds=30)
        assert page.text(by("order-number")) == number
    finally:
        system.resume("web")
        system.wait_ready(names=["web"])

    page.wait(lambda: bool(page.js("return document.getElementById('offline').hidden")), "the recovery", seconds=30)


def test_the_page_on_a_narrow_screen_fits_it(system: Launcher, tmp_path: Path) -> None:
    """At 400 px nothing hangs over the edge, empty or with an order on it."""
    with Chromium(tmp_path / "profile", width=400, height=850) as browser:
        open_demo(browser, system)
        assert browser.js("return document.documentElement.scrollWidth") == 400
        browser.click(by("journey-webhook"))
        wait_until_told(browser)
        assert browser.js("return document.documentElement.scrollWidth") == 400
        browser.screenshot(folder_for_pictures(tmp_path) / "demo-narrow.png")
