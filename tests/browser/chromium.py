"""A headless Chromium for tests: Debian's chromium, driven through chromedriver by the W3C WebDriver protocol.

A few dozen lines of HTTP instead of a driver library, so that the suite needs no further package.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which WebDriver hands out elements (W3C WebDriver, section 12.1)."""
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
)  # fmt: skip
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class BrowserError(AssertionError):
    """The browser said no, or what was waited for did not come."""


def missing() -> str | None:
    """What to install, or None if there is a browser to drive."""
    if not any(shutil.which(name) for name in _BROWSERS) or not shutil.which("chromedriver"):
        return "no browser to drive: install chromium and chromedriver (Debian: apt install chromium chromium-driver)"
    return None


class Chromium:
    """One browser window; a context manager."""

    def __init__(self, profile: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self._profile = profile
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self._base = f"http://127.0.0.1:{port}"
        self._size, self._dark = (width, height), dark
        self._driver: subprocess.Popen[bytes] | None = None
        self._session = ""

    def __enter__(self) -> Self:
        self._profile.mkdir(parents=True, exist_ok=True)
        with (self._profile / "chromedriver.log").open("wb") as log:
            self._driver = subprocess.Popen(
                [str(shutil.which("chromedriver")), f"--port={self._base.rsplit(':', 1)[1]}"],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_for_driver()
            self._open_window()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._end()

    def _wait_for_driver(self) -> None:
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"{self._base}/status", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise BrowserError("chromedriver did not start")

    def _open_window(self) -> None:
        binary = next(path for path in (shutil.which(name) for name in _BROWSERS) if path)
        width, height = self._size
        flags = [*_FLAGS, f"--user-data-dir={self._profile / 'data'}", f"--window-size={width},{height}"]
        if self._dark:
            flags.append("--force-prefers-color-scheme=dark")
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": binary, "args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        answer = self._http("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = str(answer["sessionId"])
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._cdp("Emulation.setDeviceMetricsOverride", metrics)
        if self._dark:
            features = [{"name": "prefers-color-scheme", "value": "dark"}]
            self._cdp("Emulation.setEmulatedMedia", {"features": features})

    def _end(self) -> None:
        if self._driver is not None and self._driver.poll() is None:
            os.killpg(self._driver.pid, signal.SIGTERM)
            self._driver.wait(timeout=10)

    # the protocol

    def _http(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._base + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                value = json.load(error).get("value", {})
            raise BrowserError(f"{value.get('error')}: {str(value.get('message', '')).splitlines()[0]}") from None

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._http(method, f"/session/{self._session}{path}", body)

    def _cdp(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    # what tests do

    def open(self, url: str) -> None:
        """Go to an address and wait until it is loaded."""
        self._call("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        """Where the window is."""
        return str(self._call("GET", "/url"))

    def js(self, script: str, *args: Any) -> Any:
        """Run a script in the page; what it returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def find(self, css: str) -> str:
        """An element's handle. Raises BrowserError if there is none."""
        return str(self._call("POST", "/element", {"using": "css selector", "value": css})[_ELEMENT])

    def text(self, css: str) -> str:
        """The visible text of an element."""
        return str(self._call("GET", f"/element/{self.find(css)}/text"))

    def click(self, css: str, *, seconds: float = 10) -> None:
        """Click like a person: wait until it is there and enabled, then click its middle."""
        self.wait(lambda: bool(self.js("const e = document.querySelector(arguments[0]); return e && !e.disabled", css)),
                  f"{css} can be clicked", seconds=seconds)  # fmt: skip
        self.js("document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})", css)
        self._call("POST", f"/element/{self.find(css)}/click", {})

    def type(self, css: str, text: str) -> None:
        """Replace a field's content."""
        handle = self.find(css)
        self._call("POST", f"/element/{handle}/clear", {})
        self._call("POST", f"/element/{handle}/value", {"text": text})

    def wait(self, question: Any, what: str, *, seconds: float = 20) -> None:
        """Until the question is answered yes. Raises BrowserError naming what did not come."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if question():
                    return
            except BrowserError:  # the element is not there yet, or went away between two calls
                pass
            if time.monotonic() > deadline:
                raise BrowserError(f"waited {seconds:g} s in vain for: {what} (at {self.url})")
            time.sleep(0.1)

    def wait_for_text(self, css: str, text: str, *, seconds: float = 20) -> None:
        """Until an element's visible text contains `text`."""
        self.wait(lambda: text in self.text(css), f"{text!r} in {css}", seconds=seconds)

    def complaints(self) -> list[str]:
        """What the console reported as errors since the last call (a broken script, a refused resource)."""
        rows = self._call("POST", "/se/log", {"type": "browser"})
        return [str(row["message"]) for row in rows if row["level"] == "SEVERE"]

    def screenshot(self, path: Path, *, whole_page: bool = True) -> None:
        """Save a PNG of the page."""
        parameters: dict[str, Any] = {"format": "png", "captureBeyondViewport": whole_page}
        if whole_page:
            size = self._cdp("Page.getLayoutMetrics", {})["cssContentSize"]
            parameters["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self._cdp("Page.captureScreenshot", parameters)["data"]))
