"""Nothing lost, nothing twice, nothing stuck: whatever is done to a house, in whatever order (machine.py).

The default run is short and the same each time. `make properties` tries for longer, differently each time
(PROPERTIES_EXAMPLES says how many stories); what it finds is kept below as a story of its own.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.databases import clean_database
from tests.house import House
from tests.properties.houses import quick_house
from tests.properties.machine import MoneyMachine

EXAMPLES = int(os.environ.get("PROPERTIES_EXAMPLES", "0"))
QUICK = settings(
    max_examples=14, stateful_step_count=35, derandomize=True, database=None, deadline=None,
    suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate, Phase.shrink), print_blob=False,
)  # fmt: skip
LONG = settings(QUICK, max_examples=max(EXAMPLES, 1), stateful_step_count=60, derandomize=False)


@pytest.fixture
def a_machine(migrated_database: str, tmp_path: Path) -> Callable[[], MoneyMachine]:
    """Makes machines, each on a house of its own."""
    numbers = itertools.count()

    def make() -> MoneyMachine:
        folder = tmp_path / f"{next(numbers)}"
        folder.mkdir()

        @contextmanager
        def house() -> Iterator[House]:
            with clean_database(migrated_database, folder) as url, quick_house(url) as opened:
                yield opened

        return MoneyMachine(house, folder)

    return make


def test_whatever_happens_nothing_is_lost_doubled_or_stuck(a_machine: Callable[[], MoneyMachine]) -> None:
    """Orders, payments, refunds, disputes, faults, crashes and old messages in any order: the books hold throughout."""
    run_state_machine_as_test(a_machine, settings=LONG if EXAMPLES else QUICK)
