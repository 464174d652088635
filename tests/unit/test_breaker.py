"""The circuit breaker of a gateway: what opens it, what closes it, what it never does."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest

from payflow.core.clock import HeldClock
from payflow.gateways.breaker import FAILURES, WAIT_SECONDS, Breaker, LeftAlone


class Heard(list[datetime | None]):
    def __call__(self, gateway: str, until: datetime | None) -> None:
        assert gateway == "fakepay"
        self.append(until)


def call(breaker: Breaker, *, is_silent: bool) -> None:
    with breaker.passing() as passage:
        passage.was_silent = is_silent


def opened(heard: Heard | None = None) -> tuple[Breaker, HeldClock]:
    clock = HeldClock()
    breaker = Breaker("fakepay", clock, heard)
    for _ in range(FAILURES):
        call(breaker, is_silent=True)
    return breaker, clock


def test_it_opens_after_failures_in_a_row_and_says_so() -> None:
    """The last of them opens it; the listener hears until when."""
    heard = Heard()
    breaker, clock = opened(heard)
    assert heard == [clock.now() + timedelta(seconds=WAIT_SECONDS)]
    with pytest.raises(LeftAlone) as caught:
        call(breaker, is_silent=False)
    assert caught.value.seconds == WAIT_SECONDS


def test_an_answer_in_between_starts_the_count_anew() -> None:
    """Only failures in a row count."""
    heard = Heard()
    breaker = Breaker("fakepay", HeldClock(), heard)
    for _ in range(3):
        for _ in range(FAILURES - 1):
            call(breaker, is_silent=True)
        call(breaker, is_silent=False)
    assert heard == []


def test_after_the_wait_one_call_tries_and_the_others_wait_for_it() -> None:
    """While the trial is under way nobody else goes through; its answer lets everybody in."""
    heard = Heard()
    breaker, clock = opened(heard)
    clock.advance(WAIT_SECONDS)
    with breaker.passing() as trial:
        with pytest.raises(LeftAlone):
            call(breaker, is_silent=False)
        trial.was_silent = False
    call(breaker, is_silent=False)
    assert heard[-1] is None


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_trial_that_fails_starts_the_wait_anew(is_interrupted: bool) -> None:
    """Silence, or an end without any answer."""
    heard = Heard()
    breaker, clock = opened(heard)
    clock.advance(WAIT_SECONDS)
    if is_interrupted:
        with pytest.raises(KeyboardInterrupt), breaker.passing():
            raise KeyboardInterrupt
    else:
        call(breaker, is_silent=True)
    with pytest.raises(LeftAlone):
        call(breaker, is_silent=False)
    assert heard[-1] == clock.now() + timedelta(seconds=WAIT_SECONDS)
    clock.advance(WAIT_SECONDS)
    call(breaker, is_silent=False)
    call(breaker, is_silent=False)


def test_calls_run_beside_each_other() -> None:
    """No lock is held while a call lasts: three calls meet inside."""
    breaker, meeting = Breaker("fakepay", HeldClock(), None), threading.Barrier(3)

    def one() -> None:
        with breaker.passing() as passage:
            meeting.wait(timeout=10)
            passage.was_silent = False

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not meeting.broken


def test_a_call_that_began_before_changes_nothing_when_it_ends() -> None:
    """A late answer from before is no reason to let everybody in, a late failure none to wait longer."""
    heard = Heard()
    clock = HeldClock()
    breaker = Breaker("fakepay", clock, heard)
    with breaker.passing() as early:
        for _ in range(FAILURES):
            call(breaker, is_silent=True)
        clock.advance(WAIT_SECONDS / 2)
        early.was_silent = False
    with pytest.raises(LeftAlone):
        call(breaker, is_silent=False)
    assert len(heard) == 1
