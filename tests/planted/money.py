"""Plants: what was taken, reserved, booked and given back, and what came besides."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from payflow.models.decision import Decision
from payflow.models.dispute import Dispute
from payflow.models.ledger import LedgerPosting
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund
from tests.planted.shelf import (
    NOBODY,
    Plant,
    answer,
    decide,
    excuses,
    plants,
    put,
    refund_of,
)
from tests.planted.world import World
from tests.rows import a_posting


@plants("I08")
def more_reserved_than_taken(world: World, session: Session) -> str:
    payment = world.payments[world.paid]
    return put(session, Payment, payment.id, refund_reserved_minor=payment.captured_minor + 1)


@plants("I09")
def refund_in_another_currency(world: World, session: Session) -> str:
    return put(session, Refund, world.refunds[world.refunded].id, currency="USD")


def posting_of(world: World, kind: str, order_id: str | None = None) -> LedgerPosting:
    return next(one for one in world.postings if one.kind == kind and order_id in (None, one.order_id))


def without(session: Session, posting: LedgerPosting) -> str:
    """A posting is gone: the row it was about."""
    session.execute(delete(LedgerPosting).where(LedgerPosting.id == posting.id))
    return posting.subject_id


def once_more(session: Session, posting: LedgerPosting, **given: Any) -> str:
    """A posting is there twice: the row it is about."""
    fields = ("kind", "subject_id", "order_id", "debit_account", "credit_account", "amount_minor", "currency")
    session.add(a_posting(**{field: getattr(posting, field) for field in fields}, part=9, **given))
    return posting.subject_id


@plants("I10")
def a_posting_of_nothing(world: World, session: Session) -> str:
    return put(session, LedgerPosting, posting_of(world, "capture").id, amount_minor=0)


@plants("I11", "capture")
@plants("I11", "excess")
@plants("I11", "unapplied")
@plants("I11", "fee")
@plants("I12", "refund")
@plants("I12", "refund_reversal")
@plants("I12", "dispute")
def money_not_in_the_books(world: World, session: Session, kind: str) -> str:
    return without(session, posting_of(world, kind))


@plants("I11", "capture")
@plants("I11", "excess")
@plants("I11", "unapplied")
@plants("I11", "fee")
@plants("I12", "refund")
@plants("I12", "refund_reversal")
@plants("I12", "dispute")
def money_in_the_books_twice(world: World, session: Session, kind: str) -> str:
    return once_more(session, posting_of(world, kind))


@plants("I11", "debit_account", "gateway:stripe")
@plants("I11", "currency", "USD")
@plants("I11", "kind", "excess")
def a_capture_elsewhere(world: World, session: Session, field: str, value: str) -> str:
    posting = posting_of(world, "capture")
    put(session, LedgerPosting, posting.id, **{field: value})
    return posting.subject_id


@plants("I11")
def a_fee_of_money_that_does_not_count(world: World, session: Session) -> str:
    attempt = world.attempts[world.odd]
    session.add(a_posting(kind="fee", subject_id=attempt.id, amount_minor=attempt.fee_minor or 1))
    return attempt.id


@plants("I12", "refund", "credit_account", "gateway:stripe")
@plants("I12", "refund", "currency", "USD")
@plants("I12", "refund_reversal", "debit_account", "gateway:stripe")
def what_went_back_elsewhere(world: World, session: Session, kind: str, field: str, value: str) -> str:
    posting = posting_of(world, kind)
    put(session, LedgerPosting, posting.id, **{field: value})
    return posting.subject_id


@plants("I12")
def a_dispute_that_was_won_and_paid(world: World, session: Session) -> str:
    return put(session, Dispute, world.disputes[world.disputed].id, status="won")


def each_posting_moved(plant: Plant) -> Plant:
    for kind in ("capture", "excess", "unapplied", "fee", "refund", "refund_reversal", "dispute"):
        for field, value in (
            ("debit_account", "workspace:w-hill"),
            ("credit_account", "workspace:w-hill"),
            ("currency", "USD"),
            ("subject_id", NOBODY),
        ):
            plants("I13", kind, field, value)(plant)
    return plant


@each_posting_moved
def a_posting_out_of_place(world: World, session: Session, kind: str, field: str, value: str) -> str:
    return put(session, LedgerPosting, posting_of(world, kind).id, **{field: value})


@plants("I13", "capture", "surplus")
@plants("I13", "excess", None)
def a_posting_of_another_kind_of_money(world: World, session: Session, kind: str, application: str | None) -> str:
    posting = posting_of(world, kind)
    put(session, PaymentAttempt, posting.subject_id, application=application)
    return posting.id


@plants("I14")
def clearing_out_of_step(world: World, session: Session) -> str:
    session.add(a_posting(kind="excess", credit_account="excess"))
    return "paystack NGN"


def no_refund(world: World, session: Session, order_id: str) -> str:
    """The refund of an order is gone; the try it gave back."""
    refund = world.refunds[order_id]
    session.execute(delete(Refund).where(Refund.id == refund.id))
    return refund.attempt_id


@plants("I15")
def surplus_nobody_gives_back(world: World, session: Session) -> str:
    return no_refund(world, session, world.excess)


@plants("I15", {"amount_minor": 499})
@plants("I15", {"status": "failed"})
@plants("I15", {"source": "api"})
def surplus_not_given_back(world: World, session: Session, refund: dict[str, Any]) -> str:
    put(session, Refund, world.refunds[world.excess].id, **refund)
    return world.attempts[world.excess].id


@plants("I15", "late_payment")
@plants("I15", "poll_plan_exhausted")
@plants("I15", "refund_unknown")
def surplus_behind_another_question(world: World, session: Session, kind: str) -> str:
    attempt_id = no_refund(world, session, world.excess)
    decide(session, world.excess, kind, attempt_id)
    return attempt_id


@plants("I15")
def surplus_behind_a_question_about_another_refund(world: World, session: Session) -> str:
    attempt_id = no_refund(world, session, world.excess)
    other = refund_of(world, session, world.excess, approval="waiting")
    decide(session, world.excess, "refund_needs_attention", other, "ignore")
    return attempt_id


@excuses("I15", None)
@excuses("I15", "ignore")
@excuses("I15", "accept")
@plants("I15", "refund")
def surplus_whose_refund_failed(world: World, session: Session, action: str | None) -> str:
    refund = world.refunds[world.excess]
    put(session, Refund, refund.id, status="failed", completed_at=None)
    decide(session, world.excess, "refund_failed", refund.id, action)
    return refund.attempt_id


@excuses("I15", "overpaid", "ignore")
@excuses("I15", "duplicate_payment", None)
@plants("I15", "overpaid", "refund")
def surplus_a_person_was_asked_about(world: World, session: Session, kind: str, action: str | None) -> str:
    attempt_id = no_refund(world, session, world.excess)
    session.execute(delete(Decision).where(Decision.order_id == world.excess))
    decide(session, world.excess, kind, attempt_id, action)
    return attempt_id


@excuses("I15", "ignore")
@plants("I15", "refund")
def money_that_fits_nothing_and_was_decided(world: World, session: Session, action: str) -> str:
    answer(world, session, world.odd, action)
    return world.attempts[world.odd].id


@plants("I15", None)
@plants("I15", "poll_plan_exhausted")
def money_that_fits_nothing_and_nobody_has(world: World, session: Session, kind: str | None) -> str:
    session.execute(delete(Decision).where(Decision.order_id == world.odd))
    attempt = world.attempts[world.odd]
    if kind is not None:
        decide(session, world.odd, kind, attempt.id)
    return put(session, PaymentAttempt, attempt.id, captured_minor=0)
