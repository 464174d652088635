"""The double-entry ledger. A posting moves one amount from a credit to a debit account: it sums to zero by its shape.

Append-only: the database refuses UPDATE and DELETE (see the first migration). Corrections are further postings.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from payflow.models.base import Base, Identified, Minor, RowId, one_of


class PostingKind(StrEnum):
    CAPTURE = "capture"
    """Debit gateway, credit workspace: the order's money came in."""
    EXCESS = "excess"
    """Debit gateway, credit excess: money nobody asked for, owed back."""
    UNAPPLIED = "unapplied"
    """Debit gateway, credit unapplied: money that does not fit its order and waits for a decision."""
    FEE = "fee"
    """Debit fees, credit gateway: what the gateway kept, where it tells."""
    REFUND = "refund"
    """Debit workspace (or excess, unapplied), credit gateway: money went back."""
    REFUND_REVERSAL = "refund_reversal"
    """A completed refund failed after all: the refund posting the other way round."""
    DISPUTE = "dispute"


class LedgerPosting(Identified, Base):
    """`kind` + `subject_id` + `part` is unique for ever: the same fact cannot be posted twice."""

    __tablename__ = "ledger_postings"
    __table_args__ = (
        one_of("kind", PostingKind),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("debit_account <> credit_account", name="two_accounts"),
        Index("uq_ledger_fact", "kind", "subject_id", "part", unique=True),
        Index("ix_ledger_order", "order_id"),
    )
    kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(RowId)
    """The attempt or refund that caused it."""
    part: Mapped[int] = mapped_column(default=0)
    """Tells repeated facts on one subject apart (a refund completed, reversed and completed again)."""
    order_id: Mapped[str] = mapped_column(RowId)
    debit_account: Mapped[str] = mapped_column(String(96))
    credit_account: Mapped[str] = mapped_column(String(96))
    amount_minor: Mapped[int] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))
