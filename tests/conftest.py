"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.house import House, open_house

pytest_plugins = ["tests.nodes", "tests.databases"]


@pytest.fixture
def house(database_url: str) -> Iterator[House]:
    """A whole house with a held clock; the test plays the worker."""
    with open_house(database_url) as opened:
        yield opened
