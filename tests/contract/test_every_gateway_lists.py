"""The contract of a gateway's lists by time: what the reconciliation reads. Parametrised over the table of gateways; no
gateway is named."""

from __future__ import annotations

from datetime import timedelta

import pytest

from payflow.core.errors import GatewayError
from payflow.gateways.base import ListedPayment, Outcome, Window
from tests.contract.any_gateway import Desk

MORE_THAN_A_PAGE = 103
"""Above the longest page of every gateway here."""


def window(desk: Desk, *, hours: int = 1) -> Window:
    """The hours up to now, this second included."""
    until = desk.clock.now() + timedelta(seconds=1)
    return Window(until - timedelta(hours=hours), until)


def payments(desk: Desk, within: Window) -> dict[str, ListedPayment]:
    """Rows by reference."""
    return {row.told.reference: row for row in desk.listed(desk.gateway.payments_made, within)}


def test_a_window_holds_what_was_made_in_it(desk: Desk) -> None:
    """Not what was made before or after; each row says what the question about it says."""
    desk.paid()
    desk.later(86_400 * 3)
    inside = [desk.paid(), desk.paid(desk.money(7_000))]
    within = window(desk)
    desk.later(86_400 * 3)
    desk.paid()
    listed = payments(desk, within)
    assert set(listed) == {attempt.reference for attempt in inside}
    for attempt in inside:
        told, asked = listed[attempt.reference].told, desk.gateway.verify(attempt)
        assert (told.outcome, told.amount, told.transaction_id) == (asked.outcome, asked.amount, asked.transaction_id)
        assert (told.outcome, told.amount) == (Outcome.SUCCEEDED, attempt.amount)
        assert told.is_test in (True, None)
    desk.assert_no_secret(*listed.values())


def test_a_window_without_anything_is_empty(desk: Desk) -> None:
    """An empty list is an answer, not an error."""
    assert desk.listed(desk.gateway.payments_made, window(desk)) == []
    assert desk.listed(desk.gateway.refunds_made, window(desk)) == []


def test_a_long_list_is_read_page_by_page(desk: Desk) -> None:
    """Nothing is left out where a page ends, nothing comes twice, and one call is one page."""
    references = []
    for _ in range(MORE_THAN_A_PAGE):
        attempt = desk.opened()
        desk.pay(attempt)
        references.append(attempt.reference)
    told = [row.told.reference for row in desk.listed(desk.gateway.payments_made, window(desk))]
    assert sorted(told) == sorted(references)
    assert len(desk.calls("list_transactions")) > 1


def test_what_brought_no_money_is_never_shown_as_money(desk: Desk) -> None:
    """Open, left, declined: listed or not, but never succeeded."""
    for outcome in ("decline", "abandon", "late"):
        desk.pay(desk.opened(), outcome)
    desk.opened()
    shown = desk.listed(desk.gateway.payments_made, window(desk))
    assert {row.told.outcome for row in shown} <= {Outcome.PENDING, Outcome.FAILED}


def test_refunds_of_a_window_whoever_made_them(desk: Desk) -> None:
    """Ours with our id, the dashboard's without; each names its payment and how it stands."""
    ours, theirs = desk.paid(), desk.paid()
    desk.later(86_400 * 3)
    request = desk.refund_request(ours)
    made = desk.gateway.refund(request)
    desk.control("POST", "faults", {"fault": "dashboard_refund", "reference": theirs.reference})
    within = window(desk)
    desk.later(60)
    rows = {row.transaction_id: row for row in desk.listed(desk.gateway.refunds_made, within)}
    listed = {transaction_id: row.told for transaction_id, row in rows.items()}
    assert set(listed) == {ours.transaction_id, theirs.transaction_id}
    known = listed[ours.transaction_id]
    assert (known.refund_id, known.gateway_refund_id) == (request.refund_id, made.gateway_refund_id)
    assert listed[theirs.transaction_id].refund_id is None
    for attempt in (ours, theirs):
        told = listed[attempt.transaction_id]
        assert told.outcome is Outcome.SUCCEEDED
        paid = attempt.amount
        assert (told.amount, rows[attempt.transaction_id].major) in ((paid, None), (None, paid.to_major()))
    desk.later(86_400 * 3)
    assert desk.listed(desk.gateway.refunds_made, window(desk)) == []


@pytest.mark.parametrize("trouble", ["error_500", "rate_limit", "html_error", "truncated_json", "refuse_connection"])
def test_a_list_that_cannot_be_read_is_an_error(desk: Desk, trouble: str) -> None:
    """Never an empty list: nobody may take "no answer" for "no payments"."""
    desk.paid()
    desk.fault(trouble)
    for read in (desk.gateway.payments_made, desk.gateway.refunds_made):
        with pytest.raises(GatewayError):
            read(window(desk))
