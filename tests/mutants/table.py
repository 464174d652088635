"""The table of mutants: one mechanism each, the small change that switches it off, and the tests meant to notice."""

from __future__ import annotations

from dataclasses import dataclass

JOURNEYS = "tests/integration/test_journeys.py::test_"
GATEWAY = "tests/integration/test_faults_at_the_gateway.py::test_"
BY_HAND = "tests/integration/test_refunds_by_hand.py::test_a_refund_"
AFTERWARDS = "tests/integration/test_faults_after_payment.py::test_"
OVERLAP = "tests/integration/test_overlapping_workers.py::test_"
RECORDS = "tests/integration/test_database_records.py::test_"
REFUSES = "tests/integration/test_database_refuses.py::test_"
RACES = "tests/integration/test_races.py::test_"
KEYS = "tests/integration/test_web_idempotency.py::test_"
FIRST_SCHEMA = "payflow/migrations/versions/0001_first_schema.py"


@dataclass(frozen=True)
class Mutant:
    """One mechanism switched off. `old` stands exactly once in `file`; the first test that fails notices it."""

    mechanism: str
    removed: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS: tuple[Mutant, ...] = (
    # -- what is owed is found again -------------------------------------------------------------------------------
    Mutant(
        "sweep of the outbox",
        "events that are due are not looked for",
        "payflow/services/sweep.py",
        '("notifications.fan_out", rows.any_due(OutboxEvent, now))',
        '("notifications.fan_out", False)',
        (f"{JOURNEYS}an_order_paid_becomes_completed_with_everything_on_record",),
    ),
    Mutant(
        "sweep of questions",
        "payments whose question is due are not looked for",
        "payflow/services/sweep.py",
        "rows.any_due(PaymentAttempt, now, attempts, PaymentAttempt.status.in_(AWAITS_VERIFY))",
        "False",
        (f"{JOURNEYS}the_poll_finds_a_payment_nobody_told_about",),
    ),
    Mutant(
        "a look that was asked for stays due",
        "an answer on its way wipes out a question asked since",
        "payflow/models/base.py",
        "if self.due_at == seen:",
        "if True:",
        (f"{OVERLAP}a_look_asked_for_while_an_answer_is_on_its_way_stays_due",),
    ),
    Mutant(
        "acknowledged after the work",
        "messages are acknowledged before their work is done",
        "celeryconfig.py",
        "task_acks_late = True",
        "task_acks_late = False",
        ("tests/architecture/test_house_rules.py::test_a_task_ends_before_its_message_is_given_to_another",),
    ),
    # -- nothing twice ---------------------------------------------------------------------------------------------
    Mutant(
        "one inbox row per event",
        "each delivery of a webhook counts as an event of its own",
        "payflow/services/webhook.py",
        "event_key=hint.event_key,",
        "event_key=new_id(),",
        ("tests/integration/test_web_webhooks.py::test_a_signed_webhook_is_stored_once_and_rings_once",),
    ),
    Mutant(
        "one inbox row per event, in the database",
        "the unique index",
        FIRST_SCHEMA,
        'op.create_index("uq_webhook_events_key", "webhook_events", ["gateway", "event_key"], unique=True)',
        'op.create_index("uq_webhook_events_key", "webhook_events", ["gateway", "event_key"], unique=False)',
        (f"{RECORDS}duplicate_webhook_key_is_refused",),
    ),
    Mutant(
        "only legal moves (move_to)",
        "a status may go from anywhere to anywhere",
        "payflow/core/states.py",
        "if to_status not in MOVES[entity][from_status]:",
        "if to_status not in MOVES[entity]:",
        ("tests/unit/test_states.py::test_move_between_two_states_does_what_the_table_says",),
    ),
    Mutant(
        "compare and set of a row's version",
        "a try is written over, whoever changed it since it was read",
        "payflow/models/payment.py",
        '''asked for it by name."""
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own protocol
''',
        '''asked for it by name."""
    version: Mapped[int] = mapped_column(default=1)
''',
        (f"{OVERLAP}a_row_changed_since_it_was_read_is_not_written_over",),
    ),
    Mutant(
        "a refund that is at its end is left alone",
        "a late answer is stored whatever has become of the refund",
        "payflow/services/refund_calls.py",
        """    if refund.status not in OPEN_REFUND:
        refund.claimed_until = None
        return
    if refund.claimed_until != job.not_after and not isinstance(answer, RefundResult):
        # Another has had it in hand since: what came to nothing here says nothing of what it has done.
        _log.warning("an answer came after its claim", action="refund.claim_over", refund_id=job.refund_id)
        return
    refund.updated_at = tx.act.at""",
        """    refund.updated_at = tx.act.at""",
        (f"{OVERLAP}a_late_refusal_does_not_undo_a_refund_that_is_done",),
    ),
    Mutant(
        "a worker whose claim is over writes no failure",
        "what came to nothing in its hands is stored over what the next one has sent",
        "payflow/services/refund_calls.py",
        "if refund.claimed_until != job.not_after and not isinstance(answer, RefundResult):",
        "if job.not_after is None:",
        (f"{OVERLAP}a_worker_frozen_before_its_request_leaves_the_record_of_the_next_ones",),
    ),
    Mutant(
        "a claim keeps others away",
        "work that somebody has claimed is taken by the next one, too",
        "payflow/store/claims.py",
        ".where(owed, free, *where)",
        ".where(owed, *where)",
        (f"{OVERLAP}what_one_worker_has_claimed_the_next_passes_over",),
    ),
    Mutant(
        "a page that comes too late is not used",
        "the answer of an initiate is stored whatever has become of the try",
        "payflow/services/gateway_calls.py",
        """        if attempt.status not in AWAITS_INITIATE:
            attempt.claimed_until = None
            return order.id
""",
        "",
        (f"{OVERLAP}a_page_that_opens_after_the_cancellation_leaves_the_try_closed",),
    ),
    Mutant(
        "one message per event, recipient and channel",
        "the unique index",
        FIRST_SCHEMA,
        '"notifications", ["event_id", "recipient", "channel"], unique=True)',
        '"notifications", ["event_id", "recipient", "channel"], unique=False)',
        (f"{RECORDS}duplicate_event_recipient_channel_is_refused",),
    ),
    # -- calls to gateways -----------------------------------------------------------------------------------------
    Mutant(
        "written down before the call (initiate)",
        "nothing says that the gateway may know the reference",
        "payflow/services/gateway_calls.py",
        "attempt.called_at = attempt.called_at or tx.act.at",
        "attempt.called_at = attempt.called_at or None",
        (f"{GATEWAY}worker_killed_around_the_call_is_taken_over_after_its_lease",),
    ),
    Mutant(
        "written down before the call (refund)",
        "nothing says that the request may have been sent",
        "payflow/services/refund_calls.py",
        "        refund.submitted_at = tx.act.at\n        refund.poll_step += 1",
        "        refund.poll_step += 1",
        (f"{AFTERWARDS}worker_killed_around_the_refund_call_never_gives_back_twice",),
    ),
    Mutant(
        "probe before a lost initiate is repeated",
        "the request is sent again without asking",
        "payflow/services/gateway_calls.py",
        "if called_before and gateway.lost_initiate is LostInitiate.PROBE:",
        "if not called_before and gateway.lost_initiate is None:",
        (f"{GATEWAY}initialize_whose_answer_was_lost_is_asked_about_and_never_charges_twice",),
    ),
    Mutant(
        "probe before a lost refund is repeated",
        "the request is sent again without looking at the gateway's list",
        "payflow/services/refund_calls.py",
        "if not may_be_there and not job.has_waited:",
        "if job.order_id:",
        (f"{AFTERWARDS}refund_whose_answer_was_lost_is_found_not_repeated",),
    ),
    Mutant(
        "a refund that waited is looked for before it is sent",
        "it is sent although somebody made it by hand meanwhile",
        "payflow/services/refund_calls.py",
        "has_waited=tx.act.at - refund.created_at >= timedelta(seconds=LOOK_FIRST_SECONDS),",
        "has_waited=False,",
        (f"{BY_HAND}the_balance_held_up_and_somebody_made_by_hand_goes_back_once",),
    ),
    Mutant(
        "a refund made by hand counts as ours that was not sent",
        "it is recorded beside ours, and ours goes out as well",
        "payflow/services/refund_adoption.py",
        "if _is_unsent(refund) and refund.submitted_at is None and",
        "if refund.submitted_at is None and not refund.id and",
        (f"{BY_HAND}that_waited_for_approval_and_was_made_by_hand_goes_back_once",),
    ),
    Mutant(
        "a refund is repeated only when the first cannot be alive",
        "the ten minutes' wait",
        "payflow/services/refund_calls.py",
        "grace_over = submitted_before is not None and tx.act.at >= may_arrive_until(submitted_before)",
        "grace_over = submitted_before is not None",
        (f"{AFTERWARDS}refund_that_may_have_arrived_is_sent_again_only_when_it_cannot_be_alive",),
    ),
    Mutant(
        "idempotency key of an initiate (Stripe)",
        "each repetition carries a key of its own",
        "payflow/gateways/stripe.py",
        '"/v1/checkout/sessions",\n                key=request.reference,',
        '"/v1/checkout/sessions",\n                key=f"{request.reference}-{id(object())}",',
        ("tests/contract/test_stripe_payment_cases.py::test_case_08_initiate_sends_what_the_official_sdk_sends",),
    ),
    # -- our own API -----------------------------------------------------------------------------------------------
    Mutant(
        "idempotency key: the first answer again",
        "a repetition is worked on as if it were new",
        "payflow/services/idempotency.py",
        "if known.status_code is not None:",
        "if known.status_code == 0:",
        (f"{KEYS}the_same_request_again_gets_the_first_answer",),
    ),
    Mutant(
        "idempotency key: one id for what is created",
        "who takes over from a request that died makes a second one",
        "payflow/services/idempotency.py",
        'return Claim(scope, key, known.resource_id or "")',
        "return Claim(scope, key, new_id())",
        (f"{KEYS}work_done_by_a_crashed_first_request_is_not_done_twice",),
    ),
    Mutant(
        "at most one live try",
        "paying again opens another page",
        "payflow/services/payment.py",
        "if current.is_live and order.status == OrderStatus.PROCESSING:",
        "if current.is_live and order.status == OrderStatus.CANCELLED:",
        (f"{JOURNEYS}initiating_again_returns_the_live_try",),
    ),
    Mutant(
        "at most one live try, in the database",
        "the unique index",
        FIRST_SCHEMA,
        '"uq_attempts_live",\n        "payment_attempts",\n        ["payment_id"],\n        unique=True,',
        '"uq_attempts_live",\n        "payment_attempts",\n        ["payment_id"],\n        unique=False,',
        (f"{REFUSES}second_live_attempt_is_refused",),
    ),
    # -- money -----------------------------------------------------------------------------------------------------
    Mutant(
        "the amount is compared",
        "less than was asked for is enough",
        "payflow/services/verification.py",
        "if money < attempt.amount and not is_surplus:",
        "if money.amount_minor < 0:",
        (f"{JOURNEYS}money_that_does_not_fit_is_never_success",),
    ),
    Mutant(
        "the currency is compared",
        "any currency is taken for the one asked for",
        "payflow/services/verification.py",
        "    if money.currency != attempt.currency:\n",
        "    money = Money(money.amount_minor, attempt.currency)\n    if money.amount_minor < 0:\n",
        (f"{JOURNEYS}money_that_does_not_fit_is_never_success",),
    ),
    Mutant(
        "the reference is compared",
        "an answer about another payment counts",
        "payflow/services/verification.py",
        "if result.found and result.reference not in (attempt.reference, attempt.session_id):",
        "if result.found and result.reference is None:",
        (f"{OVERLAP}an_answer_about_another_reference_pays_nothing",),
    ),
    Mutant(
        "the first success is applied, the next is surplus",
        "each success settles the payment",
        "payflow/services/verification.py",
        "is_first = payment.captured_minor == 0",
        "is_first = payment.captured_minor >= 0",
        (
            "tests/integration/test_failure_cases.py::test_both_tabs_pay_when_the_customer_used_two_gateways_then_one_is_given_back",
        ),
    ),
    Mutant(
        "a refund is reserved first",
        "the payment does not know of refunds on their way",
        "payflow/services/refund.py",
        "        payment.refund_reserved_minor += amount_minor\n        payment.updated_at",
        "        payment.updated_at",
        (f"{RACES}ten_refunds_of_sixty_percent_at_once_accept_one", f"{JOURNEYS}refunds_in_part_then_in_whole"),
    ),
    Mutant(
        "no refund beside a dispute",
        "a refund leaves although the bank holds the money",
        "payflow/services/refund.py",
        "if tx.is_disputed(payment.id):",
        "if payment.id is None:",
        ("tests/integration/test_disputes.py::test_nothing_is_given_back_while_a_dispute_is_open",),
    ),
    Mutant(
        "a slot is confirmed once",
        "the database's trigger",
        FIRST_SCHEMA,
        "WHEN NEW.status = 'confirmed' AND EXISTS (",
        "WHEN NEW.status = 'confirmed' AND NOT EXISTS (SELECT 1) AND EXISTS (",
        (
            f"{REFUSES}insert_of_a_confirmed_booking_over_a_confirmed_one_is_refused",
            f"{RACES}two_payers_of_one_slot_at_once_end_with_one_booking",
        ),
    ),
    Mutant(
        "expiry asks first",
        "an order expires without a look at the gateway",
        "payflow/models/payment.py",
        "return self.called_at is not None",
        "return self.called_at is None",
        (f"{OVERLAP}an_order_does_not_expire_before_its_gateway_was_asked",),
    ),
    Mutant(
        "no answer, no expiry",
        "an order expires although its gateway cannot be asked",
        "payflow/services/expiry.py",
        "if untold:",
        "if untold is None:",
        (f"{JOURNEYS}an_order_does_not_expire_while_its_gateway_is_down",),
    ),
    # -- who may speak ---------------------------------------------------------------------------------------------
    Mutant(
        "webhook signature (Paystack)",
        "any signature of the right form is believed",
        "payflow/gateways/paystack_webhook.py",
        "if not any([hmac.compare_digest(one, given) for one in expected]):",
        "if not expected:",
        ("tests/integration/test_web_webhooks.py::test_a_bad_signature_is_401_and_nothing_is_stored",),
    ),
    Mutant(
        "webhook signature (Flutterwave)",
        "any proof is believed",
        "payflow/gateways/flutterwave_webhook.py",
        "if not any([hmac.compare_digest(one, told) for one in expected]):",
        "if not (expected and told):",
        ("tests/contract/test_flutterwave_webhook_cases.py::test_case_51_a_changed_byte_or_another_hash_is_refused",),
    ),
    Mutant(
        "webhook signature (Stripe)",
        "any signature of the right form is believed",
        "payflow/gateways/stripe_webhook.py",
        "if not any([hmac.compare_digest(one, other) for one in expected for other in signatures]):",
        "if not (expected and signatures):",
        ("tests/contract/test_stripe_webhook_cases.py::test_case_52_a_wrong_signature_is_refused",),
    ),
    # -- several at once -------------------------------------------------------------------------------------------
    Mutant(
        "a writer waits for the one before (SQLite)",
        "a transaction reads before it holds the write lock",
        "payflow/store/engine.py",
        'connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")',
        'connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN DEFERRED")',
        (f"{OVERLAP}a_step_keeps_others_from_writing_from_its_first_read_on",),
    ),
)
