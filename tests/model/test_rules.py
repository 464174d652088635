"""The rules hold in every state they can lead to, and each of them is needed: without it the walk finds the damage."""

from __future__ import annotations

import pytest

from tests.model.rules import Rules, State, explore, is_good_end

TWICE, CONFIRMED_TWICE = "money goes back twice", "bookings are confirmed twice"
LOOK_FIRST = {"idempotent_gateway": False}


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(Rules(), id="a gateway that knows our key"),
        pytest.param(Rules(after_a_lost_answer="look_and_park", **LOOK_FIRST), id="look, then ask a person"),
        pytest.param(Rules(after_a_lost_answer="look_wait_repeat_once", **LOOK_FIRST), id="what refund_calls does"),
    ],
)
def test_the_design_is_safe_and_always_comes_to_its_end(rules: Rules) -> None:
    """Whatever is lost, repeated, late or killed: nothing twice, and from every state a good end can be reached."""
    verdict = explore(rules)
    assert verdict.unsafe == {}
    assert verdict.stuck == 0, verdict.way_to_stuck
    assert verdict.states > 500, "a walk this short has not met the faults"


@pytest.mark.parametrize(
    ("rules", "damage"),
    [
        pytest.param(Rules(compare_and_set=False), CONFIRMED_TWICE, id="look, then write"),
        pytest.param(Rules(stable_key=False), TWICE, id="a new key for each repetition"),
        pytest.param(Rules(**LOOK_FIRST), TWICE, id="repeat at a gateway that does not know our key"),
        pytest.param(Rules(after_a_lost_answer="look_and_repeat", **LOOK_FIRST), TWICE, id="look, then repeat at once"),
    ],
)
def test_a_design_without_one_of_the_rules_does_damage(rules: Rules, damage: str) -> None:
    """Each rule that guards against doubling is needed; the walk shows the way to the damage."""
    verdict = explore(rules)
    assert damage in verdict.unsafe
    assert "the customer pays" in verdict.unsafe[damage], "the way begins with a payment"


def test_a_design_without_the_sweep_gets_stuck() -> None:
    """Nothing doubles, but from the first moment on only luck (a webhook that comes) would lead to a good end."""
    verdict = explore(Rules(sweep=False))
    assert verdict.unsafe == {}
    assert verdict.stuck > 0
    assert verdict.way_to_stuck == []


def test_a_good_end_is_told_from_a_bad_one() -> None:
    """Done and back once, or before a person; a request still under way is no end."""
    done = State(is_charged=True, payment="success", refund="done", refunds_there=1)
    assert is_good_end(done)
    assert is_good_end(done._replace(refund="parked", refunds_there=0))
    assert not is_good_end(done._replace(on_the_way=(0,)))
    assert not is_good_end(done._replace(refunds_there=0))
    assert not is_good_end(done._replace(payment="open"))
