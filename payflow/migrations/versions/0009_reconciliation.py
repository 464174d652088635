"""Reconciliation: runs, slices, differences; when money was last seen at its gateway."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ID, MOMENT = sa.Uuid(as_uuid=False), sa.DateTime(timezone=True)
DECISION_KINDS = (
    "'underpaid', 'overpaid', 'wrong_currency', 'mode_mismatch', 'reference_mismatch', 'late_payment', "
    "'duplicate_payment', 'slot_taken', 'refund_failed', 'refund_needs_attention', 'refund_unknown', "
    "'dispute_opened', 'poll_plan_exhausted', 'reconciliation'"
)


def upgrade() -> None:
    """Nothing counts as seen yet. On a large PostgreSQL the two indexes take their tables' writes for a moment."""
    _seen()
    _one_kind_of_decision_more()
    op.create_table(
        "reconciliation_runs",
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("asked_by", sa.String(length=128), nullable=False),
        sa.Column("night", sa.String(length=10), nullable=True),
        *_identity(),
        sa.CheckConstraint("since < until", name=op.f("ck_reconciliation_runs_window_is_not_empty")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_runs")),
    )
    op.create_index("uq_reconciliation_runs_night", "reconciliation_runs", ["night"], unique=True)
    _slices()
    _differences()


def _identity() -> tuple[sa.Column[Any], sa.Column[Any]]:
    return sa.Column("id", ID, nullable=False), sa.Column("created_at", MOMENT, nullable=False)


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _seen() -> None:
    for table in ("payment_attempts", "refunds"):
        op.add_column(table, sa.Column("listed_at", MOMENT, nullable=True))
    _partial("ix_attempts_captured", "payment_attempts", ["gateway", "created_at"], "captured_minor > 0")
    _partial("ix_refunds_made", "refunds", ["gateway", "created_at"], "gateway_refund_id IS NOT NULL")


def _one_kind_of_decision_more() -> None:
    """SQLite cannot change a check: the table is written anew."""
    known = f"kind IN ({DECISION_KINDS})"
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_decisions_kind_known"), "decisions", type_="check")
        op.create_check_constraint(op.f("ck_decisions_kind_known"), "decisions", known)
        return
    for index in ("ix_decisions_open", "ix_decisions_order", "uq_decisions_once"):
        op.drop_index(index, "decisions")
    op.rename_table("decisions", "decisions_before")
    op.create_table(
        "decisions",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject_id", ID, nullable=False),
        sa.Column("order_id", ID, nullable=False),
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("suggested_action", sa.String(length=16), nullable=False),
        sa.Column("resolved_at", MOMENT, nullable=True),
        sa.Column("resolved_by", sa.String(length=128), nullable=True),
        sa.Column("action", sa.String(length=16), nullable=True),
        sa.Column("note", sa.String(length=500), nullable=True),
        *_identity(),
        sa.CheckConstraint(known, name=op.f("ck_decisions_kind_known")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_decisions_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    columns = (
        "kind, subject_id, order_id, workspace_id, amount_minor, currency, detail, suggested_action, resolved_at, "
        "resolved_by, action, note, id, created_at"
    )
    op.execute(f"INSERT INTO decisions ({columns}) SELECT {columns} FROM decisions_before")  # noqa: S608 - no input in it
    op.drop_table("decisions_before")
    _partial("ix_decisions_open", "decisions", ["id"], "resolved_at IS NULL")
    op.create_index("ix_decisions_order", "decisions", ["order_id"])
    op.create_index("uq_decisions_once", "decisions", ["kind", "subject_id"], unique=True)


def _slices() -> None:
    op.create_table(
        "reconciliation_slices",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("gateway", sa.String(length=16), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("cursor", sa.String(length=255), nullable=True),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("pages", "payments_listed", "refunds_listed", "asked", "found")
        ),
        sa.Column("error", sa.String(length=255), nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        *_identity(),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("claimed_until", MOMENT, nullable=True),
        sa.Column("claimed_by", sa.String(length=128), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "stage IN ('refunds', 'mend_refunds', 'payments', 'ours', 'mend_payments', 'recheck')",
            name=op.f("ck_reconciliation_slices_stage_known"),
        ),
        sa.CheckConstraint(
            "is_complete = (finished_at IS NOT NULL AND error IS NULL)",
            name=op.f("ck_reconciliation_slices_complete_means_no_error"),
        ),
        sa.ForeignKeyConstraint(["run_id"], ["reconciliation_runs.id"], name=op.f("fk_reconciliation_slices_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_slices")),
    )
    op.create_index(
        "uq_reconciliation_slices_part", "reconciliation_slices", ["run_id", "gateway", "since"], unique=True
    )
    _partial("ix_reconciliation_slices_due", "reconciliation_slices", ["gateway", "due_at"], "due_at IS NOT NULL")


def _differences() -> None:
    name = "reconciliation_differences"
    op.create_table(
        name,
        sa.Column("gateway", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("order_id", ID, nullable=True),
        sa.Column("attempt_id", ID, nullable=True),
        sa.Column("refund_id", ID, nullable=True),
        sa.Column("reference", sa.String(length=255), nullable=True),
        sa.Column("transaction_id", sa.String(length=255), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("here", sa.String(length=64), nullable=False),
        sa.Column("there", sa.String(length=64), nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("slice_id", ID, nullable=False),
        sa.Column("last_seen_at", MOMENT, nullable=False),
        sa.Column("repaired_at", MOMENT, nullable=True),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("settled_at", MOMENT, nullable=True),
        sa.Column("settled_by", sa.String(length=128), nullable=True),
        sa.Column("note", sa.String(length=500), nullable=True),
        *_identity(),
        sa.CheckConstraint(
            "kind IN ('unknown_here', 'unknown_there', 'amount_differs', 'paid_there', 'not_paid_there', "
            "'reversed_there', 'refund_unknown_here', 'refund_unknown_there', 'refund_status_differs')",
            name=op.f(f"ck_{name}_kind_known"),
        ),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=op.f(f"fk_{name}_{column}"))
            for column, table in (
                ("order_id", "orders"),
                ("attempt_id", "payment_attempts"),
                ("refund_id", "refunds"),
                ("run_id", "reconciliation_runs"),
                ("slice_id", "reconciliation_slices"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
    )
    op.create_index(f"uq_{name}_once", name, ["gateway", "kind", "subject"], unique=True)
    op.create_index(f"ix_{name}_slice", name, ["slice_id"])
    op.create_index(f"ix_{name}_run", name, ["run_id"])
    _partial(f"ix_{name}_open", name, ["gateway", "at"], "settled_at IS NULL")
    _partial(f"ix_{name}_order", name, ["order_id"], "order_id IS NOT NULL")


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
