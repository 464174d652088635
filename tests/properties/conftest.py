"""What the property tests stand on: machines and small houses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.databases import clean_database
from tests.house import House
from tests.properties.houses import quick_house
from tests.properties.machine import MoneyMachine


@pytest.fixture
def small_house(tmp_path: Path) -> Iterator[House]:
    """A house that can be copied (words.py): on SQLite, with one gateway and no letters."""
    url = f"sqlite:///{tmp_path}/payflow.db"
    with quick_house(url, PAYFLOW_SMTP_URL="", PAYFLOW_GATEWAYS="paystack") as house:
        yield house


@pytest.fixture
def a_machine(migrated_database: str, tmp_path: Path) -> Iterator[Callable[[], MoneyMachine]]:
    """Makes machines, each on a house of its own."""
    numbers, made = itertools.count(), list[MoneyMachine]()

    def make() -> MoneyMachine:
        folder = tmp_path / f"{next(numbers)}"
        folder.mkdir()

        @contextmanager
        def house() -> Iterator[House]:
            with clean_database(migrated_database, folder) as url, quick_house(url) as opened:
                yield opened

        made.append(MoneyMachine(house, folder))
        return made[-1]

    yield make
    for one in made:
        one.close()
