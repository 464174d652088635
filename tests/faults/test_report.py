"""The campaign's rows: what is counted when one has to be run again."""

from __future__ import annotations

import pytest

from tests.faults.campaign.report import Row


def test_a_row_run_again_stands_once_one_run_has_shown_something() -> None:
    idle = Row("kill9 confirm", "", payments_in_flight=1, is_idle=True, seconds=3.0)
    both = idle.and_again(Row("kill9 confirm", "", payments_in_flight=2, refunds_in_flight=1, seconds=2.0))
    assert (both.fault, both.runs, both.in_flight, both.seconds, both.is_clean) == ("kill9 confirm", 2, 4, 3.0, True)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Row("x", "", is_idle=True), Row("x", "", is_idle=True)),
        (Row("x", "", is_idle=True), Row("x", "", is_reached=False)),
        (Row("x", "", is_reached=False), Row("x", "", is_reached=False)),
        (Row("x", "", is_idle=True, lost=1, findings=["lost: one"]), Row("x", "")),
        (Row("x", "", is_idle=True), Row("x", "", stuck=1, findings=["stuck: one"])),
    ],
    ids=["idle twice", "idle, not reached", "not reached twice", "lost in the first", "stuck in the second"],
)
def test_a_row_run_again_hides_nothing(first: Row, second: Row) -> None:
    both = first.and_again(second)
    assert not both.is_clean
    assert both.findings == [*first.findings, *second.findings]
