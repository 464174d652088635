"""The sandbox's Flutterwave dialect: refunds, webhooks, a real connection and a restart."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from payflow.core.clock import HeldClock
from payflow.sandbox import flutterwave_shapes as shapes
from payflow.sandbox.app import SandboxConfig, create_app, start
from payflow.sandbox.cli import parser
from payflow.sandbox.clock import OffsetClock
from payflow.sandbox.flutterwave import BOTH_HEADERS, DEVELOPMENT_HASH, DEVELOPMENT_SECRET, signature_of
from tests.sandbox.flutterwave_side import AT, DAYS, KEY, ORDER, Flutterwave


def test_refund_when_time_passes_then_completed_pending_processing_done(flutterwave: Flutterwave) -> None:
    """Created "completed" while nothing is paid out; the transaction itself stays successful."""
    number = flutterwave.paid()["id"]
    created = flutterwave.refund(number, amount=100.5, comments="payflow refund r-1").json
    assert created["message"] == "Transaction refund initiated"
    data = created["data"]
    assert (data["status"], data["tx_id"], data["amount_refunded"]) == ("completed", number, 100.5)
    seen = []
    for _ in range(3):
        told = flutterwave.get(f"/refunds/{data['id']}").json["data"]
        seen.append((told["status"], json.loads(told["meta"]).get("disburse_status"), flutterwave.data()["status"]))
        assert (told["comment"], told["transaction_id"]) == ("payflow refund r-1", number)
        flutterwave.later(1)
    assert seen == [
        ("completed", "pending", "successful"),
        ("processing", "pending", "successful"),
        ("completed-mpgs", None, "successful"),
    ]


def test_refund_when_it_fails_then_completed_with_a_failed_disbursement(flutterwave: Flutterwave) -> None:
    """The status alone does not tell; the money can go back by another refund."""
    number = flutterwave.paid()["id"]
    flutterwave.plant("refund_fails")
    refund = flutterwave.refund(number).json["data"]["id"]
    flutterwave.later(5)
    told = flutterwave.get(f"/refunds/{refund}").json["data"]
    assert (told["status"], json.loads(told["meta"])["disburse_status"]) == ("completed", "failed")
    assert flutterwave.refund(number, amount=1000).status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"amount": 1000.01}, "Refund amount cannot exceed the transaction amount"),
        ({"amount": 99.99}, "Amount should be above NGN100"),
        ({"amount": -1}, "amount is required"),
    ],
)
def test_refund_when_not_allowed_then_refused(flutterwave: Flutterwave, body: dict[str, Any], message: str) -> None:
    """A refund that may not be is refused and leaves no refund."""
    answer = flutterwave.refund(flutterwave.paid()["id"], **body)
    assert (answer.status_code, answer.json["message"]) == (400, message)
    assert flutterwave.client.get("/sandbox/refunds").json["refunds"] == []


def test_refund_when_nothing_is_left_unpaid_or_unknown_then_refused(flutterwave: Flutterwave) -> None:
    """Parts add up to the whole; money that never came cannot go back."""
    number = flutterwave.paid()["id"]
    flutterwave.plant("refund_no_balance")
    assert "Insufficient balance" in flutterwave.refund(number, amount=400).json["message"]
    assert flutterwave.refund(number, amount=400).status_code == 200
    assert flutterwave.refund(number, amount="600").status_code == 200
    assert flutterwave.refund(number, amount=100).json["message"] == "Transaction has already been refunded"
    flutterwave.pay_link(tx_ref="PF-2")
    flutterwave.pay("PF-2", outcome="decline")
    for other in (flutterwave.data("PF-2")["id"], 5):
        assert flutterwave.refund(other).json["message"] == "No transaction was found for this id"


def test_list_of_refunds_then_newest_first_and_by_transaction(flutterwave: Flutterwave) -> None:
    """Days and the transaction's number narrow it; an unknown refund is refused."""
    first, second = (flutterwave.paid(name)["id"] for name in ("PF-1", "PF-2"))
    for number in (first, second, first):
        flutterwave.refund(number, amount=100)
    rows = flutterwave.get(f"/refunds?{DAYS}").json["data"]
    assert [row["transaction_id"] for row in rows] == [first, second, first]
    assert len(flutterwave.get(f"/refunds?id={first}").json["data"]) == 2
    assert flutterwave.get("/refunds?from=2027-01-01&to=2027-01-01").json["data"] == []
    assert flutterwave.get("/refunds?from=soon").status_code == 400
    assert flutterwave.get("/refunds/5").json["message"] == "Refund not found"


def test_webhooks_then_tell_of_failures_too_and_refunds_are_flat(flutterwave: Flutterwave) -> None:
    """charge.completed for both outcomes; the refund's body has no envelope and PascalCase names."""
    flutterwave.pay_link()
    flutterwave.pay(outcome="decline")
    number = flutterwave.pay()["reference"] and flutterwave.get(f"/transactions?{DAYS}").json["data"][0]["id"]
    flutterwave.refund(number, amount=100, comments="x")
    flutterwave.later(5)
    failed, paid, refund = flutterwave.sent()
    assert [body["event"] for body in (failed, paid)] == ["charge.completed", "charge.completed"]
    assert [body["data"]["status"] for body in (failed, paid)] == ["failed", "successful"]
    assert failed["data"]["id"] != paid["data"]["id"] == number
    assert paid["event.type"] == "CARD_TRANSACTION"
    assert "event" not in refund
    assert "data" not in refund
    assert (refund["TransactionId"], refund["AmountRefunded"], refund["status"]) == (number, 100, "completed-mpgs")


@pytest.mark.parametrize(
    ("configured", "signatures"),
    [
        (DEVELOPMENT_HASH, BOTH_HEADERS),
        (f"static:{DEVELOPMENT_HASH}", ("verif-hash",)),
        (f"hmac:{DEVELOPMENT_HASH}", ("flutterwave-signature",)),
    ],
)
def test_webhooks_over_a_real_port_then_carry_the_configured_proofs(
    configured: str, signatures: tuple[str, ...]
) -> None:
    """The secret hash is not the API key; either scheme, or both, and a forged copy under another hash."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        urls = {"flutterwave": f"http://127.0.0.1:{server.server_port}/hook"}
        app = create_app(SandboxConfig(webhook_urls=urls, webhook_secrets={"flutterwave": configured}))
        merchant = Flutterwave(app.test_client(), app.extensions["sandbox"])
        merchant.plant("webhook_forged")
        merchant.paid()
        merchant.rooms.sender.send_due()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    (forged, _), (true, body) = got
    right = {"verif-hash": DEVELOPMENT_HASH, "flutterwave-signature": shapes.signature(body, DEVELOPMENT_HASH)}
    for name, proof in right.items():
        assert true.get(name) == (proof if name in signatures else None)
        assert forged.get(name) != proof


@pytest.mark.parametrize(
    ("configured", "secret", "headers"),
    [
        ("word", "word", BOTH_HEADERS),
        ("static:word", "word", ("verif-hash",)),
        ("hmac:word", "word", ("flutterwave-signature",)),
        ("new, old", "new", BOTH_HEADERS),
    ],
)
def test_signature_of_a_configured_hash(configured: str, secret: str, headers: tuple[str, ...]) -> None:
    """The sandbox reads the word the way payflow's own setting is read."""
    assert signature_of(configured) == (secret, headers)


def test_command_line_then_takes_key_and_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """From options, else from payflow's own variables, else made up."""
    for name in ("FLUTTERWAVE_SECRET_KEY", "FLUTTERWAVE_WEBHOOK_HASH"):
        monkeypatch.delenv(name, raising=False)
    plain = parser().parse_args([])
    assert (plain.flutterwave_secret_key, plain.flutterwave_webhook_hash) == (DEVELOPMENT_SECRET, DEVELOPMENT_HASH)
    monkeypatch.setenv("FLUTTERWAVE_WEBHOOK_HASH", "from-env")
    given = parser().parse_args(["--flutterwave-secret-key", "FLWSECK_TEST-x"])
    assert (given.flutterwave_secret_key, given.flutterwave_webhook_hash) == ("FLWSECK_TEST-x", "from-env")


def test_main_path_over_a_real_port_then_paid() -> None:
    """Link, page, button and verify work over HTTP, and the browser is sent back."""
    sandbox = start(SandboxConfig())
    try:
        made = requests.post(f"{sandbox.url}/flutterwave/payments", json=ORDER, headers=KEY, timeout=5)
        page = made.json()["data"]["link"]
        assert "NGN 1,000.00" in requests.get(page, timeout=5).text
        sent_back = requests.post(f"{page}/success", allow_redirects=False, timeout=5)
        assert sent_back.status_code == 303
        assert "status=successful&tx_ref=PF-1&transaction_id=" in sent_back.headers["Location"]
        told = requests.get(
            f"{sandbox.url}/flutterwave/transactions/verify_by_reference",
            params={"tx_ref": "PF-1"},
            headers=KEY,
            timeout=5,
        )
        assert told.json()["data"]["status"] == "successful"
    finally:
        sandbox.stop()


def test_restart_with_a_state_file_then_tries_and_refunds_are_kept(tmp_path: Path) -> None:
    """Failed and paid tries survive, each with its id, and the page goes on with the newest."""
    config = SandboxConfig(state_path=tmp_path / "sandbox.jsonl")
    clock = OffsetClock(HeldClock(AT))
    before = create_app(config, clock=clock)
    merchant = Flutterwave(before.test_client(), before.extensions["sandbox"])
    merchant.pay_link()
    for outcome in ("decline", "success"):
        merchant.pay(outcome=outcome)
    rows = merchant.get(f"/transactions?{DAYS}").json["data"]
    refund = merchant.refund(rows[0]["id"], amount=100).json["data"]["id"]
    merchant.rooms.party.state.close()

    after = create_app(config, clock=clock)
    merchant = Flutterwave(after.test_client(), after.extensions["sandbox"])
    assert merchant.get(f"/transactions?{DAYS}").json["data"] == rows
    assert merchant.pay()["already_paid"] is True
    merchant.later(10)
    assert merchant.get(f"/refunds/{refund}").json["data"]["status"] == "completed-mpgs"
    merchant.rooms.party.state.close()
