"""The invariants of money and bookings as queries: each tells the rows that break it, none when the books are sound.

Numbered after docs: I01–I30 are those of the reliability notes in this schema's words, I31 is this house's own. All but
I19 and I25 hold at every moment; those two tell of work that is overdue by more than `slo_seconds`. Reads only, and in
SQL that SQLite and PostgreSQL both speak. What must not enter: repairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import String, bindparam, column, text

from payflow import bus
from payflow.core.states import MOVES
from payflow.models.base import RowId, UtcDateTime
from payflow.store.repositories import Repositories

KEY_LEASE_BOUND_SECONDS = 600
"""No idempotency key is ever locked for longer than this ahead (minutes more than any lease)."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken invariant and the rows that break it (ids; account and currency, or scope and key, for I14 and I29)."""

    invariant: str
    sentence: str
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Invariant:
    """`sql` selects the offenders as a column `id`; it may use `:overdue` (now less the target) and `:far`."""

    id: str
    sentence: str
    sql: str
    has_row_ids: bool = True


_STATEFUL = {
    "booking": "bookings",
    "order": "orders",
    "payment": "payments",
    "attempt": "payment_attempts",
    "refund": "refunds",
    "dispute": "disputes",
}
_FIRST = {"booking": "pending", "order": "pending", "payment": "pending", "attempt": "created", "refund": "pending"}
_TOLD = (
    ("payment", "success", "refunded", "PAYMENT_COMPLETED"),
    ("payment", "failed", "", "PAYMENT_FAILED"),
    ("refund", "completed", "", "REFUND_COMPLETED"),
    ("refund", "failed", "", "REFUND_FAILED"),
    ("order", "expired", "", "ORDER_EXPIRED"),
    ("order", "cancelled", "", "ORDER_CANCELLED"),
    ("booking", "confirmed", "", "BOOKING_CONFIRMED"),
    ("booking", "cancelled", "", "BOOKING_CANCELLED"),
)
"""(entity, to, but not from, event): moves that the world hears of."""


def _words(values: Any) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


def _union(template: str, rows: Any) -> str:
    """One query per row, joined. The rows are this file's own constants, never anything from outside."""
    return " UNION ".join(template.format(*row) for row in rows)


_EDGES = _words(f"{entity}:{a}:{b}" for entity, moves in MOVES.items() for a, goals in moves.items() for b in goals)
_UNFINISHED = """
 SELECT id FROM payment_attempts WHERE status IN ('created', 'initiated', 'unknown') AND due_at {0}
 UNION ALL SELECT id FROM refunds WHERE status IN ('pending', 'processing') AND approval <> 'waiting' AND due_at {0}
 UNION ALL SELECT id FROM orders WHERE status IN ('pending', 'processing') AND due_at {0}
 UNION ALL SELECT id FROM outbox_events WHERE fanned_out_at IS NULL AND parked_at IS NULL AND due_at {0}
 UNION ALL SELECT id FROM notifications WHERE sent_at IS NULL AND parked_at IS NULL AND due_at {0}
 UNION ALL SELECT id FROM webhook_events WHERE handled_at IS NULL AND parked_at IS NULL AND due_at {0}"""

INVARIANTS: tuple[Invariant, ...] = (
    Invariant("I01", "one payment is settled by at most one try", """
 SELECT payment_id AS id FROM payment_attempts WHERE application = 'applied' GROUP BY payment_id HAVING COUNT(*) > 1"""),
    Invariant("I02", "a paid order has an applied try that brought at least its total, in its currency", """
 SELECT o.id FROM orders o WHERE o.status IN ('paid', 'completed', 'refunded') AND NOT EXISTS (
  SELECT 1 FROM payments p JOIN payment_attempts a ON a.payment_id = p.id AND a.application = 'applied'
  WHERE p.order_id = o.id AND p.status IN ('success', 'refunded') AND p.captured_minor = o.total_minor
  AND p.currency = o.currency AND a.captured_minor >= p.captured_minor AND a.captured_currency = p.currency)"""),
    Invariant("I03", "an applied try means a paid order, or money that came late and is before a person", """
 SELECT a.id FROM payment_attempts a JOIN orders o ON o.id = a.order_id WHERE a.application = 'applied'
 AND o.status NOT IN ('paid', 'completed', 'refunded')
 AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.kind = 'late_payment' AND d.subject_id = a.id)"""),
    Invariant("I04", "every booking active on a completed order is confirmed", """
 SELECT b.id FROM orders o JOIN order_bookings ob ON ob.order_id = o.id AND ob.active JOIN bookings b
 ON b.id = ob.booking_id WHERE o.status = 'completed' AND b.status <> 'confirmed'"""),
    Invariant("I05", "a confirmed booking is active on exactly one paid order (or one whose release is owed)", """
 SELECT b.id FROM bookings b WHERE b.status = 'confirmed' AND (SELECT COUNT(*) FROM order_bookings ob
  JOIN orders o ON o.id = ob.order_id WHERE ob.booking_id = b.id AND ob.active AND (o.status IN ('paid', 'completed')
  OR (o.status = 'refunded' AND o.due_at IS NOT NULL))) <> 1"""),
    Invariant("I06", "no moment of a resource is confirmed twice", """
 SELECT b.id FROM bookings b WHERE b.status = 'confirmed' AND EXISTS (SELECT 1 FROM bookings x WHERE x.id <> b.id
  AND x.status = 'confirmed' AND x.workspace_id = b.workspace_id AND x.resource_id = b.resource_id
  AND x.starts_at < b.ends_at AND x.ends_at > b.starts_at)"""),
    Invariant("I07", "no booking is active on two orders", """
 SELECT booking_id AS id FROM order_bookings WHERE active GROUP BY booking_id HAVING COUNT(*) > 1"""),
    Invariant("I08", "refunds stay within what was captured, and the counters are their sums", """
 SELECT p.id FROM payments p WHERE p.refund_reserved_minor > p.captured_minor
 OR p.refund_reserved_minor <> (SELECT COALESCE(SUM(r.amount_minor), 0) FROM refunds r
  WHERE r.payment_id = p.id AND r.source <> 'surplus' AND r.status <> 'failed')
 OR p.refunded_minor <> (SELECT COALESCE(SUM(r.amount_minor), 0) FROM refunds r
  WHERE r.payment_id = p.id AND r.source <> 'surplus' AND r.status = 'completed')
 UNION SELECT a.id FROM payment_attempts a WHERE a.refund_reserved_minor > a.captured_minor
 OR a.refund_reserved_minor <> (SELECT COALESCE(SUM(r.amount_minor), 0) FROM refunds r
  WHERE r.attempt_id = a.id AND r.status <> 'failed')"""),
    Invariant("I09", "a refund is of money that came in, in its currency", """
 SELECT r.id FROM refunds r JOIN payment_attempts a ON a.id = r.attempt_id WHERE r.status <> 'failed'
 AND (a.captured_minor = 0 OR a.captured_currency IS NULL OR r.currency <> a.captured_currency
 OR a.payment_id <> r.payment_id)"""),
    Invariant("I10", "every posting moves a positive amount between two accounts", """
 SELECT id FROM ledger_postings WHERE amount_minor <= 0 OR debit_account = credit_account"""),
    Invariant("I11", "all money a try brought is posted, and once: the order's share as its capture", """
 SELECT a.id FROM payment_attempts a WHERE a.captured_minor <> (SELECT COALESCE(SUM(l.amount_minor), 0)
  FROM ledger_postings l WHERE l.subject_id = a.id AND l.kind IN ('capture', 'excess', 'unapplied')
  AND l.debit_account = 'gateway:' || a.gateway AND l.currency = a.captured_currency)
 OR (a.application = 'applied' AND a.amount_minor <> (SELECT COALESCE(SUM(l.amount_minor), 0)
  FROM ledger_postings l WHERE l.subject_id = a.id AND l.kind = 'capture'))"""),
    Invariant("I12", "a refund's postings less its reversals are its amount when completed, and nothing otherwise", """
 SELECT r.id FROM refunds r WHERE CASE WHEN r.status = 'completed' THEN r.amount_minor ELSE 0 END
 <> (SELECT COALESCE(SUM(l.amount_minor), 0) FROM ledger_postings l WHERE l.subject_id = r.id AND l.kind = 'refund'
  AND l.credit_account = 'gateway:' || r.gateway AND l.currency = r.currency)
 - (SELECT COALESCE(SUM(l.amount_minor), 0) FROM ledger_postings l WHERE l.subject_id = r.id
  AND l.kind = 'refund_reversal' AND l.debit_account = 'gateway:' || r.gateway AND l.currency = r.currency)"""),
    Invariant("I13", "no posting without its cause", """
 SELECT l.id FROM ledger_postings l WHERE (l.kind = 'capture' AND NOT EXISTS (SELECT 1 FROM payment_attempts a
  WHERE a.id = l.subject_id AND a.application = 'applied')) OR (l.kind IN ('excess', 'unapplied')
  AND NOT EXISTS (SELECT 1 FROM payment_attempts a WHERE a.id = l.subject_id AND a.captured_minor > 0))
 OR (l.kind = 'fee' AND NOT EXISTS (SELECT 1 FROM payment_attempts a WHERE a.id = l.subject_id
  AND a.fee_minor = l.amount_minor)) OR (l.kind IN ('refund', 'refund_reversal')
  AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.id = l.subject_id))"""),
    Invariant("I14", "per gateway and currency the clearing account holds captured less refunded", """
 SELECT place AS id FROM (
  SELECT gateway || ' ' || captured_currency AS place, captured_minor AS value FROM payment_attempts
  WHERE captured_minor > 0
  UNION ALL SELECT gateway || ' ' || currency, -amount_minor FROM refunds WHERE status = 'completed'
  UNION ALL SELECT SUBSTR(debit_account, 9) || ' ' || currency, -amount_minor FROM ledger_postings
  WHERE debit_account LIKE 'gateway:%' AND kind NOT IN ('fee', 'dispute')
  UNION ALL SELECT SUBSTR(credit_account, 9) || ' ' || currency, amount_minor FROM ledger_postings
  WHERE credit_account LIKE 'gateway:%' AND kind NOT IN ('fee', 'dispute')) x
 GROUP BY place HAVING SUM(value) <> 0""", has_row_ids=False),
    Invariant("I15", "money beyond an order's own, or that fits none, is on its way back or before a person", """
 SELECT a.id FROM payment_attempts a JOIN payments p ON p.id = a.payment_id
 WHERE (a.status = 'mismatched' OR a.captured_minor > CASE WHEN a.application = 'applied' THEN p.amount_minor
  ELSE 0 END)
 AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.attempt_id = a.id AND r.source = 'surplus' AND r.status <> 'failed'
  AND r.amount_minor = a.captured_minor - CASE WHEN a.application = 'applied' THEN p.amount_minor ELSE 0 END)
 AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.subject_id = a.id OR d.subject_id IN (
  SELECT r.id FROM refunds r WHERE r.attempt_id = a.id))"""),
    Invariant("I16", "a status is its last history row's, and the history has no gap", _union("""
 SELECT x.id FROM {1} x WHERE x.moves <> (SELECT COUNT(*) FROM transitions t WHERE t.entity_id = x.id)
 OR x.moves <> (SELECT COALESCE(MAX(t.sequence), 0) FROM transitions t WHERE t.entity_id = x.id)
 OR (x.moves > 0 AND NOT EXISTS (SELECT 1 FROM transitions t WHERE t.entity = '{0}' AND t.entity_id = x.id
  AND t.sequence = x.moves AND t.to_status = x.status))""", _STATEFUL.items())),
    Invariant("I17", "every history row is a legal move and starts where the one before ended", """
 SELECT t.id FROM transitions t LEFT JOIN transitions b ON b.entity_id = t.entity_id AND b.sequence = t.sequence - 1
 WHERE t.entity || ':' || t.from_status || ':' || t.to_status NOT IN ({})
 OR (t.sequence > 1 AND (b.id IS NULL OR b.to_status <> t.from_status))""".format(_EDGES) + "".join(
        f" OR (t.sequence = 1 AND t.entity = '{entity}' AND t.from_status <> '{first}')"
        for entity, first in _FIRST.items())),
    Invariant("I18", "nothing unfinished is forgotten: it has a due time", _UNFINISHED.format("IS NULL") + """
 UNION ALL SELECT o.id FROM orders o WHERE o.status = 'paid' AND o.due_at IS NULL AND NOT EXISTS (
  SELECT 1 FROM decisions d WHERE d.order_id = o.id)"""),
    Invariant("I19", "nothing is overdue by more than the target", _UNFINISHED.format("< :overdue") + """
 UNION ALL SELECT id FROM orders WHERE status IN ('paid', 'completed', 'refunded') AND due_at < :overdue
 UNION ALL SELECT id FROM payment_attempts WHERE status IN ('failed', 'abandoned') AND due_at < :overdue
 UNION ALL SELECT id FROM refunds WHERE status IN ('completed', 'failed') AND due_at < :overdue"""),
    Invariant("I20", "every move the world hears of was told once, and nothing else", _union("""
 SELECT t.entity_id AS id FROM transitions t WHERE t.entity = '{0}' AND t.to_status = '{1}' AND t.from_status <> '{2}'
 GROUP BY t.entity_id HAVING COUNT(*) <> (SELECT COUNT(*) FROM outbox_events e WHERE e.subject_id = t.entity_id
  AND e.type = '{3}')
 UNION SELECT e.subject_id FROM outbox_events e WHERE e.type = '{3}' AND NOT EXISTS (SELECT 1 FROM transitions t
  WHERE t.entity_id = e.subject_id AND t.to_status = '{1}' AND t.from_status <> '{2}')""", _TOLD) + """
 UNION SELECT o.id FROM orders o WHERE (SELECT COUNT(*) FROM outbox_events e WHERE e.subject_id = o.id
  AND e.type = 'ORDER_CREATED') <> 1
 UNION SELECT r.id FROM refunds r WHERE r.source <> 'gateway' AND (SELECT COUNT(*) FROM outbox_events e
  WHERE e.subject_id = r.id AND e.type = 'REFUND_REQUESTED') <> 1"""),
    Invariant("I21", "an event that was fanned out has its customer's message, and no message twice", """
 SELECT e.id FROM outbox_events e WHERE e.fanned_out_at IS NOT NULL AND e.type IN ({}) AND NOT EXISTS (
  SELECT 1 FROM notifications n WHERE n.event_id = e.id AND n.channel = 'in_app' AND n.recipient = e.user_id)
 UNION SELECT event_id FROM notifications GROUP BY event_id, recipient, channel HAVING COUNT(*) > 1
 """.format(_words(one.value for one in bus.CUSTOMER_EVENTS))),
    Invariant("I22", "a webhook had an effect only on a try of the gateway that signed it", """
 SELECT w.id FROM webhook_events w WHERE w.outcome = 'matched' AND NOT EXISTS (SELECT 1 FROM payment_attempts a
  WHERE a.gateway = w.gateway AND (a.reference = w.reference OR a.session_id = w.reference
  OR a.gateway_transaction_id = w.transaction_id))
 UNION SELECT w.id FROM webhook_events w WHERE w.handled_at IS NOT NULL
 AND (w.outcome IS NULL OR w.outcome NOT IN ('matched', 'ignored'))"""),
    Invariant("I23", "what a gateway may know of was written down before the call", """
 SELECT id FROM payment_attempts WHERE status NOT IN ('created', 'abandoned', 'failed') AND called_at IS NULL
 UNION ALL SELECT id FROM refunds WHERE source <> 'gateway' AND submitted_at IS NULL
 AND (status IN ('processing', 'completed') OR gateway_refund_id IS NOT NULL)"""),
    Invariant("I24", "no reference and no gateway's number stands for two things", """
 SELECT a.id FROM payment_attempts a JOIN payment_attempts b ON b.id <> a.id AND (b.reference = a.reference
  OR (b.gateway = a.gateway AND b.gateway_transaction_id = a.gateway_transaction_id))
 UNION SELECT r.id FROM refunds r JOIN refunds s ON s.id <> r.id AND s.gateway = r.gateway
  AND s.gateway_refund_id = r.gateway_refund_id"""),
    Invariant("I25", "no call is left without a record of its end once its lease has run out", """
 SELECT id FROM payment_attempts WHERE status = 'created' AND called_at < :overdue AND claimed_until < :overdue
 UNION ALL SELECT id FROM refunds WHERE status = 'pending' AND submitted_at < :overdue AND claimed_until < :overdue"""),
    Invariant("I26", "an open order's totals are the prices of its bookings", """
 SELECT o.id FROM orders o WHERE o.status IN ('pending', 'processing', 'failed') AND (
  o.subtotal_minor <> (SELECT COALESCE(SUM(ob.price_minor), 0) FROM order_bookings ob WHERE ob.order_id = o.id
  AND ob.active) OR o.booking_count <> (SELECT COUNT(*) FROM order_bookings ob WHERE ob.order_id = o.id AND ob.active))
 UNION SELECT b.id FROM bookings b JOIN order_bookings ob ON ob.booking_id = b.id
 WHERE ob.price_minor <> b.amount_minor"""),
    Invariant("I27", "an order, its bookings, payment, tries and refunds are of one customer, workspace and currency", """
 SELECT o.id FROM orders o JOIN order_bookings ob ON ob.order_id = o.id JOIN bookings b ON b.id = ob.booking_id
 WHERE b.workspace_id <> o.workspace_id OR b.user_id <> o.user_id OR b.currency <> o.currency
 UNION SELECT p.id FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.workspace_id <> o.workspace_id
 OR p.user_id <> o.user_id OR p.currency <> o.currency OR p.amount_minor <> o.total_minor
 UNION SELECT a.id FROM payment_attempts a JOIN payments p ON p.id = a.payment_id WHERE a.order_id <> p.order_id
 OR a.currency <> p.currency OR a.amount_minor <> p.amount_minor
 UNION SELECT r.id FROM refunds r JOIN payments p ON p.id = r.payment_id WHERE r.order_id <> p.order_id
 OR r.user_id <> p.user_id OR r.workspace_id <> p.workspace_id"""),
    Invariant("I28", "order and payment are refunded together, and when all money is back", """
 SELECT o.id FROM orders o JOIN payments p ON p.order_id = o.id
 WHERE (o.status = 'refunded') <> (p.status = 'refunded')
 OR (p.status = 'refunded') <> (p.captured_minor > 0 AND p.refunded_minor = p.captured_minor)"""),
    Invariant("I29", "no idempotency key is locked for longer than a lease lasts", """
 SELECT scope || ' ' || key AS id FROM idempotency_keys WHERE status_code IS NULL AND locked_until > :far""",
              has_row_ids=False),
    Invariant("I30", "a closed order holds no booking", """
 SELECT o.id FROM orders o JOIN order_bookings ob ON ob.order_id = o.id AND ob.active
 WHERE o.status IN ('expired', 'cancelled') OR (o.status = 'refunded' AND o.due_at IS NULL)"""),
    Invariant("I31", "a booking whose own money is back keeps no slot (unless its release is owed)", """
 SELECT b.id FROM bookings b JOIN refunds r ON r.booking_id = b.id AND r.status = 'completed'
 JOIN orders o ON o.id = r.order_id WHERE b.status = 'confirmed' AND o.due_at IS NULL"""),
)  # fmt: skip


def breaches(rows: Repositories, now: datetime, slo_seconds: int) -> list[Breach]:
    """Every invariant that does not hold at this moment, in order; `now` is aware UTC."""
    moments = {
        "overdue": now - timedelta(seconds=slo_seconds),
        "far": now + timedelta(seconds=KEY_LEASE_BOUND_SECONDS),
    }
    found: list[Breach] = []
    for invariant in INVARIANTS:
        statement = text(invariant.sql).columns(column("id", RowId if invariant.has_row_ids else String()))
        used = [name for name in moments if f":{name}" in invariant.sql]
        if used:
            statement = statement.bindparams(*(bindparam(name, type_=UtcDateTime()) for name in used))
        offenders = rows.session.scalars(statement, {name: moments[name] for name in used}).all()
        if offenders:
            told = tuple(sorted({str(one) for one in offenders}))
            found.append(Breach(invariant.id, invariant.sentence, told))
    return found
