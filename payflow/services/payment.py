"""Payments: opened for an order, tried at a gateway, completed or failed by what the gateway says.

`PaymentService` holds the six verbs other rooms use: create_order, initiate_payment, complete_payment, fail_payment,
request_refund, complete_refund. Calls to gateways live in gateway_calls.py; outcomes in verification.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from payflow.core.clock import Clock
from payflow.core.errors import Conflict, InvalidInput
from payflow.core.identifiers import attempt_reference
from payflow.core.money import Money
from payflow.core.states import AttemptStatus, OrderStatus, PaymentStatus, RefundStatus
from payflow.core.web_addresses import is_allowed_return_url
from payflow.gateways.base import AttemptRef, InitiateRequest
from payflow.models.access import User, Workspace
from payflow.models.order import Order
from payflow.models.payment import Payment, PaymentAttempt
from payflow.models.refund import Refund, RefundReason
from payflow.services import refund as refunds
from payflow.services import verification
from payflow.services.access import Caller
from payflow.services.order import OrderService
from payflow.services.refund import RefundService
from payflow.services.routing import Route, Routes
from payflow.store.unit_of_work import Transaction, UnitOfWork


@dataclass(frozen=True, slots=True)
class OpenedPayment:
    """The answer to an initiation: which payment, and whether this call opened a new try."""

    payment_id: str
    reference: str
    is_new: bool


class PaymentService:
    """The six verbs."""

    def __init__(
        self,
        units: UnitOfWork,
        clock: Clock,
        routes: Routes,
        orders: OrderService,
        refund_service: RefundService,
        *,
        public_url: str,
        return_url_allowlist: Sequence[str],
    ) -> None:
        self._units, self._clock, self._routes = units, clock, routes
        self._orders, self._refunds = orders, refund_service
        self._public_url = public_url
        self._allowlist = tuple(return_url_allowlist)

    def create_order(self, caller: Caller, booking_ids: Sequence[str], *, discount_minor: int = 0) -> str:
        """See OrderService.create_order; the order's id."""
        return self._orders.create_order(caller, booking_ids, discount_minor=discount_minor)

    def initiate_payment(
        self,
        caller: Caller,
        order_id: str,
        *,
        gateway: str = "auto",
        payment_method: str | None = None,
        return_url: str | None = None,
    ) -> OpenedPayment:
        """Open a try at a gateway, or return the live one: never a second charge.

        The row is written here; a task calls the gateway. Raises NotFound, Conflict (`already_paid`, `order_not_open`,
        `order_expired`), InvalidInput for a gateway that is unknown, off or unable, or a return URL not allowed.
        """

        reference = attempt_reference()  # drawn once: a step whose commit was not answered is run again

        def step(tx: Transaction) -> OpenedPayment:
            order = tx.lock_order(order_id)
            caller.must_see(user_id=order.user_id, workspace_id=order.workspace_id)
            payment = tx.payment_of(order.id, lock=True)
            if payment is not None and payment.current_attempt_id:
                current = tx.get(PaymentAttempt, payment.current_attempt_id)
                if current.is_live and order.status == OrderStatus.PROCESSING:
                    return OpenedPayment(payment.id, current.reference, is_new=current.reference == reference)
            _check_payable(tx, order, payment)
            workspace, user = tx.get(Workspace, order.workspace_id), tx.get(User, order.user_id)
            self._check_return_url(return_url, workspace)
            request = initiate_request(order, user, reference, self._public_url, payment_method)
            chosen = self._routes.choose(tx, workspace, request, gateway)
            payment = _open_payment(tx, order, payment, chosen.gateway, payment_method)
            attempt = _add_attempt(tx, order, payment, reference, payment_method, return_url, routing=chosen.why)
            if order.status != OrderStatus.PROCESSING:
                order.move_to(OrderStatus.PROCESSING, tx.act, why="payment initiated")
            order.owe_now(order.expires_at)
            tx.ring(f"payments.initiate:{attempt.gateway}")
            tx.touched_order(order.user_id, order.workspace_id)
            return OpenedPayment(payment.id, reference, is_new=True)

        return self._units.run(step, actor=caller.actor)

    def complete_payment(self, attempt_id: str, money: Money, *, actor: str) -> None:
        """Record that a try brought `money` (at least its amount, in its currency); repeating is a no-op."""

        def step(tx: Transaction) -> None:
            order, payment, attempt = lock_attempt(tx, attempt_id)
            if money < attempt.amount:
                raise InvalidInput(
                    "Less than was asked for cannot complete a payment.", code="underpaid", pointer="/amount"
                )
            verification.complete_payment(tx, order, payment, attempt, money, seen_due=attempt.due_at)

        self._units.run(step, actor=actor)

    def fail_payment(self, attempt_id: str, *, error: str, actor: str) -> None:
        """Record that a try brought nothing; a success on record stays."""

        def step(tx: Transaction) -> None:
            order, payment, attempt = lock_attempt(tx, attempt_id)
            verification.fail_payment(tx, order, payment, attempt, error=error)

        self._units.run(step, actor=actor)

    def request_refund(
        self, caller: Caller, payment_id: str, *, amount_minor: int | None, reason: RefundReason, description: str = ""
    ) -> str:
        """See RefundService.request_refund; the refund's id."""
        return self._refunds.request_refund(
            caller, payment_id, amount_minor=amount_minor, reason=reason, description=description
        )

    def complete_refund(self, refund_id: str, *, actor: str) -> None:
        """Record that a refund reached the customer; repeating is a no-op.

        Raises Conflict `went_back_otherwise` for one that had failed and whose money is not there for it any more.
        """

        def step(tx: Transaction) -> None:
            known = tx.get(Refund, refund_id)
            tx.lock_order(known.order_id)
            payment, refund = tx.lock(Payment, known.payment_id), tx.lock(Refund, refund_id)
            if refund.status == RefundStatus.FAILED:
                _check_still_held(tx, payment, refund)
            refunds.complete_refund(tx, refund)

        self._units.run(step, actor=actor)

    def request_check(self, reference: str, *, caller: Caller | None) -> str | None:
        """Somebody says a try has news: ask the gateway now. The payment's id; None if nobody knows the reference.

        Without a caller (the browser's redirect) nothing is told and nothing but a question follows.
        """

        def step(tx: Transaction) -> str | None:
            attempt = tx.attempt_by_reference(reference)
            if attempt is None:
                return None
            payment = tx.get(Payment, attempt.payment_id)
            if caller is not None:
                caller.must_see(user_id=payment.user_id, workspace_id=payment.workspace_id)
            ask_now(tx, attempt)
            return payment.id

        return self._units.run(step, actor=caller.actor if caller else "system")

    def refresh(self, caller: Caller, payment_id: str) -> None:
        """Ask the gateway about a payment's current try now (check-status)."""

        def step(tx: Transaction) -> None:
            payment = tx.get(Payment, payment_id)
            caller.must_see(user_id=payment.user_id, workspace_id=payment.workspace_id)
            if payment.current_attempt_id:
                ask_now(tx, tx.get(PaymentAttempt, payment.current_attempt_id))

        self._units.run(step, actor=caller.actor)

    def _check_return_url(self, return_url: str | None, workspace: Workspace) -> None:
        if return_url is None:
            return
        allowed = (self._public_url, *self._allowlist, *workspace.return_urls)
        if not is_allowed_return_url(return_url, allowed):
            raise InvalidInput(
                "return_url is not on the allow-list (PAYFLOW_RETURN_URL_ALLOWLIST or the workspace's policy).",
                code="return_url_not_allowed",
                pointer="/return_url",
            )


def initiate_request(
    order: Order, user: User, reference: str, public_url: str, payment_method: str | None
) -> InitiateRequest:
    """What a gateway is asked to collect for an order."""
    return InitiateRequest(
        reference=reference,
        amount=order.total,
        customer_email=user.email,
        customer_name=user.name,
        callback_url=f"{public_url}/api/v1/payment/payments/callback/",
        description=f"Order {order.order_number}",
        metadata={"order_id": order.id, "order_number": order.order_number},
        expires_at=order.expires_at,
        payment_method=payment_method,
    )


def attempt_ref(attempt: PaymentAttempt) -> AttemptRef:
    """How its gateway finds a try again."""
    return AttemptRef(
        reference=attempt.reference,
        amount=attempt.amount,
        session_id=attempt.session_id,
        transaction_id=attempt.gateway_transaction_id,
    )


def lock_attempt(tx: Transaction, attempt_id: str) -> tuple[Order, Payment, PaymentAttempt]:
    """A try with its payment and order, locked in the written order."""
    known = tx.get(PaymentAttempt, attempt_id)
    order = tx.lock_order(known.order_id)
    payment = tx.lock(Payment, known.payment_id)
    return order, payment, tx.lock(PaymentAttempt, attempt_id)


def ask_now(tx: Transaction, attempt: PaymentAttempt) -> None:
    """Make a try's next question due at once, unless its money is on record."""
    if attempt.captured_minor:
        return
    tx.ask(PaymentAttempt, attempt.id, tx.act.at)
    link = "initiate" if attempt.status in (AttemptStatus.CREATED, AttemptStatus.UNKNOWN) else "verify"
    tx.ring(f"payments.{link}:{attempt.gateway}")


def _check_still_held(tx: Transaction, payment: Payment, refund: Refund) -> None:
    """A refund that had failed gave its money free: another refund or the customer's bank may have taken it since."""
    attempt = tx.get(PaymentAttempt, refund.attempt_id)
    left = refunds.unreserved_minor(payment, attempt, is_surplus=refund.is_surplus)
    if refund.amount_minor > left or tx.is_disputed(payment.id):
        raise Conflict("The money of this refund went back another way.", code="went_back_otherwise")


def _check_payable(tx: Transaction, order: Order, payment: Payment | None) -> None:
    if payment is not None and payment.captured_minor:
        raise Conflict("The order is already paid.", code="already_paid")
    if order.status not in (OrderStatus.PENDING, OrderStatus.FAILED, OrderStatus.PROCESSING):
        raise Conflict(f"The order is {order.status}; it can no longer be paid.", code="order_not_open")
    if tx.act.at >= order.expires_at:
        raise Conflict("The order's time to pay is over; make a new one.", code="order_expired")
    if tx.has_open_decision(order.id):
        raise Conflict(
            "Money for this order is being looked at by a person; do not pay again.", code="payment_in_review"
        )


def _open_payment(
    tx: Transaction, order: Order, payment: Payment | None, gateway: str, payment_method: str | None
) -> Payment:
    if payment is None:
        payment = Payment(
            order_id=order.id,
            user_id=order.user_id,
            workspace_id=order.workspace_id,
            amount_minor=order.total_minor,
            currency=order.currency,
            status=PaymentStatus.PENDING.value,
            gateway=gateway,
            payment_method=payment_method,
            moves=0,
            retry_count=0,
            captured_minor=0,
            refund_reserved_minor=0,
            refunded_minor=0,
            created_at=tx.act.at,
            updated_at=tx.act.at,
        )
        tx.add(payment)
        tx.flush()
        return payment
    payment.retry_count += 1
    payment.gateway, payment.payment_method, payment.error = gateway, payment_method, None
    if payment.status == PaymentStatus.FAILED:
        payment.move_to(PaymentStatus.PENDING, tx.act, why="tried again")
    return payment


def _add_attempt(
    tx: Transaction,
    order: Order,
    payment: Payment,
    reference: str,
    payment_method: str | None,
    return_url: str | None,
    *,
    routing: str | None,
    replaces: PaymentAttempt | None = None,
) -> PaymentAttempt:
    attempt = PaymentAttempt(
        payment_id=payment.id,
        order_id=order.id,
        gateway=payment.gateway,
        reference=reference,
        amount_minor=order.total_minor,
        currency=order.currency,
        status=AttemptStatus.CREATED.value,
        payment_method=payment_method,
        return_url=return_url,
        moves=0,
        tries=0,
        poll_step=0,
        captured_minor=0,
        refund_reserved_minor=0,
        correlation_id=tx.act.correlation_id,
        routing=routing,
        replaces_id=replaces.id if replaces else None,
        created_at=tx.act.at,
        updated_at=tx.act.at,
        due_at=tx.act.at,
    )
    tx.add(attempt)
    tx.flush()
    payment.current_attempt_id = attempt.id
    return attempt


def renew_attempt(tx: Transaction, order: Order, payment: Payment, old: PaymentAttempt) -> PaymentAttempt:
    """Replace a try whose page is lost by a new one; the old one stays due until its end is known."""
    old.move_to(AttemptStatus.ABANDONED, tx.act, why="its page is lost; a new try replaces it")
    return _stand_in(tx, order, payment, old, old.routing)


def fall_over(
    tx: Transaction, order: Order, payment: Payment, old: PaymentAttempt, route: Route, *, may_exist: bool
) -> PaymentAttempt:
    """Replace a try that could not be opened by one at another gateway. Nobody was given the old one's page, so nobody
    can pay it; where one `may_exist`, the old try stays due all the same until its end is known."""
    if may_exist:
        old.owe_now(tx.act.at)
        old.move_to(AttemptStatus.ABANDONED, tx.act, why=f"its page was not opened; {route.gateway} replaces it")
    else:
        old.settle_due(None, seen=old.due_at)
        old.move_to(AttemptStatus.FAILED, tx.act, why=f"it could not be opened; {route.gateway} replaces it")
    payment.gateway = route.gateway
    return _stand_in(tx, order, payment, old, route.why)


def replaced_by(attempt: PaymentAttempt, attempts: Sequence[PaymentAttempt]) -> list[PaymentAttempt]:
    """A try and those it stands in for, newest first."""
    by_id = {one.id: one for one in attempts}
    chain = [attempt]
    while (older := by_id.get(chain[-1].replaces_id or "")) is not None:
        chain.append(older)
    return chain


def _stand_in(
    tx: Transaction, order: Order, payment: Payment, old: PaymentAttempt, routing: str | None
) -> PaymentAttempt:
    tx.flush()
    attempt = _add_attempt(
        tx,
        order,
        payment,
        attempt_reference(),
        old.payment_method,
        old.return_url,
        routing=routing,
        replaces=old,
    )
    tx.ring(f"payments.initiate:{attempt.gateway}")
    return attempt
