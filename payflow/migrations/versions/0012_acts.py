"""What people did by hand; which task handled, told and sent; since when a gateway is silent about a refund."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """What was done before this is not known: no rows, no tasks."""
    op.create_table(
        "acts",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("what", sa.String(length=255), nullable=False),
        sa.Column("entity", sa.String(length=16), nullable=False),
        sa.Column("entity_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("correlation_id", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acts")),
    )
    op.create_index("ix_acts_order", "acts", ["order_id"])
    op.create_index("ix_acts_entity", "acts", ["entity_id"])
    _append_only()
    for table in ("webhook_events", "outbox_events", "notifications"):
        op.add_column(table, sa.Column("task", sa.String(length=128), nullable=True))
    op.add_column("refunds", sa.Column("unanswered_since", MOMENT, nullable=True))


def _append_only() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER acts_append_only BEFORE UPDATE OR DELETE ON acts "
            "FOR EACH ROW EXECUTE FUNCTION payflow_append_only()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER acts_no_{verb.lower()} BEFORE {verb} ON acts "
            "BEGIN SELECT RAISE(ABORT, 'acts is append-only'); END"
        )


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
