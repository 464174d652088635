"""A machine that does to a house whatever customers, staff, gateways, brokers and crashes can do, in any order.

Rules take plain numbers and words, so that what Hypothesis prints for a failure can be kept as a test. After every step
the audit's rules for any instant hold and no money is where it should not be; in the end the trouble is over, time
passes, and everything has come to its end.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from payflow import failpoints
from payflow.core.errors import Conflict, Forbidden, ForbiddenMove, InvalidInput, RuleBroken, StaleRow
from payflow.core.gateways import NAMES
from payflow.core.identifiers import new_id
from payflow.failpoints import Injected
from payflow.gateways.base import SignatureInvalid
from payflow.models.decision import Decision, DecisionAction
from payflow.models.notification import Notification
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund, RefundReason
from payflow.models.webhook_event import WebhookEvent
from payflow.services.decision_desk import DecisionDesk
from payflow.store.unit_of_work import Transaction
from tests.house import ADA, OPERATOR, WORKSPACE, House
from tests.properties.books import Books, Story
from tests.soundness import audit

T = TypeVar("T")
PRICE = 150_000
ANY = st.integers(0, 7)
"""Which of them, counted from the newest."""
KINDS = (
    "webhooks.process", "bookings.confirm", "bookings.release", "orders.expire", "notifications.fan_out",
    "notifications.deliver",
    *(f"{name}:{gateway}" for gateway in NAMES
      for name in ("payments.initiate", "payments.verify", "refunds.submit", "refunds.verify")),
)  # fmt: skip
ANSWERS = (
    ("timeout_after_effect", {"seconds": 0}), ("error_500", {}), ("error_500", {"after_effect": True}),
    ("html_error", {"after_effect": True}), ("rate_limit", {}), ("truncated_json", {}), ("refuse_connection", {}),
)  # fmt: skip
"""Planted at any call: nothing happened, or it did and nobody heard."""
WORDS = (("unknown_status", {}), ("not_found_on_verify", {}))
REFUNDS = ("refund_stuck_pending", "refund_fails", "refund_fails_after_success", "refund_needs_attention")
ON_THE_PAGE: tuple[tuple[str, dict[str, Any]] | None, ...] = (
    None, None, None, ("wrong_amount", {"delta": -1}), ("wrong_amount", {"delta": 500}),
    ("wrong_currency", {"currency": "USD"}), ("fee_on_customer", {}),
)  # fmt: skip
DEATHS = tuple(
    point
    for point in failpoints.POINTS
    if not point.startswith(("web.", "key.", "bell.", "sweep."))
    and not point.endswith((".before_ack", ".after_publish"))
)
"""Where a worker may die: before or after a commit, before or after a call."""
TIMES = (1, 1, 6, 6, 31, 95, 605, 1_805, 4_000)
"""Seconds: a moment, a poll, the breaker's pause, a lease, a request's life, an order's life, an hour."""


class MoneyMachine(RuleBasedStateMachine):
    """See the module's docstring. `open_house` gives a clean house, `folder` is for the fail-points' journal."""

    def __init__(self, open_house: Callable[[], AbstractContextManager[House]], folder: Path) -> None:
        super().__init__()
        self._exits = ExitStack()
        self.house = self._exits.enter_context(open_house())
        self.folder = folder
        self.desk = DecisionDesk(self.house.container.units)
        self.stories: dict[str, Story] = {}
        self.messages: list[Callable[[], object]] = []
        """Task messages that were sent at some time, each of which may be delivered at any later one."""

    # -- people --------------------------------------------------------------------------------------------------

    @initialize(late=st.sampled_from(("accept", "refund", "decide")), excess=st.sampled_from(("refund", "decide")))
    def policy(self, late: str, excess: str) -> None:
        """How the workspace wants late and excess money handled."""

        def step(tx: Transaction) -> None:
            workspace = tx.upsert_workspace(WORKSPACE, name="Harbour", at=tx.act.at)
            workspace.late_payment, workspace.excess_payment = late, excess

        self.house.container.units.run(step)

    @rule(
        rooms=st.integers(1, 2),
        shares_a_slot=st.booleans(),
        gateway=st.sampled_from((*NAMES, "auto")),
        goes_to=st.sampled_from(("basket", "page", "page", "paid", "paid", "known")),
        dies=st.booleans(),
    )
    def order(self, rooms: int, shares_a_slot: bool, gateway: str, goes_to: str, dies: bool) -> None:
        """An order, as far as its customer goes at once; where a process dies after the commit, they repeat themselves.

        basket: ordered; page: the hosted page is being opened; paid: paid there; known: and asked about.
        """
        slot = {"resource_id": "desk", "starts_at": self.house.clock.now()} if shares_a_slot else {}
        bookings = [self.house.booking(**(slot if not number else {})) for number in range(rooms)]
        order_id = new_id()
        create = partial(self.house.container.orders.create_order, ADA, bookings, order_id=order_id)
        self._dying("web.order.after_commit" if dies else None, create)
        assert create() == order_id, "repeating it makes no second order"
        self.stories[order_id] = Story(total=self.house.order_row(order_id).total_minor)
        if goes_to == "basket":
            return
        opened = self.house.container.payments.initiate_payment(ADA, order_id, gateway=gateway)
        self.sweep()
        if goes_to in ("paid", "known") and opened.reference in self._pages():
            self.house.pay(opened.reference)
        if goes_to == "known":
            self.house.container.payments.request_check(opened.reference, caller=None)
            for _ in range(3):
                self.sweep()

    @precondition(lambda self: self.stories)
    @rule(which=ANY, gateway=st.sampled_from((*NAMES, "auto")))
    def initiate(self, which: int, gateway: str) -> None:
        """Pay, or try again."""
        self._asked(lambda: self.house.container.payments.initiate_payment(ADA, self._order(which), gateway=gateway))

    @precondition(lambda self: self.stories)
    @rule(which=ANY, outcome=st.sampled_from(("success", "success", "decline", "abandon", "late")),
          surprise=st.sampled_from(ON_THE_PAGE))  # fmt: skip
    def customer(self, which: int, outcome: str, surprise: tuple[str, dict[str, Any]] | None) -> None:
        """What a customer does on a hosted page, and what the bank makes of it."""
        reference = _pick(self._pages(), which)
        if reference is not None:
            if surprise is not None:
                self.house.fault(surprise[0], reference=reference, params=surprise[1])
            self.house.pay(reference, outcome)

    @precondition(lambda self: self.stories)
    @rule(which=ANY, is_browser=st.booleans())
    def ask(self, which: int, is_browser: bool) -> None:
        """The browser comes back, or the customer presses the check button."""
        reference = _pick(self._references(), which)
        if reference is not None and is_browser:
            self.house.container.payments.request_check(reference, caller=None)
        elif reference is not None:
            order_id = next(one.order_id for one in self._attempts() if one.reference == reference)
            self.house.container.payments.refresh(ADA, self.house.payment_row(order_id).id)

    @precondition(lambda self: self.stories)
    @rule(which=ANY, is_whole=st.booleans())
    def cancel(self, which: int, is_whole: bool) -> None:
        """Cancel an order, or one of its bookings."""
        order_id = self._order(which)
        if is_whole:
            self._asked(lambda: self.house.container.orders.cancel(ADA, order_id))
            return
        booking_id = self.house.order_row(order_id).items[0].booking_id
        self._asked(lambda: self.house.container.bookings.cancel(ADA, booking_id))
        self.stories[order_id].total = self.house.order_row(order_id).total_minor

    @precondition(lambda self: self.stories)
    @rule(which=ANY, share=st.sampled_from((None, 1, 40, 60, 100, 101)), dies=st.booleans())
    def refund(self, which: int, share: int | None, dies: bool) -> None:
        """Ask for all that is left, or for so many hundredths of the price; repeated where the process died."""
        order_id = self._order(which)
        story, refund_id = self.stories[order_id], new_id()
        with self.house.container.units.reading() as rows:
            payment = rows.payment_of(order_id)
        if payment is None:
            return
        ask = partial(
            self.house.container.refunds.request_refund,
            ADA,
            payment.id,
            amount_minor=None if share is None else story.total * share // 100,
            reason=RefundReason.OTHER,
            refund_id=refund_id,
        )
        self._dying("web.refund.after_commit" if dies else None, lambda: self._asked(ask))
        if self._asked(ask) is not None:
            story.refunds[refund_id] = next(one.amount_minor for one in self.house.rows(Refund) if one.id == refund_id)

    @rule(which=ANY, action=st.sampled_from(DecisionAction))
    def decide(self, which: int, action: DecisionAction) -> None:
        """Staff answers a question."""
        decision = _pick([one.id for one in self.house.rows(Decision) if one.resolved_at is None], which)
        if decision is not None:
            self._asked(lambda: self.desk.resolve(OPERATOR, decision, action))

    # -- gateways ------------------------------------------------------------------------------------------------

    @rule(fault=st.sampled_from((*ANSWERS, *WORDS)), times=st.integers(1, 3))
    def bad_answers(self, fault: tuple[str, dict[str, Any]], times: int) -> None:
        """The next calls, or the next questions, go wrong."""
        self.house.fault(fault[0], times=times, params=fault[1])

    @rule(fault=st.sampled_from(REFUNDS))
    def bad_refund(self, fault: str) -> None:
        """The next refund is stuck, fails, fails later, or waits for the customer."""
        self.house.fault(fault)

    @precondition(lambda self: self.stories)
    @rule(which=ANY, act=st.sampled_from(("dashboard_refund", "dispute", "won", "lost")), is_part=st.booleans())
    def at_the_gateway(self, which: int, act: str, is_part: bool) -> None:
        """Somebody gives money back in the dashboard; a bank opens a chargeback, or ends one."""
        reference = _pick([one for one in self._references() if self.house.charges(one)], which)
        if reference is None:
            return
        ends = act in ("won", "lost")
        params = {"won": act == "won"} if ends else {"amount": 1_000 if is_part else None}
        plan = {"fault": "dispute_resolve" if ends else act, "reference": reference, "params": params}
        answer = self.house.sandbox.app.test_client().post("/sandbox/faults", json=plan)
        assert answer.status_code in (201, 409), "409: there is nothing to give back, or no dispute to end"

    @rule(which=st.integers(0, 40), times=st.integers(1, 3), is_forged=st.booleans())
    def webhook(self, which: int, times: int, is_forged: bool) -> None:
        """Any webhook there ever was, once more or thrice; a forged one leaves nothing behind."""
        row = _pick(self.house.webhooks(), which)
        if row is None:
            return
        if is_forged:
            before = len(self.house.rows(WebhookEvent))
            try:
                self.house.container.webhooks.receive(row["gateway"], {}, row["body"].encode())
            except SignatureInvalid:
                assert len(self.house.rows(WebhookEvent)) == before
                return
            raise AssertionError("a webhook without a signature was taken")
        news = [self.house.receive(row, row["gateway"]) for _ in range(times)]
        assert not any(news[1:]), "the second of two equal webhooks is none"

    # -- workers, broker, time -----------------------------------------------------------------------------------

    @rule(which=ANY)
    def work(self, which: int) -> None:
        """One kind of the work that is due, in any order."""
        kind = _pick(self.house.container.sweeps.due(), which)
        if kind is not None:
            self._work(kind)

    @rule(kind=st.sampled_from(KINDS))
    def work_early(self, kind: str) -> None:
        """A bell that rang for nothing."""
        self._work(kind)

    @rule()
    def sweep(self) -> None:
        """All that is due, once."""
        for kind in self.house.container.sweeps.due():
            self._work(kind)

    @rule(point=st.sampled_from(DEATHS))
    def die(self, point: str) -> None:
        """A worker takes what is due and dies when it comes to this point; what it had claimed stays claimed."""

        def work() -> None:
            for kind in self.house.container.sweeps.due():
                self._work(kind)

        self._dying(point, work)

    @precondition(lambda self: self.messages)
    @rule(which=st.integers(0, 60), times=st.integers(1, 2))
    def redeliver(self, which: int, times: int) -> None:
        """The broker delivers a message again, or one it had kept for long."""
        message = _pick(self.messages, which)
        assert message is not None
        for _ in range(times):
            message()

    @rule(seconds=st.sampled_from(TIMES))
    def time_passes(self, seconds: int) -> None:
        self.house.clock.advance(seconds)

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def books_are_sound(self) -> None:
        """Every rule of the audit that holds at any instant, and the money of both sides."""
        assert audit(self.house) == []
        Books(self.house).assert_never_more()

    def teardown(self) -> None:
        """The trouble is over, every webhook comes at last, time passes: nothing lost, nothing twice, nothing stuck."""
        try:
            self.house.control("DELETE", "/sandbox/faults")
            for seconds in (31, 95, 700, 1_900, 4_000, 22_000):
                self.house.later(seconds)
            for row in self.house.webhooks():
                self.house.receive(row, row["gateway"])
            for seconds in (31, 4_000):
                self.house.later(seconds)
            assert audit(self.house, slo_seconds=60) == []
            books = Books(self.house)
            books.assert_never_more()
            books.assert_settled(self.stories)
            twice = [one.id for one in self.house.rows(Notification) if one.due_at is not None]
            assert twice == [], "messages that nobody sends"
        finally:
            self.close()

    def close(self) -> None:
        """Close the house; again does nothing."""
        self._exits.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- hands ---------------------------------------------------------------------------------------------------

    def _order(self, which: int) -> str:
        found = _pick(list(self.stories), which)
        assert found is not None
        return found

    def _attempts(self) -> list[PaymentAttempt]:
        return self.house.rows(PaymentAttempt)

    def _references(self) -> list[str]:
        return [one.reference for one in self._attempts() if "." not in one.reference]

    def _pages(self) -> list[str]:
        """References whose page a customer may have before them.

        A page whose address was lost is one nobody has. It is paid here all the same, to be hard on us, but not at
        Stripe, which cannot be asked about it (docs/decisions/0008).
        """
        known = self.house.control("GET", "/sandbox/charges")["by_reference"]
        tries = [one for one in self._attempts() if one.authorization_url or one.gateway != "stripe"]
        return [one.reference for one in tries if one.reference in known]

    def _asked(self, call: Callable[[], T]) -> T | None:
        """What came of a request; None where payflow says no. A rule of the rows that is broken is no such answer."""
        try:
            return call()
        except (ForbiddenMove, RuleBroken, StaleRow):
            raise
        except (Conflict, Forbidden, InvalidInput):
            return None

    def _dying(self, point: str | None, call: Callable[[], object]) -> None:
        """The call, cut off where it comes to the point."""
        if point is None:
            call()
            return
        self.folder.mkdir(exist_ok=True)
        (self.folder / failpoints.JOURNAL).unlink(missing_ok=True)
        with failpoints.armed(f"{point}=raise@1", self.folder), suppress(Injected):
            call()

    def _work(self, kind: str) -> None:
        """Take a step as its task would; the messages that follow from it are put aside, for `redeliver`."""
        services, name = self.house.container, kind.partition(":")[0]
        if name == "webhooks.process":
            owed = services.webhooks.process()
            self._send(*(partial(services.refund_adoption.adopt, *one) for one in owed.refunds.items()))
            for place, pairs in owed.attempts.items():
                self._send(partial(services.gateway_calls.verify, place, [attempt_id for attempt_id, _ in pairs]))
        elif name == "notifications.fan_out":
            self._send(partial(services.notifications.deliver, services.notifications.fan_out()))
        elif isinstance(done := self.house.step(kind), list) and done:
            self._send(partial(services.bookings.confirm, done), partial(services.bookings.release, done))
            self._send(partial(services.notifications.fan_out, done))

    def _send(self, *messages: Callable[[], object]) -> None:
        self.messages = [*self.messages, *messages][-60:]


def _pick(items: Sequence[T], which: int) -> T | None:
    """One of them, counted from the newest; None where there is none."""
    return items[-1 - which % len(items)] if items else None
