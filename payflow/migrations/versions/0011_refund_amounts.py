"""Reconciliation: refunds of another amount; differences by the payment they are about."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLE = "reconciliation_differences"
ID, MOMENT = sa.Uuid(as_uuid=False), sa.DateTime(timezone=True)
KNOWN = (
    "kind IN ('unknown_here', 'unknown_there', 'amount_differs', 'paid_there', 'not_paid_there', 'reversed_there', "
    "'refund_unknown_here', 'refund_unknown_there', 'refund_status_differs', 'refund_amount_differs')"
)
LINKS = {
    "order_id": "orders",
    "attempt_id": "payment_attempts",
    "refund_id": "refunds",
    "run_id": "reconciliation_runs",
    "slice_id": "reconciliation_slices",
}


def upgrade() -> None:
    """SQLite cannot change a check: the table is written anew."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f(f"ck_{TABLE}_kind_known"), TABLE, type_="check")
        op.create_check_constraint(op.f(f"ck_{TABLE}_kind_known"), TABLE, KNOWN)
    else:
        _write_anew()
    op.create_index(f"ix_{TABLE}_transaction", TABLE, ["gateway", "transaction_id"])


def _write_anew() -> None:
    columns: list[sa.Column[Any]] = [
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
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    ]
    names = ", ".join(column.name for column in columns)
    for index in (f"uq_{TABLE}_once", *(f"ix_{TABLE}_{name}" for name in ("slice", "run", "open", "order"))):
        op.drop_index(index, TABLE)
    op.rename_table(TABLE, f"{TABLE}_before")
    op.create_table(
        TABLE,
        *columns,
        sa.CheckConstraint(KNOWN, name=op.f(f"ck_{TABLE}_kind_known")),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=op.f(f"fk_{TABLE}_{column}"))
            for column, table in LINKS.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{TABLE}")),
    )
    op.execute(f"INSERT INTO {TABLE} ({names}) SELECT {names} FROM {TABLE}_before")  # noqa: S608 - no input in it
    op.drop_table(f"{TABLE}_before")
    op.create_index(f"uq_{TABLE}_once", TABLE, ["gateway", "kind", "subject"], unique=True)
    op.create_index(f"ix_{TABLE}_slice", TABLE, ["slice_id"])
    op.create_index(f"ix_{TABLE}_run", TABLE, ["run_id"])
    _partial("open", ["gateway", "at"], "settled_at IS NULL")
    _partial("order", ["order_id"], "order_id IS NOT NULL")


def _partial(name: str, columns: list[str], where: str) -> None:
    op.create_index(f"ix_{TABLE}_{name}", TABLE, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
