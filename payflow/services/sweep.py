"""The sweep: what is due rings its bell again. This, not the broker, is the guarantee that nothing is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from payflow import failpoints
from payflow.core.clock import Clock
from payflow.core.states import OPEN_REFUND, OrderStatus
from payflow.models.notification import Notification
from payflow.models.order import Order
from payflow.models.outbox import OutboxEvent
from payflow.models.payment import PaymentAttempt
from payflow.models.reconciliation import ReconciliationSlice
from payflow.models.refund import Refund
from payflow.models.webhook_endpoint import WebhookDelivery
from payflow.models.webhook_event import WebhookEvent
from payflow.services.gateway_calls import AWAITS_INITIATE, AWAITS_VERIFY
from payflow.store.repositories import Repositories
from payflow.store.unit_of_work import Bells, UnitOfWork

KEY_LIFE_HOURS = 72
BATCH = 1_000
"""Rows thrown away in one transaction."""
BATCHES_AT_ONCE = 100
OWED = (
    Order, PaymentAttempt, Refund, WebhookEvent, OutboxEvent, Notification, WebhookDelivery, ReconciliationSlice,
)  # fmt: skip


class SweepService:
    """Looks for owed work by its due time: index look-ups that cost by rows due, not by rows stored."""

    def __init__(
        self, units: UnitOfWork, clock: Clock, bells: Bells, gateways: Sequence[str], *, gateway_log_days: int
    ) -> None:
        self._units, self._clock, self._bells, self._gateways = units, clock, bells, gateways
        self._log_life = timedelta(days=gateway_log_days)

    def due(self) -> list[str]:
        """The kinds of work that are due now, as bells."""
        now = self._clock.now()
        with self._units.reading() as rows:
            kinds = [
                ("webhooks.process", rows.any_due(WebhookEvent, now)),
                ("notifications.fan_out", rows.any_due(OutboxEvent, now)),
                ("notifications.deliver", rows.any_due(Notification, now)),
                ("deliveries.send", rows.any_due(WebhookDelivery, now)),
                ("bookings.confirm", rows.any_due(Order, now, Order.status == OrderStatus.PAID)),
                (
                    "bookings.release",
                    rows.any_due(Order, now, Order.status.in_((OrderStatus.REFUNDED, OrderStatus.COMPLETED))),
                ),
                (
                    "orders.expire",
                    rows.any_due(Order, now, Order.status.in_((OrderStatus.PENDING, OrderStatus.PROCESSING))),
                ),
            ]
            for gateway in self._gateways:
                kinds += self._gateway_kinds(rows, gateway)
        return [kind for kind, is_due in kinds if is_due]

    def _gateway_kinds(self, rows: Repositories, gateway: str) -> list[tuple[str, bool]]:
        now = self._clock.now()
        attempts, refunds = PaymentAttempt.gateway == gateway, Refund.gateway == gateway
        is_open = Refund.status.in_(OPEN_REFUND)
        return [
            (
                f"payments.initiate:{gateway}",
                rows.any_due(PaymentAttempt, now, attempts, PaymentAttempt.status.in_(AWAITS_INITIATE)),
            ),
            (
                f"payments.verify:{gateway}",
                rows.any_due(PaymentAttempt, now, attempts, PaymentAttempt.status.in_(AWAITS_VERIFY)),
            ),
            (
                f"refunds.submit:{gateway}",
                rows.any_due(Refund, now, refunds, is_open, Refund.gateway_refund_id.is_(None)),
            ),
            (
                f"refunds.verify:{gateway}",
                rows.any_due(Refund, now, refunds, is_open, Refund.gateway_refund_id.is_not(None)),
            ),
            (
                f"reconciliation.compare:{gateway}",
                rows.any_due(ReconciliationSlice, now, ReconciliationSlice.gateway == gateway),
            ),
        ]

    def ring_due(self) -> list[str]:
        """Ring for everything that is due; what was rung."""
        kinds = self.due()
        failpoints.hit("sweep.before_ring")
        for kind in kinds:
            self._bells.ring(kind)
        return kinds

    def give_up_claims(self, worker: str) -> int:
        """A worker starts: what its dead predecessor of the same name had claimed is free again; how many rows."""
        return self._units.run(lambda tx: sum(tx.give_up_claims(model, worker) for model in OWED))

    def housekeeping(self) -> int:
        """Throw away idempotency keys older than 72 h and calls the gateway log need not hold any longer; how many."""
        now = self._clock.now()
        forgotten = self._units.run(lambda tx: tx.forget_keys(now - timedelta(hours=KEY_LIFE_HOURS)))
        for _ in range(BATCHES_AT_ONCE):
            done = self._units.run(lambda tx: tx.forget_calls(now - self._log_life, BATCH))
            forgotten += done
            if done < BATCH:
                break
        return forgotten
