"""Reconciliation: its runs, the slices they are made of, and every difference ever found."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.core.money import Money
from payflow.models.base import Base, Identified, Minor, Owed, RowId, one_of, partial_index

REPAIR, GONE = "repair", "gone"
"""What settles a difference without a person: a repair, or that a later look did not find it."""


class DifferenceKind(StrEnum):
    """What a gateway and we do not agree on."""

    UNKNOWN_HERE = "unknown_here"
    """Money there that no try of ours knows."""
    UNKNOWN_THERE = "unknown_there"
    """Money we count that the gateway knows nothing of."""
    AMOUNT_DIFFERS = "amount_differs"
    """Both count it, but not as much, or in another currency."""
    PAID_THERE = "paid_there"
    """Money there on a try of ours that counts none, or not that payment."""
    NOT_PAID_THERE = "not_paid_there"
    """Money we count on a payment that is open or failed there."""
    REVERSED_THERE = "reversed_there"
    """Money we count that went back there, and no refund or dispute here says why."""
    REFUND_UNKNOWN_HERE = "refund_unknown_here"
    """A refund made in the gateway's dashboard."""
    REFUND_UNKNOWN_THERE = "refund_unknown_there"
    """A refund of ours that the gateway does not have."""
    REFUND_STATUS_DIFFERS = "refund_status_differs"
    REFUND_AMOUNT_DIFFERS = "refund_amount_differs"
    """Both know the refund, but of another amount or currency."""


_SENTENCES: dict[DifferenceKind, str] = {
    DifferenceKind.UNKNOWN_HERE: "{gateway} holds {money} that no order here knows",
    DifferenceKind.UNKNOWN_THERE: "{money} counted here is not known to {gateway}",
    DifferenceKind.AMOUNT_DIFFERS: "{gateway} counts {money}, we count {here}",
    DifferenceKind.PAID_THERE: "{gateway} holds {money}; asked again, it is not counted here ({here})",
    DifferenceKind.NOT_PAID_THERE: "{money} counted here is {there} at {gateway}",
    DifferenceKind.REVERSED_THERE: "{money} went back at {gateway}, and nothing here says why",
    DifferenceKind.REFUND_UNKNOWN_HERE: "{gateway} shows a refund of {money} that could not be recorded here",
    DifferenceKind.REFUND_UNKNOWN_THERE: "a refund of {money} that is {here} here is not known to {gateway}",
    DifferenceKind.REFUND_STATUS_DIFFERS: "a refund of {money} is {here} here and {there} at {gateway}",
    DifferenceKind.REFUND_AMOUNT_DIFFERS: "a refund of {here} here is one of {money} at {gateway}",
}


class Stage(StrEnum):
    """Where a slice stands. Refunds come first: a payment that went back is no riddle once its refund is here."""

    REFUNDS = "refunds"
    """Reading the gateway's list of refunds."""
    MEND_REFUNDS = "mend_refunds"
    """Reading the refunds of each try on which they differ, and bringing ours in line."""
    PAYMENTS = "payments"
    """Reading the gateway's list of transactions."""
    OURS = "ours"
    """Asking by name for what we count and the lists did not show."""
    MEND_PAYMENTS = "mend_payments"
    RECHECK = "recheck"
    """Looking whether the repairs have helped; what is left goes to a person."""


class ReconciliationRun(Identified, Base):
    """One comparison of a window with the gateways. Kept for ever: it is the report."""

    __tablename__ = "reconciliation_runs"
    __table_args__ = (
        CheckConstraint("since < until", name="window_is_not_empty"),
        Index("uq_reconciliation_runs_night", "night", unique=True),
    )
    since: Mapped[datetime]
    until: Mapped[datetime]
    """Not included."""
    asked_by: Mapped[str] = mapped_column(String(128))
    night: Mapped[str | None] = mapped_column(String(10))
    """The day (UTC) that begins where a nightly run ends: one run a night, however many beats. NULL = by hand."""


class ReconciliationSlice(Identified, Owed, Base):
    """At most a day of a run at one gateway; taken a few pages at a time."""

    __tablename__ = "reconciliation_slices"
    __table_args__ = (
        one_of("stage", Stage),
        CheckConstraint("is_complete = (finished_at IS NOT NULL AND error IS NULL)", name="complete_means_no_error"),
        Index("uq_reconciliation_slices_part", "run_id", "gateway", "since", unique=True),
        partial_index("ix_reconciliation_slices_due", "gateway", "due_at", where="due_at IS NOT NULL"),
    )
    run_id: Mapped[str] = mapped_column(RowId, ForeignKey("reconciliation_runs.id"))
    gateway: Mapped[str] = mapped_column(String(16))
    since: Mapped[datetime]
    until: Mapped[datetime]
    stage: Mapped[str] = mapped_column(String(16), default=Stage.REFUNDS.value)
    cursor: Mapped[str | None] = mapped_column(String(255))
    """Where the list that is being read goes on."""
    pages: Mapped[int] = mapped_column(default=0)
    payments_listed: Mapped[int] = mapped_column(default=0)
    refunds_listed: Mapped[int] = mapped_column(default=0)
    asked: Mapped[int] = mapped_column(default=0)
    """Payments and refunds of ours that were asked for by name."""
    found: Mapped[int] = mapped_column(default=0)
    """Differences seen, known ones included."""
    error: Mapped[str | None] = mapped_column(String(255))
    """Why it cannot go on, for now or for good."""
    finished_at: Mapped[datetime | None]
    is_complete: Mapped[bool] = mapped_column(default=False)


class Difference(Identified, Base):
    """One thing a gateway and we do not agree on, once for ever per kind and subject.

    Open until it is gone, or until a person has looked into it. Repaired ones are looked at again before a person is
    asked.
    """

    __tablename__ = "reconciliation_differences"
    __table_args__ = (
        one_of("kind", DifferenceKind),
        Index("uq_reconciliation_differences_once", "gateway", "kind", "subject", unique=True),
        Index("ix_reconciliation_differences_slice", "slice_id"),
        Index("ix_reconciliation_differences_run", "run_id"),
        Index("ix_reconciliation_differences_transaction", "gateway", "transaction_id"),
        partial_index("ix_reconciliation_differences_open", "gateway", "at", where="settled_at IS NULL"),
        partial_index("ix_reconciliation_differences_order", "order_id", where="order_id IS NOT NULL"),
    )
    gateway: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(24))
    subject: Mapped[str] = mapped_column(String(255))
    """The transaction or refund by the gateway's id; ours by our id where the gateway has none."""
    at: Mapped[datetime]
    """When that was made, there or here: the window that shows it."""
    order_id: Mapped[str | None] = mapped_column(RowId, ForeignKey("orders.id"))
    attempt_id: Mapped[str | None] = mapped_column(RowId, ForeignKey("payment_attempts.id"))
    refund_id: Mapped[str | None] = mapped_column(RowId, ForeignKey("refunds.id"))
    reference: Mapped[str | None] = mapped_column(String(255))
    transaction_id: Mapped[str | None] = mapped_column(String(255))
    amount_minor: Mapped[int | None] = mapped_column(Minor)
    """As the gateway counts it; as we do where it counts none; NULL = not told."""
    currency: Mapped[str | None] = mapped_column(String(3))
    here: Mapped[str] = mapped_column(String(64))
    """How it stands here, in a few words."""
    there: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[str] = mapped_column(RowId, ForeignKey("reconciliation_runs.id"))
    """The first that found it."""
    slice_id: Mapped[str] = mapped_column(RowId, ForeignKey("reconciliation_slices.id"))
    """The last that saw it."""
    last_seen_at: Mapped[datetime]
    repaired_at: Mapped[datetime | None]
    """When a repair was set off; whether it helped is seen in the recheck."""
    decided_at: Mapped[datetime | None]
    """When it was put before a person, as a decision."""
    settled_at: Mapped[datetime | None]
    settled_by: Mapped[str | None] = mapped_column(String(128))
    """`repair`, `gone` (a later look did not find it), or the person."""
    note: Mapped[str | None] = mapped_column(String(500))
    """What the person found out."""

    @property
    def money(self) -> Money | None:
        if self.amount_minor is None or self.currency is None:
            return None
        return Money(self.amount_minor, self.currency)

    @property
    def sentence(self) -> str:
        """What is wrong, for people."""
        words = _SENTENCES[DifferenceKind(self.kind)].format(
            gateway=self.gateway, money=self.money or "an amount not told", here=self.here, there=self.there
        )
        names = [f"reference {self.reference}"] if self.reference else []
        names += [f"transaction {self.transaction_id or self.subject}", f"made {self.at:%Y-%m-%d %H:%M} UTC"]
        return f"{words} ({', '.join(names)})."

    @property
    def state(self) -> str:
        """`open` (a person is needed), `repairing` or `settled`."""
        return "settled" if self.settled_at else "open" if self.decided_at else "repairing"
