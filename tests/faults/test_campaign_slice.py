"""A slice of the fault campaign on the embedded default, and proof that its oracle finds what is lost and doubled.

The whole of it is `make faults`; see docs/howto/run-the-fault-campaign.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.faults.campaign.customers import PRICE_MINOR, Track
from tests.faults.campaign.faults import FAULTS
from tests.faults.campaign.report import Row
from tests.faults.campaign.runner import Campaign
from tests.faults.campaign.stage import Stage, left_running

pytestmark = [pytest.mark.faults, pytest.mark.slow]
SEED = 20_261_123


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """One stage for the whole file; afterwards nothing of it is left running."""
    stage = Stage("sqlite", tmp_path_factory.mktemp("campaign"), say=print)
    with stage, Campaign(stage, seed=SEED, limit_seconds=120) as running:
        yield running
    assert left_running(stage.places) == []


@pytest.mark.parametrize(
    "point",
    [
        "web.order.after_commit",
        "initiate.after_send",
        "webhook.receive.after_commit",
        "settle.before_commit",
        "payments.verify.before_ack",
        "refund.after_send",
    ],
)
def test_a_process_killed_at_a_point_costs_nobody_anything(campaign: Campaign, point: str) -> None:
    """kill -9 there, with a payment and a refund at each gateway under way: nothing lost, doubled, wrong or stuck."""
    row = campaign.point(point)
    assert row.is_reached, "no process came to the point, so the test shows nothing"
    _assert_clean(row)


def test_a_broker_that_dies_and_comes_back_empty_costs_nobody_anything(campaign: Campaign) -> None:
    """Every message is gone; what is owed stands in rows."""
    row = campaign.fault(FAULTS["broker.killed_empty"])
    assert row.payments > 0
    _assert_clean(row)


def test_a_planted_double_is_found(campaign: Campaign) -> None:
    """Money that goes back a second time behind our back is told as doubled."""
    track = _paid(campaign)
    plan = {"fault": "dashboard_refund", "reference": track.paid_reference, "params": {"amount": PRICE_MINOR}}
    campaign.crowd.control("POST", "/sandbox/faults", plan)
    verdict = campaign.oracle.judge([track], [])
    assert any(str(track.order_id) in one for one in verdict.doubled), verdict.sentences()


def test_a_planted_loss_is_found(campaign: Campaign) -> None:
    """Money that the gateway took and payflow does not know of is told as lost, and a promise that is gone too."""
    track = _paid(campaign)
    with campaign.stage.live.container.engine.begin() as connection:
        forget = "UPDATE payment_attempts SET status = 'initiated', application = NULL WHERE reference = :reference"
        assert connection.execute(text(forget), {"reference": track.paid_reference}).rowcount == 1
    track.refunds["01900000-0000-7000-8000-00000000dead"] = 1
    verdict = campaign.oracle.judge([track], [])
    assert any(str(track.paid_reference) in one for one in verdict.lost), verdict.sentences()
    assert any("acknowledged and is gone" in one for one in verdict.lost), verdict.sentences()


@pytest.mark.parametrize(
    ("naive", "fault", "kinds"),
    [
        ("forgets", "broker.killed_empty", ("lost", "stuck")),
        ("repeats", "gateway.timeout_after_effect", ("doubled",)),
    ],
)
def test_a_naive_build_is_caught(tmp_path: Path, naive: str, fault: str, kinds: tuple[str, ...]) -> None:
    """Without the sweep money is lost or stuck, without the probe it goes back twice; the product has neither."""
    stage = Stage("sqlite", tmp_path / naive, naive=naive, say=print)
    with stage, Campaign(stage, seed=SEED, limit_seconds=20) as campaign:
        row = campaign.fault(FAULTS[fault])
    assert any(getattr(row, kind) for kind in kinds), row.findings


def _paid(campaign: Campaign) -> Track:
    track = campaign.crowd.arrive("paystack")
    campaign.crowd.buy(track)
    return track


def _assert_clean(row: Row) -> None:
    assert row.is_clean, "\n".join(row.findings)
