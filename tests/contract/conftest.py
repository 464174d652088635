"""What the contract suite over every gateway stands on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from payflow.core.clock import HeldClock
from payflow.core.gateways import NAMES
from payflow.sandbox.app import start
from payflow.sandbox.clock import OffsetClock
from tests.contract.any_gateway import Desk
from tests.house import sandbox_config


@pytest.fixture(params=NAMES)
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Each gateway of the table in turn, with a sandbox of its own on a clock that stands still."""
    clock = HeldClock()
    sandbox = start(sandbox_config(), clock=OffsetClock(clock))
    yield Desk(request.param, sandbox, clock)
    sandbox.stop()
