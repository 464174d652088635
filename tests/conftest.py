"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.house import House, open_house
from tests.soundness import assert_sound

pytest_plugins = ["tests.nodes", "tests.databases", "tests.committed", "tests.planted.world"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-docs", action="store_true", help="write the documents that tests generate (make docs)")


@pytest.fixture
def house(database_url: str, request: pytest.FixtureRequest) -> Iterator[House]:
    """A whole house with a held clock; the test plays the worker.

    Indirect parameters are further settings; `@pytest.mark.gateways("paystack")` leaves these gateways on only.
    """
    environ: dict[str, str] = dict(getattr(request, "param", {}))
    marker = request.node.get_closest_marker("gateways")
    if marker:
        environ["PAYFLOW_GATEWAYS"] = ",".join(marker.args)
    with open_house(database_url, **environ) as opened:
        yield opened


@pytest.fixture
def sound_in_the_end(house: House) -> Iterator[None]:
    """After the test: the books are sound, nothing stays undone, and the gateway counted the same money."""
    yield
    assert_sound(house)
