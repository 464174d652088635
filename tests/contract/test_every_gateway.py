"""The contract of a gateway: what every adapter of the registry does, against its dialect of the sandbox over HTTP.

Parametrised over the table of gateways; no gateway is named. A new one must pass this file as it stands.
"""

from __future__ import annotations

from typing import Any

import pytest
import requests
from structlog.testing import capture_logs

from payflow.core.errors import AnswerNotUnderstood, InvalidInput
from payflow.core.money import Money
from payflow.gateways.base import AttemptRef, HintKind, InitiateRequest, Outcome, SignatureInvalid, UnreadableWebhook
from tests.contract.any_gateway import CURRENCIES, Desk


def refused(desk: Desk, **changes: Any) -> InvalidInput:
    """The local refusal of a request; nothing was sent."""
    with pytest.raises(InvalidInput) as caught:
        desk.gateway.initiate(desk.request(**changes))
    assert desk.calls() == []
    return caught.value


def _is_taken(desk: Desk, request: InitiateRequest) -> bool:
    try:
        desk.gateway.check(request)
    except InvalidInput:
        return False
    return True


# -- initiate ----------------------------------------------------------------------------------------------------------


def test_initiate_opens_the_page_of_this_reference_and_amount(desk: Desk) -> None:
    """One call; the page is there for the browser; the gateway's books hold what was asked for."""
    request = desk.request()
    opened = desk.gateway.initiate(request)
    assert len(desk.calls()) == 1
    assert requests.get(opened.authorization_url, timeout=5).status_code == 200
    charge = desk.charge(request.reference)
    assert (charge["gateway"], charge["email"]) == (desk.name, request.customer_email)
    assert (charge["charged_minor"], charge["currency"]) == (desk.exact(request.amount), request.amount.currency)
    desk.assert_no_secret(opened.raw)


@pytest.mark.parametrize("currency", CURRENCIES)
def test_an_amount_is_exact_there_and_back_or_refused_by_its_currency(desk: Desk, currency: str) -> None:
    """0, 2 and 3 decimals: charged to the last unit and told back as the same money; or /currency, nothing sent."""
    if not desk.gateway.supports(currency):
        error = refused(desk, amount=Money.from_major(5_000, currency))
        assert (error.pointer, error.code) == ("/currency", "unsupported_currency")
        return
    attempt = desk.paid(Money.from_major(5_000, currency))
    assert desk.charge(attempt.reference)["charged_minor"] == desk.exact(attempt.amount)
    assert desk.gateway.verify(attempt).amount == attempt.amount


@pytest.mark.parametrize("currency", CURRENCIES)
def test_the_finest_amount_is_exact_or_refused_at_its_field(desk: Desk, currency: str) -> None:
    """One minor unit more than a round sum is charged as such or refused at /amount: never rounded."""
    if not desk.gateway.supports(currency):
        assert refused(desk, amount=Money.from_major(5_000, currency)).pointer == "/currency"
        return
    amount = Money(Money.from_major(5_000, currency).amount_minor + 1, currency)
    request = desk.request(amount)
    if desk.exact(amount).denominator == 1 and _is_taken(desk, request):
        desk.gateway.initiate(request)
        assert desk.charge(request.reference)["charged_minor"] == desk.exact(amount)
    else:
        assert refused(desk, amount=amount).pointer == "/amount"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"reference": "a b"}, "/reference"),
        ({"reference": "../refund?x="}, "/reference"),
        ({"reference": ""}, "/reference"),
        ({"reference": "P" * 500}, "/reference"),
        ({"customer_email": "nobody"}, "/customer"),
        ({"payment_method": "barter"}, "/payment_method"),
    ],
    ids=str,
)
def test_what_no_gateway_takes_is_refused_locally_at_its_field(
    desk: Desk, changes: dict[str, Any], pointer: str
) -> None:
    """A clear error that names the field; nothing is sent."""
    assert refused(desk, **changes).pointer == pointer


def test_no_money_and_an_unknown_currency_are_refused_locally(desk: Desk) -> None:
    """Zero, less than zero, a currency it does not take: /amount or /currency, nothing sent."""
    for minor in (0, -500):
        assert refused(desk, amount=Money(minor, desk.currency)).pointer == "/amount"
    assert not desk.gateway.supports("KPW")
    assert refused(desk, amount=Money(500_000, "KPW")).pointer == "/currency"


# -- verify ------------------------------------------------------------------------------------------------------------


def test_a_reference_nobody_knows_is_pending(desk: Desk) -> None:
    """Never failed: it may not have arrived yet."""
    told = desk.gateway.verify(AttemptRef("PF-NOBODY", desk.money()))
    assert (told.outcome, told.found, told.reference) == (Outcome.PENDING, False, "PF-NOBODY")


def test_a_payment_is_told_with_all_that_is_compared(desk: Desk) -> None:
    """Pending before, then success with reference, amount, transaction; test money says so or says nothing."""
    attempt = desk.opened()
    assert desk.gateway.verify(attempt).outcome is Outcome.PENDING
    desk.pay(attempt)
    told = desk.gateway.verify(attempt)
    assert (told.outcome, told.reference, told.amount) == (Outcome.SUCCEEDED, attempt.reference, attempt.amount)
    assert told.transaction_id
    assert told.is_test in (True, None)
    assert told.extra_successes == ()
    desk.assert_no_secret(told)


def test_a_decline_is_failed_and_may_be_followed_by_success(desk: Desk) -> None:
    """Failed is what the gateway says now; the same page may still be paid."""
    attempt = desk.opened()
    desk.pay(attempt, "decline")
    assert desk.gateway.verify(attempt).outcome is Outcome.FAILED
    desk.pay(attempt)
    assert desk.gateway.verify(attempt).outcome is Outcome.SUCCEEDED


def test_a_customer_who_leaves_is_pending_and_late_money_success(desk: Desk) -> None:
    """Leaving is no failure; money that arrives later is told then."""
    attempt = desk.opened()
    desk.pay(attempt, "abandon")
    assert desk.gateway.verify(attempt).outcome is Outcome.PENDING
    desk.pay(attempt, "late", after_seconds=60)
    assert desk.gateway.verify(attempt).outcome is Outcome.PENDING
    desk.later(61)
    assert desk.gateway.verify(attempt).outcome is Outcome.SUCCEEDED


def test_wrong_money_is_told_as_it_came(desk: Desk) -> None:
    """Less money, or other money: the answer holds what came, so that whoever compares sees the difference."""
    desk.fault("wrong_amount", times=1, delta=-100)
    less = desk.paid()
    told = desk.gateway.verify(less)
    assert told.amount is not None
    assert desk.exact(told.amount) == desk.exact(less.amount) - 100
    other = next(one for one in CURRENCIES if desk.gateway.supports(one) and one != desk.currency)
    desk.fault("wrong_currency", times=1, currency=other)
    told = desk.gateway.verify(desk.paid())
    assert told.amount is not None
    assert told.amount.currency == other


def test_a_fee_on_top_is_no_part_of_the_price(desk: Desk) -> None:
    """The customer bears the fee: the payment is worth to the order what was asked for."""
    desk.fault("fee_on_customer", times=1)
    attempt = desk.opened()
    desk.pay(attempt)
    told = desk.gateway.verify(attempt)
    assert told.outcome is Outcome.SUCCEEDED
    assert told.amount is not None
    assert told.amount >= attempt.amount


def test_an_answer_about_another_reference_is_never_ours(desk: Desk) -> None:
    """Told with its own reference, or not understood; never success for the reference asked about."""
    attempt = desk.paid()
    desk.fault("wrong_reference")
    try:
        told = desk.gateway.verify(attempt)
    except AnswerNotUnderstood:
        return
    assert told.reference != attempt.reference


def test_a_status_nobody_knows_is_unknown_and_warned_of(desk: Desk) -> None:
    """Never guessed: unknown, with one warning that names gateway and status."""
    attempt = desk.paid()
    desk.fault("unknown_status", status="frobnicated")
    with capture_logs() as lines:
        assert desk.gateway.verify(attempt).outcome is Outcome.UNKNOWN
    (warned,) = [line for line in lines if line["action"] == "gateway.unknown_status"]
    assert (warned["log_level"], warned["gateway"]) == ("warning", desk.name)
    assert "frobnicated" in warned["status"]


def test_a_payment_the_gateway_has_lost_for_now_is_pending(desk: Desk) -> None:
    """ "Not found" about money that was taken is no failure."""
    attempt = desk.paid()
    desk.fault("not_found_on_verify", status=404)
    told = desk.gateway.verify(attempt)
    assert (told.outcome, told.found) == (Outcome.PENDING, False)


# -- the browser comes back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["success", "abandon"])
def test_the_callback_gives_our_own_reference_or_session(desk: Desk, outcome: str) -> None:
    """Whatever way the customer leaves the page, the query leads to this try, and what it claims is not read."""
    attempt = desk.opened()
    query = desk.pay(attempt, outcome)
    if query:  # some gateways send nobody back who leaves
        assert desk.gateway.callback_reference(query) in (attempt.reference, attempt.session_id)
    assert desk.gateway.verify(attempt).outcome is (Outcome.SUCCEEDED if outcome == "success" else Outcome.PENDING)


def test_a_made_up_callback_gives_nothing(desk: Desk) -> None:
    """Nothing in it, blanks, paths, the text null: no reference."""
    names = desk.pay(desk.paid()).keys() | {"reference", "tx_ref", "session_id"}
    for value in ("", " ", "../refund?x=", "a\nb", "é", "x" * 300):
        assert desk.gateway.callback_reference(dict.fromkeys(names, value)) is None
    assert desk.gateway.callback_reference({}) is None


# -- webhooks ----------------------------------------------------------------------------------------------------------


def test_a_true_webhook_points_at_the_payment(desk: Desk) -> None:
    """Signed as the gateway signs: accepted, about a payment, findable by what is on record of the try."""
    attempt = desk.paid()
    bodies = desk.webhooks()
    assert bodies
    hints = [desk.gateway.read_webhook(desk.signed(body), body) for body in bodies]
    about = [hint for hint in hints if hint.kind is HintKind.PAYMENT]
    assert about
    assert {hint.reference for hint in about} <= {attempt.reference, attempt.session_id}
    for spelt in (str.lower, str.upper):  # a header's name is the same in any case
        headers = {spelt(name): value for name, value in desk.signed(bodies[0]).items()}
        assert desk.gateway.read_webhook(headers, bodies[0]) == hints[0]
    desk.assert_no_secret(hints)


def test_a_webhook_that_is_not_proven_is_refused(desk: Desk) -> None:
    """A changed byte, another key, no signature, an empty one: refused before anything is read."""
    desk.paid()
    (body, *_) = desk.webhooks()
    headers = desk.signed(body)
    changed = bytes([*body[:-2], body[-2] ^ 1, body[-1]])
    forged: list[tuple[dict[str, str], bytes]] = [
        (headers, changed),
        (headers, body + b" "),
        (desk.signed(body, "another-key"), body),
        ({}, body),
        (dict.fromkeys(headers, ""), body),
        (dict.fromkeys(headers, "é" * 64), body),
        ({name: value[:-1] for name, value in headers.items()}, body),
    ]
    for their_headers, their_body in forged:
        with pytest.raises(SignatureInvalid):
            desk.gateway.read_webhook(their_headers, their_body)


def test_a_repeated_webhook_has_the_same_key_and_another_fact_another(desk: Desk) -> None:
    """The key is the fact's: a second delivery is recognised, a second payment is not taken for the first."""
    desk.paid()
    first = desk.webhooks()
    again = [desk.gateway.read_webhook(desk.signed(body), body).event_key for body in first * 2]
    assert again[: len(first)] == again[len(first) :]
    desk.later(5)
    desk.paid()
    keys = [desk.gateway.read_webhook(desk.signed(body), body).event_key for body in desk.webhooks()]
    assert len(set(keys)) == len(keys) > len(first)


@pytest.mark.parametrize("body", [b"not json", b"", b"[]", b"null", b"\xff\xfe"])
def test_a_proven_webhook_that_cannot_be_read_is_told_apart(desk: Desk, body: bytes) -> None:
    """Signed nonsense is the gateway's trouble, not a forgery."""
    with pytest.raises(UnreadableWebhook):
        desk.gateway.read_webhook(desk.signed(body), body)


def test_a_refunds_webhook_points_at_the_refund(desk: Desk) -> None:
    """About a refund, and its try or transaction can be found by it."""
    attempt = desk.paid()
    charged = len(desk.webhooks())
    desk.gateway.refund(desk.refund_request(attempt))
    desk.later(10)
    desk.gateway.list_refunds(attempt)
    hints = [desk.gateway.read_webhook(desk.signed(body), body) for body in desk.webhooks()[charged:]]
    about = [hint for hint in hints if hint.kind is HintKind.REFUND]
    assert about
    for hint in about:
        assert hint.reference == attempt.reference or hint.transaction_id == attempt.transaction_id
