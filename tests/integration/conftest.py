"""What the HTTP tests stand on: the app on a house, and clients for its people; for others a bare engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import Engine

from payflow.store.engine import make_engine
from tests.builders import Client, a_client
from tests.house import ADA, ADMIN, BEN, OPERATOR, House
from web.app import create_app


@pytest.fixture
def app(house: House) -> Flask:
    return create_app(house.container)


@pytest.fixture
def anybody(app: Flask) -> Client:
    return a_client(app, None)


@pytest.fixture
def ada(app: Flask) -> Client:
    return a_client(app, ADA)


@pytest.fixture
def ben(app: Flask) -> Client:
    return a_client(app, BEN)


@pytest.fixture
def admin(app: Flask) -> Client:
    return a_client(app, ADMIN)


@pytest.fixture
def operator(app: Flask) -> Client:
    return a_client(app, OPERATOR)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = make_engine(database_url)
    yield made
    made.dispose()
