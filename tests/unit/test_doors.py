"""Doors: how many tasks may wait for one gateway at once in a worker process."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from tasks.base import AT_A_GATEWAY, BESIDES_PAYMENTS
from tasks.doors import Doors

BELL = "payments.verify:slow"


def test_a_shut_door_turns_away_and_whoever_leaves_rings() -> None:
    """The one that found no place is rung for once, by the first that leaves."""
    doors = Doors()
    with doors.through("slow", places=1, bell="a") as first:
        assert first is not None
        with doors.through("slow", places=1, bell=BELL) as second:
            assert second is None
        assert first == set()
    assert first == {BELL}
    with doors.through("slow", places=1, bell="a") as third:
        assert third is not None
    assert third == set()


def test_doors_do_not_know_each_other() -> None:
    """One full gateway shuts nobody else's."""
    doors = Doors()
    with (
        doors.through("slow", places=1, bell="a"),
        doors.through("quick", places=1, bell="b") as quick,
        doors.through("slow", places=1, bell="c") as slow,
    ):
        assert (quick, slow) == (set(), None)


def test_a_task_that_fails_gives_its_place_back() -> None:
    """And still says whom to ring for."""
    doors = Doors()
    left: list[set[str] | None] = []

    def fail() -> None:
        with doors.through("slow", places=1, bell="a") as inside:
            left.append(inside)
            with doors.through("slow", places=1, bell=BELL):
                raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - any would do
        fail()
    assert left == [{BELL}]
    with doors.through("slow", places=1, bell="a") as again:
        assert again is not None


def test_many_threads_never_exceed_the_places() -> None:
    """Each of 32 threads is let in or turned away; the inside never holds more than the places."""
    doors, lock = Doors(), threading.Lock()
    inside, most, turned_away = 0, 0, 0
    all_are_here = threading.Barrier(32)

    def one() -> None:
        nonlocal inside, most, turned_away
        all_are_here.wait(timeout=10)
        with doors.through("slow", places=4, bell="a") as owed:
            with lock:
                if owed is None:
                    turned_away += 1
                    return
                inside += 1
                most = max(most, inside)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=one) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 4
    assert inside == 0


def test_work_that_can_wait_leaves_room_for_payments() -> None:
    """Reconciliation enters a gateway's door only while fewer than two are inside; payments still find places."""
    doors = Doors()
    with ExitStack() as inside:
        for _ in range(2):
            assert inside.enter_context(doors.through("slow", places=AT_A_GATEWAY, bell="payments.verify")) is not None
        with doors.through("slow", places=BESIDES_PAYMENTS, bell="reconciliation.compare") as turned_away:
            assert turned_away is None
        with doors.through("slow", places=AT_A_GATEWAY, bell="payments.verify") as owed:
            assert owed is not None
        assert owed == {"reconciliation.compare"}, "whoever leaves rings for it"
