"""One house per module: these tests ask for what must be refused, and refusals leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.builders import Client, a_client
from tests.databases import clean_database
from tests.house import ADA, ADMIN, BEN, OPERATOR, House, open_house
from web.app import create_app


@pytest.fixture(scope="module")
def house(
    migrated_database: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[House]:
    """Its settings are the test module's HOUSE, if it has one."""
    environ: dict[str, str] = getattr(request.module, "HOUSE", {})
    with (
        clean_database(migrated_database, tmp_path_factory.mktemp("security")) as url,
        open_house(url, **environ) as own,
    ):
        yield own


@pytest.fixture(scope="module")
def app(house: House) -> Flask:
    return create_app(house.container)


@pytest.fixture(scope="module")
def anybody(app: Flask) -> Client:
    return a_client(app, None)


@pytest.fixture(scope="module")
def ada(app: Flask) -> Client:
    return a_client(app, ADA)


@pytest.fixture(scope="module")
def ben(app: Flask) -> Client:
    return a_client(app, BEN)


@pytest.fixture(scope="module")
def admin(app: Flask) -> Client:
    return a_client(app, ADMIN)


@pytest.fixture(scope="module")
def operator(app: Flask) -> Client:
    return a_client(app, OPERATOR)
