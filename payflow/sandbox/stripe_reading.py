"""How Stripe reads a request and words its refusals: forms with brackets, amounts by currency, lists by cursor.

Pure request checks; what is done with a request is in stripe.py.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from flask import Response, jsonify, request

SUPPORTED = (
    "usd, aed, afn, all, amd, ang, aoa, ars, aud, awg, azn, bam, bbd, bdt, bgn, bhd, bif, bmd, bnd, bob, brl, bsd, "
    "bwp, byn, bzd, cad, cdf, chf, clp, cny, cop, crc, cve, czk, djf, dkk, dop, dzd, egp, etb, eur, fjd, fkp, gbp, "
    "gel, gip, gmd, gnf, gtq, gyd, hkd, hnl, htg, huf, idr, ils, inr, isk, jmd, jod, jpy, kes, kgs, khr, kmf, krw, "
    "kwd, kyd, kzt, lak, lbp, lkr, lrd, lsl, mad, mdl, mga, mkd, mmk, mnt, mop, mur, mvr, mwk, mxn, myr, mzn, nad, "
    "ngn, nio, nok, npr, nzd, omr, pab, pen, pgk, php, pkr, pln, pyg, qar, ron, rsd, rub, rwf, sar, sbd, scr, sek, "
    "sgd, shp, sle, sos, srd, std, szl, thb, tjs, tnd, top, try, ttd, twd, tzs, uah, ugx, uyu, uzs, vnd, vuv, wst, "
    "xaf, xcd, xcg, xof, xpf, yer, zar, zmw, btn, ghs"
)
CURRENCIES = frozenset(SUPPORTED.split(", "))
WITHOUT_DECIMALS = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
STEPS = {"ugx": 100, "isk": 100, "bhd": 10, "jod": 10, "kwd": 10, "omr": 10, "tnd": 10}
"""The API's amounts must be divisible by these."""
LEAST = {
    "usd": 50, "aed": 200, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50, "gbp": 30,
    "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50, "pln": 200,
    "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
"""The least charge where the account settles in the currency itself."""
MOST, MOST_IDR = 99_999_999, 999_999_999_999
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
PAGE, LONGEST_PAGE = 10, 100
SHORTEST_SESSION, LONGEST_SESSION = timedelta(minutes=30), timedelta(hours=24)
LONGEST_NUMBER = 15
SESSION_FIELDS = frozenset(
    {
        "mode", "success_url", "cancel_url", "client_reference_id", "customer_email", "line_items", "metadata",
        "payment_intent_data", "expires_at", "payment_method_types", "expand",
    }
)  # fmt: skip
REFUND_FIELDS = frozenset({"payment_intent", "charge", "amount", "reason", "metadata", "currency", "expand"})
REASONS = frozenset({"duplicate", "fraudulent", "requested_by_customer"})
CREATED = ("created[gte]", "created[lt]")
Row = TypeVar("Row")


class Refusal(Exception):
    """Stripe says no."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        http: int = 400,
        kind: str = "invalid_request_error",
    ) -> None:
        """Carry the words and the HTTP status of the refusal."""
        super().__init__(message)
        self.message, self.code, self.param, self.http = message, code, param, http
        self.kind = kind


def missing(name: str) -> Refusal:
    """Return the refusal for a parameter that must be there."""
    return Refusal(f"Missing required param: {name}.", code="parameter_missing", param=name)


def unknown(what: str, given: str) -> Refusal:
    """Return the refusal for an id nobody knows."""
    return Refusal(f"No such {what}: '{given}'", code="resource_missing", param=what.rpartition(".")[2], http=404)


def read_tree(pairs: Iterable[tuple[str, str]], allowed: frozenset[str]) -> dict[str, Any]:
    """Read `a[b][0][c]=d` as nested objects and lists; a name outside `allowed` is refused."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        parsed = NAME.fullmatch(name)
        if parsed is None or parsed.group(1) not in allowed:
            raise Refusal(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
        steps = [parsed.group(1), *re.findall(r"\[([^\[\]]*)\]", parsed.group(2))]
        node = tree
        for step in steps[:-1]:
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                raise Refusal("Invalid object", param=name)
        node[steps[-1]] = value
    return {name: _with_lists(value) for name, value in tree.items()}


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    values = {name: _with_lists(value) for name, value in node.items()}
    if values and all(name.isdigit() or not name for name in values):
        return list(values.values())
    return values


def read_words(value: Any, param: str) -> dict[str, str]:
    """Read metadata: text by text."""
    if value in (None, ""):
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise Refusal("Invalid hash", param=param)
    if len(value) > 50 or any(len(key) > 40 or len(item) > 500 for key, item in value.items()):
        raise Refusal("Metadata values can have up to 500 characters", param=param)
    return value


def read_number(value: Any, param: str) -> int:
    """Read a whole number above zero."""
    if value in (None, ""):
        raise missing(param)
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()) or len(value) > LONGEST_NUMBER:
        raise Refusal(f"Invalid integer: {value}", code="parameter_invalid_integer", param=param)
    return int(value)


def read_item(form: Mapping[str, Any]) -> tuple[int, str, str]:
    """Read the one line item: amount in the API's units, currency in capitals, name."""
    items = form.get("line_items")
    if not isinstance(items, list) or len(items) != 1 or not isinstance(items[0], dict):
        raise missing("line_items")
    price, where = items[0].get("price_data"), "line_items[0][price_data]"
    if not isinstance(price, dict):
        raise missing(where)
    product = price.get("product_data")
    name = product.get("name") if isinstance(product, dict) else None
    if not isinstance(name, str) or not name:
        raise missing(f"{where}[product_data][name]")
    currency = price.get("currency")
    if not isinstance(currency, str) or currency not in CURRENCIES:
        message = f"Invalid currency: {currency}. Stripe currently supports these currencies: {SUPPORTED}"
        raise Refusal(message, param=f"{where}[currency]")
    amount = read_number(price.get("unit_amount"), f"{where}[unit_amount]")
    amount *= read_number(items[0].get("quantity"), "line_items[0][quantity]")
    check_steps(amount, currency)
    if amount < LEAST.get(currency, 1):
        message = f"The Checkout Session's total amount must convert to at least {LEAST.get(currency, 1)} {currency}."
        raise Refusal(message, code="amount_too_small")
    if amount > (MOST_IDR if currency == "idr" else MOST):
        raise Refusal("The Checkout Session's total amount is too large.", code="amount_too_large")
    return amount, currency.upper(), name


def check_steps(amount: int, currency: str) -> None:
    """Refuse an amount the currency cannot be charged in."""
    if amount % STEPS.get(currency.lower(), 1):
        message = f"Invalid amount: {currency} amounts must be divisible by {STEPS[currency.lower()]}."
        raise Refusal(message, code="parameter_invalid_integer", param="amount")


def exponent(currency: str) -> int:
    """Return how many decimals the API's amounts carry."""
    word = currency.lower()
    return 0 if word in WITHOUT_DECIMALS else 3 if STEPS.get(word) == 10 else 2


def read_expiry(value: Any, now: datetime) -> int:
    """Read when a session shall close, in Unix seconds; a day from now when nothing is said."""
    if value is None:
        return int((now + LONGEST_SESSION).timestamp())
    at = read_number(value, "expires_at")
    if not now + SHORTEST_SESSION <= datetime.fromtimestamp(at, now.tzinfo) <= now + LONGEST_SESSION:
        message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
        raise Refusal(message, param="expires_at")
    return at


def is_created_within(moment: datetime) -> bool:
    """Tell whether `moment` lies within the query's `created[gte]` and `created[lt]`."""
    at = int(moment.timestamp())
    given = {name: read_number(request.args[name], "created") for name in CREATED if name in request.args}
    return given.get("created[gte]", at) <= at < given.get("created[lt]", at + 1)


def listed(rows: list[Row], row_id: Callable[[Row], str], show: Callable[[Row], dict[str, Any]]) -> dict[str, Any]:
    """Cut one page out of `rows` (newest first) by the query's cursor."""
    limit = read_number(request.args.get("limit", str(PAGE)), "limit")
    if not 0 < limit <= LONGEST_PAGE:
        raise Refusal("This value must be between 1 and 100.", code="parameter_invalid_integer", param="limit")
    after = request.args.get("starting_after")
    if after is not None:
        places = [number for number, row in enumerate(rows) if row_id(row) == after]
        if not places:
            raise unknown("starting_after", after)
        rows = rows[places[0] + 1 :]
    return {
        "object": "list", "url": request.path.removeprefix("/stripe"), "has_more": len(rows) > limit,
        "data": [show(row) for row in rows[:limit]],
    }  # fmt: skip


def answer_json(status: int, body: dict[str, Any]) -> Response:
    """Return a JSON answer."""
    answer = jsonify(body)
    answer.status_code = status
    return answer


def refused(no: Refusal) -> Response:
    """Return a refusal in its JSON shape."""
    told = {"code": no.code, "message": no.message, "param": no.param, "type": no.kind}
    if no.code is not None:
        told["doc_url"] = f"https://stripe.com/docs/error-codes/{no.code.replace('_', '-')}"
    answer = answer_json(no.http, {"error": {name: value for name, value in told.items() if value is not None}})
    if no.http == 409:
        answer.headers["Stripe-Should-Retry"] = "true"
    return answer
