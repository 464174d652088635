"""Orders are found by the code that ends their number."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`ORD-YYYYMMDD-XXXXXX`: the code begins at the 14th character."""
    op.create_index("ix_orders_code", "orders", [sa.text("substr(order_number, 14)")])


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
