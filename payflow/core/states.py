"""States and the one table of allowed moves. A model's `move_to` asks `check_move` and nobody else sets a status."""

from __future__ import annotations

from enum import StrEnum

from payflow.core.errors import ForbiddenMove


class BookingStatus(StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"


class OrderStatus(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    """A payment was initiated: money may be moving."""
    PAID = "paid"
    """Money verified, bookings not yet confirmed."""
    COMPLETED = "completed"
    """Bookings confirmed."""
    FAILED = "failed"
    """The last attempt was declined; may be tried again until the order expires."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REFUNDED = "refunded"


class PaymentStatus(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


class AttemptStatus(StrEnum):
    CREATED = "created"
    """The intent is on record; the gateway has not answered yet."""
    INITIATED = "initiated"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"
    """We stopped waiting; the gateway may still say success one day."""
    UNKNOWN = "unknown"
    """A call was made and its outcome is not known."""
    MISMATCHED = "mismatched"
    """Money moved, but not the money that was asked for."""


class RefundStatus(StrEnum):
    PENDING = "pending"
    """Recorded and reserved; waits for approval or for the gateway call."""
    PROCESSING = "processing"
    """Sent to the gateway, or possibly so; its end is not known yet."""
    COMPLETED = "completed"
    FAILED = "failed"


class DisputeStatus(StrEnum):
    OPEN = "open"
    WON = "won"
    LOST = "lost"


LIVE_ATTEMPT = (AttemptStatus.CREATED, AttemptStatus.INITIATED, AttemptStatus.UNKNOWN)
"""An attempt that can still be paid by intent: at most one per payment, by a partial unique index."""

OPEN_ORDER = (OrderStatus.PENDING, OrderStatus.PROCESSING, OrderStatus.FAILED)
MONEY_ORDER = (OrderStatus.PAID, OrderStatus.COMPLETED)
OPEN_REFUND = (RefundStatus.PENDING, RefundStatus.PROCESSING)

_B, _O, _P, _A, _R, _D = BookingStatus, OrderStatus, PaymentStatus, AttemptStatus, RefundStatus, DisputeStatus

MOVES: dict[str, dict[str, frozenset[str]]] = {
    "booking": {
        _B.PENDING: frozenset({_B.CONFIRMED, _B.CANCELLED}),
        _B.CONFIRMED: frozenset({_B.CANCELLED}),
        _B.CANCELLED: frozenset(),
    },
    "order": {
        _O.PENDING: frozenset({_O.PROCESSING, _O.CANCELLED, _O.EXPIRED}),
        _O.PROCESSING: frozenset({_O.PAID, _O.FAILED, _O.CANCELLED, _O.EXPIRED}),
        # A decline is not the end: the customer may try again, and a gateway may still report the old try as paid.
        _O.FAILED: frozenset({_O.PROCESSING, _O.PAID, _O.CANCELLED, _O.EXPIRED}),
        _O.PAID: frozenset({_O.COMPLETED, _O.REFUNDED}),
        _O.COMPLETED: frozenset({_O.REFUNDED}),
        # Money that arrives late: accepted (paid) or given back (refunded).
        _O.EXPIRED: frozenset({_O.PAID, _O.REFUNDED}),
        _O.CANCELLED: frozenset({_O.PAID, _O.REFUNDED}),
        # A refund that the gateway reported done may fail afterwards: the money is with us again.
        _O.REFUNDED: frozenset({_O.PAID, _O.COMPLETED}),
    },
    "payment": {
        _P.PENDING: frozenset({_P.PROCESSING, _P.SUCCESS, _P.FAILED, _P.CANCELLED}),
        _P.PROCESSING: frozenset({_P.SUCCESS, _P.FAILED, _P.CANCELLED}),
        _P.FAILED: frozenset({_P.PENDING, _P.SUCCESS, _P.CANCELLED}),
        _P.CANCELLED: frozenset({_P.SUCCESS}),
        _P.SUCCESS: frozenset({_P.REFUNDED}),
        _P.REFUNDED: frozenset({_P.SUCCESS}),
    },
    "attempt": {
        _A.CREATED: frozenset({_A.INITIATED, _A.SUCCEEDED, _A.FAILED, _A.ABANDONED, _A.UNKNOWN, _A.MISMATCHED}),
        _A.INITIATED: frozenset({_A.SUCCEEDED, _A.FAILED, _A.ABANDONED, _A.UNKNOWN, _A.MISMATCHED}),
        _A.UNKNOWN: frozenset({_A.INITIATED, _A.SUCCEEDED, _A.FAILED, _A.ABANDONED, _A.MISMATCHED}),
        _A.FAILED: frozenset({_A.SUCCEEDED, _A.MISMATCHED}),
        _A.ABANDONED: frozenset({_A.SUCCEEDED, _A.FAILED, _A.MISMATCHED}),
        _A.MISMATCHED: frozenset({_A.SUCCEEDED}),
        _A.SUCCEEDED: frozenset(),
    },
    "refund": {
        _R.PENDING: frozenset({_R.PROCESSING, _R.COMPLETED, _R.FAILED}),
        _R.PROCESSING: frozenset({_R.COMPLETED, _R.FAILED}),
        _R.COMPLETED: frozenset({_R.FAILED}),
        _R.FAILED: frozenset({_R.COMPLETED}),
    },
    "dispute": {
        _D.OPEN: frozenset({_D.WON, _D.LOST}),
        _D.WON: frozenset(),
        _D.LOST: frozenset(),
    },
}


def check_move(entity: str, entity_id: str, from_status: str, to_status: str) -> bool:
    """True if the move is to be made, False if it is already so; ForbiddenMove with both states otherwise."""
    if from_status == to_status:
        return False
    if to_status not in MOVES[entity][from_status]:
        raise ForbiddenMove(entity, entity_id, from_status, to_status)
    return True


def may_move(entity: str, from_status: str, to_status: str) -> bool:
    """Whether `to_status` is a legal next state (a repeat is not a move)."""
    return to_status in MOVES[entity][from_status]
