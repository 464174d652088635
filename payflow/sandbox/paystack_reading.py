"""How Paystack reads a request and words its answers and refusals.

Pure request checks; what is done with a request is in paystack.py.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Response, jsonify, request

CURRENCIES = frozenset({"NGN", "USD", "GHS", "ZAR", "KES", "XOF"})
MAX_AMOUNT = 10_000_000 * 100
REFERENCE = re.compile(r"[A-Za-z0-9.=-]{1,200}")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
NEXT_STEP = "Ensure that the value(s) you're passing are valid."
PER_PAGE = 50
LONGEST_NUMBER = 18
Row = TypeVar("Row")


class Refusal(Exception):
    """Paystack says no."""

    def __init__(
        self, message: str, *, code: str = "invalid_params", http: int = 400, next_step: str = NEXT_STEP
    ) -> None:
        """Carry the words and the HTTP status of the refusal."""
        super().__init__(message)
        self.message, self.code, self.http, self.next_step = message, code, http, next_step


def read_body() -> dict[str, Any]:
    """Read the request as JSON or as a form; anything else reads as empty."""
    if request.mimetype == "application/x-www-form-urlencoded":
        return dict(request.form)
    parsed = request.get_json(force=True, silent=True)
    return parsed if isinstance(parsed, dict) else {}


def is_number(text: str) -> bool:
    """Tell whether `text` is a number a Paystack id or amount could be."""
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER


def read_text(value: object) -> str | None:
    """Read an optional text."""
    return value if isinstance(value, str) and value else None


def read_email(body: Mapping[str, Any]) -> str:
    """Read the payer's address."""
    email = body.get("email")
    if not email:
        raise Refusal("Email is not allowed to be empty", code="missing_params")
    if not isinstance(email, str) or not EMAIL.fullmatch(email):
        raise Refusal("Invalid Email Address Passed", code="invalid_email_address")
    return email


def read_amount(value: object) -> int:
    """Read an amount in subunits: a whole number above zero, digits in a string allowed."""
    if isinstance(value, str) and is_number(value):
        value = int(value)
    if value in (None, "", 0) or isinstance(value, bool):
        raise Refusal("You must specify a valid amount", code="invalid_amount")
    if not isinstance(value, int) or value < 0:
        raise Refusal("Invalid Amount Sent", code="invalid_amount")
    if value > MAX_AMOUNT:
        raise Refusal("Transaction amount limit exceeded", code="invalid_amount")
    return value


def read_currency(body: Mapping[str, Any]) -> str:
    """Read the currency, NGN when none is given."""
    currency = body.get("currency") or "NGN"
    if not isinstance(currency, str) or currency not in CURRENCIES:
        raise Refusal("Currency not supported by merchant", code="unsupported_currency")
    return currency


def read_metadata(value: object) -> object:
    """Read metadata, which callers send as an object or as JSON in a string."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def unknown_transaction(http: int) -> Refusal:
    """Return the refusal for a reference nobody knows; 400 or 404 have both been seen."""
    return Refusal(
        "Transaction reference not found.", code="transaction_not_found", http=int(http),
        next_step="Ensure that you're passing the reference of a transaction that exists on this integration",
    )  # fmt: skip


def is_within_dates(moment: datetime) -> bool:
    """Tell whether `moment` lies between the query's `from` and `to`."""
    for name, outside in (("from", moment.__lt__), ("to", moment.__gt__)):
        text = request.args.get(name)
        if not text:
            continue
        try:
            bound = datetime.fromisoformat(text)
        except ValueError:
            raise Refusal(f"{name} must be a date") from None
        if outside(bound if bound.tzinfo else bound.replace(tzinfo=UTC)):
            return False
    return True


def paged(rows: list[Row]) -> tuple[list[Row], dict[str, int]]:
    """Cut one page out of `rows`, and describe it."""
    asked = request.args.get("perPage", type=int) or request.args.get("per_page", type=int) or PER_PAGE
    per_page = min(max(asked, 1), 100)
    page = max(request.args.get("page", 1, type=int), 1)
    skipped = (page - 1) * per_page
    meta = {"total": len(rows), "skipped": skipped, "perPage": per_page, "page": page,
            "pageCount": -(-len(rows) // per_page)}  # fmt: skip
    return rows[skipped : skipped + per_page], meta


def answer_json(status: int, body: dict[str, Any]) -> Response:
    """Return a JSON answer."""
    answer = jsonify(body)
    answer.status_code = status
    return answer


def said(message: str, data: object, meta: Mapping[str, int | str] | None = None) -> Response:
    """Return a success with its message."""
    body: dict[str, Any] = {"status": True, "message": message, "data": data}
    return answer_json(HTTPStatus.OK, body if meta is None else {**body, "meta": meta})


def refused(no: Refusal) -> Response:
    """Return a refusal in its JSON shape."""
    return answer_json(no.http, {
        "status": False, "message": no.message, "meta": {"nextStep": no.next_step},
        "type": "validation_error", "code": no.code,
    })  # fmt: skip
