"""A slice of the fault campaign on the embedded default, and proof that its oracle finds what is lost and doubled.

The whole of it is `make faults`; see docs/howto/run-the-fault-campaign.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete, text, update

from payflow.models.notification import Notification
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


def test_a_webhook_nobody_received_is_found(campaign: Campaign) -> None:
    """What counts as delivered and never reached the workspace's system is told as lost."""
    track = _paid(campaign)
    campaign.stage.live.wait_for(lambda: not campaign.oracle.unsettled([track]), 60, "all is told")
    arrived = campaign.stage.receiver.arrived
    arrived[:] = [one for one in arrived if one.body["data"].get("order_id") != track.order_id]
    verdict = campaign.oracle.judge([track], [])
    assert any("counts as delivered" in one for one in verdict.lost), verdict.sentences()


def test_a_letter_nobody_wrote_or_everybody_gave_up_is_found(campaign: Campaign) -> None:
    """A letter whose row is missing is told as lost, and one that is sent no longer too."""
    missing, parked = _paid(campaign), _paid(campaign)
    campaign.stage.live.wait_for(lambda: not campaign.oracle.unsettled([missing, parked]), 60, "all is told")
    mail = Notification.channel == "email"
    with campaign.stage.live.container.engine.begin() as connection:
        connection.execute(delete(Notification).where(mail, Notification.order_id == missing.order_id))
        given_up = update(Notification).where(mail, Notification.order_id == parked.order_id)
        connection.execute(given_up.values(parked_at=Notification.sent_at, sent_at=None))
    verdict = campaign.oracle.judge([missing, parked], [])
    assert any(f"{missing.order_id} by email" in one for one in verdict.lost), verdict.sentences()
    assert any("was given up" in one for one in verdict.lost), verdict.sentences()


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


def test_a_build_that_forgets_is_caught(tmp_path: Path) -> None:
    """Messages acknowledged before the work, and no sweep: money is lost or stuck when the broker comes back empty."""
    with _naive(tmp_path, "forgets") as campaign:
        row = campaign.fault(FAULTS["broker.killed_empty"])
    assert row.lost or row.stuck, row.findings


def test_a_build_that_repeats_is_caught(tmp_path: Path) -> None:
    """A refund whose answer was lost is sent again without a look: money goes back twice."""
    with _naive(tmp_path, "repeats") as campaign:
        track = _paid(campaign)
        lost = {"fault": "timeout_after_effect", "reference": track.paid_reference, "params": {"seconds": 1}}
        campaign.crowd.control("POST", "/sandbox/faults", {**lost, "operation": "refund"})
        campaign.crowd.begin(campaign.crowd.give_back, track, PRICE_MINOR)
        campaign.crowd.finish(20)

        def went_back() -> bool:
            charges = campaign.crowd.control("GET", "/sandbox/charges")["by_reference"]
            return bool(charges[track.paid_reference]["returned_minor"] == 2 * PRICE_MINOR)

        campaign.stage.live.wait_for(went_back, 60, "it went back twice")
        verdict = campaign.oracle.judge([track], [])
    assert any(str(track.order_id) in one for one in verdict.doubled), verdict.sentences()


@contextmanager
def _naive(folder: Path, mistake: str) -> Iterator[Campaign]:
    stage = Stage("sqlite", folder / mistake, naive=mistake, say=print)
    with stage, Campaign(stage, seed=SEED, limit_seconds=20) as campaign:
        yield campaign


def _paid(campaign: Campaign) -> Track:
    track = campaign.crowd.arrive("paystack")
    campaign.crowd.buy(track)
    return track


def _assert_clean(row: Row) -> None:
    assert row.is_clean, "\n".join(row.findings)
