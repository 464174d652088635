"""The sandbox's control API: faults planted as its table says, the oracle, the log, and scripts that are wrong."""

from pathlib import Path
from typing import Any

import pytest

from payflow.sandbox.app import webhook_urls
from payflow.sandbox.cli import main, parser
from payflow.sandbox.fault_table import FAULT_TABLE, FaultName
from tests.sandbox.desk import KEY, ORDER, Desk


def test_fault_table_then_every_fault_has_a_row_and_a_test_here() -> None:
    """No fault without a description, and none that no test of its gateway-independent behaviour names."""
    assert set(FAULT_TABLE) == set(FaultName)
    names = ("control", "money", "webhooks", "answers", "mail")
    told = "".join(Path(__file__).with_name(f"test_{name}.py").read_text(encoding="utf-8") for name in names)
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
