"""The sandbox's webhooks: sent, repeated, missing, late, out of order and forged, as planted."""

from pathlib import Path

import pytest
import requests

from payflow.core.clock import HeldClock
from payflow.sandbox.app import SandboxConfig, create_app
from payflow.sandbox.clock import OffsetClock
from tests.sandbox.desk import AT, KEY, ORDER, Desk, Receiver, eventually, running


def test_webhook_without_faults_then_sent_once_and_truly_signed(desk: Desk) -> None:
    """A paid charge is told once, signed over the bytes sent."""
    desk.paid()
    assert desk.send() == ["charge.success"]
    assert desk.receiver.is_true == [True]
    assert desk.read("webhooks")["webhooks"][0]["status"] == "delivered"


def test_webhook_when_refused_then_retried_on_schedule_until_accepted(desk: Desk) -> None:
    """Anything but 200 is a failure, a 202 and a redirect too; the schedule is 1, 2, 5 seconds."""
    desk.receiver.answers = [500, 202, 302]
    desk.paid()
    seen = [len(desk.send())]
    for seconds in (1, 2, 5):
        desk.later(seconds - 0.5)
        seen.append(len(desk.send()))
        desk.later(0.5)
        seen.append(len(desk.send()))
    assert seen == [1, 1, 2, 2, 3, 3, 4]
    row = desk.read("webhooks")["webhooks"][0]
    assert [attempt["status_code"] for attempt in row["attempts"]] == [500, 202, 302, 200]
    assert row["status"] == "delivered"
    desk.later(1000)
    assert len(desk.send()) == 4


def test_webhook_when_nobody_listens_then_kept_and_retried(desk: Desk) -> None:
    """A merchant who is down gets the webhook when it is back."""
    listening = desk.receiver.url
    desk.client.put("/sandbox/webhooks/targets", json={"paystack": "http://127.0.0.1:9/"})
    desk.paid()
    assert desk.send() == []
    assert "ConnectionError" in desk.read("webhooks")["webhooks"][0]["attempts"][0]["error"]
    desk.client.put("/sandbox/webhooks/targets", json={"paystack": listening})
    desk.later(1)
    assert desk.send() == ["charge.success"]


def test_webhook_missing_then_logged_and_never_sent_until_resent(desk: Desk) -> None:
    """webhook_missing: only the event asked for is held back; a person at the gateway can resend it."""
    desk.plant("webhook_missing", params={"event": "charge.success"}, times=None)
    desk.paid()
    desk.refund()
    assert desk.send() == ["refund.pending"]
    lost = desk.read("webhooks?status=suppressed")["webhooks"][0]
    assert lost["fault"] == "webhook_missing"
    desk.later(1000)
    assert "charge.success" not in desk.send()
    assert desk.client.post(f"/sandbox/webhooks/{lost['id']}/resend").status_code == 202
    assert "charge.success" in desk.send()


def test_webhook_duplicate_then_sent_n_times_with_equal_bytes(desk: Desk) -> None:
    """webhook_duplicate: n copies of the same bytes, all truly signed, with the gap asked for."""
    desk.plant("webhook_duplicate", params={"n": 3, "gap_seconds": 10})
    desk.paid()
    counts = [len(desk.send())]
    for _ in range(3):
        desk.later(10)
        counts.append(len(desk.send()))
    assert counts == [1, 2, 3, 3]
    assert len(set(desk.receiver.got)) == 1
    assert desk.receiver.is_true == [True] * 3


def test_webhook_out_of_order_then_the_next_event_overtakes(desk: Desk) -> None:
    """webhook_out_of_order: the held event goes right after the next one of its reference."""
    desk.plant("webhook_out_of_order", params={"event": "refund.pending"})
    desk.paid()
    desk.refund()
    assert desk.send() == ["charge.success"]
    desk.later(1)
    assert desk.send() == ["charge.success", "refund.processing", "refund.pending"]


def test_webhook_out_of_order_when_nothing_follows_then_sent_in_the_end(desk: Desk) -> None:
    """webhook_out_of_order: without a next event, the webhook goes after `seconds`."""
    desk.plant("webhook_out_of_order", params={"seconds": 30})
    desk.paid()
    desk.later(29)
    assert desk.send() == []
    desk.later(1)
    assert desk.send() == ["charge.success"]


@pytest.mark.parametrize(("only", "truth"), [(False, [False, True]), (True, [False])])
def test_webhook_forged_then_a_false_signature_comes_first(desk: Desk, only: bool, truth: list[bool]) -> None:
    """webhook_forged: the copy's signature is well-formed and wrong, and it is not retried when refused."""
    desk.receiver.answers = [401]
    desk.plant("webhook_forged", params={"only": only})
    desk.paid()
    desk.send()
    desk.later(1000)
    desk.send()
    assert desk.receiver.is_true == truth
    assert len(str(desk.receiver.got[0][0])) == 128
    assert desk.read("webhooks")["webhooks"][0]["status"] == "refused"


def test_webhook_delay_then_sent_late(desk: Desk) -> None:
    """webhook_delay: nothing for `seconds`, then the webhook."""
    desk.plant("webhook_delay", params={"seconds": 10})
    desk.paid()
    desk.later(9)
    assert desk.send() == []
    desk.later(1)
    assert desk.send() == ["charge.success"]


def test_send_webhook_when_nothing_happened_then_a_lie_goes_out(desk: Desk) -> None:
    """A script can send a success nobody caused, signed or not, and any bytes it likes."""
    desk.initialize()
    for signed in ("forged", "missing", "valid"):
        body = {"reference": "PF-1", "signature": signed}
        assert desk.client.post("/sandbox/webhooks", json=body).status_code == 202
    raw = {"gateway": "paystack", "raw": '{"event":"odd"', "signature": "valid"}
    assert desk.client.post("/sandbox/webhooks", json=raw).status_code == 202
    desk.rooms.sender.send_due()
    assert desk.receiver.is_true == [False, False, True, True]
    assert desk.receiver.got[1][0] is None
    assert desk.receiver.got[3][1] == b'{"event":"odd"'
    assert desk.transaction()["status"] == "abandoned"
    for wrong in ({"reference": "PF-1", "signature": "bad"}, {"reference": "PF-1", "event": "x"}, {"raw": "x"}, {}):
        assert desk.client.post("/sandbox/webhooks", json=wrong).status_code == 400


def test_dashboard_refund_for_ever_then_once_per_charge(desk: Desk) -> None:
    """An action planted without end strikes each new charge once."""
    desk.plant("dashboard_refund", times=None, params={"amount": 100})
    desk.paid("PF-1")
    desk.paid("PF-2")
    assert [row["reference"] for row in desk.read("refunds")["refunds"]] == ["PF-1", "PF-2"]


def test_webhooks_over_real_threads_then_arrive_without_being_pushed() -> None:
    """A running sandbox lets time pass by itself: refund webhooks arrive in order, each signed."""
    receiver = Receiver()
    try:
        with running(webhook_urls={"paystack": receiver.url}, refund_seconds=0.2) as sandbox:
            body = {**ORDER, "reference": "PF-1"}
            requests.post(f"{sandbox.url}/paystack/transaction/initialize", json=body, headers=KEY, timeout=5)
            requests.post(f"{sandbox.url}/sandbox/pay", json={"reference": "PF-1"}, timeout=5)
            requests.post(f"{sandbox.url}/paystack/refund", json={"transaction": "PF-1"}, headers=KEY, timeout=5)
            eventually(lambda: len(receiver.got) == 4)
        assert receiver.events == ["charge.success", "refund.pending", "refund.processing", "refund.processed"]
        assert all(receiver.is_true)
    finally:
        receiver.close()


def test_restart_with_a_state_file_then_an_undelivered_webhook_still_goes_out(tmp_path: Path) -> None:
    """A webhook the merchant had not accepted when the sandbox stopped is sent by the next one."""
    receiver = Receiver()
    clock = OffsetClock(HeldClock(AT))
    config = SandboxConfig(state_path=tmp_path / "s.jsonl", webhook_urls={"paystack": receiver.url})
    try:
        for run in (1, 2):
            app = create_app(config, clock=clock)
            desk = Desk(app.test_client(), app.extensions["sandbox"], receiver)
            if run == 1:
                desk.paid()
            else:
                assert desk.send() == ["charge.success"]
            desk.rooms.sender.stop()
            desk.rooms.party.state.close()
    finally:
        receiver.close()
