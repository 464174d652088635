"""The sandbox's control API: each planted fault does what its row says, and the oracle tells the truth."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from payflow.sandbox.app import RunningSandbox, SandboxConfig, SandboxRooms, create_app, start, webhook_urls
from payflow.sandbox.cli import main, parser
from payflow.sandbox.clock import OffsetClock
from payflow.sandbox.fault_table import FAULT_TABLE, FaultName
from payflow.sandbox.paystack_shapes import signature

SECRET = "sk_test_sandbox"
KEY = {"Authorization": f"Bearer {SECRET}"}
ORDER = {"email": "ada@example.com", "amount": 20000, "currency": "NGN", "callback_url": "https://shop.example/back"}
DEADLINE_SECONDS = 10


class HeldClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Receiver:
    """A merchant's webhook address on a real port: remembers what came, answers as told (200 when nothing is)."""

    def __init__(self) -> None:
        self.got: list[tuple[str | None, bytes]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.headers.get("x-paystack-signature"), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhooks/paystack/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def events(self) -> list[str]:
        return [json.loads(body)["event"] for _, body in self.got]

    @property
    def is_true(self) -> list[bool]:
        return [header == signature(body, SECRET) for header, body in self.got]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Desk:
    """One sandbox, driven by its own control API with the clock held, and a receiver for its webhooks."""

    def __init__(self, client: FlaskClient, rooms: SandboxRooms, receiver: Receiver) -> None:
        self.client, self.rooms, self.receiver = client, rooms, receiver

    def plant(self, fault: str, **more: Any) -> Any:
        answer = self.client.post("/sandbox/faults", json={"fault": fault, **more})
        assert answer.status_code == 201, answer.json
        return answer.json

    def initialize(self, reference: str = "PF-1") -> Any:
        body = {**ORDER, "reference": reference}
        return self.client.post("/paystack/transaction/initialize", json=body, headers=KEY)

    def pay(self, reference: str = "PF-1", **more: Any) -> Any:
        return self.client.post("/sandbox/pay", json={"reference": reference, **more})

    def paid(self, reference: str = "PF-1") -> None:
        self.initialize(reference)
        self.pay(reference)

    def verify(self, reference: str = "PF-1") -> Any:
        return self.client.get(f"/paystack/transaction/verify/{reference}", headers=KEY)

    def transaction(self, reference: str = "PF-1") -> Any:
        return self.verify(reference).json["data"]

    def refund(self, **body: Any) -> Any:
        return self.client.post("/paystack/refund", json={"transaction": "PF-1", **body}, headers=KEY)

    def refund_status(self) -> str:
        listed = self.client.get("/paystack/refund", headers=KEY).json["data"]
        return str(listed[0]["status"])

    def read(self, what: str) -> Any:
        return self.client.get(f"/sandbox/{what}").json

    def later(self, seconds: float) -> None:
        self.client.post("/sandbox/clock", json={"advance_seconds": seconds})

    def send(self) -> list[str]:
        """Send what is due and return all events received so far."""
        self.rooms.sender.send_due()
        return self.receiver.events


@pytest.fixture
def desk() -> Iterator[Desk]:
    receiver = Receiver()
    app = create_app(SandboxConfig(webhook_urls={"paystack": receiver.url}), clock=OffsetClock(HeldClock()))
    rooms = app.extensions["sandbox"]
    yield Desk(app.test_client(), rooms, receiver)
    rooms.sender.stop()
    receiver.close()


@contextmanager
def running(**settings: Any) -> Iterator[RunningSandbox]:
    sandbox = start(SandboxConfig(**settings))
    try:
        yield sandbox
    finally:
        sandbox.stop()


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; fail at the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


# --- the table


def test_fault_table_then_every_fault_has_a_row_and_a_test_here() -> None:
    """No fault without a description, and none that this file does not name."""
    assert set(FAULT_TABLE) == set(FaultName)
    told = Path(__file__).read_text(encoding="utf-8") + (
        Path(__file__).with_name("test_sandbox_mail.py").read_text(encoding="utf-8")
    )
    assert [name for name in FaultName if f'"{name}"' not in told] == []
    assert all(row.does and row.operations for row in FAULT_TABLE.values())


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ({"fault": "earthquake"}, "unknown fault"),
        ({"fault": "decline", "operation": "verify"}, "applies to"),
        ({"fault": "slow", "params": {"minutes": 1}}, "takes seconds"),
        ({"fault": "slow", "params": {"seconds": "long"}}, "number"),
        ({"fault": "slow", "params": []}, "object"),
        ({"fault": "slow", "times": 0}, "times"),
        ({"fault": "slow", "chance": 2}, "chance"),
        ({"fault": "dispute_resolve", "reference": "PF-1"}, "no open dispute"),
    ],
)
def test_plant_when_the_script_is_wrong_then_refused_with_a_sentence(
    desk: Desk, script: dict[str, Any], word: str
) -> None:
    """A mistake in a script is told at once and plants nothing."""
    desk.paid()
    answer = desk.client.post("/sandbox/faults", json=script)
    assert answer.status_code in (400, 409)
    assert word in answer.json["error"]
    assert desk.read("faults")["faults"] == []


def test_plant_for_a_reference_and_times_then_strikes_only_there_and_so_often(desk: Desk) -> None:
    """A plan strikes its reference, its operation and its number of times; the book counts."""
    for reference in ("PF-1", "PF-2"):
        desk.paid(reference)
    plan = desk.plant("error_500", reference="PF-2", operation="verify", gateway="paystack", times=2)
    codes = [desk.verify(reference).status_code for reference in ("PF-1", "PF-2", "PF-2", "PF-2")]
    assert codes == [200, 500, 500, 200]
    shown = desk.read("faults")["faults"][0]
    assert (shown["id"], shown["times"], shown["used"]) == (plan["id"], 0, 2)


def test_plant_without_times_then_strikes_until_deleted(desk: Desk) -> None:
    """times null strikes for ever; DELETE takes it away, one or all."""
    desk.paid()
    plan = desk.plant("error_500", times=None)
    assert [desk.verify().status_code for _ in range(3)] == [500, 500, 500]
    assert desk.client.delete(f"/sandbox/faults/{plan['id']}").json == {"deleted": 1}
    assert desk.client.delete(f"/sandbox/faults/{plan['id']}").status_code == 404
    assert desk.verify().status_code == 200
    desk.plant("error_500")
    desk.plant("slow")
    assert desk.client.delete("/sandbox/faults").json == {"deleted": 2}


def test_plant_with_chance_then_the_seed_decides_and_some_pass(desk: Desk) -> None:
    """A fault by chance strikes some calls and not others."""
    desk.paid()
    desk.plant("error_500", times=None, chance=0.5)
    codes = {desk.verify().status_code for _ in range(60)}
    assert codes == {200, 500}


# --- what the customer and the bank do


def test_decline_then_the_next_payment_fails_and_the_one_after_succeeds(desk: Desk) -> None:
    """decline: the bank's words reach verify; the customer is sent back; trying again works."""
    desk.plant("decline", params={"reason": "Insufficient Funds"})
    desk.initialize()
    answer = desk.pay().json
    assert (answer["outcome"], answer["status"]) == ("decline", "failed")
    assert answer["redirect_url"] == "https://shop.example/back?trxref=PF-1&reference=PF-1"
    assert desk.transaction()["gateway_response"] == "Insufficient Funds"
    assert desk.pay().json["status"] == "paid"


def test_abandon_then_nothing_is_charged_and_nobody_is_told(desk: Desk) -> None:
    """abandon: no redirect, no webhook, the transaction stays abandoned."""
    desk.plant("abandon")
    desk.initialize()
    answer = desk.pay().json
    assert (answer["outcome"], answer["redirect_url"]) == ("abandon", None)
    assert desk.transaction()["status"] == "abandoned"
    assert desk.send() == []


def test_late_success_then_the_money_comes_after_the_customer_left(desk: Desk) -> None:
    """late_success: the status word meanwhile is as scripted, and the webhook comes with the money."""
    desk.plant("late_success", params={"after_seconds": 600, "meanwhile": "pending"})
    desk.initialize()
    assert desk.pay().json["outcome"] == "late"
    assert desk.transaction()["status"] == "pending"
    desk.later(599)
    assert desk.send() == []
    desk.later(1)
    assert desk.transaction()["status"] == "success"
    assert desk.send() == ["charge.success"]


@pytest.mark.parametrize(
    ("outcome", "status"), [("success", "success"), ("decline", "failed"), ("abandon", "abandoned")]
)
def test_auto_pay_then_the_transaction_takes_its_outcome_by_itself(desk: Desk, outcome: str, status: str) -> None:
    """auto_pay: nobody comes to the page, and it happens all the same."""
    desk.plant("auto_pay", params={"after_seconds": 3, "outcome": outcome})
    desk.initialize()
    assert desk.transaction()["status"] == "abandoned"
    desk.later(3)
    assert desk.transaction()["status"] == status


@pytest.mark.parametrize(("field", "requested"), [("both", 19999), ("amount", 20000)])
def test_wrong_amount_then_the_charge_is_off(desk: Desk, field: str, requested: int) -> None:
    """wrong_amount: verify, webhook and oracle agree on the amount really taken."""
    desk.plant("wrong_amount", params={"delta": -1, "field": field})
    desk.paid()
    data = desk.transaction()
    assert (data["amount"], data["requested_amount"]) == (19999, requested)
    assert desk.read("charges")["by_reference"]["PF-1"]["taken_minor"] == 19999
    desk.send()
    assert json.loads(desk.receiver.got[0][1])["data"]["amount"] == 19999


def test_wrong_currency_then_the_charge_is_in_another(desk: Desk) -> None:
    """wrong_currency: the charge is made in the currency scripted."""
    desk.plant("wrong_currency", params={"currency": "GHS"})
    desk.paid()
    assert desk.transaction()["currency"] == "GHS"
    assert list(desk.read("charges")["totals"]) == ["GHS"]


def test_fee_on_customer_then_amount_is_above_what_was_asked(desk: Desk) -> None:
    """fee_on_customer: amount = requested_amount + fees, as in Paystack's own sample."""
    desk.plant("fee_on_customer")
    desk.paid()
    data = desk.transaction()
    assert (data["amount"], data["requested_amount"], data["fees"]) == (20300, 20000, 300)


# --- webhooks


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


# --- answers


@pytest.mark.parametrize(("after_effect", "charges"), [(False, 0), (True, 1)])
@pytest.mark.parametrize(
    ("fault", "status", "kind"), [("error_500", 500, "application/json"), ("html_error", 502, "text/html")]
)
def test_error_500_and_html_error_then_effect_only_when_asked(
    desk: Desk, *, fault: str, status: int, kind: str, after_effect: bool, charges: int
) -> None:
    """error_500 in Paystack's JSON, html_error as a proxy's page; with after_effect the transaction exists."""
    desk.plant(fault, operation="initialize", params={"after_effect": after_effect})
    answer = desk.initialize()
    assert (answer.status_code, answer.mimetype) == (status, kind)
    assert len(desk.read("charges")["charges"]) == charges


def test_rate_limit_then_429_with_retry_after_and_no_effect(desk: Desk) -> None:
    """rate_limit: the header says how long, and nothing was made."""
    desk.plant("rate_limit", params={"retry_after": 7})
    answer = desk.initialize()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json["message"] == "Please wait a few minutes and try again."
    assert desk.read("charges")["charges"] == []
    assert desk.initialize().status_code == 200


def test_truncated_json_then_the_effect_stands_and_the_text_is_cut(desk: Desk) -> None:
    """truncated_json: half a text that no parser takes, and a transaction that exists."""
    desk.plant("truncated_json")
    answer = desk.initialize()
    with pytest.raises(ValueError, match=r".+"):
        json.loads(answer.get_data())
    assert len(desk.read("charges")["charges"]) == 1


def test_huge_body_then_as_long_as_asked(desk: Desk) -> None:
    """huge_body: the announced and the real length are those asked for."""
    desk.initialize()
    desk.plant("huge_body", params={"bytes": 3_000_001})
    answer = desk.verify()
    assert len(answer.get_data()) == 3_000_001 == int(answer.headers["Content-Length"])


@pytest.mark.parametrize("status", [400, 404])
def test_not_found_on_verify_then_transaction_not_found(desk: Desk, status: int) -> None:
    """not_found_on_verify: a paid transaction is unknown for once, with either HTTP status."""
    desk.paid()
    desk.plant("not_found_on_verify", params={"status": status})
    answer = desk.verify()
    assert (answer.status_code, answer.json["code"]) == (status, "transaction_not_found")
    assert desk.transaction()["status"] == "success"


def test_not_listed_then_left_out_of_the_list_only(desk: Desk) -> None:
    """not_listed: a transaction is missing in one list, and is there when asked for."""
    desk.paid()
    desk.plant("not_listed")
    lists = [desk.client.get("/paystack/transaction", headers=KEY).json["data"] for _ in range(2)]
    assert [len(found) for found in lists] == [0, 1]
    assert desk.transaction()["status"] == "success"


def test_unknown_status_and_wrong_reference_then_the_answer_says_so(desk: Desk) -> None:
    """unknown_status and wrong_reference change one answer each, initialize included, and no state."""
    desk.plant("wrong_reference", operation="initialize")
    assert desk.initialize().json["data"]["reference"] == "SOMEBODY-ELSE"
    desk.pay()
    desk.plant("unknown_status", params={"status": "half-paid"})
    desk.plant("wrong_reference", operation="verify", params={"reference": "PF-77"})
    odd = desk.transaction()
    assert (odd["status"], odd["reference"]) == ("half-paid", "PF-77")
    assert (desk.transaction()["status"], desk.transaction()["reference"]) == ("success", "PF-1")


def test_timeout_after_effect_then_the_charge_exists_and_the_line_is_cut() -> None:
    """timeout_after_effect: the client's own time-out strikes, and the transaction is there."""
    with running() as sandbox:
        plan = {"fault": "timeout_after_effect", "operation": "initialize", "params": {"seconds": 30}}
        requests.post(f"{sandbox.url}/sandbox/faults", json=plan, timeout=5)
        body = {**ORDER, "reference": "PF-1"}
        with pytest.raises(requests.ReadTimeout):
            requests.post(f"{sandbox.url}/paystack/transaction/initialize", json=body, headers=KEY, timeout=0.3)
        found = requests.get(f"{sandbox.url}/paystack/transaction/verify/PF-1", headers=KEY, timeout=5)
        assert found.json()["data"]["status"] == "abandoned"
        began = time.monotonic()
    assert time.monotonic() - began < 8  # the waiting request did not keep the server from stopping


@pytest.mark.parametrize(("then", "cut"), [("close", True), ("answer", False)])
def test_timeout_after_effect_when_the_client_waits_then_cut_or_answered(then: str, cut: bool) -> None:
    """timeout_after_effect: after the silence the connection is closed, or the answer comes after all."""
    with running() as sandbox:
        plan = {"fault": "timeout_after_effect", "params": {"seconds": 0.1, "then": then}}
        requests.post(f"{sandbox.url}/sandbox/faults", json=plan, timeout=5)
        body = {**ORDER, "reference": "PF-1"}
        url = f"{sandbox.url}/paystack/transaction/initialize"
        if cut:
            with pytest.raises(requests.ConnectionError):
                requests.post(url, json=body, headers=KEY, timeout=5)
        else:
            assert requests.post(url, json=body, headers=KEY, timeout=5).status_code == 200
        assert len(requests.get(f"{sandbox.url}/sandbox/charges", timeout=5).json()["charges"]) == 1


def test_slow_then_the_effect_comes_after_the_wait() -> None:
    """slow: while the client has given up, the request still lands."""
    with running() as sandbox:
        plan = {"fault": "slow", "params": {"seconds": 0.6}}
        requests.post(f"{sandbox.url}/sandbox/faults", json=plan, timeout=5)
        body = {**ORDER, "reference": "PF-1"}
        with pytest.raises(requests.ReadTimeout):
            requests.post(f"{sandbox.url}/paystack/transaction/initialize", json=body, headers=KEY, timeout=0.1)
        state = sandbox.rooms.party.state
        assert state.charges_of("paystack", "PF-1") == []
        eventually(lambda: len(state.charges_of("paystack", "PF-1")) == 1)


def test_refuse_connection_then_reset_without_effect() -> None:
    """refuse_connection: the client sees a broken connection, nothing was made, the log says dropped."""
    with running() as sandbox:
        requests.post(f"{sandbox.url}/sandbox/faults", json={"fault": "refuse_connection"}, timeout=5)
        body = {**ORDER, "reference": "PF-1"}
        with pytest.raises(requests.ConnectionError):
            requests.post(f"{sandbox.url}/paystack/transaction/initialize", json=body, headers=KEY, timeout=5)
        calls = requests.get(f"{sandbox.url}/sandbox/calls", timeout=5).json()["calls"]
        assert [(call["status"], call["fault"]) for call in calls] == [(None, "refuse_connection")]
        assert requests.get(f"{sandbox.url}/sandbox/charges", timeout=5).json()["charges"] == []


# --- refunds and people at the gateway


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("refund_stuck_pending", ["pending", "pending", "pending"]),
        ("refund_slow", ["pending", "pending", "processed"]),
        ("refund_fails", ["pending", "failed", "failed"]),
        ("refund_fails_after_success", ["pending", "processed", "failed"]),
        ("refund_needs_attention", ["pending", "needs-attention", "needs-attention"]),
    ],
)
def test_refund_faults_then_the_refund_takes_that_way(desk: Desk, fault: str, statuses: list[str]) -> None:
    """refund_*: what the list of refunds says at once, after two seconds, and long after."""
    desk.paid()
    desk.plant(fault)
    desk.refund()
    seen = [desk.refund_status()]
    for seconds in (2, 1000):
        desk.later(seconds)
        seen.append(desk.refund_status())
    assert seen == statuses
    if statuses[-1] == "failed":
        assert desk.transaction()["status"] == "success"
        assert desk.read("charges")["by_reference"]["PF-1"]["returned_minor"] == 0
        assert desk.refund().status_code == 200


def test_refund_no_balance_then_refused_once(desk: Desk) -> None:
    """refund_no_balance: Paystack's words, no refund, and the next try works."""
    desk.paid()
    desk.plant("refund_no_balance")
    answer = desk.refund()
    assert answer.json["message"] == "Insufficient balance to fulfill this refund. Please top up."
    assert desk.refund().status_code == 200


def test_dashboard_refund_then_money_goes_back_unasked(desk: Desk) -> None:
    """dashboard_refund: at once on a paid charge, as soon as paid on another; told by webhook, listed, counted."""
    desk.paid()
    desk.plant("dashboard_refund", reference="PF-1", params={"amount": 5000})
    desk.plant("dashboard_refund", reference="PF-2")
    desk.paid("PF-2")
    desk.send()
    told = [(json.loads(body)["event"], b"PF-2" in body) for _, body in desk.receiver.got]
    assert sorted(told) == [
        ("charge.success", False), ("charge.success", True), ("refund.pending", False), ("refund.pending", True),
    ]  # fmt: skip
    refunds = desk.read("refunds?source=dashboard")["refunds"]
    assert [(row["reference"], row["amount_minor"]) for row in refunds] == [("PF-1", 5000), ("PF-2", 20000)]
    too_much = {"fault": "dashboard_refund", "reference": "PF-1", "params": {"amount": 15001}}
    assert desk.client.post("/sandbox/faults", json=too_much).status_code == 409


@pytest.mark.parametrize(
    ("won", "resolution", "status"), [(True, "declined", "success"), (False, "merchant-accepted", "reversed")]
)
def test_dispute_then_opened_and_resolved(desk: Desk, won: bool, resolution: str, status: str) -> None:
    """dispute and dispute_resolve: told by webhook; a lost one reverses the transaction."""
    desk.paid()
    desk.plant("dispute", reference="PF-1", params={"amount": 5000})
    desk.plant("dispute_resolve", reference="PF-1", params={"won": won})
    assert desk.send() == ["charge.success", "charge.dispute.create", "charge.dispute.resolve"]
    told = json.loads(desk.receiver.got[2][1])["data"]
    assert (told["resolution"], told["refund_amount"]) == (resolution, 5000)
    assert desk.transaction()["status"] == status
    assert desk.read("disputes")["disputes"][0]["status"] == ("won" if won else "lost")


# --- the oracle and the rest of the control API


def test_oracle_then_counts_charges_and_money_per_reference_and_currency(desk: Desk) -> None:
    """The oracle tells what was taken, what went back and what is on its way."""
    desk.paid()
    desk.initialize("PF-2")
    desk.refund(amount=5000)
    desk.later(10)
    desk.refund(amount=1000)
    told = desk.read("charges")
    assert told["by_reference"]["PF-1"] == {
        "transactions": 1, "charges": 1, "taken_minor": 20000, "returned_minor": 5000, "returning_minor": 1000,
        "currency": "NGN", "exponent": 2,
    }  # fmt: skip
    assert told["by_reference"]["PF-2"]["charges"] == 0
    assert told["totals"] == {"NGN": {"charges": 1, "taken_minor": 20000, "returned_minor": 5000}}
    assert [row["reference"] for row in desk.read("charges?status=paid")["charges"]] == ["PF-1"]


def test_call_log_then_every_gateway_request_is_there(desk: Desk) -> None:
    """Each request is logged with operation, route, reference, status and fault, refused ones too."""
    desk.initialize()
    desk.client.get("/paystack/transaction/verify/PF-1")
    desk.plant("error_500", operation="verify")
    desk.verify()
    desk.pay()
    number = desk.refund().json["data"]["id"]
    desk.client.get(f"/paystack/refund/{number}", headers=KEY)
    rows = [(row["operation"], row["reference"], row["status"], row["fault"]) for row in desk.read("calls")["calls"]]
    assert rows == [
        ("initialize", "PF-1", 200, None), ("verify", "PF-1", 401, None), ("verify", "PF-1", 500, "error_500"),
        ("refund", "PF-1", 200, None), ("fetch_refund", "PF-1", 200, None),
    ]  # fmt: skip
    assert len(desk.read("calls?operation=verify&limit=1")["calls"]) == 1


def test_pay_when_the_script_is_wrong_then_told_so(desk: Desk) -> None:
    """A wrong outcome, wait or reference is refused; redirect sends the browser on."""
    desk.initialize()
    assert desk.pay("PF-9").status_code == 404
    assert desk.pay(outcome="steal").status_code == 400
    assert desk.pay(after_seconds=-1).status_code == 400
    assert desk.client.post("/sandbox/pay", data="[]").status_code == 400
    sent_on = desk.pay(redirect=True)
    assert (sent_on.status_code, sent_on.headers["Location"]) == (
        303, "https://shop.example/back?trxref=PF-1&reference=PF-1",
    )  # fmt: skip


def test_control_api_then_open_to_the_demo_pages_browser(desk: Desk) -> None:
    """The control API answers any origin, preflight included; the gateway's API does not."""
    preflight = desk.client.options("/sandbox/pay", headers={"Origin": "http://127.0.0.1:8000"})
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert desk.client.get("/sandbox/charges").headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Origin" not in desk.verify().headers


def test_reset_then_nothing_is_left_and_ids_go_on(desk: Desk) -> None:
    """Reset forgets charges and faults; a new charge does not take an old number."""
    desk.paid()
    before = desk.transaction()["id"]
    desk.plant("decline", times=None)
    assert desk.client.post("/sandbox/reset").json == {"reset": True}
    assert desk.read("charges")["charges"] == []
    assert desk.read("webhooks")["webhooks"] == []
    desk.paid()
    assert desk.transaction()["status"] == "success"
    assert desk.transaction()["id"] > before


def test_clock_then_only_moves_forward(desk: Desk) -> None:
    """The clock can be pushed, told and not turned back."""
    desk.later(60)
    assert desk.read("clock") == {"now": "2026-03-01T12:01:00+00:00", "offset_seconds": 60.0}
    assert desk.client.post("/sandbox/clock", json={"advance_seconds": -1}).status_code == 400


def test_pay_page_then_every_button_leads_where_it_says(desk: Desk) -> None:
    """Pay and Decline go back to the shop; Abandon and Pay late say the window may be closed."""
    page = desk.initialize().json["data"]["authorization_url"]
    text = desk.client.get(page).get_data(as_text=True)
    assert all(word in text for word in ("NGN 200.00", "PF-1", "Pay late", "Abandon", "Decline", "Sandbox merchant"))
    assert "may close this window" in desk.client.post(f"{page}/abandon").get_data(as_text=True)
    late = desk.client.post(f"{page}/late", data={"after_seconds": "3600"})
    assert "may close this window" in late.get_data(as_text=True)
    assert desk.client.post(f"{page}/decline").status_code == 303
    assert "Payment declined" in desk.client.get(page).get_data(as_text=True)
    assert desk.client.post(f"{page}/success").status_code == 303
    assert "complete" in desk.client.get(page).get_data(as_text=True)
    assert desk.client.post(f"{page}/steal").status_code == 404
    assert desk.client.get("/checkout/none").status_code == 404


def test_pay_page_when_names_hold_markup_then_escaped(desk: Desk) -> None:
    """Nothing a caller sends becomes markup, and a callback that is not http leads nowhere."""
    body = {**ORDER, "reference": "PF-1", "email": "<b>@x.y", "callback_url": "javascript:alert(1)"}
    page = desk.client.post("/paystack/transaction/initialize", json=body, headers=KEY).json["data"][
        "authorization_url"
    ]
    text = desk.client.get(page).get_data(as_text=True)
    assert "&lt;b&gt;" in text
    assert "javascript:" not in text
    assert desk.client.post(f"{page}/success").status_code == 200
    assert "javascript:" not in desk.client.get(page).get_data(as_text=True)


def test_index_and_health_then_say_what_is_here(desk: Desk) -> None:
    """The index page documents every fault; health answers without a key."""
    desk.initialize()
    text = desk.client.get("/").get_data(as_text=True)
    assert all(f'id="{name}"' in text for name in FaultName)
    health = desk.client.get("/healthz").json
    assert health["status"] == "ok"
    assert {"paystack", "flutterwave"} <= set(health["gateways"])


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
    clock = OffsetClock(HeldClock())
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


def test_command_line_then_options_become_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key comes from the environment unless given, and webhook paths are payflow's."""
    monkeypatch.setenv("PAYSTACK_SECRET_KEY", "sk_test_from_env")
    assert parser().parse_args([]).paystack_secret_key == "sk_test_from_env"
    monkeypatch.delenv("PAYSTACK_SECRET_KEY")
    given = parser().parse_args(["--port", "9", "--state", "x.jsonl"])
    assert (given.paystack_secret_key, given.port, given.state) == ("sk_test_sandbox", 9, Path("x.jsonl"))
    assert webhook_urls("http://127.0.0.1:8000/")["paystack"] == (
        "http://127.0.0.1:8000/api/v1/payment/webhooks/paystack/"
    )
    with pytest.raises(SystemExit):
        main(["--help"])
