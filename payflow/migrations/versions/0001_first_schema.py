"""First schema: orders, money, outbox, inbox, history, and what the database itself refuses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON_OBJECT = sa.JSON().with_variant(JSONB(), "postgresql")

APPEND_ONLY = ("ledger_postings", "transitions")
"""Tables of which the database refuses every UPDATE and DELETE."""

SQLITE_SLOT = """
CREATE TRIGGER bookings_slot_taken_on_{verb} BEFORE {when} ON bookings
WHEN NEW.status = 'confirmed' AND EXISTS (
  SELECT 1 FROM bookings other WHERE other.workspace_id = NEW.workspace_id AND other.resource_id = NEW.resource_id
  AND other.status = 'confirmed' AND other.id <> NEW.id
  AND other.starts_at < NEW.ends_at AND other.ends_at > NEW.starts_at)
BEGIN SELECT RAISE(ABORT, 'bookings_slot_taken'); END
"""

# A range over the hash of the resource needs no extension; PostgreSQL's own GiST operators cover int8range.
POSTGRES_SLOT = """
ALTER TABLE bookings ADD CONSTRAINT bookings_slot_taken EXCLUDE USING gist (
  int8range(hashtextextended(workspace_id || chr(31) || resource_id, 0),
            hashtextextended(workspace_id || chr(31) || resource_id, 0), '[]') WITH &&,
  tstzrange(starts_at, ends_at) WITH &&
) WHERE (status = 'confirmed')
"""

POSTGRES_APPEND_ONLY = """
CREATE FUNCTION payflow_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$
"""


def upgrade() -> None:
    op.create_table(
        "bookings",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.String(length=128), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'confirmed', 'cancelled')", name=op.f("ck_bookings_status_known")),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_bookings_amount_not_negative")),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_bookings_slot_not_empty")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bookings")),
    )
    op.create_index("ix_bookings_slot", "bookings", ["workspace_id", "resource_id", "starts_at"], unique=False)
    op.create_index("ix_bookings_user", "bookings", ["user_id", "id"], unique=False)
    op.create_index("ix_bookings_workspace", "bookings", ["workspace_id", "id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("headers", JSON_OBJECT, nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "ledger_postings",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("debit_account", sa.String(length=96), nullable=False),
        sa.Column("credit_account", sa.String(length=96), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('capture', 'excess', 'unapplied', 'fee', 'refund', 'refund_reversal', 'dispute')",
            name=op.f("ck_ledger_postings_kind_known"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_ledger_postings_amount_positive")),
        sa.CheckConstraint("debit_account <> credit_account", name=op.f("ck_ledger_postings_two_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_postings")),
    )
    op.create_index("ix_ledger_order", "ledger_postings", ["order_id"], unique=False)
    op.create_index("uq_ledger_fact", "ledger_postings", ["kind", "subject_id", "part"], unique=True)
    op.create_table(
        "orders",
        sa.Column("order_number", sa.String(length=24), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("subtotal_minor", sa.BigInteger(), nullable=False),
        sa.Column("discount_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("booking_count", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("payment_method", sa.String(length=64), nullable=True),
        sa.Column("payment_reference", sa.String(length=64), nullable=True),
        sa.Column("correlation_id", sa.String(length=128), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.String(length=128), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'paid', 'completed', 'failed', 'cancelled', 'expired', 'refunded')",
            name=op.f("ck_orders_status_known"),
        ),
        sa.CheckConstraint(
            "status NOT IN ('paid', 'completed') OR paid_at IS NOT NULL", name=op.f("ck_orders_paid_has_a_time")
        ),
        sa.CheckConstraint(
            "subtotal_minor >= 0 AND discount_minor >= 0 AND tax_minor >= 0", name=op.f("ck_orders_parts_not_negative")
        ),
        sa.CheckConstraint(
            "total_minor = subtotal_minor - discount_minor + tax_minor", name=op.f("ck_orders_total_adds_up")
        ),
        sa.CheckConstraint("total_minor > 0 AND total_minor <= 100000000000", name=op.f("ck_orders_total_sane")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("order_number", name=op.f("uq_orders_order_number")),
    )
    op.create_index(
        "ix_orders_due",
        "orders",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_orders_user", "orders", ["user_id", "id"], unique=False)
    op.create_index("ix_orders_workspace", "orders", ["workspace_id", "id"], unique=False)
    op.create_table(
        "outbox_events",
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("dedupe_key", sa.String(length=160), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("payload", JSON_OBJECT, nullable=False),
        sa.Column("fanned_out_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("correlation_id", sa.String(length=128), nullable=True),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.String(length=128), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_events")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_outbox_events_dedupe_key")),
    )
    op.create_index(
        "ix_outbox_events_due",
        "outbox_events",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_outbox_events_order", "outbox_events", ["order_id"], unique=False)
    op.create_table(
        "service_keys",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("workspace_id", sa.String(length=64), nullable=True),
        sa.Column("scope", sa.String(length=255), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_service_keys_key_hash")),
    )
    op.create_table(
        "transitions",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("entity", sa.String(length=16), nullable=False),
        sa.Column("entity_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("from_status", sa.String(length=16), nullable=False),
        sa.Column("to_status", sa.String(length=16), nullable=False),
        sa.Column("why", sa.String(length=255), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("correlation_id", sa.String(length=128), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transitions")),
    )
    op.create_index("ix_transitions_order", "transitions", ["order_id"], unique=False)
    op.create_index("uq_transitions_entity", "transitions", ["entity_id", "sequence"], unique=True)
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_table(
        "webhook_events",
        sa.Column("gateway", sa.String(length=16), nullable=False),
        sa.Column("event_key", sa.String(length=255), nullable=False),
        sa.Column("event_type", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("reference", sa.String(length=255), nullable=True),
        sa.Column("transaction_id", sa.String(length=255), nullable=True),
        sa.Column("gateway_refund_id", sa.String(length=255), nullable=True),
        sa.Column("dispute", JSON_OBJECT, nullable=True),
        sa.Column("body", JSON_OBJECT, nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("correlation_id", sa.String(length=128), nullable=True),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.String(length=128), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
    )
    op.create_index(
        "ix_webhook_events_due",
        "webhook_events",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_webhook_events_reference", "webhook_events", ["reference"], unique=False)
    op.create_index("uq_webhook_events_key", "webhook_events", ["gateway", "event_key"], unique=True)
    op.create_table(
        "workspaces",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("tax_bps", sa.Integer(), nullable=False),
        sa.Column("order_ttl_seconds", sa.Integer(), nullable=True),
        sa.Column("refund_window_hours", sa.Integer(), nullable=False),
        sa.Column("refund_percent_bps", sa.Integer(), nullable=False),
        sa.Column("refund_needs_approval", sa.Boolean(), nullable=False),
        sa.Column("customers_may_book", sa.Boolean(), nullable=False),
        sa.Column("late_payment", sa.String(length=16), nullable=False),
        sa.Column("excess_payment", sa.String(length=16), nullable=False),
        sa.Column("return_urls", JSON_OBJECT, nullable=False),
        sa.Column("enabled_gateways", JSON_OBJECT, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("excess_payment IN ('refund', 'decide')", name=op.f("ck_workspaces_excess_payment_known")),
        sa.CheckConstraint(
            "late_payment IN ('accept', 'refund', 'decide')", name=op.f("ck_workspaces_late_payment_known")
        ),
        sa.CheckConstraint("order_ttl_seconds IS NULL OR order_ttl_seconds >= 10", name=op.f("ck_workspaces_ttl_sane")),
        sa.CheckConstraint("refund_percent_bps BETWEEN 0 AND 10000", name=op.f("ck_workspaces_refund_percent_sane")),
        sa.CheckConstraint("tax_bps BETWEEN 0 AND 10000", name=op.f("ck_workspaces_tax_sane")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
    )
    op.create_table(
        "decisions",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("suggested_action", sa.String(length=16), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_by", sa.String(length=128), nullable=True),
        sa.Column("action", sa.String(length=16), nullable=True),
        sa.Column("note", sa.String(length=500), nullable=True),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('underpaid', 'overpaid', 'wrong_currency', 'mode_mismatch', 'reference_mismatch', 'late_payment', 'duplicate_payment', 'slot_taken', 'refund_failed', 'refund_needs_attention', 'refund_unknown', 'dispute_opened', 'poll_plan_exhausted')",
            name=op.f("ck_decisions_kind_known"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_decisions_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_index(
        "ix_decisions_open",
        "decisions",
        ["id"],
        unique=False,
        sqlite_where=sa.text("resolved_at IS NULL"),
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index("ix_decisions_order", "decisions", ["order_id"], unique=False)
    op.create_index("uq_decisions_once", "decisions", ["kind", "subject_id"], unique=True)
    op.create_table(
        "notifications",
        sa.Column("event_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(length=255), nullable=True),
        sa.Column("correlation_id", sa.String(length=128), nullable=True),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.String(length=128), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.CheckConstraint("channel IN ('in_app', 'email', 'webhook')", name=op.f("ck_notifications_channel_known")),
        sa.ForeignKeyConstraint(["event_id"], ["outbox_events.id"], name=op.f("fk_notifications_event_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index(
        "ix_notifications_due",
        "notifications",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_notifications_order", "notifications", ["order_id"], unique=False)
    op.create_index("ix_notifications_recipient", "notifications", ["recipient", "channel", "id"], unique=False)
    op.create_index("uq_notifications_once", "notifications", ["event_id", "recipient", "channel"], unique=True)
    op.create_table(
        "order_bookings",
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("booking_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.CheckConstraint("price_minor >= 0", name=op.f("ck_order_bookings_price_not_negative")),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.id"], name=op.f("fk_order_bookings_booking_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_bookings_order_id")),
        sa.PrimaryKeyConstraint("order_id", "booking_id", name=op.f("pk_order_bookings")),
    )
    op.create_index("ix_order_bookings_booking", "order_bookings", ["booking_id"], unique=False)
    op.create_index(
        "uq_order_bookings_active",
        "order_bookings",
        ["booking_id"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )
    op.create_table(
        "payments",
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("gateway", sa.String(length=16), nullable=False),
        sa.Column("payment_method", sa.String(length=64), nullable=True),
        sa.Column("current_attempt_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("captured_minor", sa.BigInteger(), nullable=False),
        sa.Column("refund_reserved_minor", sa.BigInteger(), nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String(length=255), nullable=True),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status IN ('success', 'refunded')) = (captured_minor = amount_minor)",
            name=op.f("ck_payments_success_means_captured"),
        ),
        sa.CheckConstraint(
            "status <> 'refunded' OR refunded_minor = captured_minor", name=op.f("ck_payments_refunded_means_all")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'success', 'failed', 'cancelled', 'refunded')",
            name=op.f("ck_payments_status_known"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payments_amount_positive")),
        sa.CheckConstraint("captured_minor IN (0, amount_minor)", name=op.f("ck_payments_captured_whole_or_nothing")),
        sa.CheckConstraint(
            "refunded_minor >= 0 AND refunded_minor <= refund_reserved_minor AND refund_reserved_minor <= captured_minor",
            name=op.f("ck_payments_refunds_within_capture"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_payments_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("order_id", name=op.f("uq_payments_order_id")),
    )
    op.create_index("ix_payments_user", "payments", ["user_id", "id"], unique=False)
    op.create_index("ix_payments_workspace", "payments", ["workspace_id", "id"], unique=False)
    op.create_table(
        "disputes",
        sa.Column("payment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("gateway", sa.String(length=16), nullable=False),
        sa.Column("gateway_dispute_id", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('open', 'won', 'lost')", name=op.f("ck_disputes_status_known")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_disputes_order_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_disputes_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disputes")),
    )
    op.create_index("uq_disputes_gateway_id", "disputes", ["gateway", "gateway_dispute_id"], unique=True)
    op.create_table(
        "payment_attempts",
        sa.Column("payment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("gateway", sa.String(length=16), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("application", sa.String(length=8), nullable=True),
        sa.Column("payment_method", sa.String(length=64), nullable=True),
        sa.Column("return_url", sa.Text(), nullable=True),
        sa.Column("authorization_url", sa.Text(), nullable=True),
        sa.Column("session_id", sa.String(length=255), nullable=True),
        sa.Column("gateway_transaction_id", sa.String(length=255), nullable=True),
        sa.Column("gateway_response", JSON_OBJECT, nullable=True),
        sa.Column("captured_minor", sa.BigInteger(), nullable=False),
        sa.Column("captured_currency", sa.String(length=3), nullable=True),
        sa.Column("fee_minor", sa.BigInteger(), nullable=True),
        sa.Column("refund_reserved_minor", sa.BigInteger(), nullable=False),
        sa.Column("poll_step", sa.Integer(), nullable=False),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(length=255), nullable=True),
        sa.Column("correlation_id", sa.String(length=128), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.String(length=128), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(status = 'succeeded') = (application IS NOT NULL)",
            name=op.f("ck_payment_attempts_success_is_applied_or_surplus"),
        ),
        sa.CheckConstraint("application IN ('applied', 'surplus')", name=op.f("ck_payment_attempts_application_known")),
        sa.CheckConstraint(
            "status IN ('created', 'initiated', 'succeeded', 'failed', 'abandoned', 'unknown', 'mismatched')",
            name=op.f("ck_payment_attempts_status_known"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payment_attempts_amount_positive")),
        sa.CheckConstraint("captured_minor >= 0", name=op.f("ck_payment_attempts_captured_not_negative")),
        sa.CheckConstraint(
            "refund_reserved_minor >= 0 AND refund_reserved_minor <= captured_minor",
            name=op.f("ck_payment_attempts_refunds_within_capture"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_payment_attempts_order_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_payment_attempts_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_attempts")),
        sa.UniqueConstraint("reference", name=op.f("uq_payment_attempts_reference")),
    )
    op.create_index(
        "ix_attempts_due",
        "payment_attempts",
        ["gateway", "due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_attempts_payment", "payment_attempts", ["payment_id"], unique=False)
    op.create_index(
        "ix_attempts_session",
        "payment_attempts",
        ["session_id"],
        unique=False,
        sqlite_where=sa.text("session_id IS NOT NULL"),
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )
    op.create_index(
        "uq_attempts_applied",
        "payment_attempts",
        ["payment_id"],
        unique=True,
        sqlite_where=sa.text("application = 'applied'"),
        postgresql_where=sa.text("application = 'applied'"),
    )
    op.create_index(
        "uq_attempts_live",
        "payment_attempts",
        ["payment_id"],
        unique=True,
        sqlite_where=sa.text("status IN ('created', 'initiated', 'unknown')"),
        postgresql_where=sa.text("status IN ('created', 'initiated', 'unknown')"),
    )
    op.create_index(
        "uq_attempts_transaction",
        "payment_attempts",
        ["gateway", "gateway_transaction_id"],
        unique=True,
        sqlite_where=sa.text("gateway_transaction_id IS NOT NULL"),
        postgresql_where=sa.text("gateway_transaction_id IS NOT NULL"),
    )
    op.create_table(
        "refunds",
        sa.Column("payment_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("attempt_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("booking_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("requested_by", sa.String(length=128), nullable=False),
        sa.Column("gateway", sa.String(length=16), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("needs_attention", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("reason_description", sa.String(length=500), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("approval", sa.String(length=16), nullable=False),
        sa.Column("approved_by", sa.String(length=128), nullable=True),
        sa.Column("gateway_refund_id", sa.String(length=255), nullable=True),
        sa.Column("gateway_response", JSON_OBJECT, nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("poll_step", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(length=255), nullable=True),
        sa.Column("correlation_id", sa.String(length=128), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.String(length=128), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(status = 'completed') = (completed_at IS NOT NULL)", name=op.f("ck_refunds_completed_has_a_time")
        ),
        sa.CheckConstraint(
            "approval IN ('not_needed', 'waiting', 'approved', 'rejected')", name=op.f("ck_refunds_approval_known")
        ),
        sa.CheckConstraint(
            "reason IN ('customer_request', 'booking_cancelled', 'duplicate', 'fraudulent', 'service_issue', 'other')",
            name=op.f("ck_refunds_reason_known"),
        ),
        sa.CheckConstraint("source IN ('api', 'policy', 'surplus', 'gateway')", name=op.f("ck_refunds_source_known")),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed')", name=op.f("ck_refunds_status_known")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refunds_amount_positive")),
        sa.ForeignKeyConstraint(["attempt_id"], ["payment_attempts.id"], name=op.f("fk_refunds_attempt_id")),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.id"], name=op.f("fk_refunds_booking_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_refunds_order_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_refunds_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
    )
    op.create_index(
        "ix_refunds_due",
        "refunds",
        ["gateway", "due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_refunds_payment", "refunds", ["payment_id"], unique=False)
    op.create_index("ix_refunds_user", "refunds", ["user_id", "id"], unique=False)
    op.create_index("ix_refunds_workspace", "refunds", ["workspace_id", "id"], unique=False)
    op.create_index(
        "uq_refunds_gateway_id",
        "refunds",
        ["gateway", "gateway_refund_id"],
        unique=True,
        sqlite_where=sa.text("gateway_refund_id IS NOT NULL"),
        postgresql_where=sa.text("gateway_refund_id IS NOT NULL"),
    )
    op.create_index(
        "uq_refunds_surplus",
        "refunds",
        ["attempt_id"],
        unique=True,
        sqlite_where=sa.text("source = 'surplus'"),
        postgresql_where=sa.text("source = 'surplus'"),
    )

    if op.get_bind().dialect.name == "postgresql":
        op.execute(POSTGRES_SLOT)
        op.execute(POSTGRES_APPEND_ONLY)
        for table in APPEND_ONLY:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION payflow_append_only()"
            )
        return
    op.execute(SQLITE_SLOT.format(verb="insert", when="INSERT"))
    op.execute(
        SQLITE_SLOT.format(verb="update", when="UPDATE OF status, starts_at, ends_at, resource_id, workspace_id")
    )
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def downgrade() -> None:
    raise NotImplementedError("payflow's money records are never rolled back; restore a backup instead")
