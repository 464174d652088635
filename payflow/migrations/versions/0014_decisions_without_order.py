"""Questions that fit no order: a webhook no try of ours knows, a difference with a gateway about nobody's money."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLE = "decisions"
ID, MOMENT = sa.Uuid(as_uuid=False), sa.DateTime(timezone=True)
KNOWN = (
    "kind IN ('underpaid', 'overpaid', 'wrong_currency', 'mode_mismatch', 'reference_mismatch', 'late_payment', "
    "'duplicate_payment', 'slot_taken', 'refund_failed', 'refund_needs_attention', 'refund_unknown', "
    "'dispute_opened', 'poll_plan_exhausted', 'reconciliation', 'unmatched_webhook')"
)
MAY_BE_UNKNOWN = ("order_id", "workspace_id", "amount_minor", "currency")


def upgrade() -> None:
    """What stands open already, and fits no order, is put before operators too."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f(f"ck_{TABLE}_kind_known"), TABLE, type_="check")
        op.create_check_constraint(op.f(f"ck_{TABLE}_kind_known"), TABLE, KNOWN)
        for column in MAY_BE_UNKNOWN:
            op.alter_column(TABLE, column, nullable=True)
    else:
        _write_anew()
    _ask_about_parked_webhooks()
    _ask_about_open_differences()


def _write_anew() -> None:
    """SQLite cannot change a column or a check."""
    columns: list[sa.Column[Any]] = [
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject_id", ID, nullable=False),
        sa.Column("order_id", ID, nullable=True),
        sa.Column("workspace_id", sa.String(length=64), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("suggested_action", sa.String(length=16), nullable=False),
        sa.Column("resolved_at", MOMENT, nullable=True),
        sa.Column("resolved_by", sa.String(length=128), nullable=True),
        sa.Column("action", sa.String(length=16), nullable=True),
        sa.Column("note", sa.String(length=500), nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    ]
    names = ", ".join(column.name for column in columns)
    for index in ("ix_decisions_open", "ix_decisions_order", "uq_decisions_once"):
        op.drop_index(index, TABLE)
    op.rename_table(TABLE, f"{TABLE}_before")
    op.create_table(
        TABLE,
        *columns,
        sa.CheckConstraint(KNOWN, name=op.f(f"ck_{TABLE}_kind_known")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f(f"fk_{TABLE}_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{TABLE}")),
    )
    op.execute(f"INSERT INTO {TABLE} ({names}) SELECT {names} FROM {TABLE}_before")  # noqa: S608 - no input in it
    op.drop_table(f"{TABLE}_before")
    op.create_index(
        "ix_decisions_open",
        TABLE,
        ["id"],
        sqlite_where=sa.text("resolved_at IS NULL"),
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index("ix_decisions_order", TABLE, ["order_id"])
    op.create_index("uq_decisions_once", TABLE, ["kind", "subject_id"], unique=True)


def _ask_about_parked_webhooks() -> None:
    """Each question takes the id of its subject: no other of its table has it."""
    op.execute(
        "INSERT INTO decisions (id, kind, subject_id, detail, suggested_action, created_at) "
        "SELECT id, 'unmatched_webhook', id, gateway || ' tells of ' || event_type || ' for ' "
        "|| COALESCE('reference ' || reference, 'transaction ' || transaction_id, 'no reference') "
        "|| ', which fits no payment here.', 'ignore', parked_at "
        "FROM webhook_events WHERE parked_at IS NOT NULL AND outcome = 'unmatched'"
    )


def _ask_about_open_differences() -> None:
    op.execute(
        "INSERT INTO decisions (id, kind, subject_id, amount_minor, currency, detail, suggested_action, created_at) "
        "SELECT id, 'reconciliation', id, amount_minor, currency, gateway || ' and we do not agree: ' "
        "|| REPLACE(kind, '_', ' ') || ', transaction ' || COALESCE(transaction_id, subject) || '.', 'ignore', "
        "decided_at FROM reconciliation_differences "
        "WHERE order_id IS NULL AND decided_at IS NOT NULL AND settled_at IS NULL"
    )


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
