"""What reconciliation looks up: our side of a gateway's list, what no list showed, and the differences on record.

Everything here costs by what is asked for, a page or a window, and goes by an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, literal_column, or_, select, update
from sqlalchemy.orm import aliased

from payflow.core.money import Money
from payflow.core.states import OPEN_REFUND, DisputeStatus, RefundStatus
from payflow.models.dispute import Dispute
from payflow.models.order import Order
from payflow.models.payment import PaymentAttempt
from payflow.models.reconciliation import GONE, Difference, DifferenceKind, ReconciliationRun, ReconciliationSlice
from payflow.models.refund import Refund
from payflow.store.claims import Claims
from payflow.store.queries import Cursor, Page, page_of


class Listings(Claims):
    """The rows of one transaction, seen from a gateway's list."""

    def tries_listed(self, gateway: str, transaction_ids: Sequence[str], references: Sequence[str]) -> list[Any]:
        """Tries at a gateway that own one of these transactions or references."""
        owns = PaymentAttempt.gateway_transaction_id.in_(transaction_ids)
        by_transaction = select(PaymentAttempt).where(PaymentAttempt.gateway == gateway, owns)
        by_reference = select(PaymentAttempt).where(PaymentAttempt.reference.in_(references))
        found = {row.id: row for query in (by_transaction, by_reference) for row in self.session.scalars(query)}
        return [row for row in found.values() if row.gateway == gateway]

    def refunds_listed(self, gateway: str, gateway_refund_ids: Sequence[str], ids: Sequence[str]) -> list[Refund]:
        """Refunds at a gateway by its ids or ours."""
        by_theirs = select(Refund).where(Refund.gateway == gateway, Refund.gateway_refund_id.in_(gateway_refund_ids))
        by_ours = select(Refund).where(Refund.id.in_(ids))
        found = {row.id: row for query in (by_theirs, by_ours) for row in self.session.scalars(query)}
        return [row for row in found.values() if row.gateway == gateway]

    def refunds_of_nobody(self, gateway: str, transaction_ids: Sequence[str]) -> dict[str, list[Money]]:
        """Transaction → the refunds a gateway has listed of it and nobody has here."""
        query = select(Difference).where(
            Difference.gateway == gateway,
            Difference.transaction_id.in_(transaction_ids),
            Difference.kind == DifferenceKind.REFUND_UNKNOWN_HERE,
            func.coalesce(Difference.settled_by, "") != GONE,
        )
        found: dict[str, list[Money]] = {}
        for row in self.session.scalars(query) if transaction_ids else ():
            if row.money is not None:
                found.setdefault(row.transaction_id or "", []).append(row.money)
        return found

    def given_back(self, attempts: Sequence[PaymentAttempt]) -> set[str]:
        """Those tries whose money is back, on its way back (a refund was sent), or held by a dispute here."""
        refunds = select(Refund.attempt_id).where(
            Refund.payment_id.in_({one.payment_id for one in attempts}),
            Refund.submitted_at.is_not(None),
            Refund.status != RefundStatus.FAILED,
        )
        held = (DisputeStatus.OPEN, DisputeStatus.LOST)
        disputes = select(Dispute.payment_id).where(
            Dispute.payment_id.in_({one.payment_id for one in attempts}), Dispute.status.in_(held)
        )
        refunded, disputed = set(self.session.scalars(refunds)), set(self.session.scalars(disputes))
        return {one.id for one in attempts if one.id in refunded or one.payment_id in disputed}

    def awaits_gateway_id(self, attempt_ids: Sequence[str]) -> list[Refund]:
        """Refunds of these tries that were sent and whose answer was lost: one listed there may be one of them."""
        query = select(Refund).where(
            Refund.payment_id.in_(select(PaymentAttempt.payment_id).where(PaymentAttempt.id.in_(attempt_ids))),
            Refund.submitted_at.is_not(None),
            Refund.gateway_refund_id.is_(None),
            Refund.status.in_(OPEN_REFUND),
        )
        return list(self.session.scalars(query))

    def mark_listed(self, model: type[Any], ids: Sequence[str], at: datetime) -> None:
        """Note that the gateway has shown these, past their versions: nothing else hangs on it."""
        if ids:
            self.session.execute(
                update(model).where(model.id.in_(ids)).values(listed_at=at).execution_options(synchronize_session=False)
            )

    def unlisted_tries(self, one: ReconciliationSlice, limit: int) -> list[PaymentAttempt]:
        """Tries made in a slice whose money we count and that no list has shown since the slice began."""
        query = select(PaymentAttempt).where(
            # Spelt as the partial index is, or it would not be used.
            literal_column("payment_attempts.captured_minor > 0"),
            *_unlisted(PaymentAttempt, one),
        )
        return list(self.session.scalars(query.order_by(PaymentAttempt.created_at).limit(limit)))

    def unlisted_refunds(self, one: ReconciliationSlice, limit: int) -> list[Refund]:
        """Refunds made in a slice that the gateway has accepted and that no list has shown since the slice began."""
        query = select(Refund).where(
            Refund.gateway_refund_id.is_not(None), Refund.status != RefundStatus.FAILED, *_unlisted(Refund, one)
        )
        return list(self.session.scalars(query.order_by(Refund.created_at).limit(limit)))

    def difference(self, gateway: str, kind: str, subject: str) -> Difference | None:
        query = select(Difference).where(
            Difference.gateway == gateway, Difference.kind == kind, Difference.subject == subject
        )
        return self.session.scalars(query).one_or_none()

    def seen_again(self, gateway: str, kind: str, subjects: Sequence[str], at: datetime) -> None:
        """Note that what these differences tell of is still there: open ones are not gone."""
        if subjects:
            self.session.execute(
                update(Difference)
                .where(Difference.gateway == gateway, Difference.kind == kind, Difference.subject.in_(subjects))
                .values(last_seen_at=at)
                .execution_options(synchronize_session=False)
            )

    def undecided(self, slice_id: str, *where: Any, limit: int | None = None) -> list[Difference]:
        """Open differences this slice was the last to see and that no person was asked about."""
        query = select(Difference).where(
            Difference.slice_id == slice_id, Difference.settled_at.is_(None), Difference.decided_at.is_(None), *where
        )
        return list(self.session.scalars(query.order_by(Difference.id).limit(limit)))

    def not_seen_again(self, one: ReconciliationSlice) -> list[Difference]:
        """Open differences of a slice's window that the slice, which is through, has not seen."""
        query = select(Difference).where(
            Difference.gateway == one.gateway,
            Difference.settled_at.is_(None),
            Difference.at >= one.since,
            Difference.at < one.until,
            Difference.last_seen_at < one.created_at,
        )
        return list(self.session.scalars(query))

    def last_night(self) -> ReconciliationRun | None:
        """The newest nightly run."""
        query = select(ReconciliationRun).where(ReconciliationRun.night.is_not(None))
        return self.session.scalars(query.order_by(ReconciliationRun.night.desc()).limit(1)).first()

    def first_night(self) -> ReconciliationRun:
        """The oldest nightly run, where there is one."""
        query = select(ReconciliationRun).where(ReconciliationRun.night.is_not(None))
        return self.session.scalars(query.order_by(ReconciliationRun.night).limit(1)).one()

    def first_day_left(self, night: str, gateways: Sequence[str]) -> datetime | None:
        """Where the oldest day begins that the runs since a night took up and no slice of them has compared since."""
        nights = select(ReconciliationRun.id).where(ReconciliationRun.night >= night)
        later = aliased(ReconciliationSlice)
        is_made_up_for = (
            select(later.id)
            .where(
                later.run_id.in_(nights),
                later.gateway == ReconciliationSlice.gateway,
                later.since == ReconciliationSlice.since,
                later.is_complete,
                later.finished_at > ReconciliationSlice.created_at,
            )
            .exists()
        )
        query = select(func.min(ReconciliationSlice.since)).where(
            ReconciliationSlice.run_id.in_(nights),
            ReconciliationSlice.gateway.in_(gateways),
            ~ReconciliationSlice.is_complete,
            ~is_made_up_for,
        )
        return self.session.scalars(query).one()

    def runs(self, size: int, cursor: Cursor | None) -> Page:
        """A page of runs, newest first; rows with `id` alone."""
        return page_of(self.session.connection(), select(ReconciliationRun.id), ReconciliationRun.id, size, cursor)

    def differences(self, state: str, size: int, cursor: Cursor | None) -> Page:
        """A page of differences, newest first; `state` is open (repairs under way included), settled or all."""
        query = select(Difference.id)
        if state != "all":
            is_open = Difference.settled_at.is_(None)
            query = query.where(is_open if state == "open" else ~is_open)
        return page_of(self.session.connection(), query, Difference.id, size, cursor)

    def differences_of(self, run_id: str, limit: int) -> list[Difference]:
        """What a run was the first to find or the last to see, settled ones last."""
        query = select(Difference).where(_is_of(run_id)).order_by(Difference.settled_at.is_not(None), Difference.id)
        return list(self.session.scalars(query.limit(limit)))

    def unsettled(self, run_id: str | None = None) -> int:
        """How many differences are open or under repair: all there are, or those of a run."""
        query = select(func.count()).where(Difference.settled_at.is_(None), *([_is_of(run_id)] if run_id else []))
        return self.session.scalars(query).one()

    def order_numbers(self, order_ids: Sequence[str]) -> dict[str, str]:
        """Order id → number."""
        found = self.session.execute(select(Order.id, Order.order_number).where(Order.id.in_(order_ids)))
        return {key: value for key, value in found}  # noqa: C416 - rows, not pairs

    def slices_of(self, run_id: str) -> list[ReconciliationSlice]:
        """A run's slices, by gateway and time."""
        query = select(ReconciliationSlice).where(ReconciliationSlice.run_id == run_id)
        return list(self.session.scalars(query.order_by(ReconciliationSlice.gateway, ReconciliationSlice.since)))


def _is_of(run_id: str) -> Any:
    seen = select(ReconciliationSlice.id).where(ReconciliationSlice.run_id == run_id)
    return or_(Difference.run_id == run_id, Difference.slice_id.in_(seen))


def _unlisted(model: type[Any], one: ReconciliationSlice) -> tuple[Any, ...]:
    return (
        model.gateway == one.gateway,
        model.created_at >= one.since,
        model.created_at < one.until,
        or_(model.listed_at.is_(None), model.listed_at < one.created_at),
    )
