"""The Paystack adapter: refunds and their list."""

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
from payflow.gateways.base import (
    RefundRef,
)
from tests.contract.paystack_kit import (
    HOST,
    a_gateway,
    a_refund,
    an_attempt,
    answers_refund,
    answers_verify,
    refunded,
    refused,
    verified,
)


@responses.activate
def test_refund_answer_when_for_another_transaction_then_not_understood() -> None:
    """An answer about somebody else's money is no answer."""
    answers_refund(json=refunded(transaction={"id": 1, "reference": "PF-2"}))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().refund(a_refund())


def test_refund_when_id_would_not_survive_the_note_then_refused_locally() -> None:
    """Our id is read back out of free text, so it must be one word."""
    with pytest.raises(InvalidInput):
        a_gateway().refund(a_refund(refund_id="r 1"))


@responses.activate
def test_refund_when_gateway_fails_then_unknown_and_not_repeated() -> None:
    """There is no idempotency key: one POST, whatever happens."""
    answers_refund(status=503, body="<html>", content_type="text/html")
    with pytest.raises(OutcomeUnknown):
        a_gateway().refund(a_refund())
    assert len(responses.calls) == 1


@responses.activate
def test_fetch_refund_when_answer_is_another_refund_then_not_understood() -> None:
    """The id is compared."""
    responses.get(f"{HOST}/refund/5", json=refunded(id=6))
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().fetch_refund(RefundRef("r-1", an_attempt(), Money(1, "NGN"), gateway_refund_id="5"))
    with pytest.raises(InvalidInput):
        a_gateway().fetch_refund(RefundRef("r-1", an_attempt(), Money(1, "NGN")))


def a_page(*rows: dict[str, Any], **meta: int) -> dict[str, Any]:
    return {"status": True, "message": "Refunds retrieved", "data": list(rows)} | ({"meta": meta} if meta else {})


def a_row(number: int, transaction: Any = 1641) -> dict[str, Any]:
    row: dict[str, Any] = refunded(id=number, transaction=transaction, merchant_note=f"payflow refund r-{number}")[
        "data"
    ]
    return row


@responses.activate
def test_list_refunds_when_pages_overlap_then_each_refund_once() -> None:
    """A refund made while we page shifts the rows; strangers' rows are left out even if the filter is ignored."""
    pages = [
        a_page(a_row(3), a_row(2), pageCount=2, total=4),
        a_page(a_row(2), a_row(1, {"id": 1641}), a_row(9, 5), pageCount=2, total=4),
    ]
    for number, page in enumerate(pages, 1):
        responses.get(f"{HOST}/refund", json=page, match=[responses.matchers.query_param_matcher(
            {"transaction": "1641", "perPage": "100", "page": str(number)})])  # fmt: skip
    found = a_gateway().list_refunds(an_attempt(transaction_id="1641"))
    assert [(one.gateway_refund_id, one.refund_id) for one in found] == [("3", "r-3"), ("2", "r-2"), ("1", "r-1")]


@responses.activate
def test_list_refunds_when_no_meta_is_sent_then_it_ends_at_a_page_without_news() -> None:
    """The official sample has no `meta`: the same page again, or an empty one, is the end."""
    responses.get(f"{HOST}/refund", json=a_page(a_row(1)))
    responses.get(f"{HOST}/refund", json=a_page())
    assert len(a_gateway().list_refunds(an_attempt(transaction_id="1641"))) == 1


@pytest.mark.parametrize(
    "page",
    [a_page(a_row(1), pageCount=1, total=3), a_page({"id": None}), {"status": True, "data": {}}],
    ids=["short", "odd", "none"],
)
@responses.activate
def test_list_refunds_when_it_is_incomplete_then_not_understood(page: dict[str, Any]) -> None:
    """A missing row would be paid a second time, so there is no partial answer."""
    responses.get(f"{HOST}/refund", json=page)
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().list_refunds(an_attempt(transaction_id="1641"))


@responses.activate
def test_list_refunds_when_it_never_ends_then_not_understood() -> None:
    """A listing that always has news is cut off, loudly."""
    numbers = iter(range(1_000))
    responses.add_callback(
        responses.GET,
        f"{HOST}/refund",
        callback=lambda _request: (200, {}, json.dumps(a_page(a_row(next(numbers))))),
        content_type="application/json",
    )
    with pytest.raises(AnswerNotUnderstood):
        a_gateway().list_refunds(an_attempt(transaction_id="1641"))
    assert len(responses.calls) == 50


@responses.activate
def test_list_refunds_when_transaction_id_is_missing_then_verify_tells_it() -> None:
    """The list wants the numeric id; one question learns it."""
    answers_verify(json=verified(id=1641))
    responses.get(f"{HOST}/refund", json=a_page(a_row(1), pageCount=1, total=1))
    assert len(a_gateway().list_refunds(an_attempt())) == 1
    assert "transaction=1641" in str(responses.calls[1].request.url)


@responses.activate
def test_list_refunds_when_transaction_is_unknown_there_then_rejected() -> None:
    """No transaction, so no refund and no second try."""
    answers_verify(status=404, json=refused("Transaction reference not found.", "transaction_not_found"))
    with pytest.raises(GatewayRejected) as caught:
        a_gateway().list_refunds(an_attempt())
    assert caught.value.code == "transaction_not_found"
