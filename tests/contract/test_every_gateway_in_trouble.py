"""The contract of a gateway, second part: money going back, and answers that are late, broken or missing.

Parametrised over the table of gateways like the first part; where gateways differ by nature, the adapter says so
(`refund_is_idempotent`, `lost_initiate`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from payflow.core.errors import (
    AnswerNotUnderstood,
    GatewayError,
    GatewayRejected,
    GatewayUnavailable,
    InvalidInput,
    OutcomeUnknown,
)
from payflow.core.gateways import GATEWAYS
from payflow.core.money import Money
from payflow.embedded import free_port
from payflow.gateways.base import AttemptRef, LostInitiate, Outcome, RefundRef
from tests.contract.any_gateway import Desk

DAY = 86_400

# -- refunds -----------------------------------------------------------------------------------------------------------


def test_a_refund_in_whole_is_pending_then_done(desk: Desk) -> None:
    """Accepted under an id of the gateway's, done when the gateway says so on a later question."""
    request = desk.refund_request(desk.paid())
    made = desk.gateway.refund(request)
    assert (made.outcome, made.amount) == (Outcome.PENDING, request.amount)
    assert made.gateway_refund_id
    desk.later(10)
    done = desk.ask_back(request, made)
    assert (done.outcome, done.amount) == (Outcome.SUCCEEDED, request.amount)
    assert [row["amount_minor"] for row in desk.refunds()] == [desk.exact(request.amount)]
    desk.assert_no_secret(made, done)


def test_refunds_in_part_add_up_and_no_more_goes_back(desk: Desk) -> None:
    """A third, then the rest: both listed under our ids. One more is refused for good and makes nothing."""
    attempt = desk.paid(desk.money(6_000))
    parts = [desk.refund_request(attempt, desk.money(major)) for major in (2_000, 4_000)]
    for part in parts:
        desk.gateway.refund(part)
    listed = desk.gateway.list_refunds(attempt)
    assert {(one.refund_id, one.amount) for one in listed} == {(part.refund_id, part.amount) for part in parts}
    with pytest.raises(GatewayRejected):
        desk.gateway.refund(desk.refund_request(attempt, desk.money(1_000)))
    assert len(desk.refunds()) == 2


def test_a_try_without_refunds_has_an_empty_list(desk: Desk) -> None:
    """Also while another try has some: lists are of one try."""
    other = desk.paid()
    desk.gateway.refund(desk.refund_request(other))
    assert desk.gateway.list_refunds(desk.paid()) == []


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        ("refund_stuck_pending", [Outcome.PENDING, Outcome.PENDING]),
        ("refund_fails", [Outcome.FAILED, Outcome.FAILED]),
        ("refund_fails_after_success", [Outcome.SUCCEEDED, Outcome.FAILED]),
        ("refund_needs_attention", [Outcome.PENDING, Outcome.PENDING]),
    ],
)
def test_a_refund_ends_as_the_gateway_says(desk: Desk, fault: str, ends: list[Outcome]) -> None:
    """Stuck, failed, failed after it was done, waiting for a person: told at each question as it is then."""
    params = {"seconds": DAY} if fault == "refund_fails_after_success" else {}
    desk.fault(fault, times=1, **params)
    request = desk.refund_request(desk.paid())
    made = desk.gateway.refund(request)
    assert made.outcome is Outcome.PENDING
    told = []
    for seconds in (10, DAY):
        desk.later(seconds)
        told.append(desk.ask_back(request, made).outcome)
    assert told == ends


def test_an_empty_balance_is_tried_later_and_makes_nothing(desk: Desk) -> None:
    """Not refused for good: unavailable under a code of its own, an ERROR for a person, no refund made."""
    attempt = desk.paid()
    desk.fault("refund_no_balance", times=1)
    with capture_logs() as lines, pytest.raises(GatewayUnavailable) as caught:
        desk.gateway.refund(desk.refund_request(attempt))
    assert caught.value.code == "insufficient_balance"
    assert [line["log_level"] for line in lines if line["action"] == "gateway.refused"] == ["error"]
    assert desk.refunds() == []


def test_a_refund_from_the_dashboard_is_listed_without_an_id_of_ours(desk: Desk) -> None:
    """So that it can be taken for what it is: not ours."""
    attempt = desk.paid()
    desk.control("POST", "faults", {"fault": "dashboard_refund", "reference": attempt.reference})
    (found,) = desk.gateway.list_refunds(attempt)
    assert (found.refund_id, found.amount) == (None, attempt.amount)


def test_refunds_that_cannot_be_are_refused_locally(desk: Desk) -> None:
    """Nothing, less than nothing, an id that is no id, a question without the gateway's own id: nothing is sent."""
    attempt = desk.paid()
    seen = desk.calls()
    for minor in (0, -100):
        amount = Money(minor, desk.currency)
        with pytest.raises(InvalidInput) as caught:
            desk.gateway.refund(desk.refund_request(attempt, amount))
        assert caught.value.pointer == "/amount"
        with pytest.raises(InvalidInput) as caught:
            desk.gateway.check_refund(amount)
        assert caught.value.pointer == "/amount"
    desk.gateway.check_refund(attempt.amount)
    with pytest.raises(InvalidInput):
        desk.gateway.refund(replace(desk.refund_request(attempt), refund_id="a b/../c"))
    with pytest.raises(InvalidInput):
        desk.gateway.fetch_refund(RefundRef("r-1", attempt, attempt.amount))
    assert desk.calls() == seen


# -- nothing is lost, nothing is done twice ----------------------------------------------------------------------------


def test_a_refund_whose_answer_is_lost_is_made_once(desk: Desk) -> None:
    """The gateway made it and fell silent: found again under our id, and one refund stands in its books.

    Where repeating is not safe by nature, the command went out once only.
    """
    request = desk.refund_request(desk.paid())
    desk.fault("timeout_after_effect", operation="refund", times=3, seconds=0, then="close")
    with pytest.raises(OutcomeUnknown):
        desk.gateway.refund(request)
    if desk.gateway.refund_is_idempotent:
        assert desk.gateway.refund(request).refund_id == request.refund_id
    else:
        assert len(desk.calls("refund")) == 1
    (found,) = desk.gateway.list_refunds(request.attempt)
    assert (found.refund_id, found.amount) == (request.refund_id, request.amount)
    assert len(desk.refunds()) == 1


def test_a_page_whose_answer_is_lost_leads_to_one_page_per_reference(desk: Desk) -> None:
    """What the adapter says of itself is true: resending gives the same page; or the reference can be asked after;
    or it stays askable while a new reference is used."""
    request = desk.request()
    desk.fault("timeout_after_effect", operation="initialize", times=3, seconds=0, then="close")
    with pytest.raises(OutcomeUnknown):
        desk.gateway.initiate(request)
    desk.calm()
    desk.charge(request.reference)  # raises unless there is exactly one
    attempt = AttemptRef(request.reference, request.amount)
    match desk.gateway.lost_initiate:
        case LostInitiate.RESEND:
            again = desk.gateway.initiate(request)
            desk.charge(request.reference)
            attempt = replace(attempt, session_id=again.session_id)
        case LostInitiate.PROBE:
            assert desk.gateway.verify(attempt).found
        case LostInitiate.RENEW:
            desk.gateway.initiate(replace(request, reference=f"{request.reference}-2"))
    desk.pay(attempt)
    assert desk.gateway.verify(attempt).outcome is Outcome.SUCCEEDED


def test_a_question_is_repeated_at_once_and_a_plain_command_is_not(desk: Desk) -> None:
    """One bad answer to a question goes unnoticed; a command is sent again only under an idempotency key."""
    attempt = desk.paid()
    before = len(desk.calls("verify"))
    desk.fault("error_500", operation="verify", times=1)
    assert desk.gateway.verify(attempt).outcome is Outcome.SUCCEEDED
    assert len(desk.calls("verify")) == before + 2

    pages = len(desk.calls("initialize"))
    desk.fault("error_500", operation="initialize", times=1)
    if desk.gateway.lost_initiate is LostInitiate.RESEND:
        desk.opened()
        assert len(desk.calls("initialize")) == pages + 2
    else:
        with pytest.raises(OutcomeUnknown):
            desk.opened()
        assert len(desk.calls("initialize")) == pages + 1


# -- what each trouble is called ---------------------------------------------------------------------------------------

QUESTIONS: dict[str, tuple[str, Callable[[Desk, AttemptRef], object]]] = {
    "verify": ("verify", lambda desk, attempt: desk.gateway.verify(attempt)),
    "list_refunds": ("list_refunds", lambda desk, attempt: desk.gateway.list_refunds(attempt)),
}
COMMANDS: dict[str, tuple[str, Callable[[Desk, AttemptRef], object]]] = {
    "initiate": ("initialize", lambda desk, _: desk.opened()),
    "refund": ("refund", lambda desk, attempt: desk.gateway.refund(desk.refund_request(attempt))),
}
TROUBLES: dict[str, tuple[str, dict[str, Any], type[GatewayError], type[GatewayError]]] = {
    "time-out": ("slow", {"seconds": 0.6}, GatewayUnavailable, OutcomeUnknown),
    "reset connection": ("refuse_connection", {}, GatewayUnavailable, OutcomeUnknown),
    "its own 500": ("error_500", {}, GatewayUnavailable, OutcomeUnknown),
    "its own 503": ("error_500", {"status": 503}, GatewayUnavailable, OutcomeUnknown),
    "a proxy's page": ("html_error", {}, GatewayUnavailable, OutcomeUnknown),
    "a page in a 200": ("html_error", {"status": 200}, AnswerNotUnderstood, AnswerNotUnderstood),
    "half a text": ("truncated_json", {}, AnswerNotUnderstood, AnswerNotUnderstood),
    "an empty text": ("truncated_json", {"keep": 0}, AnswerNotUnderstood, AnswerNotUnderstood),
    "two megabytes": ("huge_body", {}, AnswerNotUnderstood, AnswerNotUnderstood),
    "too many requests": ("rate_limit", {"retry_after": 7}, GatewayUnavailable, GatewayUnavailable),
}
"""What goes wrong: the sandbox's fault, then what it means for a question and for a command."""


@pytest.mark.parametrize("call", [*QUESTIONS, *COMMANDS])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_trouble_has_one_name_and_leaks_nothing(desk: Desk, call: str, trouble: str) -> None:
    """A question without an answer may be asked again; a command may have taken effect, unless it was put off."""
    fault, params, for_questions, for_commands = TROUBLES[trouble]
    operation, act = (QUESTIONS | COMMANDS)[call]
    attempt = desk.paid()
    desk.gateway = desk.adapter(limits={"read_seconds": 0.2})
    desk.fault(fault, operation=operation, **params)
    with capture_logs() as lines, pytest.raises(GatewayError) as caught:
        act(desk, attempt)
    assert type(caught.value) is (for_questions if call in QUESTIONS else for_commands)
    assert caught.value.gateway == desk.name
    if fault == "rate_limit":
        assert caught.value.retry_after_seconds == 7
    desk.assert_no_secret(caught.value, lines)


@pytest.mark.parametrize("call", [*QUESTIONS, *COMMANDS])
def test_a_gateway_that_cannot_be_reached_did_nothing(desk: Desk, call: str) -> None:
    """Nothing was sent, so a command may be repeated as well."""
    attempt = desk.paid()
    (row,) = (row for row in GATEWAYS if row.name == desk.name)
    nowhere = {row.base_url_setting: f"http://127.0.0.1:{free_port()}"}
    desk.gateway = desk.adapter(**nowhere)
    with pytest.raises(GatewayUnavailable) as caught:
        (QUESTIONS | COMMANDS)[call][1](desk, attempt)
    assert caught.value.retryable
    desk.assert_no_secret(caught.value)


@pytest.mark.parametrize("call", [*QUESTIONS, *COMMANDS])
def test_a_wrong_key_is_final_and_calls_a_person(desk: Desk, call: str) -> None:
    """401: refused, sent once, one ERROR; the key that was shown stands nowhere."""
    attempt = desk.paid()
    (row,) = (row for row in GATEWAYS if row.name == desk.name)
    wrong = f"{row.test_keys[0]}of_somebody_else"
    desk.gateway = desk.adapter(**{row.secret_key_setting: wrong})
    seen = len(desk.calls())
    with capture_logs() as lines, pytest.raises(GatewayRejected) as caught:
        (QUESTIONS | COMMANDS)[call][1](desk, attempt)
    assert (caught.value.http_status, caught.value.retryable) == (401, False)
    assert len(desk.calls()) == seen + 1
    assert [line["log_level"] for line in lines if line["action"] == "gateway.refused"] == ["error"]
    assert wrong not in repr((caught.value, lines, desk.records))
