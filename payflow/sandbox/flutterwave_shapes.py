"""How Flutterwave v3 writes things: transactions, refunds, webhooks, statuses, signatures.

Pure: records in, JSON-ready dicts out. Field lists follow the official samples; amounts are exact decimals in major
units, so `written` makes the text.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from payflow.sandbox.dialect import Event, Fact
from payflow.sandbox.records import Charge, ChargeStatus, Refund, RefundStatus

ACCOUNT = 118468
WALLET = 74639
WITHOUT_DECIMALS = frozenset({"XAF", "XOF", "UGX", "RWF", "GNF", "CLP"})
PAYMENT_STATUS = {
    ChargeStatus.OPEN: "pending",
    ChargeStatus.FAILED: "failed",
    ChargeStatus.PAID: "successful",
}
# The word of the refund and the one of its disbursement, which may contradict it.
REFUND_STATUS: dict[RefundStatus, tuple[str, str | None]] = {
    RefundStatus.PENDING: ("completed", "pending"),
    RefundStatus.PROCESSING: ("processing", "pending"),
    RefundStatus.PROCESSED: ("completed-mpgs", None),
    RefundStatus.FAILED: ("completed", "failed"),
    RefundStatus.NEEDS_ATTENTION: ("processing", "pending"),  # Flutterwave has no such state
}
CHARGE_FACTS = frozenset({Fact.CHARGE_PAID, Fact.CHARGE_FAILED})
REFUND_FACTS = frozenset({Fact.REFUND_PROCESSED, Fact.REFUND_FAILED})


def written(value: object) -> str:
    """Write JSON with decimals as they are: 75.50 becomes 75.5."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(name))}:{written(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def exponent(currency: str) -> int:
    """Return how many decimals a currency has here."""
    return 0 if currency in WITHOUT_DECIMALS else 2


def major(minor: int, currency: str) -> Decimal:
    """Return an amount in major units."""
    return Decimal(minor).scaleb(-exponent(currency))


def when(moment: datetime) -> str:
    """Write a time as Flutterwave does: UTC, whole seconds, three zeros and a Z."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"


def is_started(charge: Charge) -> bool:
    """Tell whether the customer has begun to pay; before that there is a link, but no transaction."""
    return charge.status is not ChargeStatus.OPEN or charge.meanwhile is not None


def flw_ref(charge: Charge) -> str:
    """Return Flutterwave's own reference of a transaction."""
    return f"FLW-MOCK-{charge.access_code}-{charge.id}"


def processor_response(charge: Charge) -> str:
    """Return the bank's words, as shown to people."""
    match charge.status:
        case ChargeStatus.PAID:
            return "Approved. Successful"
        case ChargeStatus.FAILED:
            return charge.decline_reason or "Declined"
        case ChargeStatus.OPEN:
            return "Pending, awaiting the bank"


def customer(charge: Charge) -> dict[str, Any]:
    """Return the payer."""
    return {
        "id": 2_000_000 + charge.id % 1_000_000,
        "name": charge.details.get("name") or "Anonymous customer",
        "phone_number": "08012345678",
        "email": charge.email,
        "created_at": when(charge.created_at),
    }


def transaction_in_list(charge: Charge) -> dict[str, Any]:
    """Return a transaction as the list shows it: `amount` is the order's part, `charged_amount` what was taken."""
    paid = charge.status is ChargeStatus.PAID
    fee = charge.fees_minor if paid else 0
    return {
        "id": charge.id,
        "tx_ref": charge.reference,
        "flw_ref": flw_ref(charge),
        "device_fingerprint": "N/A",
        "amount": major(charge.requested_minor, charge.currency),
        "currency": charge.currency,
        "charged_amount": major(charge.charged_minor, charge.currency),
        "app_fee": major(fee, charge.currency),
        "merchant_fee": 0,
        "processor_response": processor_response(charge),
        "auth_model": "PIN",
        "ip": "127.0.0.1",
        "narration": "Sandbox merchant",
        "status": PAYMENT_STATUS[charge.status],
        "payment_type": "card",
        "created_at": when(charge.created_at),
        "amount_settled": major(charge.charged_minor - fee if paid else 0, charge.currency),
        "card": {
            "type": "MASTERCARD",
            "country": "NIGERIA NG",
            "issuer": "MASTERCARD CREDIT",
            "first_6digits": "553188",
            "last_4digits": "2950",
            "expiry": "09/32",
        },
        "customer": customer(charge),
        "account_id": ACCOUNT,
    }


def transaction(charge: Charge) -> dict[str, Any]:
    """Return a transaction as verify answers it."""
    return {**transaction_in_list(charge), "meta": charge.details.get("meta") or {}}


def refund_created(refund: Refund, charge: Charge) -> dict[str, Any]:
    """Return a refund as its creation answers it: "completed" at once, though nothing has been paid out."""
    return {
        "id": refund.id,
        "account_id": ACCOUNT,
        "tx_id": charge.id,
        "flw_ref": flw_ref(charge),
        "wallet_id": WALLET,
        "amount_refunded": major(refund.amount_minor, refund.currency),
        "status": "completed",
        "destination": "payment_source",
        "meta": {"source": "availablebalance"},
        "created_at": when(refund.created_at),
    }


def refund_fetched(refund: Refund, charge: Charge) -> dict[str, Any]:
    """Return a refund as the questions after it answer it."""
    return {
        "id": refund.id,
        "amount_refunded": major(refund.amount_minor, refund.currency),
        "status": REFUND_STATUS[refund.status][0],
        "flw_ref": flw_ref(charge),
        "comment": refund.details.get("comments"),
        "settlement_id": "NEW",
        "meta": refund_meta(refund),
        "created_at": when(refund.created_at),
        "account_id": ACCOUNT,
        "transaction_id": charge.id,
    }


def refund_meta(refund: Refund) -> str:
    """Return the refund's inner state: JSON inside a text."""
    disbursed = REFUND_STATUS[refund.status][1]
    return written({"source": "availablebalance", **({"disburse_status": disbursed} if disbursed else {})})


def webhook_body(event: Event) -> tuple[str, str] | None:
    """Return the event name and exact body for a fact, or None when Flutterwave keeps silent about it."""
    if event.refund is not None and event.fact in REFUND_FACTS:
        return "refund.completed", written(_refund_callback(event.refund, event.charge))
    if event.fact not in CHARGE_FACTS:
        return None
    told = {**transaction_in_list(event.charge), "status": "failed"}
    if event.fact is Fact.CHARGE_PAID:
        told["status"] = "successful"
    meta = event.charge.details.get("meta") or {}
    # The same event for a failure: only data.status tells.
    return "charge.completed", written(
        {"event": "charge.completed", "data": told, "meta_data": meta, "event.type": "CARD_TRANSACTION"}
    )


def _refund_callback(refund: Refund, charge: Charge) -> dict[str, Any]:
    """The refund's own callback: flat, without an envelope, in PascalCase."""
    return {
        "id": refund.id,
        "AmountRefunded": major(refund.amount_minor, refund.currency),
        "status": REFUND_STATUS[refund.status][0],
        "FlwRef": flw_ref(charge),
        "destination": "payment_source",
        "comments": refund.details.get("comments"),
        "settlement_id": "NEW",
        "meta": refund_meta(refund),
        "createdAt": when(refund.created_at),
        "updatedAt": when(refund.updated_at),
        "deletedAt": None,
        "walletId": WALLET,
        "AccountId": ACCOUNT,
        "TransactionId": charge.id,
    }


def signature(body: bytes, secret: str) -> str:
    """Return flutterwave-signature: base64 of the HMAC-SHA256 of the raw body under the secret hash."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
