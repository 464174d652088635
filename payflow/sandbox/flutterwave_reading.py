"""How Flutterwave v3 reads a request and words its answers and refusals.

Pure request checks; what is done with a request is in flutterwave.py.
"""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Response, request

from payflow.sandbox.flutterwave_shapes import exponent, written

CURRENCIES = frozenset(
    {
        "NGN", "USD", "EUR", "GBP", "GHS", "KES", "ZAR", "UGX", "RWF", "TZS", "ZMW", "MWK", "XAF", "XOF", "EGP", "GNF",
        "MAD", "CAD", "CLP", "COP",
    }
)  # fmt: skip
AMOUNT = re.compile(r"\d{1,12}(\.\d{1,9})?")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
LONGEST_NUMBER = 18
Row = TypeVar("Row")


class Refusal(Exception):
    """Flutterwave says no."""

    def __init__(self, message: str, http: int = 400) -> None:
        """Carry the words and the HTTP status of the refusal."""
        super().__init__(message)
        self.message, self.http = message, http


def read_body() -> dict[str, Any]:
    """Read the request's JSON with exact decimals; anything else reads as empty."""
    try:
        parsed = json.loads(request.get_data() or b"{}", parse_float=Decimal)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def is_number(text: str) -> bool:
    """Tell whether `text` is a number an id could be."""
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER


def read_text(value: object) -> str | None:
    """Read an optional text."""
    return value if isinstance(value, str) and value else None


def read_email(body: Mapping[str, Any]) -> str:
    """Read the payer's address."""
    payer = body.get("customer")
    email = payer.get("email") if isinstance(payer, dict) else None
    if not isinstance(email, str) or not EMAIL.fullmatch(email):
        raise Refusal("customer.email is required")
    return email


def read_currency(body: Mapping[str, Any]) -> str:
    """Read the currency, NGN when none is given."""
    currency = body.get("currency") or "NGN"
    if not isinstance(currency, str) or currency not in CURRENCIES:
        raise Refusal("currency is not supported")
    return currency


def read_amount(value: object, currency: str) -> int:
    """Read an amount in major units, a number or digits in a text, to minor units."""
    text = value if isinstance(value, str) else None
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        text = format(Decimal(value), "f")
    if text is None or not AMOUNT.fullmatch(text):
        raise Refusal("amount is required")
    minor = Decimal(text).scaleb(exponent(currency))
    if minor != minor.to_integral_value() or not minor:
        raise Refusal("amount is invalid")
    return int(minor)


def read_days() -> tuple[date, date]:
    """Read the list's `from` and `to`, which are required."""
    days = []
    for name in ("from", "to"):
        try:
            days.append(date.fromisoformat(request.args[name]))
        except (KeyError, ValueError):
            raise Refusal(f"{name} is required") from None
    return days[0], days[1]


def is_within(moment: datetime, days: tuple[date, date]) -> bool:
    """Tell whether `moment` lies on one of the days."""
    return days[0] <= moment.date() <= days[1]


def paged(rows: list[Row], size: int) -> tuple[list[Row], dict[str, Any]]:
    """Cut one page out of `rows`, and describe it."""
    page = max(request.args.get("page", 1, type=int), 1)
    info = {"total": len(rows), "current_page": page, "total_pages": max(-(-len(rows) // size), 1)}
    return rows[(page - 1) * size : page * size], {"page_info": info}


def unknown_transaction(http: int = 400) -> Refusal:
    """Return the answer for a reference or number nobody has paid on."""
    return Refusal("No transaction was found for this id", http)


def answer_json(status: int, body: Mapping[str, Any]) -> Response:
    """Return a JSON answer."""
    return Response(written(body), status=status, mimetype="application/json")


def said(message: str, data: object, meta: Mapping[str, Any] | None = None) -> Response:
    """Return a success with its message."""
    body: dict[str, Any] = {"status": "success", "message": message}
    return answer_json(HTTPStatus.OK, {**body, **({"meta": meta} if meta is not None else {}), "data": data})


def refused(no: Refusal) -> Response:
    """Return a refusal in its JSON shape."""
    return answer_json(no.http, {"status": "error", "message": no.message, "data": None})
