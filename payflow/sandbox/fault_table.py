"""The table of everything the sandbox can do wrong on request: one row per fault.

Data only, shown as it stands on the index page and by GET /sandbox/faults. When a fault strikes is decided
in faults.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

API_OPERATIONS = frozenset(
    {
        "initialize",
        "verify",
        "fetch_transaction",
        "list_transactions",
        "expire",
        "refund",
        "fetch_refund",
        "list_refunds",
        "retry_refund",
    }
)
PAY, WEBHOOK, MAIL = "pay", "webhook", "mail"
OPERATIONS = API_OPERATIONS | {PAY, WEBHOOK, MAIL}


class FaultName(StrEnum):
    """Every fault the sandbox knows."""

    DECLINE = "decline"
    ABANDON = "abandon"
    LATE_SUCCESS = "late_success"
    AUTO_PAY = "auto_pay"
    WRONG_AMOUNT = "wrong_amount"
    WRONG_CURRENCY = "wrong_currency"
    FEE_ON_CUSTOMER = "fee_on_customer"
    WEBHOOK_MISSING = "webhook_missing"
    WEBHOOK_DUPLICATE = "webhook_duplicate"
    WEBHOOK_OUT_OF_ORDER = "webhook_out_of_order"
    WEBHOOK_FORGED = "webhook_forged"
    WEBHOOK_DELAY = "webhook_delay"
    TIMEOUT_AFTER_EFFECT = "timeout_after_effect"
    SLOW = "slow"
    ERROR_500 = "error_500"
    RATE_LIMIT = "rate_limit"
    HTML_ERROR = "html_error"
    REFUSE_CONNECTION = "refuse_connection"
    TRUNCATED_JSON = "truncated_json"
    HUGE_BODY = "huge_body"
    NOT_FOUND_ON_VERIFY = "not_found_on_verify"
    NOT_LISTED = "not_listed"
    UNKNOWN_STATUS = "unknown_status"
    WRONG_REFERENCE = "wrong_reference"
    REFUND_STUCK_PENDING = "refund_stuck_pending"
    REFUND_SLOW = "refund_slow"
    REFUND_FAILS = "refund_fails"
    REFUND_FAILS_AFTER_SUCCESS = "refund_fails_after_success"
    REFUND_NEEDS_ATTENTION = "refund_needs_attention"
    REFUND_NO_BALANCE = "refund_no_balance"
    DASHBOARD_REFUND = "dashboard_refund"
    DISPUTE = "dispute"
    DISPUTE_RESOLVE = "dispute_resolve"
    MAIL_REJECTED = "mail_rejected"


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One row of the table: what a fault does, where it applies, and its parameters with their defaults."""

    name: FaultName
    does: str
    operations: frozenset[str]
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the row as the control API shows it."""
        return {
            "fault": self.name,
            "does": self.does,
            "operations": sorted(self.operations),
            "params": dict(self.params),
        }


F = FaultName
_PAY = frozenset({PAY})
_INITIALIZE = frozenset({"initialize"})
_VERIFY = frozenset({"verify", "fetch_transaction"})
_SHAPED = _INITIALIZE | _VERIFY
_REFUND = frozenset({"refund"})
_LISTS = frozenset({"list_transactions", "list_refunds"})
_WEBHOOK = frozenset({WEBHOOK})
_MAIL = frozenset({MAIL})

_ROWS = (
    FaultRow(
        F.DECLINE,
        "The bank declines the next try to pay; the transaction fails, the customer may try again.",
        _PAY,
        {"reason": "Declined"},
    ),
    FaultRow(
        F.ABANDON,
        "The next customer who would pay leaves instead; nothing is charged, nobody is told.",
        _PAY,
    ),
    FaultRow(
        F.LATE_SUCCESS,
        "The next customer leaves the page, and the money arrives `after_seconds` later.",
        _PAY,
        {"after_seconds": 30, "meanwhile": "ongoing"},
    ),
    FaultRow(
        F.AUTO_PAY,
        "Nobody needs to come to the page: `after_seconds` after initialize the transaction takes "
        "`outcome` (success, decline, abandon, late).",
        _INITIALIZE,
        {"after_seconds": 1, "outcome": "success"},
    ),
    FaultRow(
        F.WRONG_AMOUNT,
        "The charge is `delta` subunits off what was asked; `field` amount leaves the asked "
        "amount in the answer, both changes it as well.",
        _PAY,
        {"delta": -1, "field": "both"},
    ),
    FaultRow(
        F.WRONG_CURRENCY,
        "The charge is made in another currency.",
        _PAY,
        {"currency": "USD"},
    ),
    FaultRow(
        F.FEE_ON_CUSTOMER,
        "Not a fault but a surprise: the fee is added to what the customer pays, so the charged "
        "amount is above the asked one, which the answer still shows.",
        _PAY,
    ),
    FaultRow(
        F.WEBHOOK_MISSING,
        "The webhook is written in the log and never sent. `event`: only this one.",
        _WEBHOOK,
        {"event": None},
    ),
    FaultRow(
        F.WEBHOOK_DUPLICATE,
        "The webhook is sent `n` times in all, the copies `gap_seconds` apart (0: at once).",
        _WEBHOOK,
        {"n": 2, "gap_seconds": 0, "event": None},
    ),
    FaultRow(
        F.WEBHOOK_OUT_OF_ORDER,
        "The webhook waits until the next one of the same reference has gone out, at most `seconds`.",
        _WEBHOOK,
        {"seconds": 30, "event": None},
    ),
    FaultRow(
        F.WEBHOOK_FORGED,
        "A copy signed with another key is sent first; with `only` the true one is not sent.",
        _WEBHOOK,
        {"only": False, "event": None},
    ),
    FaultRow(
        F.WEBHOOK_DELAY,
        "The webhook is sent `seconds` late.",
        _WEBHOOK,
        {"seconds": 10, "event": None},
    ),
    FaultRow(
        F.TIMEOUT_AFTER_EFFECT,
        "The request takes effect; then silence for `seconds`, then the connection is closed "
        "(`then` close) or the answer comes after all (`then` answer).",
        API_OPERATIONS,
        {"seconds": 35, "then": "close"},
    ),
    FaultRow(
        F.SLOW,
        "Nothing happens for `seconds`; then the request takes effect and is answered.",
        API_OPERATIONS,
        {"seconds": 5},
    ),
    FaultRow(
        F.ERROR_500,
        "A server error in the gateway's own JSON; with `after_effect` the request did take effect.",
        API_OPERATIONS,
        {"status": 500, "after_effect": False},
    ),
    FaultRow(
        F.RATE_LIMIT,
        "429 with Retry-After; no effect.",
        API_OPERATIONS,
        {"retry_after": 2},
    ),
    FaultRow(
        F.HTML_ERROR,
        "A proxy's HTML page instead of JSON; with `after_effect` the request did take effect.",
        API_OPERATIONS,
        {"status": 502, "after_effect": False},
    ),
    FaultRow(
        F.REFUSE_CONNECTION,
        "The connection is reset before anything is answered; no effect.",
        API_OPERATIONS,
    ),
    FaultRow(
        F.TRUNCATED_JSON,
        "The request takes effect; only the first `keep` part of the JSON text is sent.",
        API_OPERATIONS,
        {"keep": 0.5},
    ),
    FaultRow(
        F.HUGE_BODY,
        "The request takes effect; the answer is `bytes` long.",
        API_OPERATIONS,
        {"bytes": 2_000_000},
    ),
    FaultRow(
        F.NOT_FOUND_ON_VERIFY,
        "The gateway does not know the transaction, although it does.",
        _VERIFY,
        {"status": 400},
    ),
    FaultRow(
        F.NOT_LISTED,
        "The transaction or the refund is left out of a list, although it is there.",
        _LISTS,
    ),
    FaultRow(
        F.UNKNOWN_STATUS,
        "The transaction carries a status word that is in no documentation.",
        _VERIFY,
        {"status": "frobnicated"},
    ),
    FaultRow(
        F.WRONG_REFERENCE,
        "The answer speaks of another reference.",
        _SHAPED,
        {"reference": "SOMEBODY-ELSE"},
    ),
    FaultRow(
        F.REFUND_STUCK_PENDING,
        "The refund is accepted and stays pending for ever.",
        _REFUND,
    ),
    FaultRow(
        F.REFUND_SLOW,
        "The refund is accepted and done after `seconds`.",
        _REFUND,
        {"seconds": 10},
    ),
    FaultRow(
        F.REFUND_FAILS,
        "The refund is accepted and fails; the money stays with the merchant.",
        _REFUND,
    ),
    FaultRow(
        F.REFUND_FAILS_AFTER_SUCCESS,
        "The refund is reported done, and `seconds` later as failed.",
        _REFUND,
        {"seconds": 2},
    ),
    FaultRow(
        F.REFUND_NEEDS_ATTENTION,
        "The refund waits for the customer's bank details.",
        _REFUND,
    ),
    FaultRow(
        F.REFUND_NO_BALANCE,
        "The refund is refused: the merchant's balance is too low.",
        _REFUND,
    ),
    FaultRow(
        F.DASHBOARD_REFUND,
        "An action: a person refunds at the gateway, `amount` or all that is left; at once, or as "
        "soon as the transaction is paid.",
        _PAY,
        {"amount": None},
    ),
    FaultRow(
        F.DISPUTE,
        "An action: the payer's bank opens a chargeback over `amount` or all; at once, or as soon "
        "as the transaction is paid.",
        _PAY,
        {"amount": None},
    ),
    FaultRow(
        F.DISPUTE_RESOLVE,
        "An action: the open chargeback ends; `won` says whether the merchant keeps the money.",
        _PAY,
        {"won": False},
    ),
    FaultRow(
        F.MAIL_REJECTED,
        "The mail server answers `code` to a message.",
        _MAIL,
        {"code": 451},
    ),
)
FAULT_TABLE: dict[FaultName, FaultRow] = {row.name: row for row in _ROWS}
ACTIONS = frozenset({F.DASHBOARD_REFUND, F.DISPUTE, F.DISPUTE_RESOLVE})
"""Things people do at the gateway; they strike when planted, or as soon as the transaction is paid."""
