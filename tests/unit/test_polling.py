"""When to ask again: plans and back-offs are values, grow, and end in an explicit None."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payflow.core import polling
from payflow.core.polling import Backoff, PollPlan
from tests.rows import NOW

BACKOFFS = [polling.EMAIL_BACKOFF, polling.INBOX_BACKOFF, polling.OUTBOX_BACKOFF, polling.GATEWAY_BACKOFF]
PLANS = [PollPlan(), PollPlan(polling.REFUND_POLL_PLAN)]


@pytest.mark.parametrize("plan", PLANS)
def test_plan_gives_each_of_its_waits_and_then_none(plan: PollPlan) -> None:
    """Question n is followed by wait n; after the last one there is an end, not a default."""
    waits = [plan.next_at(step, NOW) for step in range(len(plan.delays))]
    assert waits == [NOW + timedelta(seconds=delay) for delay in plan.delays]
    assert plan.next_at(len(plan.delays), NOW) is None
    assert plan.next_at(len(plan.delays) + 1_000, NOW) is None


def test_default_plan_is_quick_at_first_and_lasts_a_week() -> None:
    """The first look after seconds, ten within an order's own half hour, the last after a week."""
    delays = polling.DEFAULT_POLL_PLAN
    assert delays[0] <= 10
    assert sum(delays[:10]) <= 1_800
    assert list(delays) == sorted(delays)
    assert 7 * polling.DAY <= sum(delays) <= 8 * polling.DAY


def test_refund_plan_lasts_a_month() -> None:
    """A bank may take ten working days."""
    assert sum(polling.REFUND_POLL_PLAN) >= 30 * polling.DAY


def test_empty_plan_ends_at_once() -> None:
    """No waits, no question: the verdict is due now."""
    assert PollPlan(()).next_at(0, NOW) is None


@pytest.mark.parametrize("backoff", BACKOFFS)
def test_backoff_doubles_up_to_its_cap_and_parks(backoff: Backoff) -> None:
    """Growing waits, never above the cap, None after the last try."""
    waits = [backoff.next_at(tries, NOW) for tries in range(1, backoff.max_tries)]
    seconds = [(at - NOW).total_seconds() for at in waits if at]
    assert len(seconds) == backoff.max_tries - 1
    assert seconds[0] == backoff.base_seconds
    assert seconds == sorted(seconds)
    assert max(seconds) == backoff.cap_seconds
    assert backoff.next_at(backoff.max_tries, NOW) is None


@given(st.integers(1, 3_600), st.integers(1, 86_400), st.integers(1, 2_000), st.integers(0, 3_000))
def test_any_backoff_waits_at_least_a_moment_and_at_most_its_cap(base: int, cap: int, most: int, tries: int) -> None:
    """Also far beyond where doubling leaves every integer column behind."""
    at = Backoff(base, cap, most).next_at(tries, NOW)
    assert (at is None) == (tries >= most)
    if at is not None:
        assert timedelta(seconds=min(base, cap)) <= at - NOW <= timedelta(seconds=cap)


def test_every_letter_is_tried_for_more_than_a_day_before_it_is_parked() -> None:
    """A mail server that is down for a day loses nothing."""
    waits = [polling.EMAIL_BACKOFF.next_at(tries, NOW) for tries in range(1, polling.EMAIL_BACKOFF.max_tries)]
    assert sum((at - NOW).total_seconds() for at in waits if at) >= polling.DAY
