"""How Paystack writes things: transactions, refunds, webhooks, errors, statuses.

Pure: records in, JSON-ready dicts out. Field lists follow the official samples.
"""

import hashlib
import hmac
import json
from datetime import datetime, timedelta
from typing import Any

from payflow.sandbox.dialect import Event, Fact
from payflow.sandbox.records import Charge, ChargeStatus, Dispute, DisputeStatus, Refund, RefundStatus

INTEGRATION = 412829
DOMAIN = "test"
REFUND_STATUS = {
    RefundStatus.PENDING: "pending",
    RefundStatus.PROCESSING: "processing",
    RefundStatus.PROCESSED: "processed",
    RefundStatus.FAILED: "failed",
    RefundStatus.NEEDS_ATTENTION: "needs-attention",
}
# Paystack only tells of charges that succeeded: failed and abandoned ones have to be asked for
EVENT_NAME = {
    Fact.CHARGE_PAID: "charge.success",
    Fact.REFUND_PENDING: "refund.pending",
    Fact.REFUND_PROCESSING: "refund.processing",
    Fact.REFUND_PROCESSED: "refund.processed",
    Fact.REFUND_FAILED: "refund.failed",
    Fact.REFUND_NEEDS_ATTENTION: "refund.needs-attention",
    Fact.DISPUTE_OPENED: "charge.dispute.create",
    Fact.DISPUTE_RESOLVED: "charge.dispute.resolve",
}
DISPUTE_STATUS = {
    DisputeStatus.OPEN: ("awaiting-merchant-feedback", None),
    DisputeStatus.WON: ("resolved", "declined"),
    DisputeStatus.LOST: ("resolved", "merchant-accepted"),
}


def when(moment: datetime | None) -> str | None:
    """Write a time as Paystack does: UTC with milliseconds and a Z."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def transaction_status(charge: Charge, refunds: list[Refund]) -> str:
    """Return the word `data.status` carries.

    An untouched transaction is "abandoned" at once, and a refund, whole or part, turns "success" into
    "reversal-pending" and, when all is back, "reversed"; a failed refund turns it into "success" again.
    """
    if charge.status is ChargeStatus.OPEN:
        return charge.meanwhile or "abandoned"
    if charge.status is ChargeStatus.FAILED:
        return "failed"
    back = [refund for refund in refunds if refund.status is not RefundStatus.FAILED]
    done = sum(refund.amount_minor for refund in back if refund.status is RefundStatus.PROCESSED)
    if charge.charged_back or done >= charge.charged_minor > 0:
        return "reversed"
    return "reversal-pending" if back else "success"


def gateway_response(charge: Charge) -> str:
    """Return the bank's words, as shown to people."""
    match charge.status:
        case ChargeStatus.PAID:
            return "Successful"
        case ChargeStatus.FAILED:
            return charge.decline_reason or "Declined"
        case ChargeStatus.OPEN:
            return "The transaction was not completed"


def customer(charge: Charge) -> dict[str, Any]:
    """Return the payer."""
    return {
        "id": 180_000_000 + charge.id % 1_000_000,
        "first_name": None,
        "last_name": None,
        "email": charge.email,
        "customer_code": f"CUS_{charge.access_code}",
        "phone": None,
        "metadata": None,
        "risk_action": "default",
        "international_format_phone": None,
    }


def authorization(charge: Charge) -> dict[str, Any]:
    """Return the card that paid; empty while nobody has."""
    if charge.status is not ChargeStatus.PAID:
        return {}
    return {
        "authorization_code": f"AUTH_{charge.access_code[:10]}",
        "bin": "408408",
        "last4": "4081",
        "exp_month": "12",
        "exp_year": "2030",
        "channel": "card",
        "card_type": "visa ",
        "bank": "TEST BANK",
        "country_code": "NG",
        "brand": "visa",
        "reusable": True,
        "signature": f"SIG_{charge.access_code}",
        "account_name": None,
    }


def log(charge: Charge) -> dict[str, Any] | None:
    """Return what the customer did at the page; null while nobody came."""
    if charge.status is ChargeStatus.OPEN:
        return None
    paid = charge.status is ChargeStatus.PAID
    history = [{"type": "action", "message": "Attempted to pay with card", "time": 3}]
    if paid:
        history.append({"type": "success", "message": "Successfully paid with card", "time": 4})
    return {
        "start_time": int(charge.created_at.timestamp()),
        "time_spent": 4,
        "attempts": 1,
        "errors": 0 if paid else 1,
        "success": paid,
        "mobile": False,
        "input": [],
        "history": history,
    }


def transaction(charge: Charge, status: str) -> dict[str, Any]:
    """Return a transaction as verify and fetch answer it."""
    paid = charge.status is ChargeStatus.PAID
    created, paid_at = when(charge.created_at), when(charge.paid_at)
    return {
        "id": charge.id,
        "domain": DOMAIN,
        "status": status,
        "reference": charge.reference,
        "receipt_number": None,
        "amount": charge.charged_minor,
        "message": None,
        "gateway_response": gateway_response(charge),
        "paid_at": paid_at,
        "created_at": created,
        "channel": "card",
        "currency": charge.currency,
        "ip_address": "127.0.0.1",
        "metadata": charge.details.get("metadata") or "",
        "log": log(charge),
        "fees": charge.fees_minor if paid else None,
        "fees_split": None,
        "authorization": authorization(charge),
        "customer": customer(charge),
        "plan": None,
        "split": {},
        "order_id": None,
        "paidAt": paid_at,
        "createdAt": created,
        "requested_amount": charge.requested_minor,
        "pos_transaction_data": None,
        "source": None,
        "fees_breakdown": None,
        "connect": None,
        "transaction_date": created,
        "plan_object": {},
        "subaccount": {},
    }


def refund_created(refund: Refund, charge: Charge) -> dict[str, Any]:
    """Return a refund as POST /refund answers it: with the transaction inside."""
    paid_at = when(charge.paid_at)
    return {
        "transaction": {
            "id": charge.id,
            "domain": DOMAIN,
            "reference": charge.reference,
            "amount": charge.charged_minor,
            "paid_at": paid_at,
            "channel": "card",
            "currency": charge.currency,
            "authorization": {"exp_month": None, "exp_year": None, "account_name": None},
            "customer": {"international_format_phone": None},
            "plan": {},
            "subaccount": {"currency": None},
            "split": {},
            "order_id": None,
            "paidAt": paid_at,
            "pos_transaction_data": None,
            "source": None,
            "fees_breakdown": None,
        },
        "integration": INTEGRATION,
        "deducted_amount": 0,
        "channel": None,
        "merchant_note": _merchant_note(refund),
        "customer_note": _customer_note(refund),
        "status": REFUND_STATUS[refund.status],
        "refunded_by": "merchant@sandbox.test",
        "expected_at": when(refund.created_at + timedelta(days=10)),
        "currency": refund.currency,
        "domain": DOMAIN,
        "amount": refund.amount_minor,
        "fully_deducted": False,
        "id": refund.id,
        "createdAt": when(refund.created_at),
        "updatedAt": when(refund.updated_at),
    }


def refund_fetched(refund: Refund) -> dict[str, Any]:
    """Return a refund as GET /refund and its retry answer it: the transaction is its number only."""
    done = refund.status is RefundStatus.PROCESSED
    return {
        "integration": INTEGRATION,
        "transaction": refund.charge_id,
        "dispute": None,
        "settlement": None,
        "id": refund.id,
        "domain": DOMAIN,
        "amount": refund.amount_minor,
        "deducted_amount": refund.amount_minor if done else 0,
        "fully_deducted": done,
        "currency": refund.currency,
        "channel": "card",
        "status": REFUND_STATUS[refund.status],
        "refunded_by": "merchant@sandbox.test",
        "refunded_at": when(refund.processed_at),
        "expected_at": when(refund.created_at + timedelta(days=10)),
        "customer_note": _customer_note(refund),
        "merchant_note": _merchant_note(refund),
        "bank_reference": None,
        "transaction_reference": refund.reference,
        "createdAt": when(refund.created_at),
        "updatedAt": when(refund.updated_at),
    }


def _customer_note(refund: Refund) -> str:
    return refund.details.get("customer_note") or f"Refund for transaction {refund.reference}"


def _merchant_note(refund: Refund) -> str:
    return refund.details.get("merchant_note") or f"Refund for transaction {refund.reference} by merchant@sandbox.test"


def webhook_body(event: Event) -> tuple[str, str] | None:
    """Return the event name and exact body for a fact, or None when Paystack keeps silent about it."""
    name = EVENT_NAME.get(event.fact)
    if name is None:
        return None
    if event.dispute is not None:
        data = _dispute_data(event.charge, event.dispute)
    elif event.refund is not None:
        data = _refund_data(event.charge, event.refund)
    else:
        data = _charge_data(event.charge)
    return name, json.dumps({"event": name, "data": data}, separators=(",", ":"), ensure_ascii=False)


def _charge_data(charge: Charge) -> dict[str, Any]:
    data = transaction(charge, "success")
    unsent = ("receipt_number", "connect", "transaction_date", "plan_object", "createdAt", "fees_breakdown")
    data = {key: value for key, value in data.items() if key not in unsent}
    return {**data, "metadata": charge.details.get("metadata") or 0, "plan": {}}


def _refund_data(charge: Charge, refund: Refund) -> dict[str, Any]:
    status = REFUND_STATUS[refund.status]
    asks_for_people = refund.status in (RefundStatus.FAILED, RefundStatus.NEEDS_ATTENTION)
    bank_reference: str | None = None
    if asks_for_people:
        bank_reference = f"TRF_{charge.access_code}"
    elif refund.status is RefundStatus.PROCESSED:
        bank_reference = f"{132_000_000_000 + refund.id}"
    data: dict[str, Any] = {
        "status": status,
        "transaction_reference": refund.reference,
        "refund_reference": bank_reference,
        # a string in some of Paystack's events and a number in others
        "amount": refund.amount_minor if asks_for_people else str(refund.amount_minor),
        "currency": refund.currency,
        "processor": "instant-transfer",
        "customer": {"first_name": None, "last_name": None, "email": charge.email},
        "integration": INTEGRATION,
        "domain": DOMAIN,
    }
    if refund.status is RefundStatus.NEEDS_ATTENTION:  # the one refund event that carries the refund's id
        del data["processor"]
        notes = {"customer_note": _customer_note(refund), "merchant_note": _merchant_note(refund)}
        data = {**data, "id": str(refund.id), **notes}
    return data


def _dispute_data(charge: Charge, dispute: Dispute) -> dict[str, Any]:
    status, resolution = DISPUTE_STATUS[dispute.status]
    opened = when(dispute.created_at)
    sold = transaction(charge, "reversed" if charge.charged_back else "success")
    unsent = (
        "receipt_number",
        "connect",
        "transaction_date",
        "plan_object",
        "createdAt",
        "source",
        "fees_breakdown",
    )
    return {
        "id": dispute.id,
        "refund_amount": dispute.amount_minor,
        "currency": dispute.currency,
        "status": status,
        "resolution": resolution,
        "domain": DOMAIN,
        "transaction": {key: value for key, value in sold.items() if key not in unsent},
        "transaction_reference": None,
        "category": "chargeback",
        "customer": customer(charge),
        "bin": "408408",
        "last4": "4081",
        "dueAt": when(dispute.created_at + timedelta(days=1)),
        "resolvedAt": when(dispute.resolved_at),
        "evidence": None,
        "attachments": None,
        "note": None,
        "history": [{"status": "pending", "by": charge.email, "createdAt": opened}],
        "messages": [
            {
                "sender": charge.email,
                "body": "Customer complained about debit without value",
                "createdAt": opened,
            }
        ],
        "created_at": opened,
        "updated_at": when(dispute.resolved_at) or opened,
    }


def signature(body: bytes, secret: str) -> str:
    """Return x-paystack-signature: lowercase hex HMAC-SHA512 of the raw body under the secret key."""
    return hmac.new(secret.encode(), body, hashlib.sha512).hexdigest()
