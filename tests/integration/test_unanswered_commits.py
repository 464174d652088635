"""A commit that happened and lost its answer: the step runs again, and what it made is there once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from payflow.models.booking import Booking
from payflow.models.order import Order
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund, RefundReason
from tests.house import ADA, House

pytestmark = pytest.mark.usefixtures("sound_in_the_end")


@contextmanager
def unanswered_commit() -> Iterator[None]:
    """The first commit inside takes effect, and the connection is gone before that is told."""

    def lose(_session: Session) -> None:
        raise OperationalError("COMMIT", {}, Exception("server closed the connection"), connection_invalidated=True)

    event.listen(Session, "after_commit", lose, once=True)
    try:
        yield
    finally:
        if event.contains(Session, "after_commit", lose):
            event.remove(Session, "after_commit", lose)


def refunded(house: House) -> None:
    payment_id = house.payment_row(house.paid()).id
    with unanswered_commit():
        house.container.refunds.request_refund(ADA, payment_id, amount_minor=50_000, reason=RefundReason.OTHER)


def booked(house: House) -> None:
    with unanswered_commit():
        house.booking()


def ordered(house: House) -> None:
    booking_id = house.booking()
    with unanswered_commit():
        house.container.payments.create_order(ADA, [booking_id])


def initiated(house: House) -> None:
    order_id = house.order()
    with unanswered_commit():
        assert house.container.payments.initiate_payment(ADA, order_id, gateway="paystack").is_new


@pytest.mark.parametrize(
    ("deed", "model"), [(refunded, Refund), (booked, Booking), (ordered, Order), (initiated, PaymentAttempt)]
)
def test_what_an_unanswered_commit_made_is_there_once(
    house: House, deed: Callable[[House], None], model: type[object]
) -> None:
    """Nobody has to ask twice, and nothing is made twice."""
    deed(house)
    assert len(house.rows(model)) == 1
    house.drain()
    house.later(60)
    assert len(house.control("GET", "/sandbox/refunds")["refunds"]) == (model is Refund)
