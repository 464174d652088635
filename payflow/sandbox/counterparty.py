"""What happens to money at the counterparty: paying, declining, refunding, disputing, and time passing.

The rules that are equal for all gateways, on neutral records. No HTTP, no wire names, no threads.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from payflow.sandbox.clock import OffsetClock
from payflow.sandbox.dialect import Dialect, Event, Fact
from payflow.sandbox.fault_table import ACTIONS, PAY, FaultName
from payflow.sandbox.faults import FaultBook, FaultPlan
from payflow.sandbox.records import Charge, ChargeStatus, Dispute, DisputeStatus, Refund, RefundStatus
from payflow.sandbox.state import SandboxState

Row = TypeVar("Row", Charge, Refund)
OUTCOMES = ("success", "decline", "abandon", "late")
MONEY_ARRIVES = "money_arrives"
FACT_OF_REFUND = {
    RefundStatus.PENDING: Fact.REFUND_PENDING,
    RefundStatus.PROCESSING: Fact.REFUND_PROCESSING,
    RefundStatus.PROCESSED: Fact.REFUND_PROCESSED,
    RefundStatus.FAILED: Fact.REFUND_FAILED,
    RefundStatus.NEEDS_ATTENTION: Fact.REFUND_NEEDS_ATTENTION,
}


class Counterparty:
    """The gateways' common back office."""

    def __init__(self, *, state: SandboxState, faults: FaultBook, clock: OffsetClock, refund_seconds: float) -> None:
        """Wire the back office; the webhook sender sets `announce`, the app fills `dialects`."""
        self.state = state
        self.faults = faults
        self.clock = clock
        self.refund_seconds = refund_seconds
        self.stopping = threading.Event()
        self.dialects: dict[str, Dialect] = {}
        self.announce: Callable[[Event], None] = _unheard

    # --- lists

    def listed(self, rows: Iterable[Row], gateway: str, operation: str) -> list[Row]:
        """Return a gateway's own rows, newest first, without those a fault leaves out."""
        return [
            row
            for row in reversed(list(rows))
            if row.gateway == gateway
            and not self.faults.take(
                FaultName.NOT_LISTED, gateway=gateway, reference=row.reference, operation=operation
            )
        ]

    # --- charges

    def open_charge(
        self,
        gateway: str,
        *,
        reference: str | None,
        amount_minor: int,
        currency: str,
        email: str,
        callback_url: str | None,
        details: dict[str, Any],
    ) -> Charge:
        """Initialise a transaction; without a reference the gateway makes one up."""
        with self.state.lock:
            now = self.clock.now()
            number = self.state.next_id("charge")
            charge = Charge(
                id=number,
                gateway=gateway,
                reference=reference or self.state.code("reference", number, 10),
                access_code=self.state.code("access", number, 15),
                requested_minor=amount_minor,
                requested_currency=currency,
                charged_minor=amount_minor,
                currency=currency,
                email=email,
                callback_url=callback_url,
                details=details,
                created_at=now,
            )
            plan = self.faults.take(
                FaultName.AUTO_PAY, gateway=gateway, reference=charge.reference, operation="initialize"
            )
            if plan is not None:
                charge.due_at = now + timedelta(seconds=plan.params["after_seconds"])
                charge.due_outcome = plan.params["outcome"]
            self.state.save(charge)
            return charge

    def customer_does(
        self, charge: Charge, outcome: str, *, after_seconds: float = 30, meanwhile: str = "ongoing"
    ) -> str:
        """Let the customer at the page do `outcome`; returns what really happened, faults considered."""
        with self.state.lock:
            charge = self._try_of(charge, outcome)
            if charge.status is ChargeStatus.PAID:
                return "success"
            if charge.details.get("is_closed"):
                return "abandon"  # a page that was ended takes nothing
            if outcome in ("success", "late"):
                spoilt = self._take(charge, FaultName.DECLINE, FaultName.ABANDON, FaultName.LATE_SUCCESS)
                if spoilt is not None:
                    outcome = {"decline": "decline", "abandon": "abandon"}.get(spoilt.fault, "late")
                    after_seconds = spoilt.params.get("after_seconds", after_seconds)
                    meanwhile = spoilt.params.get("meanwhile", meanwhile)
                    if outcome == "decline":
                        self._decline(charge, spoilt.params["reason"])
                        return outcome
            match outcome:
                case "success":
                    self._take_money(charge)
                case "decline":
                    self._decline(charge, "Declined")
                case "late":
                    charge.due_at = self.clock.now() + timedelta(seconds=after_seconds)
                    charge.due_outcome, charge.meanwhile, charge.status = (
                        MONEY_ARRIVES,
                        meanwhile,
                        ChargeStatus.OPEN,
                    )
                    self.state.save(charge)
                case "abandon":
                    charge.meanwhile = None
                    self.state.save(charge)
                case _:
                    raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}")
            return outcome

    def _try_of(self, charge: Charge, outcome: str) -> Charge:
        """Return the charge this try is made on: the page's newest, or one more after a failure where tries count."""
        if not charge.one_per_try:
            return charge
        charge = self.state.charge_by_code(charge.access_code) or charge
        if charge.status is not ChargeStatus.FAILED or outcome == "abandon":
            return charge
        again = replace(
            charge,
            id=self.state.next_id("charge"),
            status=ChargeStatus.OPEN,
            decline_reason=None,
            created_at=self.clock.now(),
        )
        self.state.save(again)
        return again

    def _decline(self, charge: Charge, reason: str) -> None:
        charge.status, charge.decline_reason, charge.meanwhile = ChargeStatus.FAILED, reason, None
        charge.due_at = charge.due_outcome = None
        self.state.save(charge)
        self.announce(Event(fact=Fact.CHARGE_FAILED, charge=charge))

    def _take_money(self, charge: Charge) -> None:
        dialect = self.dialects[charge.gateway]
        if wrong := self._take(charge, FaultName.WRONG_AMOUNT):
            charge.charged_minor += int(wrong.params["delta"])
            if wrong.params["field"] == "both":
                charge.requested_minor = charge.charged_minor
        if foreign := self._take(charge, FaultName.WRONG_CURRENCY):
            charge.currency = str(foreign.params["currency"])
        charge.fees_minor = dialect.fee_minor(charge.charged_minor, charge.currency)
        if self._take(charge, FaultName.FEE_ON_CUSTOMER):
            charge.charged_minor += charge.fees_minor
        charge.status, charge.paid_at = ChargeStatus.PAID, self.clock.now()
        charge.decline_reason = charge.meanwhile = charge.due_at = charge.due_outcome = None
        self.state.save(charge)
        self.announce(Event(fact=Fact.CHARGE_PAID, charge=charge))
        for plan in self.faults.take_each(*ACTIONS, gateway=charge.gateway, reference=charge.reference, operation=PAY):
            self.act(plan, charge)

    def _take(self, charge: Charge, *faults: FaultName) -> FaultPlan | None:
        return self.faults.take(*faults, gateway=charge.gateway, reference=charge.reference, operation=PAY)

    # --- refunds

    def refundable_minor(self, charge: Charge) -> int:
        """Return what is not refunded or on its way back yet."""
        back = sum(r.amount_minor for r in self.state.refunds_of(charge.id) if r.status is not RefundStatus.FAILED)
        return charge.charged_minor - back

    def open_refund(self, charge: Charge, amount_minor: int, *, details: dict[str, Any], source: str = "api") -> Refund:
        """Start giving money back. The dialect has checked that it may."""
        with self.state.lock:
            now = self.clock.now()
            refund = Refund(
                id=self.state.next_id("refund"),
                gateway=charge.gateway,
                charge_id=charge.id,
                reference=charge.reference,
                amount_minor=amount_minor,
                currency=charge.currency,
                source=source,
                details=details,
                script=self._refund_script(charge),
                created_at=now,
                updated_at=now,
            )
            self.state.save(refund)
            self._announce_refund(charge, refund)
            return refund

    def _refund_script(self, charge: Charge) -> list[list[Any]]:
        whole, half = self.refund_seconds, self.refund_seconds / 2
        plan = self.faults.take(
            FaultName.REFUND_STUCK_PENDING,
            FaultName.REFUND_SLOW,
            FaultName.REFUND_FAILS,
            FaultName.REFUND_FAILS_AFTER_SUCCESS,
            FaultName.REFUND_NEEDS_ATTENTION,
            gateway=charge.gateway,
            reference=charge.reference,
            operation="refund",
        )
        start: list[list[Any]] = [[half, RefundStatus.PROCESSING.value]]
        match plan.fault if plan else None:
            case FaultName.REFUND_STUCK_PENDING:
                return []
            case FaultName.REFUND_SLOW if plan:
                seconds = float(plan.params["seconds"])
                return [[seconds / 2, RefundStatus.PROCESSING.value], [seconds, RefundStatus.PROCESSED.value]]
            case FaultName.REFUND_FAILS:
                return [*start, [whole, RefundStatus.FAILED.value]]
            case FaultName.REFUND_NEEDS_ATTENTION:
                return [*start, [whole, RefundStatus.NEEDS_ATTENTION.value]]
            case FaultName.REFUND_FAILS_AFTER_SUCCESS if plan:
                failed_at = whole + float(plan.params["seconds"])
                return [*start, [whole, RefundStatus.PROCESSED.value], [failed_at, RefundStatus.FAILED.value]]
            case _:
                return [*start, [whole, RefundStatus.PROCESSED.value]]

    def retry_refund(self, refund: Refund) -> None:
        """Go on with a refund that waited for bank details."""
        with self.state.lock:
            now = self.clock.now()
            done_after = (now - refund.created_at).total_seconds() + self.refund_seconds
            refund.script = [[done_after, RefundStatus.PROCESSED.value]]
            self._move_refund(refund, RefundStatus.PROCESSING)

    def _move_refund(self, refund: Refund, status: RefundStatus) -> None:
        refund.status, refund.updated_at = status, self.clock.now()
        if status is RefundStatus.PROCESSED:
            refund.processed_at = refund.updated_at
        self.state.save(refund)
        self._announce_refund(self.state.charges[refund.charge_id], refund)

    def _announce_refund(self, charge: Charge, refund: Refund) -> None:
        self.announce(Event(fact=FACT_OF_REFUND[refund.status], charge=charge, refund=refund))

    # --- actions of people at the gateway

    def act(self, plan: FaultPlan, charge: Charge) -> str | None:
        """Carry out a planted action on a paid charge; returns a sentence when it cannot be done."""
        with self.state.lock:
            match plan.fault:
                case FaultName.DASHBOARD_REFUND:
                    left = self.refundable_minor(charge)
                    amount = plan.params["amount"] or left
                    if not 0 < amount <= left:
                        return f"only {left} subunits are left to refund"
                    self.open_refund(charge, amount, details={}, source="dashboard")
                case FaultName.DISPUTE:
                    amount = plan.params["amount"] or charge.charged_minor
                    dispute = Dispute(
                        id=self.state.next_id("dispute"),
                        gateway=charge.gateway,
                        charge_id=charge.id,
                        reference=charge.reference,
                        amount_minor=amount,
                        currency=charge.currency,
                        created_at=self.clock.now(),
                    )
                    self.state.save(dispute)
                    self.announce(Event(fact=Fact.DISPUTE_OPENED, charge=charge, dispute=dispute))
                case FaultName.DISPUTE_RESOLVE:
                    return self._resolve_dispute(charge, won=bool(plan.params["won"]))
                case _:
                    return f"{plan.fault} is not an action"
            return None

    def _resolve_dispute(self, charge: Charge, *, won: bool) -> str | None:
        of_charge = [dispute for dispute in self.state.disputes.values() if dispute.charge_id == charge.id]
        dispute = next((dispute for dispute in of_charge if dispute.status is DisputeStatus.OPEN), None)
        if dispute is None:
            return "this charge has no open dispute"
        dispute.status = DisputeStatus.WON if won else DisputeStatus.LOST
        dispute.resolved_at = self.clock.now()
        self.state.save(dispute)
        if not won:
            charge.charged_back = True
            self.state.save(charge)
        self.announce(Event(fact=Fact.DISPUTE_RESOLVED, charge=charge, dispute=dispute))
        return None

    # --- time

    def tick(self) -> None:
        """Do everything that has become due."""
        with self.state.lock:
            now = self.clock.now()
            while row := self.state.next_due(now):
                if isinstance(row, Charge):
                    self._charge_due(row)
                else:
                    _, status = row.script.pop(0)
                    self._move_refund(row, RefundStatus(status))

    def _charge_due(self, charge: Charge) -> None:
        outcome, charge.due_at, charge.due_outcome = charge.due_outcome, None, None
        if outcome is None or charge.status is ChargeStatus.PAID:
            return
        if outcome == MONEY_ARRIVES:
            self._take_money(charge)
        else:
            self.customer_does(charge, outcome)


def _unheard(event: Event) -> None:
    """Tell nobody: the default until a webhook sender is attached."""
