"""Nothing lost, nothing twice, nothing stuck: whatever is done to a house, in whatever order (machine.py).

The default run is short and the same each time. `make properties` tries for longer, differently each time
(PROPERTIES_EXAMPLES says how many stories); what it finds is kept in test_found_stories.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.machine import MoneyMachine

EXAMPLES = int(os.environ.get("PROPERTIES_EXAMPLES", "0"))
QUICK = settings(
    max_examples=14, stateful_step_count=35, derandomize=True, database=None, deadline=None,
    suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate, Phase.shrink), print_blob=False,
)  # fmt: skip
LONG = settings(QUICK, max_examples=max(EXAMPLES, 1), stateful_step_count=60, derandomize=False)


def test_whatever_happens_nothing_is_lost_doubled_or_stuck(a_machine: Callable[[], MoneyMachine]) -> None:
    """Orders, payments, refunds, disputes, faults, crashes and old messages in any order: the books hold throughout."""
    run_state_machine_as_test(a_machine, settings=LONG if EXAMPLES else QUICK)
