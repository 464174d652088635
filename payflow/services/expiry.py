"""Orders whose time is over: their gateways are asked first and have their pages ended, and only then do they expire.

Paid there is paid here; no answer, not yet. The calls are gateway_calls.py's; what closes an order is order.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

from payflow import logs
from payflow.core.errors import GatewayError, PayflowError
from payflow.core.polling import GATEWAY_BACKOFF
from payflow.core.states import OrderStatus
from payflow.models.order import Order
from payflow.models.payment import PaymentAttempt
from payflow.services.gateway_calls import CALL_LEASE_SECONDS, GATEWAY_OFF, GatewayCalls
from payflow.services.order import claim_orders, expire_order
from payflow.services.silence import tell_of_silence
from payflow.store.unit_of_work import Transaction, UnitOfWork

_log = logs.get(__name__)


class ExpiryService:
    """Ends orders that were not paid in time."""

    def __init__(self, units: UnitOfWork, calls: GatewayCalls) -> None:
        self._units, self._calls = units, calls

    def expire(self, order_ids: Sequence[str] | None = None) -> list[str]:
        """End orders whose time is over, those that are due or those named, after asking their gateways; their ids."""
        if order_ids is None:
            open_orders = Order.status.in_((OrderStatus.PENDING, OrderStatus.PROCESSING))
            order_ids = claim_orders(self._units, open_orders, lease_seconds=CALL_LEASE_SECONDS)
        for order_id in order_ids:
            untold = self._ask_last(order_id)
            try:
                if untold:
                    self._units.run(partial(_expire_later, order_id=order_id, untold=untold))
                else:
                    self._units.run(partial(_expire_one, order_id=order_id))
            except PayflowError as error:
                _say(order_id, error)
                self._units.run(partial(_expire_later, order_id=order_id, untold={}))
        return list(order_ids)

    def _ask_last(self, order_id: str) -> dict[str, PayflowError]:
        """Ask about each page of an order that may have been paid; the tries of which nothing was told, and why."""
        untold: dict[str, PayflowError] = {}
        for attempt in self._perhaps_paid(order_id):
            try:
                self._calls.ask_last(attempt)
            except PayflowError as error:
                _say(order_id, error)
                untold[attempt.id] = error
        return untold

    def _perhaps_paid(self, order_id: str) -> list[PaymentAttempt]:
        with self._units.reading() as rows:
            payment = rows.payment_of(order_id)
            attempts = rows.attempts_of(payment.id) if payment else []
        return [attempt for attempt in attempts if attempt.is_perhaps_paid(self._units.now())]


def _say(order_id: str, error: PayflowError) -> None:
    level = _log.warning if isinstance(error, GatewayError) else _log.error
    level("an order cannot expire yet", action="orders.expire_later", order_id=order_id, error=error.detail)


def _expire_one(tx: Transaction, *, order_id: str) -> None:
    order = tx.lock_order(order_id)
    if order.status not in (OrderStatus.PENDING, OrderStatus.PROCESSING):
        if order.status not in (OrderStatus.PAID, OrderStatus.REFUNDED, OrderStatus.COMPLETED):
            order.settle_due(None, seen=order.due_at)
        return
    if tx.act.at < order.expires_at:
        order.settle_due(order.expires_at, seen=order.due_at)
        return
    if tx.has_open_decision(order_id):
        order.settle_due(tx.act.at + timedelta(hours=1), seen=order.due_at)
        return
    expire_order(tx, order, why="not paid in time")


def _expire_later(tx: Transaction, *, order_id: str, untold: Mapping[str, PayflowError]) -> None:
    """Not yet: again with growing waits. `untold`: the tries of which nothing was told; a person hears of them after
    a day."""
    order = tx.lock_order(order_id)
    if order.status not in (OrderStatus.PENDING, OrderStatus.PROCESSING):
        return  # another of its pages was paid, or it was ended meanwhile: what is owed then is on record
    order.tries += 1
    wait = GATEWAY_BACKOFF.next_at(order.tries, tx.act.at) or tx.act.at + timedelta(minutes=10)
    order.settle_due(wait, seen=order.due_at)
    for attempt in tx.many(PaymentAttempt, list(untold)):
        tell_of_silence(tx, order, attempt, is_off=untold[attempt.id].code == GATEWAY_OFF)
