"""The sandbox's answers: each planted fault spoils them as its row says, with or without effect."""

import json
import time

import pytest
import requests

from tests.sandbox.desk import KEY, ORDER, Desk, eventually, running


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
