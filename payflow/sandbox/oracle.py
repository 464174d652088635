"""The reading half of the control API: what really happened at the counterparty, for tests to compare with.

Nothing here changes anything, but for letting the time that has passed take effect.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, TypeVar

from flask import Blueprint, Response, jsonify, request

from payflow.sandbox.counterparty import Counterparty
from payflow.sandbox.records import Charge, ChargeStatus, Record, RefundStatus

Row = TypeVar("Row", bound=Record)


class Oracle:
    """Charges, refunds, disputes, calls and webhooks as JSON."""

    def __init__(self, party: Counterparty) -> None:
        """Read from `party`."""
        self._party = party

    def add_routes(self, routes: Blueprint) -> None:
        """Mount the reading routes."""
        routes.get("/charges")(self.charges)
        routes.get("/refunds")(self.refunds)
        routes.get("/disputes")(self.disputes)
        routes.get("/calls")(self.calls)
        routes.get("/webhooks")(self.webhooks)

    def charges(self) -> Response:
        """Every charge, and what was taken and given back per reference and per currency."""
        with self._party.state.lock:
            self._party.tick()
            rows = _filtered(self._party.state.charges.values())
            by_reference: dict[str, dict[str, Any]] = {}
            totals: dict[str, dict[str, int]] = defaultdict(
                lambda: {"charges": 0, "taken_minor": 0, "returned_minor": 0}
            )
            for charge in rows:
                sums = self._sums(charge)
                entry = by_reference.setdefault(
                    charge.reference,
                    {
                        "transactions": 0,
                        "charges": 0,
                        "taken_minor": 0,
                        "returned_minor": 0,
                        "returning_minor": 0,
                        "currency": charge.currency,
                        "exponent": self._exponent(charge),
                    },
                )
                entry["transactions"] += 1
                for name, value in sums.items():
                    entry[name] += value
                for name in totals[charge.currency]:
                    totals[charge.currency][name] += sums[name]
            return jsonify(
                {
                    "charges": [
                        {**charge.to_json(), **self._sums(charge), "exponent": self._exponent(charge)}
                        for charge in rows
                    ],
                    "by_reference": by_reference,
                    "totals": {currency: sums for currency, sums in totals.items() if sums["charges"]},
                }
            )

    def _exponent(self, charge: Charge) -> int:
        """How many decimals this gateway's amounts carry: not always ISO 4217's (Stripe counts UGX in hundredths)."""
        return self._party.dialects[charge.gateway].exponent(charge.currency)

    def _sums(self, charge: Charge) -> dict[str, int]:
        paid = charge.status is ChargeStatus.PAID
        refunds = self._party.state.refunds_of(charge.id)
        done = sum(refund.amount_minor for refund in refunds if refund.status is RefundStatus.PROCESSED)
        failed = sum(refund.amount_minor for refund in refunds if refund.status is RefundStatus.FAILED)
        everything = sum(refund.amount_minor for refund in refunds)
        return {
            "charges": int(paid),
            "taken_minor": charge.charged_minor if paid else 0,
            "returned_minor": done,
            "returning_minor": everything - done - failed,
        }

    def refunds(self) -> Response:
        """Every refund."""
        with self._party.state.lock:
            self._party.tick()
            rows = _filtered(self._party.state.refunds.values())
            return jsonify({"refunds": [row.to_json() for row in rows]})

    def disputes(self) -> Response:
        """Every dispute."""
        with self._party.state.lock:
            return jsonify({"disputes": [row.to_json() for row in _filtered(self._party.state.disputes.values())]})

    def calls(self) -> Response:
        """Every request that reached a gateway's API, oldest first."""
        with self._party.state.lock:
            rows = _filtered(self._party.state.calls)
            return jsonify({"calls": [row.to_json() for row in rows]})

    def webhooks(self) -> Response:
        """The webhook log: what was to be sent, every try, and what became of it."""
        with self._party.state.lock:
            rows = _filtered(self._party.state.deliveries.values())
            return jsonify({"webhooks": [row.to_json() for row in rows]})


def _filtered(rows: Iterable[Row]) -> list[Row]:
    """Keep the rows whose fields equal the query's, the last `limit` of them."""
    wanted = {
        name: request.args[name]
        for name in ("gateway", "reference", "status", "event", "operation", "route", "source", "fault")
        if name in request.args
    }
    kept = [row for row in rows if all(str(getattr(row, name, "")) == value for name, value in wanted.items())]
    limit = request.args.get("limit", type=int)
    return kept[-limit:] if limit else kept
