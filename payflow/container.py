"""The one place where things are wired. Web, tasks and cli open the same container. Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from payflow import dispatch, failpoints, logs, migrations
from payflow.cache import Cache, NoCache, RedisCache
from payflow.channels.email import EmailSender
from payflow.channels.webhook import WebhookSender
from payflow.core.clock import Clock, SystemClock
from payflow.core.polling import PollPlan
from payflow.gateways.base import Gateway
from payflow.gateways.calls import TransportOptions
from payflow.gateways.registry import build_gateways
from payflow.services.audit import AuditService
from payflow.services.booking import BookingService
from payflow.services.delivery import DeliveryService
from payflow.services.digest import DigestService
from payflow.services.expiry import ExpiryService
from payflow.services.gateway_calls import GatewayCalls
from payflow.services.gateway_log import GatewayLog
from payflow.services.health import HealthService
from payflow.services.keys import KeyService
from payflow.services.notification import NotificationService
from payflow.services.order import OrderService
from payflow.services.payment import PaymentService
from payflow.services.preferences import PreferenceService
from payflow.services.reconciliation import ReconciliationService
from payflow.services.refund import RefundService
from payflow.services.refund_adoption import RefundAdoption
from payflow.services.refund_calls import RefundCalls
from payflow.services.routing import Routes
from payflow.services.side_by_side import SideBySide
from payflow.services.sweep import SweepService
from payflow.services.webhook import WebhookService
from payflow.services.webhook_endpoint import WebhookEndpointService
from payflow.settings import Settings
from payflow.store.engine import Database, make_engine
from payflow.store.unit_of_work import Bells, UnitOfWork

CALLS_AT_ONCE = 16
"""Threads per process that wait for a batch's calls, for each gateway, the mail server and receivers of webhooks."""


@dataclass(frozen=True, slots=True)
class Container:
    """Everything a process of payflow works with."""

    settings: Settings
    clock: Clock
    engine: Database
    cache: Cache
    bells: Bells
    units: UnitOfWork
    gateways: Mapping[str, Gateway]
    orders: OrderService
    payments: PaymentService
    refunds: RefundService
    bookings: BookingService
    webhooks: WebhookService
    notifications: NotificationService
    webhook_endpoints: WebhookEndpointService
    deliveries: DeliveryService
    preferences: PreferenceService
    digests: DigestService
    gateway_calls: GatewayCalls
    expiry: ExpiryService
    refund_calls: RefundCalls
    refund_adoption: RefundAdoption
    reconciliation: ReconciliationService
    sweeps: SweepService
    audits: AuditService
    keys: KeyService

    def ping(self) -> dict[str, str]:
        """Each dependency: `ok`, or a short reason fit for operators."""
        found = {"database": "ok", "migrations": "ok"}
        version = migrations.current(self.engine)
        if version is None:
            found["database"] = found["migrations"] = "not reachable"
        elif version != migrations.head():
            found["migrations"] = f"at {version or 'nothing'}, needs {migrations.head()}"
        found["broker"] = "ok" if dispatch.broker_answers(self.bells) else "not reachable"
        found["cache"] = "ok" if self.cache.ping() else "not reachable (costs speed only)"
        return found


def build(
    settings: Settings,
    *,
    clock: Clock | None = None,
    bells: Bells | None = None,
    worker: str | None = None,
    transport: TransportOptions | None = None,
) -> Container:
    """Wire a container; opens no connection yet. `worker` is the name under which a worker claims work, `transport`
    the limits of calls to gateways."""
    failpoints.arm(settings.failpoints, settings.data_dir)
    logs.hide(settings.secrets)
    clock = clock or SystemClock()
    engine = make_engine(settings.database_url)
    cache: Cache = RedisCache(settings.cache_url, of=settings.database_url) if settings.cache_url else NoCache()
    bells = bells or dispatch.celery_bells(settings.broker_url, cache)
    units = UnitOfWork(engine, clock, cache, bells, worker=worker)
    gateway_log = GatewayLog(units, in_background=worker is not None)
    transport = replace(transport or TransportOptions(), health=HealthService(units), recorder=gateway_log)
    gateways = build_gateways(settings, clock, transport)
    routes = Routes(gateways)
    side_by_side = SideBySide(threads=CALLS_AT_ONCE)
    orders = OrderService(units, clock, order_ttl_seconds=settings.order_ttl_seconds)
    refunds = RefundService(units, clock, gateways)
    adoption = RefundAdoption(units, clock, gateways, side_by_side)
    gateway_calls = GatewayCalls(
        units,
        clock,
        gateways,
        routes,
        side_by_side,
        plans={name: PollPlan(one.poll_plan) for name, one in settings.gateways.items()},
        public_url=settings.public_url,
        is_live=settings.is_live,
    )
    email = EmailSender(settings.smtp_url, mail_from=settings.mail_from) if settings.smtp_url else None
    sender = WebhookSender(allow_private=settings.webhook_allow_private)
    return Container(
        settings=settings,
        clock=clock,
        engine=engine,
        cache=cache,
        bells=bells,
        units=units,
        gateways=gateways,
        orders=orders,
        payments=PaymentService(
            units,
            clock,
            routes,
            orders,
            refunds,
            public_url=settings.public_url,
            return_url_allowlist=settings.return_url_allowlist,
        ),
        refunds=refunds,
        bookings=BookingService(units, clock),
        webhooks=WebhookService(units, clock, gateways),
        notifications=NotificationService(units, clock, email, side_by_side),
        webhook_endpoints=WebhookEndpointService(units, sender),
        deliveries=DeliveryService(units, clock, sender, side_by_side),
        preferences=PreferenceService(units),
        digests=DigestService(units, send_to=settings.alert_to, every_seconds=settings.alert_every_seconds),
        gateway_calls=gateway_calls,
        expiry=ExpiryService(units, gateway_calls),
        refund_calls=RefundCalls(units, clock, gateways, side_by_side),
        refund_adoption=adoption,
        reconciliation=ReconciliationService(units, clock, gateways, adoption, side_by_side),
        sweeps=SweepService(units, clock, bells, list(gateways), gateway_log_days=settings.gateway_log_days),
        audits=AuditService(units, clock),
        keys=KeyService(units),
    )
