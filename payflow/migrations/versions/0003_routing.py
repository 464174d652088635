"""Who chose a try's gateway and why, which try it replaces, and which gateways do not answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tries before this were chosen by name as far as anybody can tell."""
    op.add_column("payment_attempts", sa.Column("routing", sa.String(length=255), nullable=True))
    op.add_column("payment_attempts", sa.Column("replaces_id", sa.Uuid(as_uuid=False), nullable=True))
    op.create_table(
        "gateway_health",
        sa.Column("gateway", sa.String(length=16), nullable=False),
        sa.Column("silent_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("gateway", name=op.f("pk_gateway_health")),
    )


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
