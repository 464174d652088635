"""Books with any number of paid orders in them, written by the database itself: PostgreSQL only, 1,000,000 in minutes.

Order number N belongs to user `many-(N mod users)` and workspace `many-(N mod 10)`; it has one booking (pending, which
spares the index of confirmed slots), a payment with one try and its history, an event and an in-app message; every
twentieth has a refund. Ids are counters dressed as UUIDv7, so that "newest first" and every reference are known without
looking.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.engine import Engine

ORDERS_A_USER = 25
WORKSPACES = 10
KINDS = {
    kind: number
    for number, kind in enumerate(
        ("booking", "order", "payment", "attempt", "refund", "event", "message", "first move", "last move"), start=1
    )
}


def row_id(kind: str, number: int) -> str:
    """The id of what belongs to one order."""
    return f"0199{number >> 16 & 0xFFFF:04x}-{number & 0xFFFF:04x}-7000-8000-{KINDS[kind]:012x}"


def user_of(number: int, orders: int) -> str:
    return f"many-{number % _users(orders)}"


def order_number(number: int) -> str:
    code = f"{number:06x}".translate(str.maketrans("01", "yz"))  # no 0 and no 1 in an order's code
    return f"ORD-20260101-{code.upper()}"


def _users(orders: int) -> int:
    return max(1, orders // ORDERS_A_USER)


def _id(kind: str) -> str:
    high, low = "lpad(to_hex((n >> 16) & 65535), 4, '0')", "lpad(to_hex(n & 65535), 4, '0')"
    return f"('0199' || {high} || '-' || {low} || '-7000-8000-{KINDS[kind]:012x}')::uuid"


_AT = "(timestamptz '2026-01-01' + n * interval '1 second')"
_OWNER = f"'many-' || (n % :users), 'many-' || (n % {WORKSPACES})"
_STEPS = (
    f"""INSERT INTO users (id, email, name, created_at, updated_at)
        SELECT 'many-' || n, 'many-' || n || '@example.com', 'Many', {_AT}, {_AT}
        FROM generate_series(0, :users - 1) n""",
    f"""INSERT INTO bookings (id, user_id, workspace_id, resource_id, starts_at, ends_at, amount_minor, currency,
          status, version, moves, created_at, updated_at)
        SELECT {_id("booking")}, {_OWNER}, 'room-' || n, {_AT}, {_AT} + interval '1 hour', 150000, 'NGN', 'pending',
          1, 0, {_AT}, {_AT} FROM generate_series(1, :orders) n""",
    f"""INSERT INTO orders (id, order_number, user_id, workspace_id, currency, subtotal_minor, discount_minor,
          tax_minor, total_minor, booking_count, status, payment_method, payment_reference, expires_at, paid_at,
          completed_at, version, moves, tries, created_at, updated_at)
        SELECT {_id("order")}, 'ORD-20260101-' || upper(translate(lpad(to_hex(n), 6, '0'), '01', 'yz')), {_OWNER},
          'NGN', 150000, 0, 0, 150000, 1, 'completed', 'card', 'PF-' || n, {_AT}, {_AT}, {_AT}, 1, 0, 0, {_AT}, {_AT}
        FROM generate_series(1, :orders) n""",
    f"""INSERT INTO order_bookings (order_id, booking_id, price_minor, active)
        SELECT {_id("order")}, {_id("booking")}, 150000, true FROM generate_series(1, :orders) n""",
    f"""INSERT INTO payments (id, order_id, user_id, workspace_id, amount_minor, currency, status, gateway,
          payment_method, current_attempt_id, retry_count, captured_minor, refund_reserved_minor, refunded_minor,
          paid_at, version, moves, created_at, updated_at)
        SELECT {_id("payment")}, {_id("order")}, {_OWNER}, 150000, 'NGN', 'success', 'paystack', 'card',
          {_id("attempt")}, 0, 150000, CASE WHEN n % 20 = 1 THEN 1000 ELSE 0 END,
          CASE WHEN n % 20 = 1 THEN 1000 ELSE 0 END, {_AT}, 1, 0, {_AT}, {_AT} FROM generate_series(1, :orders) n""",
    f"""INSERT INTO payment_attempts (id, payment_id, order_id, gateway, reference, amount_minor, currency, status,
          application, authorization_url, gateway_transaction_id, captured_minor, captured_currency,
          refund_reserved_minor, poll_step, called_at, version, moves, tries, created_at, updated_at)
        SELECT {_id("attempt")}, {_id("payment")}, {_id("order")}, 'paystack', 'PF-' || n, 150000, 'NGN', 'succeeded',
          'applied', 'https://checkout.example/' || n, 'T' || n, 150000, 'NGN',
          CASE WHEN n % 20 = 1 THEN 1000 ELSE 0 END, 0, {_AT}, 1, 0, 0, {_AT}, {_AT}
        FROM generate_series(1, :orders) n""",
    *(
        f"""INSERT INTO transitions (id, entity, entity_id, order_id, sequence, from_status, to_status, why, actor, at)
        SELECT {_id(move)}, 'payment', {_id("payment")}, {_id("order")}, {number}, '{before}', '{after}', 'seeded',
          'system', {_AT} FROM generate_series(1, :orders) n"""
        for number, (move, before, after) in enumerate(
            [("first move", "pending", "processing"), ("last move", "processing", "success")], start=1
        )
    ),
    f"""INSERT INTO outbox_events (id, type, dedupe_key, subject_id, order_id, user_id, workspace_id, payload,
          fanned_out_at, tries, created_at)
        SELECT {_id("event")}, 'PAYMENT_COMPLETED', 'many:' || n, {_id("payment")}, {_id("order")}, {_OWNER},
          '{{}}'::jsonb, {_AT}, 0, {_AT} FROM generate_series(1, :orders) n""",
    f"""INSERT INTO notifications (id, event_id, event, order_id, channel, recipient, title, body, sent_at, tries,
          created_at)
        SELECT {_id("message")}, {_id("event")}, 'PAYMENT_COMPLETED', {_id("order")}, 'in_app', 'many-' || (n % :users),
          'Payment successful', 'Seeded.', {_AT}, 0, {_AT} FROM generate_series(1, :orders) n""",
    f"""INSERT INTO refunds (id, payment_id, order_id, attempt_id, user_id, workspace_id, requested_by, gateway,
          amount_minor, currency, status, needs_attention, reason, reason_description, source, approval,
          gateway_refund_id, submitted_at, completed_at, poll_step, version, moves, tries, created_at, updated_at)
        SELECT {_id("refund")}, {_id("payment")}, {_id("order")}, {_id("attempt")}, {_OWNER}, 'seed', 'paystack', 1000,
          'NGN', 'completed', false, 'other', '', 'api', 'not_needed', 'R' || n, {_AT}, {_AT}, 0, 1, 0, 0, {_AT}, {_AT}
        FROM generate_series(1, :orders, 20) n""",
)


def seed(engine: Engine, orders: int) -> None:
    """Write them into an empty, migrated database, and let the planner know."""
    with engine.begin() as connection:
        connection.execute(
            text("SET LOCAL session_replication_role = replica")
        )  # no triggers: the rows are known to fit
        for step in _STEPS:
            values = {
                name: value for name, value in (("orders", orders), ("users", _users(orders))) if f":{name}" in step
            }
            connection.execute(text(step), values)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))
