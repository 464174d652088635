"""Do a gateway and we agree? Pure: one row of theirs, one of ours, and the name of the difference, if any."""

from __future__ import annotations

from payflow.core.states import OPEN_REFUND, AttemptStatus, RefundStatus
from payflow.gateways.base import Outcome, RefundResult, Verification
from payflow.models.payment import PaymentAttempt
from payflow.models.reconciliation import DifferenceKind
from payflow.models.refund import Refund

_CAME = (Outcome.SUCCEEDED, Outcome.REVERSED)
_AGREES: dict[Outcome, tuple[RefundStatus, ...]] = {
    Outcome.SUCCEEDED: (RefundStatus.COMPLETED,),
    Outcome.FAILED: (RefundStatus.FAILED,),
    Outcome.PENDING: OPEN_REFUND,
}


def payment_difference(
    told: Verification, ours: PaymentAttempt | None, *, is_given_back: bool
) -> DifferenceKind | None:
    """What is wrong between a transaction there and the try here that owns it, or its reference.

    `is_given_back`: a refund or dispute here explains why it went back; for what no try here knows, the refunds there
    give back all of it. Only money is compared: a try without any on either side is the poll plan's business. A try put
    before a person as mismatched is on record already.
    """
    is_same = ours is not None and ours.gateway_transaction_id in (None, told.transaction_id)
    if ours is None:
        # What nobody knew and went back again, all of it, is nobody's question.
        return DifferenceKind.UNKNOWN_HERE if told.outcome in _CAME and not is_given_back else None
    if told.outcome in _CAME:
        if not ours.captured_minor:
            return None if ours.status == AttemptStatus.MISMATCHED else DifferenceKind.PAID_THERE
        if not is_same:
            return DifferenceKind.PAID_THERE if told.outcome is Outcome.SUCCEEDED else None
        if told.outcome is Outcome.REVERSED:
            return None if is_given_back else DifferenceKind.REVERSED_THERE
        counted = (ours.captured_minor, ours.captured_currency)
        if told.amount is not None and (told.amount.amount_minor, told.amount.currency) != counted:
            return DifferenceKind.AMOUNT_DIFFERS
        return None
    if ours.captured_minor and is_same and told.outcome is not Outcome.UNKNOWN:
        return DifferenceKind.NOT_PAID_THERE
    return None


def missing_difference(told: Verification, ours: PaymentAttempt, *, is_given_back: bool) -> DifferenceKind | None:
    """What is wrong with money we count, from the answer to asking for it by name."""
    tries = (told, *told.extra_successes)
    named = next((one for one in tries if one.transaction_id == ours.gateway_transaction_id), None)
    if named is None and ours.gateway_transaction_id is None:
        named = told
    if not told.found or named is None:
        return DifferenceKind.UNKNOWN_THERE
    return payment_difference(named, ours, is_given_back=is_given_back)


def refund_differences(told: RefundResult, ours: Refund | None) -> list[DifferenceKind]:
    """What is wrong between a refund there and ours; one that failed there moved no money, whatever its amount."""
    if ours is None:
        is_money = told.outcome not in (Outcome.FAILED, Outcome.UNKNOWN)
        return [DifferenceKind.REFUND_UNKNOWN_HERE] if is_money else []
    found = [] if has_status(ours, told.outcome) else [DifferenceKind.REFUND_STATUS_DIFFERS]
    if told.outcome is not Outcome.FAILED and told.amount not in (None, ours.amount):
        found.append(DifferenceKind.REFUND_AMOUNT_DIFFERS)
    return found


def has_status(ours: Refund, outcome: Outcome) -> bool:
    """Whether a refund of ours stands as the gateway says; a word that says nothing is not against it."""
    agrees = _AGREES.get(outcome)
    return agrees is None or ours.status in agrees


def find_refund(listed: list[RefundResult], ours: Refund) -> RefundResult | None:
    """Our refund in a gateway's list."""
    return next(
        (one for one in listed if one.gateway_refund_id == ours.gateway_refund_id or one.refund_id == ours.id), None
    )
