"""What the gateway log keeps of a body: an allow-list of keys. What nobody has named here is kept as its key alone.

Used on top of `redact`: that takes out what is known to be dangerous, this lets in only what is known to be harmless,
since a gateway may add a field any day. No I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from payflow.gateways.redaction import HIDDEN, redact_text

_CODES = frozenset(
    """
    amount amount_captured amount_decimal amount_received amount_refunded amount_settled amount_subtotal amount_total
    app_fee attempts cancellation_reason canceled_at captured category channel charge charged_amount code
    count country created created_at createdat currency current_page deducted_amount decline_code disputed
    domain error_code event expected_at expires_at failure_code fee fees flw_ref from fully_deducted has_more id
    idempotency_key latest_charge limit livemode merchant_fee mode network_status object page page_size
    paid paid_at paidat param payment_intent payment_status payment_type perpage per_page pagecount processor quantity
    reason reference refund refund_amount refund_reference refunded refunded_at requested_amount resolution result skip
    source starting_after status success time time_spent to total total_pages transaction transaction_date
    transaction_id transaction_reference tx_id tx_ref type ui_mode unit_amount updated_at updatedat version attempt_id
    order_id order_number payment_id refund_id client_reference_id payflow_refund_id
    """.split()  # noqa: SIM905 - a list of words reads best as text
)
"""Kept when the value is a number, a flag, or one plain word: ids, amounts, statuses, times."""
SENTENCES = frozenset(("message", "gateway_response", "processor_response", "failure_message", "seller_message"))
"""Fields in which a gateway speaks to people. A name it puts there cannot be told from other words."""
_OUR_NOTE = re.compile(r"payflow refund [0-9a-f-]{36}\Z")
"""What a refund's note says where it is the only place for our id; other notes are people's words, and stay out."""
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,127}\Z")
_KEY = re.compile(r"[A-Za-z0-9_.\[\]-]{1,80}\Z")
_NUMBERS = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|(\+?\d[\d ()./-]{5,}\d)", re.IGNORECASE)
"""Our own ids come first; what else is seven digits long in a sentence may be a phone or an account."""
_ADDRESS = re.compile(r"https?://([^\s/?#@]+)[^\s]*")
_MOST_ITEMS = 10
_DEEPEST = 8
MOST_BYTES = 8_192


def readable(body: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a body (JSON, or a form with bracketed keys) that operators may read, at most 8 KiB as JSON."""
    kept: dict[str, Any] = _object(body, 0)
    if len(json.dumps(kept).encode()) <= MOST_BYTES:
        return kept
    top = {key: value for key, value in kept.items() if not isinstance(value, (dict, list))}
    return {**dict(list(top.items())[:40]), "…": "cut: longer than 8 KiB"}


def readable_text(text: str) -> str:
    """A gateway's sentence without e-mails, keys, long numbers and what follows the host of an address."""
    text = _ADDRESS.sub(r"https://\1/…", redact_text(text, limit=250))
    return _NUMBERS.sub(lambda found: "[digits]" if found.group(1) else found.group(), text)


def _object(body: Mapping[str, Any], depth: int) -> dict[str, Any]:
    return {(key if _KEY.match(key) else HIDDEN): _member(key, value, depth) for key, value in body.items()}


def _member(key: str, value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return _object(value, depth + 1) if depth < _DEEPEST else HIDDEN
    if isinstance(value, (list, tuple)):
        items = [_member(key, item, depth + 1) for item in value[:_MOST_ITEMS]] if depth < _DEEPEST else [HIDDEN]
        return items if len(value) <= _MOST_ITEMS else [*items, f"… {len(value) - _MOST_ITEMS} more"]
    if value is None or isinstance(value, bool) or value in ("", HIDDEN):
        return value
    word = _last_word(key)
    if isinstance(value, (int, Decimal)):
        return (str(value) if isinstance(value, Decimal) else value) if word in _CODES else HIDDEN
    text = str(value)
    if _OUR_NOTE.match(text) or (word in _CODES and _WORD.match(text) and redact_text(text) == text):
        return text
    return readable_text(text) if word in SENTENCES else HIDDEN


def _last_word(key: str) -> str:
    """`metadata[order_id]` → `order_id`; `line_items[0]` → `line_items`."""
    return next((part for part in reversed(re.split(r"[\[\]]+", key.lower())) if part and not part.isdigit()), "")
