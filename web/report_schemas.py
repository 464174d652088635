"""What clients get of reports: sums over payments, comparisons with the gateways. As web/schemas.py says."""

from __future__ import annotations

from pydantic import Field

from web.schemas import PageShape, Refund, Shape
from web.text import Id, Moment


class PaymentCounts(Shape):
    total: int
    succeeded: int
    failed: int
    cancelled: int
    open: int
    success_rate_bps: int | None = Field(description="Succeeded payments among those that are over: 9731 = 97.31 %.")


class Volume(Shape):
    """Money per currency."""

    currency: str
    count: int
    captured: int
    refunded: int


class GatewayShare(Shape):
    gateway: str
    attempts: int
    succeeded: int
    failed: int
    success_rate_bps: int | None
    volumes: list[Volume]


class Day(Volume):
    day: str


class Failure(Shape):
    gateway: str
    cause: str
    count: int


class RefundsToReview(Shape):
    count: int
    oldest: list[Refund]


class Summary(Shape):
    """Payments made in the period."""

    payments: PaymentCounts
    volumes: list[Volume]
    by_gateway: list[GatewayShare]
    by_day: list[Day]
    failures: list[Failure]
    refunds_to_review: RefundsToReview


class Difference(Shape):
    """What a gateway and we do not agree on."""

    id: Id
    kind: str
    state: str
    gateway: str
    detail: str
    order_id: Id | None
    order_number: str | None
    reference: str | None
    transaction_id: str | None
    amount: int | None
    currency: str | None
    here: str
    there: str
    at: Moment
    created_at: Moment
    last_seen_at: Moment
    settled_at: Moment | None
    settled_by: str | None
    note: str | None


class ReconciledGateway(Shape):
    """How far a gateway could be compared."""

    gateway: str
    state: str
    error: str | None
    payments_listed: int
    refunds_listed: int
    asked: int
    found: int


class ReconciliationRun(Shape):
    """One comparison of a window with the gateways."""

    id: Id
    since: Moment
    until: Moment
    asked_by: str
    state: str
    started_at: Moment
    finished_at: Moment | None
    duration_seconds: int | None
    gateways: list[ReconciledGateway]
    differences: list[Difference]


class ReconciliationRuns(PageShape):
    results: list[ReconciliationRun]


class Differences(PageShape):
    results: list[Difference]
