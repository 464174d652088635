-- What must hold, each as a query that returns the offenders as `id`, none when the books are sound. Read by audit.py.
-- I01 to I30 are the invariants of the reliability notes in this schema's words; I31 to I33 are this house's own.
-- SQLite and PostgreSQL speak all of it. Bound: :overdue (now less the target), :far, :never, :lately, :stale (times),
-- :edges (legal moves), :told, :kept and :mailed (events). All but I19 and I25, which tell of overdue work, hold at
-- every moment.

-- @I01 one payment is settled by at most one try
SELECT payment_id AS id FROM payment_attempts WHERE application = 'applied' GROUP BY payment_id HAVING COUNT(*) > 1

-- @I02 a paid order has an applied try that brought at least its total, in its currency
SELECT o.id FROM orders o WHERE o.status IN ('paid', 'completed', 'refunded') AND NOT EXISTS (
  SELECT 1 FROM payments p JOIN payment_attempts a ON a.payment_id = p.id AND a.application = 'applied'
  WHERE p.order_id = o.id AND p.status IN ('success', 'refunded') AND p.captured_minor = o.total_minor
  AND p.currency = o.currency AND a.captured_minor >= p.captured_minor AND a.captured_currency = p.currency)

-- @I03 an applied try means a paid order, or late money that a person has or that goes back whole
SELECT a.id FROM payment_attempts a JOIN orders o ON o.id = a.order_id JOIN payments p ON p.id = a.payment_id
WHERE a.application = 'applied' AND o.status NOT IN ('paid', 'completed', 'refunded')
AND p.refund_reserved_minor < a.amount_minor AND NOT EXISTS (
  SELECT 1 FROM decisions d LEFT JOIN refunds r ON r.id = d.subject_id WHERE d.order_id = o.id AND (
  (d.kind = 'late_payment' AND d.subject_id = a.id AND (d.resolved_at IS NULL OR d.action = 'ignore'))
  OR (d.kind = 'refund_failed' AND r.source <> 'surplus' AND (d.resolved_at IS NULL OR d.action <> 'refund'))))

-- @I04 every booking active on a completed order is confirmed, and one is, unless they were given back
SELECT b.id FROM orders o JOIN order_bookings ob ON ob.order_id = o.id AND ob.active
JOIN bookings b ON b.id = ob.booking_id WHERE o.status = 'completed' AND b.status <> 'confirmed'
UNION ALL SELECT o.id FROM orders o JOIN payments p ON p.order_id = o.id WHERE o.status = 'completed'
AND NOT EXISTS (SELECT 1 FROM order_bookings i WHERE i.order_id = o.id AND i.active)
AND NOT EXISTS (SELECT 1 FROM refunds r LEFT JOIN decisions d ON d.subject_id = r.id AND d.kind = 'refund_failed'
  WHERE r.payment_id = p.id AND r.source <> 'surplus'
  AND ((r.status = 'completed' AND r.booking_id IS NOT NULL) OR d.id IS NOT NULL))
AND NOT EXISTS (SELECT 1 FROM acts h JOIN order_bookings i ON i.booking_id = h.entity_id
  WHERE h.order_id = o.id AND i.order_id = o.id)

-- @I05 a confirmed booking is active on exactly one paid order (or one whose release is owed)
SELECT b.id FROM bookings b WHERE b.status = 'confirmed' AND 1 <> (
  SELECT COUNT(*) FROM order_bookings ob JOIN orders o ON o.id = ob.order_id WHERE ob.booking_id = b.id AND ob.active
  AND (o.status IN ('paid', 'completed') OR (o.status = 'refunded' AND o.due_at IS NOT NULL)))

-- @I06 no moment of a resource is confirmed twice
SELECT b.id FROM bookings b JOIN bookings x ON x.id <> b.id AND x.status = 'confirmed'
AND x.workspace_id = b.workspace_id AND x.resource_id = b.resource_id
AND x.starts_at < b.ends_at AND x.ends_at > b.starts_at WHERE b.status = 'confirmed'

-- @I07 no booking is active on two orders
SELECT booking_id AS id FROM order_bookings WHERE active GROUP BY booking_id HAVING COUNT(*) > 1

-- @I08 refunds stay within what was captured, and the counters are their sums
SELECT p.id FROM payments p WHERE p.refund_reserved_minor > p.captured_minor
OR p.refund_reserved_minor <> (SELECT COALESCE(SUM(r.amount_minor), 0) FROM refunds r
  WHERE r.payment_id = p.id AND r.source <> 'surplus' AND r.status <> 'failed')
OR p.refunded_minor <> (SELECT COALESCE(SUM(r.amount_minor), 0) FROM refunds r
  WHERE r.payment_id = p.id AND r.source <> 'surplus' AND r.status = 'completed')
UNION ALL SELECT a.id FROM payment_attempts a WHERE a.refund_reserved_minor > a.captured_minor
OR a.refund_reserved_minor <> (SELECT COALESCE(SUM(r.amount_minor), 0) FROM refunds r
  WHERE r.attempt_id = a.id AND r.status <> 'failed')

-- @I09 a refund is of money that came in, in its currency
SELECT r.id FROM refunds r JOIN payment_attempts a ON a.id = r.attempt_id WHERE r.status <> 'failed' AND (
  a.captured_minor = 0 OR a.captured_currency IS NULL OR r.currency <> a.captured_currency
  OR a.payment_id <> r.payment_id)

-- @I10 every posting moves a positive amount between two accounts
SELECT id FROM ledger_postings WHERE amount_minor <= 0 OR debit_account = credit_account

-- @I11 all the money a try brought is posted, and once; the order's share as its capture, the gateway's as its fee
SELECT a.id FROM payment_attempts a WHERE a.captured_minor <> (
  SELECT COALESCE(SUM(l.amount_minor), 0) FROM ledger_postings l WHERE l.subject_id = a.id
  AND l.kind IN ('capture', 'excess', 'unapplied') AND l.debit_account = 'gateway:' || a.gateway
  AND l.currency = a.captured_currency)
OR (a.application = 'applied' AND a.amount_minor <> (
  SELECT COALESCE(SUM(l.amount_minor), 0) FROM ledger_postings l WHERE l.subject_id = a.id AND l.kind = 'capture'))
OR CASE WHEN a.application IS NULL THEN 0 ELSE COALESCE(a.fee_minor, 0) END <> (
  SELECT COALESCE(SUM(l.amount_minor), 0) FROM ledger_postings l WHERE l.subject_id = a.id AND l.kind = 'fee')

-- @I12 what went back is posted once: a completed refund (less what came back of it), and a lost dispute
SELECT r.id FROM refunds r WHERE CASE WHEN r.status = 'completed' THEN r.amount_minor ELSE 0 END <> (
  SELECT COALESCE(SUM(CASE WHEN l.kind = 'refund' AND l.credit_account = 'gateway:' || r.gateway THEN l.amount_minor
                           WHEN l.kind = 'refund_reversal' AND l.debit_account = 'gateway:' || r.gateway
                           THEN -l.amount_minor ELSE 0 END), 0)
  FROM ledger_postings l
  WHERE l.subject_id = r.id AND l.kind IN ('refund', 'refund_reversal') AND l.currency = r.currency)
UNION ALL SELECT d.id FROM disputes d WHERE CASE WHEN d.status = 'lost' THEN d.amount_minor ELSE 0 END <> (
  SELECT COALESCE(SUM(l.amount_minor), 0) FROM ledger_postings l WHERE l.subject_id = d.id AND l.kind = 'dispute')

-- @I13 no posting without its cause, and each between the accounts of its kind (a reversal is its refund turned round)
SELECT l.id FROM ledger_postings l WHERE CASE
  WHEN l.kind = 'refund_reversal' THEN l.credit_account || ' ' || l.debit_account
  ELSE l.debit_account || ' ' || l.credit_account END <> COALESCE(CASE
  WHEN l.kind = 'capture' THEN (
    SELECT 'gateway:' || a.gateway || ' workspace:' || o.workspace_id FROM payment_attempts a
    JOIN orders o ON o.id = a.order_id
    WHERE a.id = l.subject_id AND a.captured_currency = l.currency AND a.application = 'applied')
  WHEN l.kind = 'excess' THEN (
    SELECT 'gateway:' || a.gateway || ' excess' FROM payment_attempts a
    WHERE a.id = l.subject_id AND a.captured_currency = l.currency AND a.application IS NOT NULL)
  WHEN l.kind = 'unapplied' THEN (
    SELECT 'gateway:' || a.gateway || ' unapplied' FROM payment_attempts a
    WHERE a.id = l.subject_id AND a.captured_currency = l.currency)
  WHEN l.kind = 'fee' THEN (
    SELECT 'fees:' || a.gateway || ' gateway:' || a.gateway FROM payment_attempts a
    WHERE a.id = l.subject_id AND a.captured_currency = l.currency)
  WHEN l.kind IN ('refund', 'refund_reversal') THEN (
    SELECT CASE WHEN a.application IS NULL THEN 'unapplied' WHEN r.source = 'surplus' THEN 'excess'
                ELSE 'workspace:' || r.workspace_id END || ' gateway:' || r.gateway
    FROM refunds r JOIN payment_attempts a ON a.id = r.attempt_id WHERE r.id = l.subject_id AND r.currency = l.currency)
  WHEN l.kind = 'dispute' THEN (
    SELECT 'workspace:' || o.workspace_id || ' gateway:' || d.gateway FROM disputes d JOIN orders o ON o.id = d.order_id
    WHERE d.id = l.subject_id AND d.currency = l.currency) END, '')

-- @I14 per gateway and currency the clearing account holds what was captured less fees and what went back
SELECT place AS id FROM (
  SELECT gateway || ' ' || captured_currency AS place, captured_minor AS value FROM payment_attempts
  WHERE captured_minor > 0
  UNION ALL SELECT gateway || ' ' || captured_currency, -fee_minor FROM payment_attempts
  WHERE application IS NOT NULL AND fee_minor > 0
  UNION ALL SELECT gateway || ' ' || currency, -amount_minor FROM refunds WHERE status = 'completed'
  UNION ALL SELECT gateway || ' ' || currency, -amount_minor FROM disputes WHERE status = 'lost'
  UNION ALL SELECT SUBSTR(debit_account, 9) || ' ' || currency, -amount_minor FROM ledger_postings
  WHERE debit_account LIKE 'gateway:%'
  UNION ALL SELECT SUBSTR(credit_account, 9) || ' ' || currency, amount_minor FROM ledger_postings
  WHERE credit_account LIKE 'gateway:%') flow
GROUP BY place HAVING SUM(value) <> 0

-- @I15 money beyond an order's own, or that fits none, is on its way back, or a person has it or has let it be
SELECT a.id FROM payment_attempts a JOIN payments p ON p.id = a.payment_id
WHERE (a.status = 'mismatched'
  OR a.captured_minor > CASE WHEN a.application = 'applied' THEN p.amount_minor ELSE 0 END)
AND (a.captured_minor = 0 OR a.captured_minor - CASE WHEN a.application = 'applied' THEN p.amount_minor ELSE 0 END <> (
  SELECT COALESCE(SUM(r.amount_minor), 0) FROM refunds r
  WHERE r.attempt_id = a.id AND r.payment_id = p.id AND r.source = 'surplus' AND r.status <> 'failed'))
AND NOT EXISTS (SELECT 1 FROM decisions d LEFT JOIN refunds r ON r.id = d.subject_id
  WHERE d.order_id = a.order_id AND (d.resolved_at IS NULL OR d.action <> 'refund') AND (
  (d.subject_id = a.id AND d.kind IN ('overpaid', 'duplicate_payment'))
  OR (d.subject_id = a.id AND a.application IS NULL AND d.kind <> 'poll_plan_exhausted')
  OR (r.attempt_id = a.id AND r.source = 'surplus')))

-- @I16 a status is its last history row's, and the history has no gap
SELECT x.id FROM (
  SELECT 'booking' AS entity, id, status, moves FROM bookings
  UNION ALL SELECT 'order', id, status, moves FROM orders
  UNION ALL SELECT 'payment', id, status, moves FROM payments
  UNION ALL SELECT 'attempt', id, status, moves FROM payment_attempts
  UNION ALL SELECT 'refund', id, status, moves FROM refunds
  UNION ALL SELECT 'dispute', id, status, moves FROM disputes) x
WHERE x.moves <> (SELECT COUNT(*) FROM transitions t WHERE t.entity_id = x.id)
OR x.moves <> (SELECT COALESCE(MAX(t.sequence), 0) FROM transitions t WHERE t.entity_id = x.id)
OR (x.moves > 0 AND NOT EXISTS (SELECT 1 FROM transitions t WHERE t.entity = x.entity AND t.entity_id = x.id
  AND t.sequence = x.moves AND t.to_status = x.status))

-- @I17 every history row is a legal move and starts where the one before it ended
SELECT t.id FROM transitions t LEFT JOIN transitions b ON b.entity_id = t.entity_id AND b.sequence = t.sequence - 1
WHERE t.entity || '/' || t.from_status || '/' || t.to_status NOT IN :edges
OR (t.sequence > 1 AND (b.id IS NULL OR b.to_status <> t.from_status))
OR (t.sequence = 1 AND t.entity <> 'dispute'
  AND t.from_status <> CASE t.entity WHEN 'attempt' THEN 'created' ELSE 'pending' END)

-- @I18 nothing unfinished is forgotten: it has a due time that somebody lives to see, or a person has it
SELECT id FROM payment_attempts WHERE status IN ('created', 'initiated', 'unknown') AND due_at IS NULL
UNION ALL SELECT id FROM refunds WHERE status IN ('pending', 'processing') AND approval <> 'waiting' AND due_at IS NULL
UNION ALL SELECT id FROM orders WHERE status IN ('pending', 'processing') AND due_at IS NULL
UNION ALL SELECT o.id FROM orders o JOIN payments p ON p.order_id = o.id WHERE o.status = 'paid' AND o.due_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM decisions d LEFT JOIN refunds r ON r.id = d.subject_id WHERE d.order_id = o.id
    AND (d.kind = 'slot_taken' OR (d.kind = 'refund_failed' AND r.source <> 'surplus'))
    AND (d.resolved_at IS NULL OR d.action <> 'refund' OR p.refund_reserved_minor = p.captured_minor))
UNION ALL SELECT id FROM outbox_events WHERE fanned_out_at IS NULL AND parked_at IS NULL AND due_at IS NULL
UNION ALL SELECT id FROM notifications WHERE sent_at IS NULL AND parked_at IS NULL AND withdrawn_at IS NULL
  AND due_at IS NULL
UNION ALL SELECT id FROM webhook_events WHERE handled_at IS NULL AND parked_at IS NULL AND due_at IS NULL
UNION ALL SELECT w.id FROM webhook_events w WHERE w.parked_at IS NOT NULL AND w.outcome = 'unmatched'
  AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.kind = 'unmatched_webhook' AND d.subject_id = w.id)
UNION ALL SELECT r.id FROM reconciliation_differences r WHERE r.decided_at IS NOT NULL AND r.settled_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.kind = 'reconciliation' AND d.subject_id = r.id
    AND d.resolved_at IS NULL)
UNION ALL SELECT id FROM webhook_deliveries WHERE delivered_at IS NULL AND parked_at IS NULL AND due_at IS NULL
UNION ALL SELECT id FROM reconciliation_slices WHERE finished_at IS NULL AND due_at IS NULL
UNION ALL SELECT id FROM payment_attempts WHERE due_at > :never
UNION ALL SELECT id FROM refunds WHERE due_at > :never
UNION ALL SELECT id FROM orders WHERE due_at > :never AND due_at > expires_at
UNION ALL SELECT id FROM outbox_events WHERE due_at > :never
UNION ALL SELECT id FROM notifications WHERE due_at > :never
UNION ALL SELECT id FROM webhook_events WHERE due_at > :never
UNION ALL SELECT id FROM webhook_deliveries WHERE due_at > :never
UNION ALL SELECT id FROM reconciliation_slices WHERE due_at > :never

-- @I19 nothing is overdue by more than the target (but outbound webhooks and reconciliation may wait their turn)
SELECT id FROM payment_attempts WHERE due_at < :overdue
UNION ALL SELECT id FROM refunds WHERE due_at < :overdue
UNION ALL SELECT id FROM orders WHERE due_at < :overdue
UNION ALL SELECT id FROM outbox_events WHERE due_at < :overdue
UNION ALL SELECT id FROM notifications WHERE due_at < :overdue
UNION ALL SELECT id FROM webhook_events WHERE due_at < :overdue
UNION ALL SELECT id FROM reconciliation_slices WHERE due_at < :overdue AND due_at < :lately

-- @I20 every move the world hears of was told once, and nothing else was; no telling was given up
WITH told (entity, goal, but_not_from, event) AS (VALUES
  ('payment', 'success', 'refunded', 'PAYMENT_COMPLETED'), ('payment', 'failed', '', 'PAYMENT_FAILED'),
  ('refund', 'completed', '', 'REFUND_COMPLETED'), ('refund', 'failed', '', 'REFUND_FAILED'),
  ('order', 'expired', '', 'ORDER_EXPIRED'), ('order', 'cancelled', '', 'ORDER_CANCELLED'),
  ('booking', 'confirmed', '', 'BOOKING_CONFIRMED'), ('booking', 'cancelled', '', 'BOOKING_CANCELLED'))
SELECT subject AS id FROM (
  SELECT t.entity_id AS subject, told.event AS event, 1 AS number FROM transitions t JOIN told
  ON told.entity = t.entity AND told.goal = t.to_status AND told.but_not_from <> t.from_status
  UNION ALL SELECT o.id, 'ORDER_CREATED', 1 FROM orders o
  UNION ALL SELECT a.payment_id, 'PAYMENT_INITIATED', 1 FROM transitions t JOIN payment_attempts a ON a.id = t.entity_id
  WHERE t.entity = 'attempt' AND t.to_status = 'initiated'
  UNION ALL SELECT a.payment_id, 'PAYMENT_EXCESS', 1 FROM payment_attempts a
  WHERE a.application = 'surplus' OR (a.application = 'applied' AND a.captured_minor > a.amount_minor)
  UNION ALL SELECT r.id, 'REFUND_REQUESTED', 1 FROM refunds r WHERE r.source <> 'gateway'
  UNION ALL SELECT d.id, 'DISPUTE_OPENED', 1 FROM disputes d
  UNION ALL SELECT e.subject_id, e.type, -1 FROM outbox_events e WHERE e.type <> 'OPERATOR_DIGEST') facts
GROUP BY subject, event HAVING SUM(number) <> 0
UNION ALL SELECT id FROM outbox_events WHERE parked_at IS NOT NULL

-- @I21 an event that was fanned out has its customer's messages, and no message is there twice
-- What is switched off is judged by wishes of an earlier day: a fan-out may not have seen those of its own moment.
-- Whether there is a mail server no row tells: letters are looked for between the first and the last of late.
SELECT e.id FROM outbox_events e LEFT JOIN notification_preferences p ON p.user_id = e.user_id
WHERE e.fanned_out_at IS NOT NULL AND e.type IN :told AND NOT EXISTS (
  SELECT 1 FROM notifications n WHERE n.event_id = e.id AND n.channel = 'in_app' AND n.recipient = e.user_id)
AND (e.type IN :kept OR p.user_id IS NULL OR (DATE(p.updated_at) < DATE(e.fanned_out_at)
  AND CAST(p.switched_off AS TEXT) NOT LIKE '{"in_app": [%"' || e.type || '"%], "%'
  AND CAST(p.switched_off AS TEXT) NOT LIKE '%], "in_app": [%"' || e.type || '"%'))
UNION ALL SELECT e.id FROM outbox_events e LEFT JOIN notification_preferences p ON p.user_id = e.user_id
WHERE e.type IN :mailed
AND e.fanned_out_at >= (SELECT MIN(created_at) FROM notifications WHERE channel = 'email' AND created_at > :lately)
AND e.fanned_out_at <= (SELECT MAX(created_at) FROM notifications WHERE channel = 'email' AND created_at > :lately)
AND CAST(e.payload AS TEXT) LIKE '%"user_email": "%' AND CAST(e.payload AS TEXT) NOT LIKE '%"user_email": ""%'
AND NOT EXISTS (SELECT 1 FROM notifications n WHERE n.event_id = e.id AND n.channel = 'email')
AND (p.user_id IS NULL OR (DATE(p.updated_at) < DATE(e.fanned_out_at)
  AND CAST(p.switched_off AS TEXT) NOT LIKE '{"email": [%"' || e.type || '"%], "%'
  AND CAST(p.switched_off AS TEXT) NOT LIKE '%], "email": [%"' || e.type || '"%'))
UNION ALL SELECT event_id FROM notifications GROUP BY event_id, recipient, channel HAVING COUNT(*) > 1

-- @I22 a webhook had an effect only on a try of the gateway that signed it
SELECT w.id FROM webhook_events w WHERE w.outcome = 'matched' AND NOT EXISTS (
  SELECT 1 FROM payment_attempts a WHERE a.gateway = w.gateway AND (a.reference = w.reference
  OR a.session_id = w.reference OR a.gateway_transaction_id = w.transaction_id))
UNION ALL SELECT id FROM webhook_events WHERE handled_at IS NOT NULL AND COALESCE(outcome, '') NOT IN ('matched', 'ignored')

-- @I23 what a gateway may know of was written down before the call
SELECT id FROM payment_attempts WHERE status NOT IN ('created', 'abandoned', 'failed') AND called_at IS NULL
UNION ALL SELECT id FROM refunds WHERE source <> 'gateway' AND submitted_at IS NULL
AND (status IN ('processing', 'completed') OR gateway_refund_id IS NOT NULL)

-- @I24 no reference and no gateway's number stands for two things
SELECT a.id FROM payment_attempts a JOIN payment_attempts b ON b.id <> a.id AND b.reference = a.reference
UNION ALL SELECT a.id FROM payment_attempts a JOIN payment_attempts b ON b.id <> a.id AND b.gateway = a.gateway
AND b.gateway_transaction_id = a.gateway_transaction_id
UNION ALL SELECT r.id FROM refunds r JOIN refunds s ON s.id <> r.id AND s.gateway = r.gateway
AND s.gateway_refund_id = r.gateway_refund_id

-- @I25 no call is left without a record of its end once its lease has run out, or with no lease and no look soon
SELECT id FROM payment_attempts WHERE status = 'created' AND called_at < :overdue
AND (claimed_until < :overdue OR (claimed_until IS NULL AND error IS NULL AND due_at > :far))
UNION ALL SELECT id FROM refunds WHERE status = 'pending' AND submitted_at < :overdue
AND (claimed_until < :overdue OR (claimed_until IS NULL AND error IS NULL AND NOT needs_attention AND due_at > :far))

-- @I26 an order's totals are the prices of its bookings, which are the bookings' own, less discount, plus tax
-- A booking that is taken off before anything was tried is not the order's any more; every other keeps its row, and
-- one that was given back is named by a refund, one cancelled for nothing by an act. The rate is known since it last
-- changed, on an earlier day.
SELECT o.id FROM orders o LEFT JOIN payments p ON p.order_id = o.id
WHERE o.status IN ('pending', 'processing', 'failed', 'completed') AND o.subtotal_minor <> (
  SELECT COALESCE(SUM(i.price_minor), 0) FROM order_bookings i WHERE i.order_id = o.id AND (i.active OR EXISTS (
    SELECT 1 FROM refunds r WHERE r.payment_id = p.id AND r.booking_id = i.booking_id) OR EXISTS (
    SELECT 1 FROM acts h WHERE h.order_id = o.id AND h.entity_id = i.booking_id)))
AND NOT (o.status = 'completed' AND o.booking_count = 0 AND EXISTS (SELECT 1 FROM decisions d JOIN refunds r
  ON r.id = d.subject_id WHERE d.order_id = o.id AND d.kind = 'refund_failed' AND r.source <> 'surplus'))
UNION ALL SELECT o.id FROM orders o WHERE o.status IN ('pending', 'processing', 'failed', 'completed')
AND o.booking_count <> (SELECT COUNT(*) FROM order_bookings i WHERE i.order_id = o.id AND i.active)
UNION ALL SELECT o.id FROM orders o WHERE o.total_minor <> o.subtotal_minor - o.discount_minor + o.tax_minor
OR o.subtotal_minor <> (SELECT COALESCE(SUM(i.price_minor), 0) FROM order_bookings i WHERE i.order_id = o.id)
UNION ALL SELECT o.id FROM orders o JOIN workspaces w ON w.id = o.workspace_id
WHERE DATE(w.updated_at) < DATE(o.created_at)
AND o.tax_minor <> ((o.subtotal_minor - o.discount_minor) * w.tax_bps + 5000) / 10000
UNION ALL SELECT b.id FROM bookings b JOIN order_bookings i ON i.booking_id = b.id AND i.price_minor <> b.amount_minor

-- @I27 an order, its bookings, payment, tries and refunds agree on customer, workspace, order and currency
SELECT o.id FROM orders o JOIN order_bookings i ON i.order_id = o.id JOIN bookings b ON b.id = i.booking_id
WHERE b.workspace_id <> o.workspace_id OR b.user_id <> o.user_id OR b.currency <> o.currency
UNION ALL SELECT p.id FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.workspace_id <> o.workspace_id
OR p.user_id <> o.user_id OR p.currency <> o.currency OR p.amount_minor <> o.total_minor
UNION ALL SELECT a.id FROM payment_attempts a JOIN payments p ON p.id = a.payment_id
WHERE a.order_id <> p.order_id OR a.currency <> p.currency OR a.amount_minor <> p.amount_minor
UNION ALL SELECT r.id FROM refunds r JOIN payments p ON p.id = r.payment_id
WHERE r.order_id <> p.order_id OR r.user_id <> p.user_id OR r.workspace_id <> p.workspace_id
UNION ALL SELECT p.id FROM payments p WHERE p.current_attempt_id IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM payment_attempts a WHERE a.id = p.current_attempt_id AND a.payment_id = p.id)

-- @I28 order and payment are refunded together, and when all the money is back
SELECT o.id FROM orders o JOIN payments p ON p.order_id = o.id
WHERE (o.status = 'refunded') <> (p.status = 'refunded')
OR (p.status = 'refunded') <> (p.captured_minor > 0 AND p.refunded_minor = p.captured_minor)

-- @I29 no idempotency key is locked for longer than a lease lasts, or stays unanswered for longer than keys are kept
SELECT scope || ' ' || key AS id FROM idempotency_keys
WHERE status_code IS NULL AND (locked_until > :far OR created_at < :stale)

-- @I30 a closed order holds no booking
SELECT o.id FROM orders o JOIN order_bookings i ON i.order_id = o.id AND i.active
WHERE o.status IN ('expired', 'cancelled') OR (o.status = 'refunded' AND o.due_at IS NULL)

-- @I31 a booking whose own money is back keeps no slot (unless its release is owed)
SELECT b.id FROM bookings b JOIN refunds r ON r.booking_id = b.id AND r.status = 'completed'
JOIN orders o ON o.id = r.order_id WHERE b.status = 'confirmed' AND o.due_at IS NULL

-- @I32 an event that was fanned out has one delivery for each endpoint that was subscribed to it at that time
-- What a disabled endpoint was subscribed to no row tells; but what was written for it is numbered without a gap.
SELECT e.id FROM outbox_events e JOIN webhook_endpoints w ON w.workspace_id = e.workspace_id AND w.enabled
AND w.subscribed_at < e.fanned_out_at AND (w.events = '' OR ' ' || w.events || ' ' LIKE '% ' || e.type || ' %')
WHERE 1 <> (SELECT COUNT(*) FROM webhook_deliveries d WHERE d.event_id = e.id AND d.endpoint_id = w.id)
UNION ALL SELECT d.id FROM webhook_deliveries d JOIN webhook_endpoints w ON w.id = d.endpoint_id
JOIN outbox_events e ON e.id = d.event_id WHERE e.workspace_id <> w.workspace_id OR e.type <> d.type
UNION ALL SELECT w.id FROM webhook_endpoints w
WHERE w.last_sequence <> (SELECT COUNT(*) FROM webhook_deliveries d WHERE d.endpoint_id = w.id)

-- @I33 a delivered webhook was answered with 2xx, and every try is on record
SELECT d.id FROM webhook_deliveries d WHERE d.delivered_at IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM webhook_tries t WHERE t.delivery_id = d.id AND t.http_status BETWEEN 200 AND 299)
UNION ALL SELECT d.id FROM webhook_deliveries d
WHERE d.tries_made <> (SELECT COUNT(*) FROM webhook_tries t WHERE t.delivery_id = d.id)
