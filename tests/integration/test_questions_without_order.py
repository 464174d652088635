"""Questions that fit no order: a webhook nobody can place, shown to operators with its age and answered by them."""

from __future__ import annotations

import pytest

from payflow.models.decision import Decision
from payflow.models.webhook_event import WebhookEvent
from payflow.services.parked import ParkedService
from payflow.store.unit_of_work import Transaction
from tests.builders import Client, a_problem, a_service_key, signed
from tests.comparing import reconcile
from tests.house import WORKSPACE, House
from tests.soundness import assert_sound, audit
from tests.strays import owner_of, park_a_stray, the_stray

LOST = "PF-LOSTWITHOUTANORDER2345678"


def the_question(house: House) -> Decision:
    (found,) = house.rows(Decision)
    assert isinstance(found, Decision)
    return found


def test_a_webhook_nobody_can_place_is_put_before_operators(house: House, operator: Client) -> None:
    """With its age, what is suggested and all that it names; there is no order, no workspace and no sum."""
    row = park_a_stray(house, LOST)
    assert row.parked_at is not None
    house.clock.advance(600)
    (listed,) = operator.get("/payment/decisions/").get_json()["results"]
    assert (listed["kind"], listed["subject_id"], listed["suggested_action"]) == ("unmatched_webhook", row.id, "ignore")
    assert listed["age_seconds"] == int((house.clock.now() - row.parked_at).total_seconds())
    unknown = ("order_id", "order_number", "workspace_id", "amount", "currency")
    assert [listed[name] for name in unknown] == [None] * len(unknown)
    since = f"{row.created_at:%Y-%m-%d %H:%M} UTC"
    for words in ("paystack tells of charge.success", f"reference {LOST}", f"since {since}"):
        assert words in listed["detail"], words
    told = operator.http.get("/metrics").text
    assert 'payflow_open_decisions{kind="unmatched_webhook"} 1.0' in told
    assert_sound(house)


def test_a_webhook_still_looked_for_is_nobodys_question(house: House) -> None:
    """It is asked about when it is given up, not before."""
    body, headers = signed({"event": "charge.success", "data": {"reference": LOST}})
    house.container.webhooks.receive("paystack", headers, body)
    house.drain()
    house.later(3_600)
    assert (the_stray(house, LOST).outcome, house.rows(Decision)) == ("unmatched", [])


def test_only_operators_see_and_answer_what_is_no_workspaces(
    house: House, admin: Client, ada: Client, operator: Client
) -> None:
    """An administrator's list leaves it out, under the name of its workspace too; its answer is refused."""
    park_a_stray(house, LOST)
    way = f"/payment/decisions/{the_question(house).id}/resolve/"
    for path in ("/payment/decisions/?status=all", f"/payment/decisions/?workspace={WORKSPACE}"):
        assert admin.get(path).get_json()["results"] == [], path
    a_problem(ada.get("/payment/decisions/"), 403)
    here = Client(operator.http, a_service_key(house, workspace_id=WORKSPACE))
    assert here.get("/payment/decisions/").get_json()["results"] == []
    for who in (admin, ada, here):
        a_problem(who.post(way, {"action": "ignore"}), 403)
    assert the_question(house).resolved_at is None
    assert the_stray(house, LOST).parked_at is not None
    assert operator.post(way, {"action": "ignore"}).status_code == 200


def test_extend_looks_for_its_payment_again(house: House, operator: Client) -> None:
    """At once; the payment it tells of is there by now, and goes through."""
    park_a_stray(house, LOST)
    order_id = owner_of(house, LOST)
    way = f"/payment/decisions/{the_question(house).id}/resolve/"
    answer = operator.post(way, {"action": "extend", "note": "restored at noon"})
    assert answer.status_code == 200, answer.text
    house.drain()
    assert the_stray(house, LOST).outcome == "matched"
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    asked = the_question(house)
    assert (asked.action, asked.note, asked.resolved_by) == ("extend", "restored at noon", "user:u-op")
    assert_sound(house)


def test_looked_for_again_in_vain_it_is_asked_anew(house: House, operator: Client) -> None:
    """The same question, open since then, with the answer before on record."""
    park_a_stray(house, LOST)
    operator.post(f"/payment/decisions/{the_question(house).id}/resolve/", {"action": "extend"})
    for _ in range(20):
        assert the_question(house).action == "extend"
        house.later(3_600)
        if the_stray(house, LOST).parked_at:
            break
    asked, row = the_question(house), the_stray(house, LOST)
    assert (asked.resolved_at, asked.created_at) == (None, row.parked_at)
    assert "answered before by user:u-op" in asked.detail
    assert_sound(house)


def test_ignore_says_that_it_is_none_of_ours(house: House, operator: Client) -> None:
    """Handled by that and parked no longer; said again it changes nothing, and nothing else may follow."""
    row = park_a_stray(house, LOST)
    way = f"/payment/decisions/{the_question(house).id}/resolve/"
    found = operator.post(way, {"action": "ignore", "note": "the shop's invoice"}).get_json()
    assert (found["action"], found["note"], found["resolved_by"]) == ("ignore", "the shop's invoice", "user:u-op")
    done = the_stray(house, LOST)
    assert (done.outcome, done.handled_at, done.parked_at, done.due_at) == ("ignored", house.clock.now(), None, None)
    assert ParkedService(house.container.units).list() == []
    house.clock.advance(60)
    assert operator.post(way, {"action": "ignore"}).status_code == 200
    assert the_stray(house, LOST).handled_at == done.handled_at
    a_problem(operator.post(way, {"action": "extend"}), 409, "already_resolved")
    assert the_stray(house, LOST).id == row.id
    assert_sound(house)


@pytest.mark.parametrize(("action", "instead"), [("accept", "`extend` looks for"), ("refund", "gateway's dashboard")])
def test_what_has_no_payment_is_neither_taken_nor_given_back(
    house: House, operator: Client, action: str, instead: str
) -> None:
    """Refused with what to do instead; the question stays open and the event parked."""
    park_a_stray(house, LOST)
    way = f"/payment/decisions/{the_question(house).id}/resolve/"
    problem = a_problem(operator.post(way, {"action": action}), 409, "not_applicable")
    assert instead in problem["detail"]
    assert the_question(house).resolved_at is None
    assert the_stray(house, LOST).parked_at is not None


def test_taken_up_again_and_placed_it_is_no_question_any_more(house: House) -> None:
    """`replay` leaves it open until the event fits a payment; then the gateway's word has closed it."""
    row = park_a_stray(house, LOST)
    parked = ParkedService(house.container.units)
    parked.replay(row.id, actor="user:u-op")
    house.drain()
    assert the_question(house).resolved_at is None
    order_id = owner_of(house, LOST)
    house.later(60)
    assert the_stray(house, LOST).outcome == "matched"
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    asked = the_question(house)
    assert (asked.resolved_by, asked.action, asked.note) == ("gateway:paystack", "ignore", "Its payment is known now.")
    assert_sound(house)


def test_placed_after_a_fault_of_ours_it_is_no_question_either(house: House) -> None:
    """Looked for again it could not be worked in, and was parked for that; mended and replayed, it fits."""
    row = park_a_stray(house, LOST)

    def fail(tx: Transaction) -> None:
        tx.get(WebhookEvent, row.id).outcome = "parked"

    house.container.units.run(fail)
    owner_of(house, LOST)
    ParkedService(house.container.units).replay(row.id, actor="user:u-op")
    house.drain()
    assert (the_stray(house, LOST).outcome, the_question(house).resolved_by) == ("matched", "gateway:paystack")
    assert_sound(house)


def test_closed_as_parked_work_it_is_answered(house: House) -> None:
    """`replay --close` is the same verdict, under the same name."""
    row = park_a_stray(house, LOST)
    ParkedService(house.container.units).close(row.id, actor="user:u-op")
    assert (the_stray(house, LOST).outcome, the_question(house).resolved_by) == ("ignored", "user:u-op")
    assert_sound(house)


def test_money_of_nobody_is_put_before_operators(house: House, operator: Client, admin: Client) -> None:
    """What a comparison finds and no order knows is in the same inbox, with its sum; no administrator sees it."""
    reference = house.pay_nobody()
    reconcile(house, "paystack")
    house.clock.advance(600)
    (listed,) = operator.get("/payment/decisions/").get_json()["results"]
    assert (listed["kind"], listed["suggested_action"]) == ("reconciliation", "ignore")
    assert (listed["order_id"], listed["workspace_id"]) == (None, None)
    assert (listed["amount"], listed["currency"]) == (500_000, "NGN")
    assert listed["age_seconds"] >= 600
    assert reference in listed["detail"]
    assert admin.get("/payment/decisions/").get_json()["results"] == []
    way = f"/payment/decisions/{listed['id']}/resolve/"
    for action, instead in (("accept", "ignore it"), ("refund", "gateway's dashboard"), ("extend", "look it up")):
        problem = a_problem(operator.post(way, {"action": action}), 409, "not_applicable")
        assert instead in problem["detail"], action
    answer = operator.post(way, {"action": "ignore", "note": "the shop's invoice"})
    assert answer.status_code == 200, answer.text
    found = operator.get("/payment/reports/reconciliation/differences/?status=settled").get_json()["results"]
    assert [(one["settled_by"], one["note"]) for one in found] == [("user:u-op", "the shop's invoice")]
    assert operator.get("/payment/decisions/").get_json()["results"] == []
    assert audit(house) == []
