"""What was given up is found at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """An index over the parked rows of each kind; there should be few."""
    for table in ("webhook_events", "outbox_events", "notifications"):
        is_parked = sa.text("parked_at IS NOT NULL")
        op.create_index(f"ix_{table}_parked", table, ["parked_at"], sqlite_where=is_parked, postgresql_where=is_parked)


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
