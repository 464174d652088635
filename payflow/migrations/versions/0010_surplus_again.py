"""A surplus whose refund failed may be given back anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One live surplus refund a try; those that failed do not count."""
    alive = sa.text("source = 'surplus' AND status <> 'failed'")
    op.drop_index("uq_refunds_surplus", "refunds")
    op.create_index(
        "uq_refunds_surplus", "refunds", ["attempt_id"], unique=True, sqlite_where=alive, postgresql_where=alive
    )


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
