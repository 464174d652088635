"""Workers that overlap: what one has in hand the next leaves alone, and a latecomer looks again before writing."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import create_engine, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError

from payflow.core.errors import AnswerNotUnderstood, GatewayRejected, GatewayUnavailable, OutcomeUnknown, PayflowError
from payflow.gateways.base import Outcome, Verification
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund, RefundReason
from payflow.services import refund_calls
from payflow.services.gateway_calls import CALL_LEASE_SECONDS
from payflow.services.payment import attempt_ref
from payflow.store.unit_of_work import Transaction
from tests.house import ADA, House


def test_what_one_worker_has_claimed_the_next_passes_over(house: House) -> None:
    """A claim keeps others away until its lease is over, those with the very id in hand, too."""
    order_id, claim = house.order(), partial(house.container.gateway_calls._claim_initiations, gateway="paystack")
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    (job,) = house.container.units.run(partial(claim, ids=None))
    for ids in (None, [job.attempt_id]):
        assert house.container.units.run(partial(claim, ids=ids)) == []
    house.clock.advance(CALL_LEASE_SECONDS)
    assert [one.attempt_id for one in house.container.units.run(partial(claim, ids=None))] == [job.attempt_id]


def test_a_step_keeps_others_from_writing_from_its_first_read_on(house: House) -> None:
    """Between a step's look at an order and its write nobody else writes: a row lock, or on SQLite the file's lock."""
    order_id, url = house.order(), house.container.engine.url
    is_sqlite = url.get_backend_name() == "sqlite"
    other = create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"timeout": 0} if is_sqlite else {})
    lock = "BEGIN IMMEDIATE" if is_sqlite else "SELECT 1 FROM orders FOR UPDATE NOWAIT"

    def step(tx: Transaction) -> None:
        tx.lock_order(order_id)
        with other.connect() as connection, pytest.raises(DBAPIError, match="lock"):
            connection.execute(text(lock))

    house.container.units.run(step)
    other.dispose()


def test_an_order_does_not_expire_before_its_gateway_was_asked(house: House) -> None:
    """The customer paid in the last moment and nobody has looked since: the expiry itself finds the money."""
    order_id, reference = house.initiated()
    house.clock.advance(1_801)
    house.pay(reference)
    house.step("orders.expire")
    assert house.statuses(order_id)[:2] == ("paid", "success")


def test_a_look_asked_for_while_an_answer_is_on_its_way_stays_due(house: House) -> None:
    """The browser comes back between a question and its answer: the answer does not put the look off."""
    order_id, reference = house.initiated()
    (attempt,) = house.attempts(order_id)
    answer = house.container.gateways["paystack"].verify(attempt_ref(attempt))
    house.container.payments.request_check(reference, caller=None)
    store = partial(house.container.gateway_calls._store_answer, attempt_id=attempt.id, answer=answer)
    house.container.units.run(partial(store, seen_due=attempt.due_at))
    assert house.attempts(order_id)[0].due_at == house.clock.now()
    assert "payments.verify:paystack" in house.container.sweeps.due()


def test_a_row_changed_since_it_was_read_is_not_written_over(house: House) -> None:
    """Somebody else was faster: the write is refused, and their change stands."""
    order_id, _ = house.initiated()
    (attempt,) = house.attempts(order_id)

    def step(tx: Transaction) -> None:
        mine = tx.get(PaymentAttempt, attempt.id)
        theirs = update(PaymentAttempt).where(PaymentAttempt.id == attempt.id)
        tx.session.execute(
            theirs.values(version=PaymentAttempt.version + 1).execution_options(synchronize_session=False)
        )
        mine.poll_step = 99

    with pytest.raises(StaleDataError):
        house.container.units.run(step)
    assert house.attempts(order_id)[0].poll_step == 0


def test_a_late_refusal_does_not_undo_a_refund_that_is_done(house: House) -> None:
    """A webhook told that the money is back; then the answer to our own request comes: it says no."""
    payment_id = house.payment_row(house.paid()).id
    refund_id = house.container.refunds.request_refund(ADA, payment_id, amount_minor=1_000, reason=RefundReason.OTHER)
    job = house.container.units.run(partial(refund_calls._prepare, refund_id=refund_id, seen_due=None))
    assert job is not None
    house.container.payments.complete_refund(refund_id, actor="gateway:paystack")
    no = GatewayRejected("The transaction has been reversed.", gateway="paystack")
    house.container.units.run(partial(refund_calls._store, job=job, answer=no))
    (refund,) = house.refunds(job.order_id)
    assert (refund.status, refund.completed_at) == ("completed", house.clock.now())


def test_a_page_that_opens_after_the_cancellation_leaves_the_try_closed(house: House) -> None:
    """The order is cancelled while the gateway is opening the page: its address is not used any more."""
    order_id, calls = house.order(), house.container.gateway_calls
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    (job,) = house.container.units.run(partial(calls._claim_initiations, gateway="paystack", ids=None))
    page = calls._open_page(house.container.gateways["paystack"], job)
    house.container.orders.cancel(ADA, order_id)
    store = partial(calls._store_initiate, attempt_id=job.attempt_id, outcome=page, called_before=False)
    assert house.container.units.run(store) == order_id
    (attempt,) = house.attempts(order_id)
    assert (attempt.status, attempt.authorization_url, attempt.claimed_until) == ("abandoned", None, None)


def test_an_answer_about_another_reference_pays_nothing(house: House) -> None:
    """Whatever an adapter lets through: success of somebody else's payment is no answer to our question."""
    order_id, _ = house.initiated()
    (attempt,) = house.attempts(order_id)
    answer = Verification(Outcome.SUCCEEDED, "SOMEBODY-ELSE", amount=attempt.amount, transaction_id="1")
    store = partial(house.container.gateway_calls._store_answer, attempt_id=attempt.id, answer=answer)
    with pytest.raises(AnswerNotUnderstood):
        house.container.units.run(partial(store, seen_due=attempt.due_at))
    assert house.statuses(order_id)[:2] == ("processing", "processing")
    assert [(one.status, one.captured_minor) for one in house.attempts(order_id)] == [("initiated", 0)]


@pytest.mark.usefixtures("sound_in_the_end")
@pytest.mark.parametrize("gateway", ["paystack", "flutterwave"])
def test_a_worker_frozen_between_intent_and_request_sends_nothing_more(house: House, gateway: str) -> None:
    """It wakes after eleven minutes; meanwhile another has looked, waited and sent. The row stays the other's."""
    order_id, calls = house.paid(gateway=gateway), house.container.refund_calls
    payment_id = house.payment_row(order_id).id
    refund_id = house.container.refunds.request_refund(ADA, payment_id, amount_minor=50_000, reason=RefundReason.OTHER)

    def claim(tx: Transaction) -> None:
        tx.claim(Refund, now=tx.act.at, lease_seconds=CALL_LEASE_SECONDS, limit=1, ids=[refund_id])

    house.container.units.run(claim)
    job = house.container.units.run(partial(refund_calls._prepare, refund_id=refund_id, seen_due=None))
    assert job is not None
    for _ in range(12):
        house.later(60)
    (before,) = house.refunds(order_id)
    assert before.submitted_at is not None
    assert before.gateway_refund_id is not None, "the other has sent it"
    with pytest.raises(refund_calls.ClaimOver) as caught:
        calls._send(house.container.gateways[gateway], job)
    house.container.units.run(partial(refund_calls._store, job=job, answer=caught.value))
    assert house.refunds(order_id)[0].version == before.version
    assert len(house.control("GET", "/sandbox/refunds")["refunds"]) == 1


@pytest.mark.parametrize(
    "late",
    [
        refund_calls.NotSent(GatewayUnavailable("The list is not to be had.", gateway="paystack")),
        GatewayUnavailable("Too busy.", gateway="paystack"),
        GatewayRejected("The balance does not allow it.", gateway="paystack"),
    ],
    ids=["not sent", "unavailable", "refused"],
)
def test_a_worker_frozen_before_its_request_leaves_the_record_of_the_next_ones(
    house: House, late: PayflowError
) -> None:
    """Another has sent the refund since, and its answer was lost: that it was sent stays on record, and it is open."""
    payment_id = house.payment_row(house.paid()).id
    refund_id = house.container.refunds.request_refund(ADA, payment_id, amount_minor=1_000, reason=RefundReason.OTHER)

    def claimed() -> refund_calls._Job:
        take = {"lease_seconds": CALL_LEASE_SECONDS, "limit": 1, "ids": [refund_id]}
        house.container.units.run(lambda tx: tx.claim(Refund, now=tx.act.at, **take))
        job = house.container.units.run(partial(refund_calls._prepare, refund_id=refund_id, seen_due=None))
        assert job is not None
        return job

    frozen = claimed()
    house.clock.advance(601)
    other = claimed()
    assert other.may_send_again
    lost = OutcomeUnknown("No answer.", gateway="paystack")
    house.container.units.run(partial(refund_calls._store, job=other, answer=lost))
    (before,) = house.refunds(other.order_id)
    house.container.units.run(partial(refund_calls._store, job=frozen, answer=late))
    (after,) = house.refunds(other.order_id)
    assert (after.status, after.submitted_at, after.due_at) == ("processing", before.submitted_at, before.due_at)
