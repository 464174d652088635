"""Languages, preferences and senders of messages; letters that were withdrawn; what operators were told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

JSON_OBJECT = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Messages before this were written in English."""
    op.add_column("users", sa.Column("locale", sa.String(length=35), nullable=True))
    op.add_column("workspaces", sa.Column("locale", sa.String(length=35), nullable=True))
    op.add_column("workspaces", sa.Column("mail_from_name", sa.String(length=100), nullable=True))
    op.add_column("workspaces", sa.Column("mail_reply_to", sa.String(length=320), nullable=True))
    op.add_column("notifications", sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("notifications", sa.Column("locale", sa.String(length=35), nullable=True))
    op.create_table(
        "notification_preferences",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("locale", sa.String(length=35), nullable=True),
        sa.Column("switched_off", JSON_OBJECT, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_notification_preferences")),
    )
    op.create_table(
        "alerts",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("digest_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(["digest_id"], ["outbox_events.id"], name=op.f("fk_alerts_digest_id")),
        sa.PrimaryKeyConstraint("kind", "subject_id", "since", name=op.f("pk_alerts")),
    )


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
