"""The hosted pay page: what a customer sees between payflow's redirect out and the gateway's redirect back.

Same page for every gateway. It lets the customer do things; what they lead to is decided in counterparty.py.
"""

from datetime import timedelta

from flask import Blueprint, abort, redirect, render_template, request
from werkzeug.wrappers import Response

from payflow.sandbox.counterparty import OUTCOMES, Counterparty
from payflow.sandbox.records import Charge, ChargeStatus

LONGEST_WAIT = timedelta(days=7).total_seconds()


def safe_link(url: str | None) -> str | None:
    """Return `url` if a browser may be sent there: http or https only."""
    return url if url is not None and url.lower().startswith(("http://", "https://")) else None


def shown_amount(amount_minor: int, currency: str, exponent: int) -> str:
    """Write an amount for people: 1500000 NGN with two decimals is "NGN 15,000.00"."""
    whole, part = divmod(amount_minor, 10**exponent)
    return f"{currency} {whole:,}" + (f".{part:0{exponent}d}" if exponent else "")


def pages_blueprint(party: Counterparty, *, merchant: str) -> Blueprint:
    """Return the pay page's routes."""
    routes = Blueprint("pages", __name__)

    def found(access_code: str) -> Charge:
        charge = party.state.charge_by_code(access_code)
        if charge is None:
            abort(404)
        return charge

    def page(charge: Charge, *, left: str | None = None) -> str:
        exponent = party.dialects[charge.gateway].exponent(charge.requested_currency)
        back = party.dialects[charge.gateway].redirect_url(charge, "success")
        return render_template(
            "checkout.html", charge=charge, merchant=merchant, left=left, back=safe_link(back),
            amount=shown_amount(charge.requested_minor, charge.requested_currency, exponent),
            paid=charge.status is ChargeStatus.PAID, failed=charge.status is ChargeStatus.FAILED,
        )  # fmt: skip

    @routes.get("/checkout/<access_code>")
    def checkout(access_code: str) -> str:
        party.tick()
        return page(found(access_code))

    @routes.post("/checkout/<access_code>/<outcome>")
    def choose(access_code: str, outcome: str) -> Response | str:
        charge = found(access_code)
        if outcome not in OUTCOMES:
            abort(404)
        seconds = request.form.get("after_seconds", 30.0, type=float)
        happened = party.customer_does(charge, outcome, after_seconds=min(max(seconds, 0), LONGEST_WAIT))
        target = safe_link(party.dialects[charge.gateway].redirect_url(charge, happened))
        # without an address to go back to, the page says what happened
        return redirect(target, code=303) if target else page(found(access_code), left=happened)

    return routes
