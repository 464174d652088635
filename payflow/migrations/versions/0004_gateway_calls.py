"""The gateway log, and which Celery task changed a status."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON_OBJECT = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Nothing is known of calls made before. A timeline finds an order's webhooks without reading them all."""
    op.add_column("transitions", sa.Column("task", sa.String(length=128), nullable=True))
    op.create_table(
        "gateway_calls",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("gateway", sa.String(length=16), nullable=False),
        sa.Column("operation", sa.String(length=32), nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("route", sa.String(length=255), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("attempt_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("refund_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("task", sa.String(length=128), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error", sa.String(length=255), nullable=True),
        sa.Column("request", JSON_OBJECT, nullable=False),
        sa.Column("response", JSON_OBJECT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_calls")),
    )
    has_order = sa.text("order_id IS NOT NULL")
    op.create_index(
        "ix_gateway_calls_order", "gateway_calls", ["order_id"], sqlite_where=has_order, postgresql_where=has_order
    )
    op.create_index("ix_gateway_calls_at", "gateway_calls", ["at"])
    for name, column in (("transaction", "transaction_id"), ("refund", "gateway_refund_id")):
        is_told = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_webhook_events_{name}", "webhook_events", [column], sqlite_where=is_told, postgresql_where=is_told
        )


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
