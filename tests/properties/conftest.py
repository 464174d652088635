"""What the tests over words stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import House
from tests.properties.houses import quick_house


@pytest.fixture
def small_house(tmp_path: Path) -> Iterator[House]:
    """A house that can be copied (words.py): on SQLite, with one gateway and no letters."""
    url = f"sqlite:///{tmp_path}/payflow.db"
    with quick_house(url, PAYFLOW_SMTP_URL="", PAYFLOW_GATEWAYS="paystack") as house:
        yield house
