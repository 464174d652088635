"""What must never be is refused by the database itself, whatever the code above it does; on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from payflow.models.booking import Booking
from payflow.models.order import Order, OrderBooking
from payflow.models.payment import Payment, PaymentAttempt
from tests.bare_rows import change, paid_rows, store
from tests.rows import NOW, a_booking, a_payment, a_refund, an_attempt, an_order

# -- slots -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "end"), [(0, 2), (1, 2), (0, 4), (1, 3), (3, 5)])
def test_insert_of_a_confirmed_booking_over_a_confirmed_one_is_refused(engine: Engine, start: int, end: int) -> None:
    """Inside, across an edge, around or equal: two confirmed bookings never share a moment of a resource."""
    store(engine, a_booking(from_hour=1, to_hour=4, status="confirmed"))
    with pytest.raises(IntegrityError, match="bookings_slot_taken"):
        store(engine, a_booking(from_hour=start, to_hour=end, status="confirmed"))


def test_update_to_confirmed_over_a_confirmed_booking_is_refused(engine: Engine) -> None:
    """A pending booking of a taken slot cannot be turned into a confirmed one."""
    pending = a_booking(from_hour=2, to_hour=3)
    store(engine, a_booking(from_hour=1, to_hour=4, status="confirmed"), pending)
    with pytest.raises(IntegrityError, match="bookings_slot_taken"):
        change(engine, Booking, pending.id, status="confirmed")


@pytest.mark.parametrize("column", ["starts_at", "resource_id", "workspace_id"])
def test_a_confirmed_booking_cannot_be_moved_into_a_taken_slot(engine: Engine, column: str) -> None:
    """Moving a confirmed booking in time, to another resource or workspace is checked like confirming it."""
    taken = a_booking(from_hour=4, to_hour=6, status="confirmed")
    elsewhere: dict[str, Any] = {
        "starts_at": {"from_hour": 6, "to_hour": 7},
        "resource_id": {"from_hour": 5, "to_hour": 7, "resource_id": "room-2"},
        "workspace_id": {"from_hour": 5, "to_hour": 7, "workspace_id": "w-hill"},
    }
    moved = a_booking(status="confirmed", **elsewhere[column])
    store(engine, taken, moved)
    with pytest.raises(IntegrityError, match="bookings_slot_taken"):
        change(engine, Booking, moved.id, **{column: getattr(taken, column)})


def test_neighbours_other_rooms_and_unconfirmed_bookings_are_let_in(engine: Engine) -> None:
    """Half-open slots touch without overlapping; another room, another workspace and mere wishes take nothing."""
    store(
        engine,
        a_booking(from_hour=1, to_hour=2, status="confirmed"),
        a_booking(from_hour=2, to_hour=3, status="confirmed"),
        a_booking(from_hour=0, to_hour=1, status="confirmed"),
        a_booking(from_hour=1, to_hour=2, status="confirmed", resource_id="room-2"),
        a_booking(from_hour=1, to_hour=2, status="confirmed", workspace_id="w-hill"),
        a_booking(from_hour=1, to_hour=2),
        a_booking(from_hour=1, to_hour=2, status="cancelled"),
    )


def test_overlapping_bookings_confirmed_over_two_connections_at_once_leave_one(engine: Engine) -> None:
    """Two connections confirm overlapping pending bookings at the same moment: one wins, the other is refused."""
    for hour in range(0, 10, 2):
        one = a_booking(from_hour=hour, to_hour=hour + 2)
        other = a_booking(from_hour=hour + 1, to_hour=hour + 2)
        store(engine, one, other)
        barrier = threading.Barrier(2)

        def confirm(booking: Booking, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait(10)
            try:
                change(engine, Booking, booking.id, status="confirmed")
            except DBAPIError:  # PostgreSQL may also break a deadlock between the two
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(confirm, (one, other))) == [False, True]


def test_a_slot_that_ends_before_it_starts_is_refused(engine: Engine) -> None:
    """An empty or backward slot would overlap nothing and never be noticed."""
    with pytest.raises(IntegrityError):
        store(engine, a_booking(from_hour=2, to_hour=2))


# -- one try, one success, one order ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["created", "initiated", "unknown"])
def test_second_live_attempt_is_refused(engine: Engine, status: str) -> None:
    """A payment has at most one try that can still be paid by intent."""
    order = an_order(status="processing")
    payment = a_payment(order)
    store(engine, order, payment, an_attempt(payment))
    with pytest.raises(IntegrityError):
        store(engine, an_attempt(payment, status=status))
    store(engine, an_attempt(payment, status="abandoned"), an_attempt(payment, status="failed"))


def test_second_applied_attempt_is_refused(engine: Engine) -> None:
    """Two tries never settle one payment; the second is surplus."""
    _, payment, _ = paid_rows(engine)
    again = {"status": "succeeded", "captured_minor": 1_000, "captured_currency": "NGN"}
    with pytest.raises(IntegrityError):
        store(engine, an_attempt(payment, application="applied", **again))
    store(engine, an_attempt(payment, application="surplus", **again))


def test_success_without_application_is_refused(engine: Engine) -> None:
    """A succeeded try is applied or surplus, and no other try is."""
    _, payment, _ = paid_rows(engine)
    with pytest.raises(IntegrityError):
        store(engine, an_attempt(payment, status="succeeded"))
    with pytest.raises(IntegrityError):
        store(engine, an_attempt(payment, status="failed", application="surplus"))


def test_one_gateway_transaction_pays_one_attempt(engine: Engine) -> None:
    """The same transaction at a gateway cannot be counted for two tries."""
    _, payment, attempt = paid_rows(engine)
    change(engine, PaymentAttempt, attempt.id, gateway_transaction_id="77")
    with pytest.raises(IntegrityError):
        store(engine, an_attempt(payment, status="failed", gateway_transaction_id="77"))
    store(engine, an_attempt(payment, status="failed", gateway_transaction_id="77", gateway="stripe"))


def test_second_payment_of_an_order_is_refused(engine: Engine) -> None:
    """Payment and order are one to one."""
    order, _, _ = paid_rows(engine)
    with pytest.raises(IntegrityError):
        store(engine, a_payment(order))


def test_repeated_reference_and_order_number_are_refused(engine: Engine) -> None:
    """What a gateway and a customer call a thing by belongs to one thing."""
    order, payment, attempt = paid_rows(engine)
    with pytest.raises(IntegrityError):
        store(engine, an_attempt(payment, status="failed", reference=attempt.reference))
    with pytest.raises(IntegrityError):
        store(engine, an_order(order_number=order.order_number))


def test_booking_active_on_two_orders_is_refused(engine: Engine) -> None:
    """A booking is being sold by one order at a time, also when a past item is made active again."""
    booking = a_booking()
    first, second = an_order(booking), an_order(booking)
    store(engine, booking, first)
    with pytest.raises(IntegrityError):
        store(engine, second)
    third = an_order(booking)
    third.items[0].active = False
    store(engine, third)
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(update(OrderBooking).where(OrderBooking.order_id == third.id).values(active=True))


# -- money -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"refund_reserved_minor": 1_001},
        {"refund_reserved_minor": -1},
        {"refund_reserved_minor": 500, "refunded_minor": 501},
        {"refunded_minor": -1},
        {"captured_minor": 999},
        {"captured_minor": 2_000},
        {"captured_minor": 0},
        {"status": "pending"},
        {"status": "refunded"},
        {"status": "refunded", "refund_reserved_minor": 1_000, "refunded_minor": 999},
        {"status": "paid"},
        {"amount_minor": 0},
    ],
)
def test_payment_sums_that_cannot_be_are_refused(engine: Engine, values: dict[str, Any]) -> None:
    """More given back than taken, half a capture, success without money, money without success: none can be stored."""
    _, payment, _ = paid_rows(engine)
    with pytest.raises(IntegrityError):
        change(engine, Payment, payment.id, **values)


@pytest.mark.parametrize(
    "values", [{"refund_reserved_minor": 1_501}, {"refund_reserved_minor": -1}, {"captured_minor": -1}]
)
def test_attempt_gives_back_no_more_than_it_took(engine: Engine, values: dict[str, Any]) -> None:
    """The over-refund check stands on the try as well, whose money may be more than the order's."""
    _, _, attempt = paid_rows(engine, captured=1_500)
    change(engine, PaymentAttempt, attempt.id, refund_reserved_minor=1_500)
    with pytest.raises(IntegrityError):
        change(engine, PaymentAttempt, attempt.id, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"total_minor": 1_001},
        {"tax_minor": 1},
        {"discount_minor": -1, "total_minor": 1_001},
        {"subtotal_minor": 0, "total_minor": 0},
        {"subtotal_minor": -5, "total_minor": -5},
        {"subtotal_minor": 100_000_000_001, "total_minor": 100_000_000_001},
        {"status": "paid"},
        {"status": "completed"},
        {"status": "settled"},
    ],
)
def test_order_totals_that_do_not_add_up_are_refused(engine: Engine, values: dict[str, Any]) -> None:
    """subtotal - discount + tax = total, above zero, within reason; paid only with the time of payment."""
    order = an_order()
    store(engine, order)
    with pytest.raises(IntegrityError):
        change(engine, Order, order.id, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"amount_minor": 0},
        {"amount_minor": -5},
        {"status": "completed"},
        {"completed_at": NOW},
        {"reason": "whim"},
        {"source": "nobody"},
        {"approval": "maybe"},
        {"status": "unknown"},
    ],
)
def test_refund_that_cannot_be_is_refused(engine: Engine, values: dict[str, Any]) -> None:
    """A refund gives something back, and is complete exactly when it has a time of completion."""
    _, payment, attempt = paid_rows(engine)
    with pytest.raises(IntegrityError):
        store(engine, a_refund(payment, attempt, **values))


def test_one_surplus_refund_per_attempt_and_one_row_per_gateway_refund(engine: Engine) -> None:
    """Money paid twice goes back once; a refund at a gateway is one row here."""
    _, payment, attempt = paid_rows(engine, captured=1_500)
    store(engine, a_refund(payment, attempt, source="surplus"), a_refund(payment, attempt, gateway_refund_id="9"))
    with pytest.raises(IntegrityError):
        store(engine, a_refund(payment, attempt, source="surplus"))
    with pytest.raises(IntegrityError):
        store(engine, a_refund(payment, attempt, gateway_refund_id="9"))
