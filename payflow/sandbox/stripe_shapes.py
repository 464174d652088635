"""How Stripe writes things: sessions, payment intents, charges, refunds, disputes, events, the signature.

Pure: records in, JSON-ready dicts out. Field lists follow the official samples (version 2026-10-28.endive).
"""

import hashlib
import hmac
import json
import re
from datetime import datetime
from typing import Any

from payflow.sandbox.dialect import Event, Fact
from payflow.sandbox.records import Charge, ChargeStatus, Dispute, DisputeStatus, Refund, RefundStatus

API_VERSION = "2026-10-28.endive"
CARD_DECLINED = "card_declined"
"""The decline reason that means a refused card: the page stays open and nothing is final."""
REFUND_STATUS = {
    RefundStatus.PENDING: "pending",
    RefundStatus.PROCESSING: "pending",
    RefundStatus.PROCESSED: "succeeded",
    RefundStatus.FAILED: "failed",
    RefundStatus.NEEDS_ATTENTION: "requires_action",
}
DISPUTE_STATUS = {
    DisputeStatus.OPEN: "needs_response",
    DisputeStatus.WON: "won",
    DisputeStatus.LOST: "lost",
}
SESSION_NULLS = (
    "after_expiration", "allow_promotion_codes", "billing_address_collection", "client_secret",
    "collected_information", "consent", "consent_collection", "currency_conversion", "customer",
    "customer_account", "discounts", "integration_identifier", "invoice", "locale", "managed_payments",
    "origin_context", "payment_link", "payment_method_configuration_details", "permissions", "recovered_from",
    "saved_payment_method_options", "setup_intent", "shipping_address_collection", "shipping_cost", "submit_type",
    "subscription", "ui_mode", "wallet_options",
)  # fmt: skip
INTENT_NULLS = (
    "application", "application_fee_amount", "canceled_at", "cancellation_reason", "customer", "customer_account",
    "description", "excluded_payment_method_types", "managed_payments", "next_action", "on_behalf_of",
    "payment_method", "payment_method_configuration_details", "receipt_email", "review", "setup_future_usage",
    "shipping", "source", "statement_descriptor", "statement_descriptor_suffix", "transfer_data", "transfer_group",
)  # fmt: skip
CHARGE_NULLS = (
    "application", "application_fee", "application_fee_amount", "balance_transaction",
    "calculated_statement_descriptor", "customer", "description", "failure_balance_transaction", "failure_code",
    "failure_message", "on_behalf_of", "payment_method", "receipt_email", "receipt_number", "receipt_url", "review",
    "shipping", "source", "source_transfer", "statement_descriptor", "statement_descriptor_suffix", "transfer_data",
    "transfer_group",
)  # fmt: skip
REFUND_NULLS = (
    "balance_transaction", "customer", "customer_account", "payment_method", "receipt_number",
    "source_transfer_reversal", "transfer_reversal",
)  # fmt: skip
ID = re.compile(r"[a-z]{2}_([0-9]{1,18})Z[a-z0-9]{8}")


# --- ids


def session_id(charge: Charge) -> str:
    """Return `cs_test_…`."""
    return f"cs_test_{charge.access_code}"


def intent_id(charge: Charge) -> str:
    """Return `pi_…`; the number inside finds the charge again."""
    return f"pi_{charge.id}Z{charge.access_code[:8]}"


def charge_id(charge: Charge) -> str:
    """Return `ch_…`."""
    return f"ch_{charge.id}Z{charge.access_code[:8]}"


def refund_id(refund: Refund) -> str:
    """Return `re_…`."""
    return f"re_{refund.id}Z{hashlib.sha256(str(refund.id).encode()).hexdigest()[:8]}"


def number_in(name: str) -> int:
    """Return the record number in one of the ids above, 0 for anything else."""
    found = ID.fullmatch(name)
    return int(found.group(1)) if found else 0


# --- states


def is_declined_card(charge: Charge) -> bool:
    """Tell whether the last try was a refused card, after which the customer may try on."""
    return charge.status is ChargeStatus.FAILED and charge.decline_reason == CARD_DECLINED


def session_status(charge: Charge, now: datetime) -> tuple[str, str]:
    """Return status and payment_status.

    A customer who left with a payment running, or whose payment failed after that, has completed the session; only
    an open one expires.
    """
    if charge.status is ChargeStatus.PAID:
        return "complete", "paid"
    if charge.meanwhile or (charge.status is ChargeStatus.FAILED and not is_declined_card(charge)):
        return "complete", "unpaid"
    is_over = bool(charge.details.get("is_closed")) or int(now.timestamp()) >= charge.details["expires_at"]
    return ("expired" if is_over else "open"), "unpaid"


def intent_status(charge: Charge) -> str | None:
    """Return the payment intent's status; there is no intent before the customer has tried to pay."""
    match charge.status:
        case ChargeStatus.PAID:
            return "succeeded"
        case ChargeStatus.FAILED:
            return "requires_payment_method"
        case ChargeStatus.OPEN:
            return "processing" if charge.meanwhile else None


# --- objects


def session(charge: Charge, status: tuple[str, str], *, url: str | None, is_expanded: bool = False) -> dict[str, Any]:
    """Return a Checkout Session; its address is shown only while it is open."""
    intent: Any = None
    if intent_status(charge) is not None:
        intent = payment_intent(charge) if is_expanded else intent_id(charge)
    asked = charge.details
    return {
        **dict.fromkeys(SESSION_NULLS),
        "id": session_id(charge),
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "amount_subtotal": charge.requested_minor,
        "amount_total": charge.requested_minor,
        "automatic_tax": {"enabled": False, "liability": None, "status": None},
        "cancel_url": asked["cancel_url"],
        "client_reference_id": asked["client_reference_id"],
        "created": int(charge.created_at.timestamp()),
        "currency": charge.currency.lower(),
        "custom_fields": [],
        "custom_text": {"after_submit": None, "shipping_address": None, "submit": None,
                        "terms_of_service_acceptance": None},
        "customer_creation": "if_required",
        "customer_details": _person(charge),
        "customer_email": charge.email or None,
        "expires_at": asked["expires_at"],
        "invoice_creation": {"enabled": False, "invoice_data": {
            "account_tax_ids": None, "custom_fields": None, "description": None, "footer": None, "metadata": None,
            "rendering_options": None,
        }},
        "livemode": False,
        "metadata": asked["metadata"],
        "mode": "payment",
        "payment_intent": intent,
        "payment_method_collection": "if_required",
        "payment_method_options": {},
        "payment_method_types": asked["methods"],
        "payment_status": status[1],
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": status[0],
        "success_url": charge.callback_url,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "url": url if status[0] == "open" else None,
    }  # fmt: skip


def _person(charge: Charge) -> dict[str, Any] | None:
    if intent_status(charge) is None:
        return None
    return {"address": None, "email": charge.email or None, "name": None, "phone": None, "tax_exempt": "none",
            "tax_ids": None}  # fmt: skip


def payment_intent(charge: Charge) -> dict[str, Any]:
    """Return a payment intent."""
    is_paid = charge.status is ChargeStatus.PAID
    has_charge = charge.status is not ChargeStatus.OPEN
    return {
        **dict.fromkeys(INTENT_NULLS),
        "id": intent_id(charge),
        "object": "payment_intent",
        "amount": charge.requested_minor,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": charge.charged_minor if is_paid else 0,
        "automatic_payment_methods": None,
        "capture_method": "automatic_async",
        "client_secret": f"{intent_id(charge)}_secret_{charge.access_code}",
        "confirmation_method": "automatic",
        "created": int(charge.created_at.timestamp()),
        "currency": charge.currency.lower(),
        "last_payment_error": _decline(charge),
        "latest_charge": charge_id(charge) if has_charge else None,
        "livemode": False,
        "metadata": charge.details["intent_metadata"],
        "payment_method_options": {},
        "payment_method_types": charge.details["methods"],
        "processing": None,
        "status": intent_status(charge) or "requires_payment_method",
    }


def _decline(charge: Charge) -> dict[str, Any] | None:
    if charge.status is not ChargeStatus.FAILED:
        return None
    if is_declined_card(charge):
        return {"type": "card_error", "code": CARD_DECLINED, "decline_code": "generic_decline",
                "message": "Your card was declined."}  # fmt: skip
    return {"type": "invalid_request_error", "code": "payment_intent_payment_attempt_failed",
            "message": charge.decline_reason or "The payment failed."}  # fmt: skip


def charge(row: Charge, refunds: list[Refund]) -> dict[str, Any]:
    """Return a charge."""
    back = sum(refund.amount_minor for refund in refunds if refund.status is not RefundStatus.FAILED)
    is_paid = row.status is ChargeStatus.PAID
    return {
        **dict.fromkeys(CHARGE_NULLS),
        "id": charge_id(row),
        "object": "charge",
        "amount": row.charged_minor,
        "amount_captured": row.charged_minor if is_paid else 0,
        "amount_refunded": back,
        "billing_details": {"address": None, "email": row.email or None, "name": None, "phone": None},
        "captured": is_paid,
        "created": int((row.paid_at or row.created_at).timestamp()),
        "currency": row.currency.lower(),
        "disputed": row.charged_back,
        "fraud_details": {},
        "livemode": False,
        "metadata": row.details["intent_metadata"],
        "outcome": None,
        "paid": is_paid,
        "payment_intent": intent_id(row),
        "payment_method_details": {"type": "card", "card": {
            "amount_authorized": None, "brand": "visa", "checks": None, "country": "US", "exp_month": 12,
            "exp_year": 2030, "fingerprint": "xyz", "funding": "credit", "installments": None, "last4": "4242",
            "mandate": None, "network": "visa", "three_d_secure": None, "wallet": None,
        }},
        "refunded": back >= row.charged_minor,
        "refunds": None,
        "status": "succeeded" if is_paid else "failed",
    }  # fmt: skip


def refund(row: Refund, paid: Charge, *, is_new: bool = False) -> dict[str, Any]:
    """Return a refund, as it stands or as it stood when it was made; extras stand there only when they apply."""
    status = REFUND_STATUS[RefundStatus.PENDING if is_new else row.status]
    extras: dict[str, Any] = {}
    if status == "failed":
        extras = {"failure_reason": "expired_or_canceled_card", "failure_balance_transaction": f"txn_{row.id}"}
    elif status == "pending":
        extras = {"pending_reason": "processing"}
    return {
        **dict.fromkeys(REFUND_NULLS),
        "id": refund_id(row),
        "object": "refund",
        "amount": row.amount_minor,
        "charge": charge_id(paid),
        "created": int(row.created_at.timestamp()),
        "currency": row.currency.lower(),
        "destination_details": {"type": "card", "card": {"type": "refund"}},
        "metadata": row.details.get("metadata", {}),
        "payment_intent": intent_id(paid),
        "reason": row.details.get("reason"),
        "status": status,
        **extras,
    }


def _dispute(row: Dispute, paid: Charge) -> dict[str, Any]:
    return {
        "id": f"dp_{row.id}Z{paid.access_code[:8]}",
        "object": "dispute",
        "amount": row.amount_minor,
        "balance_transactions": [],
        "charge": charge_id(paid),
        "created": int(row.created_at.timestamp()),
        "currency": row.currency.lower(),
        "evidence": {},
        "evidence_details": {"has_evidence": False, "past_due": False, "submission_count": 0},
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": intent_id(paid),
        "reason": "general",
        "status": DISPUTE_STATUS[row.status],
    }


# --- webhooks


def events(event: Event, refunds: list[Refund], now: datetime) -> list[tuple[str, dict[str, Any]]]:
    """Return the (type, object) pairs Stripe tells a fact by; often several for one fact."""
    paid = event.charge
    if event.dispute is not None:
        return [("charge.dispute.created" if event.fact is Fact.DISPUTE_OPENED else "charge.dispute.closed",
                 _dispute(event.dispute, paid))]  # fmt: skip
    if event.refund is not None:
        about = refund(event.refund, paid)
        names = {
            Fact.REFUND_PENDING: ("refund.created",),
            Fact.REFUND_PROCESSED: ("refund.updated", "charge.refund.updated"),
            Fact.REFUND_FAILED: ("refund.failed", "refund.updated", "charge.refund.updated"),
            Fact.REFUND_NEEDS_ATTENTION: ("refund.updated", "charge.refund.updated"),
        }.get(event.fact, ())
        told = [(name, about) for name in names]
        return [*told, ("charge.refunded", charge(paid, refunds))] if event.fact is Fact.REFUND_PENDING else told
    match event.fact:
        case Fact.CHARGE_PAID:  # also told of a charge that is not paid, when a script makes the event up
            return [("payment_intent.succeeded", {**payment_intent(paid), "status": "succeeded"}),
                    ("checkout.session.completed", session(paid, ("complete", "paid"), url=None))]  # fmt: skip
        case Fact.CHARGE_FAILED:
            failed = [("payment_intent.payment_failed", payment_intent(paid))]
            if not is_declined_card(paid):
                about = session(paid, session_status(paid, now), url=None)
                failed.append(("checkout.session.async_payment_failed", about))
            return failed
        case Fact.CHARGE_EXPIRED:
            return [("checkout.session.expired", session(paid, ("expired", "unpaid"), url=None))]
        case _:
            return []


def event_body(kind: str, about: dict[str, Any], *, event_id: str, now: datetime) -> str:
    """Return the exact text of an event; Stripe sends it with line breaks."""
    return json.dumps({
        "id": event_id, "object": "event", "api_version": API_VERSION, "created": int(now.timestamp()),
        "data": {"object": about}, "livemode": False, "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None}, "type": kind,
    }, indent=2)  # fmt: skip


def signature(body: bytes, secret: str, at: int) -> str:
    """Return Stripe-Signature: v1 is the lowercase hex HMAC-SHA256 of `{t}.{raw body}` under the endpoint's secret."""
    return f"t={at},v1={hmac.new(secret.encode(), f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"
