"""Documents that tests generate and the repository keeps: compared on every run, written anew by `make docs`."""

from __future__ import annotations

from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


class Committed:
    """The kept documents, and whether this run may write them."""

    def __init__(self, *, renew: bool) -> None:
        self.renew = renew

    def must_be(self, name: str, text: str) -> None:
        """Fail unless docs/NAME holds exactly this text; with `--renew-docs` write it first."""
        path = DOCS / name
        if self.renew:
            path.write_text(text, encoding="utf-8")
        kept = path.read_text(encoding="utf-8") if path.exists() else ""
        assert kept == text, f"docs/{name} is not what the code does: read the difference, then `make docs`"


@pytest.fixture(scope="session")
def committed(request: pytest.FixtureRequest) -> Committed:
    return Committed(renew=request.config.getoption("--renew-docs"))
