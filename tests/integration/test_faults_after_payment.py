"""What goes wrong after the money is in: refunds go back once or to a person, messages go out once or are parked."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from payflow.models.decision import Decision
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.outbox import OutboxEvent
from payflow.models.refund import Refund, RefundReason
from payflow.services.access import Caller
from payflow.services.refund_answers import REQUEST_MAY_LIVE_SECONDS
from tests.dying import worker_killed_in
from tests.house import ADA, BEN, SECRET, House
from tests.integration.test_faults_at_the_gateway import IT_HAPPENED, signed
from tests.rows import an_event
from tests.soundness import audit

pytestmark = pytest.mark.usefixtures("sound_in_the_end")


def ask_back(house: House, order_id: str, amount: int | None = None) -> str:
    """A refund, requested and sent on its way; its id."""
    refund_id = house.container.refunds.request_refund(
        ADA, house.payment_row(order_id).id, amount_minor=amount, reason=RefundReason.CUSTOMER_REQUEST
    )
    house.drain()
    return refund_id


def refund(house: House, refund_id: str) -> Refund:
    return next(row for row in house.rows(Refund) if row.id == refund_id)


def decisions(house: House) -> list[str]:
    return sorted(row.kind for row in house.rows(Decision))


def events(house: House, kind: str) -> int:
    return sum(row.type == kind for row in house.rows(OutboxEvent))


# -- refunds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "params"), IT_HAPPENED)
def test_refund_whose_answer_was_lost_is_found_not_repeated(house: House, fault: str, params: dict[str, Any]) -> None:
    """It was made there: looked up in the gateway's list and adopted; one request, money back once."""
    order_id = house.paid()
    house.fault(fault, operation="refund", params=params)
    refund_id = ask_back(house, order_id)
    assert refund(house, refund_id).status == "processing"
    assert events(house, "REFUND_FAILED") == 0
    house.later(60)
    assert refund(house, refund_id).status == "completed"
    assert house.calls("refund") == 1


@pytest.mark.parametrize("gateway", ["paystack", "flutterwave"])
def test_a_list_that_cannot_be_read_does_not_count_as_the_second_request(house: House, gateway: str) -> None:
    """The look before the second request fails, more than once: nothing was sent, so it is still to be sent."""
    order_id = house.paid(gateway=gateway)
    house.fault("error_500", operation="refund")
    refund_id = ask_back(house, order_id)
    house.fault("html_error", operation="list_refunds", times=3)
    house.later(REQUEST_MAY_LIVE_SECONDS + 60)
    for _ in range(20):
        house.later(120)
    assert (house.calls("refund"), refund(house, refund_id).status) == (2, "completed")
    assert house.rows(Decision) == []


@pytest.mark.parametrize("fault", ["error_500", "html_error", "refuse_connection"])
def test_refund_that_may_have_arrived_is_sent_again_only_when_it_cannot_be_alive(house: House, fault: str) -> None:
    """Not in the list is not enough: the second request waits until the first cannot land any more."""
    order_id = house.paid()
    house.fault(fault, operation="refund")
    refund_id = ask_back(house, order_id)
    for _ in range(9):
        house.later(60)
    assert (house.calls("refund"), refund(house, refund_id).status) == (1, "processing")
    house.later(REQUEST_MAY_LIVE_SECONDS)
    assert house.calls("refund") == 2
    house.later(30)
    assert refund(house, refund_id).status == "completed"
    assert events(house, "REFUND_COMPLETED") == 1


@pytest.mark.parametrize("was_sent", [True, False])
def test_worker_killed_around_the_refund_call_never_gives_back_twice(house: House, was_sent: bool) -> None:
    """Only the note "about to send" is left: found in the list, or sent once more when the first cannot be alive."""
    order_id = house.paid()
    refund_id = house.container.refunds.request_refund(
        ADA, house.payment_row(order_id).id, amount_minor=None, reason=RefundReason.CUSTOMER_REQUEST
    )
    with worker_killed_in(house, "refund", after_effect=was_sent):
        house.drain()
    for seconds in (30, 31, REQUEST_MAY_LIVE_SECONDS, 30):
        house.later(seconds)
    assert refund(house, refund_id).status == "completed"
    assert house.calls("refund") == 1


def test_refund_stuck_pending_stays_pending_and_in_the_end_asks_a_person(house: House) -> None:
    """Pending is neither failed nor done: nobody is told it is back; after a month a person has it."""
    order_id = house.paid()
    house.fault("refund_stuck_pending", operation="refund")
    refund_id = ask_back(house, order_id)
    for _ in range(70):
        house.later(86_400)
    row = refund(house, refund_id)
    assert (row.status, row.needs_attention) == ("processing", True)
    assert row.due_at is not None
    assert decisions(house) == ["refund_unknown"]
    assert events(house, "REFUND_COMPLETED") == events(house, "REFUND_FAILED") == 0
    assert house.payment_row(order_id).status == "success"
    assert house.payment_row(order_id).refundable_minor == 0, "what is on its way cannot be asked for again"


def test_refund_that_needs_attention_is_shown_and_completes_when_it_was_given(house: House) -> None:
    """The gateway wants bank details: flagged, one question to a person; details given there, it completes here."""
    order_id = house.paid()
    house.fault("refund_needs_attention", operation="refund")
    refund_id = ask_back(house, order_id)
    house.later(10)
    assert (refund(house, refund_id).status, refund(house, refund_id).needs_attention) == ("processing", True)
    assert decisions(house) == ["refund_needs_attention"]
    details = {"refund_account_details": {"currency": "NGN", "account_number": "0123456789", "bank_id": "9"}}
    number = refund(house, refund_id).gateway_refund_id
    answer = requests.post(
        f"{house.sandbox.url}/paystack/refund/retry_with_customer_details/{number}",
        json=details, headers={"Authorization": f"Bearer {SECRET}"}, timeout=5,
    )  # fmt: skip
    assert answer.status_code == 200
    house.later(60)
    assert (refund(house, refund_id).status, refund(house, refund_id).needs_attention) == ("completed", False)
    assert house.statuses(order_id) == ("refunded", "refunded", {"cancelled"})


def test_refund_that_fails_gives_its_reservation_back(house: House) -> None:
    """Accepted, then failed: payment untouched, bookings kept, a person is asked, and it can be asked for again."""
    order_id = house.paid()
    house.fault("refund_fails", operation="refund")
    failed = ask_back(house, order_id)
    house.later(10)
    assert refund(house, failed).status == "failed"
    assert house.statuses(order_id) == ("completed", "success", {"confirmed"})
    assert house.payment_row(order_id).refundable_minor == 300_000
    assert decisions(house) == ["refund_failed"]
    again = ask_back(house, order_id)
    house.later(10)
    assert refund(house, again).status == "completed"
    assert house.statuses(order_id) == ("refunded", "refunded", {"cancelled"})


@pytest.mark.parametrize("amount", [None, 100_000])
def test_refund_that_fails_after_success_is_taken_back_in_the_books(house: House, amount: int | None) -> None:
    """The gateway takes its word back: posting reversed, payment a success again, a decision, and refundable anew."""
    order_id = house.paid()
    reference = house.attempts(order_id)[0].reference
    house.fault("refund_fails_after_success", operation="refund", params={"seconds": 600})
    refund_id = ask_back(house, order_id, amount)
    house.later(10)
    assert refund(house, refund_id).status == "completed"
    house.later(1_000)
    house.container.webhooks.receive(
        "paystack", *signed({"event": "refund.failed", "data": {"transaction_reference": reference}})
    )
    house.drain()
    assert refund(house, refund_id).status == "failed"
    payment = house.payment_row(order_id)
    assert (payment.status, payment.refunded_minor, payment.refund_reserved_minor) == ("success", 0, 0)
    assert "refund_failed" in decisions(house)
    kinds = [row.kind for row in house.rows(LedgerPosting)]
    assert (kinds.count("refund"), kinds.count("refund_reversal")) == (1, 1)
    assert events(house, "REFUND_FAILED") == 1

    second = ask_back(house, order_id, amount)
    house.later(10)
    assert refund(house, second).status == "completed"


def test_refund_without_balance_waits_and_is_made_once_the_balance_is_there(house: House) -> None:
    """The merchant's balance is too low: kept, flagged, one question to a person; made once later, no failure told."""
    order_id = house.paid()
    house.fault("refund_no_balance", operation="refund", times=2)
    refund_id = ask_back(house, order_id)
    row = refund(house, refund_id)
    assert (row.status, row.needs_attention) == ("pending", True)
    assert decisions(house) == ["refund_needs_attention"]
    for _ in range(3):
        house.later(3_700)
    house.later(30)
    row = refund(house, refund_id)
    assert (row.status, row.needs_attention) == ("completed", False)
    assert events(house, "REFUND_FAILED") == 0
    there = house.control("GET", "/sandbox/refunds")["refunds"]
    assert [one["amount_minor"] for one in there] == [300_000]


@pytest.mark.parametrize("fault", ["error_500", "rate_limit", "truncated_json"])
def test_question_about_a_refund_without_an_answer_changes_nothing(house: House, fault: str) -> None:
    """The gateway is down after it accepted: processing until it tells."""
    order_id = house.paid()
    house.fault(fault, operation="fetch_refund", times=None, params={"retry_after": 7} if fault == "rate_limit" else {})
    refund_id = ask_back(house, order_id)
    house.later(60)
    assert refund(house, refund_id).status == "processing"
    house.control("DELETE", "/sandbox/faults")
    house.later(700)
    assert refund(house, refund_id).status == "completed"


def test_two_refunds_of_one_amount_with_one_answer_lost_are_both_made_once(house: House) -> None:
    """Equal amounts are told apart by our own id in the gateway's note, never by the amount."""
    order_id = house.paid()
    house.fault("timeout_after_effect", operation="refund", params={"seconds": 0, "then": "close"})
    first, second = ask_back(house, order_id, 1_000), ask_back(house, order_id, 1_000)
    house.later(60)
    assert {refund(house, first).status, refund(house, second).status} == {"completed"}
    assert refund(house, first).gateway_refund_id != refund(house, second).gateway_refund_id
    assert house.calls("refund") == 2


# -- messages ----------------------------------------------------------------------------------------------------------


def test_letter_refused_for_now_goes_out_later_exactly_once(house: House) -> None:
    """The mail server says 451 three times: the order is not held up; the letter goes out once."""
    house.fault("mail_rejected", times=3, params={"code": 451})
    order_id = house.paid()
    assert house.order_row(order_id).status == "completed"
    assert house.letters() == []
    for _ in range(6):
        house.later(30)
    assert len(house.letters()) == 1
    row = next(row for row in house.rows(Notification) if row.channel == "email")
    assert (row.tries, row.due_at, row.error) == (3, None, None)
    assert row.sent_at is not None
    assert house.letters()[0]["headers"]["Message-ID"] == f"<{row.id}@payflow>"


@pytest.mark.parametrize("house", [{"PAYFLOW_SMTP_URL": "smtp://127.0.0.1:1"}], indirect=True)
def test_mail_server_that_is_never_there_parks_the_letter_and_nothing_else(house: House) -> None:
    """Connection refused for days: orders go through; in the end the letter is parked in sight, not lost."""
    order_id = house.paid()
    assert house.order_row(order_id).status == "completed"
    for _ in range(20):
        house.later(6 * 3_600)
    row = next(row for row in house.rows(Notification) if row.channel == "email")
    assert row.sent_at is None
    assert row.parked_at is not None
    assert row.tries == 18


def test_address_that_cannot_be_written_to_stops_no_neighbour(house: House) -> None:
    """One broken address in a batch: parked at once; the letters beside it go out."""
    broken = Caller(user_id=BEN.user_id, email="ben@example.com\r\nBcc: x@example.com", name="B\r\nBcc: x@example.com")
    references = [house.initiated(owner)[1] for owner in (ADA, BEN, ADA)]
    house.booking(broken)
    for reference in references:
        house.pay(reference)
    house.later(6)
    rows = {row.recipient: row for row in house.rows(Notification) if row.channel == "email"}
    assert len([one for one in house.letters() if one["to"] == [ADA.email]]) == 2
    assert rows[broken.email].parked_at is not None
    assert all("Bcc" not in letter["headers"] for letter in house.letters())


@pytest.mark.parametrize(("kind", "payload"), [("NONSENSE", {}), ("PAYMENT_INITIATED", {}), ("PAYMENT_INITIATED", [])])
def test_poison_event_does_not_stop_its_neighbours(house: House, kind: str, payload: dict[str, Any]) -> None:
    """An event nobody can read is tried again, then parked, which the audit tells; those around it go out at once."""
    poison = an_event(
        type=kind, payload=payload, created_at=house.clock.now(), fanned_out_at=None, due_at=house.clock.now()
    )
    house.container.units.run(lambda tx: tx.add(poison))
    house.paid()
    assert len(house.letters()) == 1
    for _ in range(20):
        house.later(3_600)
    row = next(row for row in house.rows(OutboxEvent) if row.id == poison.id)
    assert (row.fanned_out_at, row.due_at, row.tries) == (None, None, 20)
    assert row.parked_at is not None
    (breach,) = audit(house)
    assert breach.invariant == "I20"
    assert poison.id in breach.row_ids
    house.container.units.run(lambda tx: tx.session.delete(tx.get(OutboxEvent, poison.id)))


# -- orders ------------------------------------------------------------------------------------------------------------


def test_taking_the_only_priced_booking_off_an_order_cancels_the_order(house: House) -> None:
    """What is left costs nothing, so there is nothing to pay: the old order is cancelled, the new one made."""
    priced, free = house.booking(), house.booking(amount=0)
    older = house.order(ADA, priced, free)
    newer = house.order(ADA, priced)
    assert (house.order_row(older).status, house.order_row(newer).total_minor) == ("cancelled", 150_000)
    house.container.bookings.cancel(ADA, priced)
    assert house.order_row(newer).status == "cancelled"


def test_taking_bookings_off_a_discounted_order_keeps_it_payable_or_cancels_it(house: House) -> None:
    """A discount above what is left would make a total of zero: cancelled then, priced anew otherwise."""
    platform = Caller(user_id="k-platform", is_service=True)
    one, two, three = house.booking(amount=100_000), house.booking(amount=60_000), house.booking(amount=50_000)
    older = house.container.payments.create_order(platform, [one, two, three], discount_minor=60_000)
    house.order(ADA, one)
    assert (house.order_row(older).status, house.order_row(older).total_minor) == ("pending", 50_000)
    house.order(ADA, three)
    assert house.order_row(older).status == "cancelled"
