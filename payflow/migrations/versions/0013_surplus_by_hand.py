"""Some of a surplus may have been given back at the gateway itself; the rest of it is given back here."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One live surplus refund of our own a try; those made at the gateway do not count."""
    ours = sa.text("source = 'surplus' AND status <> 'failed' AND requested_by NOT LIKE 'gateway:%'")
    op.drop_index("uq_refunds_surplus", "refunds")
    op.create_index(
        "uq_refunds_surplus", "refunds", ["attempt_id"], unique=True, sqlite_where=ours, postgresql_where=ours
    )


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
