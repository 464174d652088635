"""Refunds at Flutterwave: what is sent, how one is asked after, and the list that stands in for idempotency."""

from __future__ import annotations

import json
from typing import Any

import pytest
import responses

from payflow.core.errors import (
    AnswerNotUnderstood,
    GatewayRejected,
    InvalidInput,
    OutcomeUnknown,
)
from payflow.core.money import Money
from payflow.gateways.base import Outcome
from payflow.gateways.flutterwave_reading import MINIMUM_REFUND
from tests.contract.flutterwave_kit import (
    FIRST,
    HOST,
    NOT_FOUND,
    a_gateway,
    a_page,
    a_paid_attempt,
    a_refund,
    a_refund_ref,
    a_refund_row,
    a_transaction,
    an_attempt,
    answers_by_id,
    answers_fetch_refund,
    answers_list,
    answers_refund,
    answers_refunds,
    answers_verify,
    paths,
    refunded,
    sent,
    validate_against_the_spec,
    verified,
)
from tests.contract.official import SPECS


@pytest.mark.parametrize("currency", sorted(MINIMUM_REFUND))
@responses.activate
def test_refund_when_below_the_least_then_refused_locally(currency: str) -> None:
    """NGN 100 and KES 10 pass, one minor unit less is refused and named (Flutterwave docs, Refunds)."""
    least = MINIMUM_REFUND[currency]
    with pytest.raises(InvalidInput) as caught:
        a_gateway().refund(a_refund(least.amount_minor - 1, currency))
    assert (caught.value.pointer, len(responses.calls)) == ("/amount", 0)
    answers_refund(json=refunded(amount_refunded=int(least.to_major())))
    assert a_gateway().refund(a_refund(least.amount_minor, currency)).amount == least


@responses.activate
def test_refund_when_a_callback_address_is_set_then_it_is_sent() -> None:
    """Refunds are told only where each one says so, unless support has switched them on."""
    answers_refund(json=refunded())
    a_gateway(webhook_url="https://m.example/hook").refund(a_refund())
    assert sent()["callbackurl"] == "https://m.example/hook"
    if SPECS.is_dir():
        validate_against_the_spec()


@responses.activate
def test_refund_when_transaction_id_is_missing_then_it_is_asked_for_first() -> None:
    """A refund needs the number; one question learns it before anything is sent."""
    answers_verify(json=verified())
    answers_list(a_transaction())
    answers_refund(json=refunded())
    a_gateway().refund(a_refund(attempt=an_attempt()))
    assert paths()[-1] == ("POST", f"/transactions/{FIRST}/refund")


@responses.activate
def test_refund_when_transaction_is_unknown_there_then_rejected() -> None:
    """No transaction, so no refund and nothing to list."""
    answers_verify(status=400, json=NOT_FOUND)
    answers_by_id(status=400, json=NOT_FOUND)
    for call in (
        lambda: a_gateway().refund(a_refund(attempt=an_attempt())),
        lambda: a_gateway().list_refunds(an_attempt()),
        lambda: a_gateway().list_refunds(a_paid_attempt()),
    ):
        with pytest.raises(GatewayRejected) as caught:
            call()
        assert caught.value.code == "transaction_not_found"


@responses.activate
def test_refund_answer_when_for_another_transaction_then_not_understood() -> None:
    """An answer about somebody else's money is no answer."""
    answers_refund(json=refunded(tx_id=7))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().refund(a_refund())


@pytest.mark.parametrize("refund_id", ["", "r 1", "r_1", "r" * 101])
def test_refund_when_id_would_not_survive_the_note_then_refused_locally(refund_id: str) -> None:
    """Our id is read back out of free text, so it must be one word."""
    with pytest.raises(InvalidInput):
        a_gateway().refund(a_refund(refund_id=refund_id))


@responses.activate
def test_refund_when_gateway_fails_then_unknown_and_not_repeated() -> None:
    """There is no idempotency key: one POST, whatever happens."""
    answers_refund(status=503, body="<html>", content_type="text/html")
    with pytest.raises(OutcomeUnknown):
        a_gateway().refund(a_refund())
    assert len(responses.calls) == 1


@pytest.mark.parametrize("changes", [{"id": 6}, {"transaction_id": 7}], ids=["refund", "transaction"])
@responses.activate
def test_fetch_refund_when_answer_is_another_one_then_not_understood(changes: dict[str, Any]) -> None:
    """Both ids are compared."""
    answers_fetch_refund(**changes)
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().fetch_refund(a_refund_ref())


@pytest.mark.parametrize(
    "changes", [{"id": None}, {"status": None}, {"amount_refunded": None}, {"amount_refunded": 0.001}], ids=str
)
@responses.activate
def test_fetch_refund_when_an_essential_field_is_odd_then_not_understood(changes: dict[str, Any]) -> None:
    """Nothing is filled in by us."""
    answers_fetch_refund(**changes)
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().fetch_refund(a_refund_ref())


@pytest.mark.parametrize("meta", [None, "", "no json", "[]", '"x"', 5, "\ud800", '{"disburse_status": 5}', "[" * 9_999])
@responses.activate
def test_fetch_refund_when_meta_is_odd_then_it_says_nothing(meta: Any) -> None:
    """The disbursement's state is an extra."""
    answers_fetch_refund("completed-mpgs", meta=meta)
    assert a_gateway().fetch_refund(a_refund_ref()).outcome is Outcome.SUCCEEDED


def test_fetch_refund_when_its_id_is_unknown_then_refused_locally() -> None:
    """Only the gateway's own id finds one."""
    with pytest.raises(InvalidInput):
        a_gateway().fetch_refund(a_refund_ref(None))


def page_matcher(number: int) -> Any:
    dates = {"from": "2026-01-14", "to": "2026-01-16"}
    return [responses.matchers.query_param_matcher(dates | ({"page": str(number)} if number > 1 else {}))]


@responses.activate
def test_list_refunds_when_pages_overlap_then_each_refund_once() -> None:
    """A refund made while we page shifts the rows; strangers' rows are left out."""
    answers_by_id(json=verified())
    pages = [
        a_page(a_refund_row(id=4), a_refund_row(id=3), total=4, pages=2),
        a_page(a_refund_row(id=3), a_refund_row(id=2, transaction_id=str(FIRST)), a_refund_row(id=1, transaction_id=5),
               total=4, pages=2),
    ]  # fmt: skip
    for number, page in enumerate(pages, 1):
        responses.get(f"{HOST}/refunds", json=page, match=page_matcher(number))
    found = a_gateway().list_refunds(a_paid_attempt())
    assert [one.gateway_refund_id for one in found] == ["4", "3", "2"]


@responses.activate
def test_list_refunds_when_it_grows_while_it_is_read_then_it_holds_what_was_there_before() -> None:
    """Somebody's new refund raises the total and pushes the rows on; every one of the first total has been seen."""
    answers_by_id(json=verified())
    pages = [
        a_page(a_refund_row(id=4), a_refund_row(id=3), total=4, pages=2),
        a_page(a_refund_row(id=3), a_refund_row(id=2, transaction_id=str(FIRST)), total=5, pages=3),
        a_page(a_refund_row(id=1, transaction_id=5), total=5, pages=3),
    ]
    for number, page in enumerate(pages, 1):
        responses.get(f"{HOST}/refunds", json=page, match=page_matcher(number))
    found = a_gateway().list_refunds(a_paid_attempt())
    assert [one.gateway_refund_id for one in found] == ["4", "3", "2"]


@pytest.mark.parametrize(
    "page",
    [a_page(a_refund_row(), total=3), a_page({"id": None}), a_page("x"), {"status": "success", "data": {}}],  # type: ignore[arg-type]  # odd on purpose
    ids=["short", "odd", "no row", "none"],
)
@responses.activate
def test_list_refunds_when_it_is_incomplete_then_not_understood(page: dict[str, Any]) -> None:
    """A missing row would be paid a second time, so there is no partial answer."""
    answers_by_id(json=verified())
    answers_refunds(json=page)
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().list_refunds(a_paid_attempt())


@responses.activate
def test_list_refunds_when_no_meta_is_sent_then_it_ends_at_a_page_without_news() -> None:
    """The same page again, or an empty one, is the end."""
    answers_by_id(json=verified())
    answers_refunds(json={"status": "success", "data": [a_refund_row()]})
    assert len(a_gateway().list_refunds(a_paid_attempt())) == 1


@responses.activate
def test_list_refunds_when_it_never_ends_then_not_understood() -> None:
    """A listing that always has news is cut off, loudly."""
    numbers = iter(range(1, 1_000))
    answers_by_id(json=verified())
    responses.add_callback(
        responses.GET,
        f"{HOST}/refunds",
        callback=lambda _request: (200, {}, json.dumps(a_page(a_refund_row(id=next(numbers)), pages=10**6))),
        content_type="application/json",
    )
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().list_refunds(a_paid_attempt())
    assert len(responses.calls) == 101


@responses.activate
def test_list_refunds_when_the_transactions_currency_is_another_then_it_counts() -> None:
    """Refunds carry no currency of their own: what was paid in francs goes back in francs."""
    answers_by_id(json=verified(currency="XOF"))
    answers_refunds(a_refund_row(amount_refunded=100))
    assert a_gateway().list_refunds(a_paid_attempt())[0].amount == Money(100, "XOF")


@responses.activate
def test_list_refunds_when_the_id_belongs_to_another_reference_then_not_understood() -> None:
    """A mixed-up id must not lead to somebody else's refunds."""
    answers_by_id(json=verified(tx_ref="PF-2"))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().list_refunds(a_paid_attempt())


@pytest.mark.parametrize(
    ("created_at", "query"),
    [("soon", ""), ("2026-02-01T00:00:00.000Z", "?from=2026-01-14&to=2026-02-02")],
    ids=["unreadable", "after our clock"],
)
@responses.activate
def test_list_refunds_when_the_payments_day_is_odd_then_the_list_is_not_cut_short(created_at: str, query: str) -> None:
    """Rather everything than a window that could miss the refund looked for."""
    answers_by_id(json=verified(created_at=created_at))
    answers_refunds(a_refund_row())
    assert len(a_gateway().list_refunds(a_paid_attempt())) == 1
    assert responses.calls[1].request.path_url == f"/v3/refunds{query}"
