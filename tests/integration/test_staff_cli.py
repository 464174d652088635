"""`python -m payflow explain | audit | replay`, as an operator types them."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from sqlalchemy import insert, inspect, update

from payflow import staff_cli
from payflow.cli import main
from payflow.core.identifiers import new_id
from payflow.models.booking import Booking
from payflow.models.breach import AuditBreach
from payflow.models.decision import Decision
from payflow.models.reconciliation import Difference
from payflow.models.refund import Refund
from payflow.models.webhook_event import WebhookEvent
from payflow.reconcile_cli import SHOWN
from payflow.services.reconciliation_report import MOST_SHOWN
from payflow.store.unit_of_work import Transaction
from tests.builders import Client
from tests.house import ADA, House
from tests.strays import park_a_stray, the_stray
from web.app import create_app

_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[(info|warning|error)")
"""Log lines, which go to stderr outside of tests."""


@pytest.fixture
def typed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands work on the house: its database, its held clock."""
    monkeypatch.setattr("payflow.cli._container", lambda: house.container)


def say(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    status = main(words)
    return status, "\n".join(line for line in capsys.readouterr().out.splitlines() if not _LOGGED.match(line))


@pytest.mark.usefixtures("typed")
def test_explain_tells_why_and_what_is_next(house: House, capsys: pytest.CaptureFixture[str], operator: Client) -> None:
    """By id or number; as JSON the same as the API."""
    order_id, reference = house.initiated()
    number = house.order_row(order_id).order_number
    for name in (order_id, number, number.lower()):
        status, out = say(capsys, "explain", name)
        assert status == 0
        assert f"{number} is processing" in out
        assert f"the customer has paystack's page ({reference})" in out
        assert re.search(r"paystack is asked about PF-", out)
        assert "POST /transaction/initialize at paystack: 200" in out
    assert "Calls to gateways" not in out
    _, out = say(capsys, "explain", number, "--calls")
    assert f'"reference": "{reference}"' in out.partition("Calls to gateways")[2]
    assert ADA.email not in out
    _, out = say(capsys, "explain", number, "--json")
    assert json.loads(out) == operator.get(f"/payment/orders/{order_id}/timeline/").get_json()


@pytest.mark.usefixtures("typed")
def test_explain_of_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence, not a trace."""
    assert main(["explain", "ORD-20260101-NONE22"]) == 1
    assert "There is no order ORD-20260101-NONE22." in capsys.readouterr().err


@pytest.mark.usefixtures("typed")
def test_audit_passes_and_fails(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Sound books: 0. A booking confirmed without money: 1, naming the rule and the row."""
    house.paid()
    status, out = say(capsys, "audit")
    assert (status, "0 broken" in out) == (0, True)
    booking_id = house.booking()

    def plant(tx: Transaction) -> None:
        tx.get(Booking, booking_id).status = "confirmed"

    house.container.units.run(plant)
    status, out = say(capsys, "audit", "--json")
    assert status == 1
    assert booking_id in {one for breach in json.loads(out) for one in breach["ids"]}
    status, out = say(capsys, "audit")
    assert (status, booking_id in out) == (1, True)
    row = house.rows(AuditBreach)[0]
    assert (row.invariant, row.row_ids, row.gone_at) == ("I05", [booking_id], None)


def test_audits_by_beat_put_a_breach_on_record_until_it_is_mended(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row and one ERROR line an audit while it lasts, a gauge and a word in readiness; closed once it is mended."""
    house.paid()
    booking_id = house.booking()
    probe = create_app(house.container).test_client()

    def put(status: str) -> None:
        def plant(tx: Transaction) -> None:
            tx.get(Booking, booking_id).status = status

        house.container.units.run(plant)

    assert house.container.audits.run() == []
    put("confirmed")
    capsys.readouterr()
    house.container.audits.run()
    assert capsys.readouterr().out.count("audit.breach") == 1
    house.later(3_600)
    house.container.audits.run()
    (row,) = house.rows(AuditBreach)
    assert row.last_seen_at - row.created_at == timedelta(hours=1)
    assert probe.get("/readyz").get_json()["broken_invariants"] == {"I05": 1}
    assert 'payflow_audit_breaches{invariant="I05"} 1.0' in probe.get("/metrics").text
    put("pending")
    house.container.audits.run()
    assert house.rows(AuditBreach)[0].gone_at == house.clock.now()
    assert probe.get("/readyz").get_json()["broken_invariants"] == {}
    put("confirmed")
    house.container.audits.run()
    assert [one.gone_at is None for one in house.rows(AuditBreach)] == [False, True]


@pytest.mark.usefixtures("typed")
def test_decisions_are_listed_with_their_age_and_answered(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Too little money waits for a person, who gives it back from the terminal; history names the login."""
    order_id, reference = house.initiated()
    house.fault("wrong_amount", reference=reference, params={"delta": -500})
    house.pay(reference)
    house.ask(reference)
    house.later(7_200)
    status, out = say(capsys, "decisions")
    assert status == 0
    assert re.search(rf"{house.order_row(order_id).order_number} .* underpaid, 2 hours old", out)
    assert "Suggested: refund." in out
    decision_id = house.rows(Decision)[0].id
    assert main(["decisions", decision_id]) == 1
    assert "Say what to do: accept, refund, extend, ignore." in capsys.readouterr().err
    assert say(capsys, "decisions", decision_id, "refund", "--note", "rang, ticket 7")[0] == 0
    answered = house.rows(Decision)[0]
    assert (answered.action, answered.note, answered.resolved_by) == (
        "refund",
        "rang, ticket 7",
        staff_cli.operator().actor,
    )
    house.drain()
    house.later(30)
    assert [one.status for one in house.rows(Refund)] == ["completed"]
    assert say(capsys, "decisions")[1].strip() == "0 open"


@pytest.mark.usefixtures("typed")
def test_a_question_that_fits_no_order_is_listed_and_answered(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """With its age and without order and sum, where a webhook fits nothing; the answer bears the login's name."""
    park_a_stray(house, "PF-LOST")
    house.clock.advance(7_200)
    status, out = say(capsys, "decisions")
    (asked,) = house.rows(Decision)
    assert status == 0
    assert re.search(rf"^{asked.id}  no order  no amount known  unmatched_webhook, \d+ hours old$", out, re.MULTILINE)
    assert "reference PF-LOST" in out
    assert "Suggested: ignore." in out
    assert main(["decisions", asked.id, "refund"]) == 1
    assert "refund it in the gateway's dashboard" in capsys.readouterr().err
    assert say(capsys, "decisions", asked.id, "ignore", "--note", "none of ours")[0] == 0
    assert house.rows(Decision)[0].resolved_by == staff_cli.operator().actor
    assert the_stray(house, "PF-LOST").outcome == "ignored"
    assert say(capsys, "decisions")[1].strip() == "0 open"


@pytest.mark.usefixtures("typed")
def test_parked_work_is_listed_replayed_and_closed(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """A webhook that came before its payment's row by more than its tries is handled after a replay."""
    order_id, reference = house.initiated()
    house.pay(reference)
    told = house.webhooks()[0]
    house.receive(told)

    def park(tx: Transaction) -> None:
        row = tx.get(WebhookEvent, house.rows(WebhookEvent)[0].id)
        row.outcome, row.parked_at, row.due_at = "unmatched", tx.act.at, None

    house.container.units.run(park)
    row_id = house.rows(WebhookEvent)[0].id
    status, out = say(capsys, "replay")
    assert status == 0
    assert row_id in out
    assert reference in out
    assert say(capsys, "replay", row_id)[1].strip() == "1 due again"
    house.drain()
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    house.container.units.run(park)
    assert say(capsys, "replay", "--all", "--close")[1].strip() == "1 closed"
    assert (house.rows(WebhookEvent)[0].outcome, say(capsys, "replay")[1].strip()) == ("ignored", "0 parked")
    assert main(["replay", row_id]) == 1


@pytest.mark.usefixtures("typed")
def test_reconcile_says_what_differs(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """All agree: 0. Money of nobody: 1, with its sentence, listed until it is closed. A gateway down: incomplete."""
    house.paid()
    status, out = say(capsys, "reconcile")
    assert (status, ": complete" in out, "differ" in out) == (0, True, True)
    assert re.search(r"^paystack +1 +0 +0 +0  complete$", out, re.MULTILINE)
    reference = house.pay_nobody()
    status, out = say(capsys, "reconcile", "--gateway", "paystack", "--since", "2026-01-15", "--json")
    run = json.loads(out)
    (found,) = run["differences"]
    assert (status, found["kind"], found["state"], found["reference"]) == (1, "unknown_here", "open", reference)
    assert [one["gateway"] for one in run["gateways"]] == ["paystack"]
    status, out = say(capsys, "reconcile", "--open")
    assert (status, "1 open" in out, "NGN 5,000.00 that no order here knows" in out) == (1, True, True)
    assert say(capsys, "reconcile", "--close", found["id"], "--note", "an invoice")[0] == 0
    assert say(capsys, "reconcile", "--open") == (0, "0 open")
    house.fault("error_500", gateway="stripe", times=None)
    status, out = say(capsys, "reconcile")
    assert (status, "incomplete: " in out) == (1, True)
    assert main(["reconcile", "--since", "2026-02-01", "--until", "2026-01-01"]) == 1
    assert main(["reconcile", "--gateway", "nobody"]) == 1


@pytest.mark.usefixtures("typed")
def test_reconcile_counts_more_than_it_shows(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status and the number of open ones are of all there are; open ones are shown before settled ones."""
    for _ in range(MOST_SHOWN):
        house.pay_nobody()
    say(capsys, "reconcile", "--gateway", "paystack")
    with house.container.engine.begin() as connection:
        connection.execute(update(Difference).values(settled_at=house.clock.now(), settled_by="user:u-op"))
    reference = house.pay_nobody()
    status, out = say(capsys, "reconcile", "--gateway", "paystack", "--json")
    shown = json.loads(out)["differences"]
    assert (status, len(shown), shown[0]["reference"], shown[0]["state"]) == (1, MOST_SHOWN, reference, "open")
    (known,) = [row for row in house.rows(Difference) if row.settled_at is None]
    fields = {column.key: getattr(known, column.key) for column in inspect(Difference).column_attrs}
    more = [{**fields, "id": new_id(), "subject": f"more-{one}"} for one in range(SHOWN)]
    with house.container.engine.begin() as connection:
        connection.execute(insert(Difference), more)
    status, out = say(capsys, "reconcile", "--open")
    assert (status, out.splitlines()[-1], len(out.splitlines())) == (1, f"{SHOWN + 1} open", SHOWN + 1)


def test_whoever_types_is_named() -> None:
    """History says who acted, as far as the machine knows."""
    assert staff_cli.operator().actor.startswith("user:cli-")
    assert staff_cli.operator().is_operator
    assert ADA.is_operator is False


@pytest.mark.parametrize("words", [["decisions", "xyz", "ignore"], ["replay", "xyz"], ["reconcile", "--close", "xyz"]])
def test_what_is_no_id_is_said_to_be_none(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """In words that tell where to get one."""
    with pytest.raises(SystemExit):
        main(words)
    assert "'xyz' is no id; copy it from the list" in capsys.readouterr().err
