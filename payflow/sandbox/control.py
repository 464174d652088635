"""The control API under /sandbox: scripts plant faults and play the customer, tests read what happened.

Neutral JSON only. It may change anything in the sandbox and belongs on a loopback address.
"""

from typing import Any

from flask import Blueprint, Response, jsonify, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from payflow.sandbox.counterparty import OUTCOMES, Counterparty
from payflow.sandbox.dialect import Event, Fact
from payflow.sandbox.fault_table import ACTIONS, FAULT_TABLE
from payflow.sandbox.faults import UnknownFault
from payflow.sandbox.oracle import Oracle
from payflow.sandbox.pages import LONGEST_WAIT, safe_link
from payflow.sandbox.records import (
    Charge,
    ChargeStatus,
    Delivery,
)
from payflow.sandbox.webhooks import WebhookSender, WebhookTargets

CHARGE_FACTS = {fact.value: fact for fact in (Fact.CHARGE_PAID, Fact.CHARGE_FAILED, Fact.CHARGE_EXPIRED)}


class BadScript(ValueError):
    """A control request that cannot be carried out; the text says why."""

    def __init__(self, message: str, http: int = 400) -> None:
        """Carry the HTTP status as well."""
        super().__init__(message)
        self.http = http


def control_blueprint(party: Counterparty, sender: WebhookSender, targets: WebhookTargets) -> Blueprint:
    """Return the control routes."""
    routes = Blueprint("control", __name__, url_prefix="/sandbox")
    Oracle(party).add_routes(routes)
    Script(party, sender, targets).add_routes(routes)

    @routes.errorhandler(BadScript)
    def _bad_script(problem: BadScript) -> tuple[Response, int]:
        return jsonify({"error": str(problem)}), problem.http

    @routes.errorhandler(UnknownFault)
    def _unknown_fault(problem: UnknownFault) -> tuple[Response, int]:
        return jsonify({"error": str(problem)}), 400

    return routes


class Script:
    """The writing half: what a script makes happen."""

    def __init__(self, party: Counterparty, sender: WebhookSender, targets: WebhookTargets) -> None:
        """Act on `party`, send by `sender`."""
        self._party, self._sender, self._targets = party, sender, targets

    def add_routes(self, routes: Blueprint) -> None:
        """Mount the acting routes."""
        routes.post("/pay")(self.pay)
        routes.get("/faults")(self.list_faults)
        routes.post("/faults")(self.plant_fault)
        routes.delete("/faults")(self.remove_faults)
        routes.delete("/faults/<int:plan_id>")(self.remove_faults)
        routes.post("/webhooks")(self.send_webhook)
        routes.post("/webhooks/<int:delivery_id>/resend")(self.resend_webhook)
        routes.put("/webhooks/targets")(self.set_targets)
        routes.get("/clock")(self.clock)
        routes.post("/clock")(self.clock)
        routes.post("/reset")(self.reset)

    def pay(self) -> AnyResponse:
        """Play the customer at the pay page."""
        script = _json()
        charge = self._charge(script)
        outcome = script.get("outcome", "success")
        if outcome not in OUTCOMES:
            raise BadScript(f"outcome must be one of {', '.join(OUTCOMES)}")
        seconds = script.get("after_seconds", 30)
        if not isinstance(seconds, (int, float)) or not 0 <= seconds <= LONGEST_WAIT:
            raise BadScript("after_seconds must be a number from 0 to a week")
        already_paid = charge.status is ChargeStatus.PAID
        happened = self._party.customer_does(charge, outcome, after_seconds=seconds)
        charge = self._party.state.charge_by_code(charge.access_code) or charge  # a new try may be a new charge
        target = safe_link(self._party.dialects[charge.gateway].redirect_url(charge, happened))
        if script.get("redirect") and target:
            return redirect(target, code=303)
        return jsonify(
            {
                "reference": charge.reference,
                "gateway": charge.gateway,
                "outcome": happened,
                "status": charge.status,
                "already_paid": already_paid,
                "redirect_url": target,
            }
        )

    def _charge(self, script: dict[str, Any]) -> Charge:
        reference, gateway = script.get("reference"), script.get("gateway")
        if not isinstance(reference, str):
            raise BadScript("reference is required")
        charge = self._party.state.find_charge(reference, gateway)
        charge = charge or self._party.state.charge_by_code(reference)
        if charge is None:
            raise BadScript(f"no transaction has the reference {reference!r}", http=404)
        return charge

    def list_faults(self) -> Response:
        """The fault table and what is planted."""
        return jsonify(
            {
                "faults": [plan.to_json() for plan in self._party.faults.plans()],
                "table": [row.to_json() for row in FAULT_TABLE.values()],
            }
        )

    def plant_fault(self) -> tuple[Response, int]:
        """Plant a fault; an action on a transaction that is paid happens at once."""
        plan = self._party.faults.plant(_json())
        with self._party.state.lock:
            charge = self._party.state.find_charge(plan.reference, plan.gateway) if plan.reference else None
            if plan.fault in ACTIONS and charge is not None and charge.status is ChargeStatus.PAID:
                problem = self._party.act(plan, charge)
                if problem is not None:
                    self._party.faults.remove(plan.id)
                    raise BadScript(problem, http=409)
                self._party.faults.count_stroke(plan)
        return jsonify(plan.to_json()), 201

    def remove_faults(self, plan_id: int | None = None) -> Response:
        """Forget one planted fault, or all."""
        removed = self._party.faults.remove(plan_id)
        if plan_id is not None and not removed:
            raise BadScript(f"no fault has the id {plan_id}", http=404)
        return jsonify({"deleted": removed})

    def send_webhook(self) -> tuple[Response, int]:
        """Send a webhook nobody caused: a made-up event about a charge, or any text; signed, forged or bare."""
        script = _json()
        signature = script.get("signature", "forged")
        if signature not in ("valid", "forged", "missing"):
            raise BadScript("signature must be valid, forged or missing")
        if isinstance(raw := script.get("raw"), str):
            gateway, bodies = str(script.get("gateway", "")), [(str(script.get("event", "raw")), raw)]
            reference = str(script.get("reference", ""))
        else:
            charge = self._charge(script)
            gateway, reference = charge.gateway, charge.reference
            bodies = self._party.dialects[gateway].webhooks(Event(fact=self._fact(script), charge=charge))
        if gateway not in self._party.dialects:
            raise BadScript(f"gateway must be one of {', '.join(sorted(self._party.dialects))}")
        now = self._party.clock.now()
        queued = [
            self._sender.put(
                Delivery(
                    id=self._party.state.next_id("delivery"),
                    gateway=gateway,
                    reference=reference,
                    event=name,
                    body=body,
                    signature=signature,
                    fault="scripted",
                    ordered=False,
                    created_at=now,
                    due_at=now,
                )
            )
            for name, body in bodies
        ]
        return jsonify({"webhooks": [row.to_json() for row in queued]}), 202

    def _fact(self, script: dict[str, Any]) -> Fact:
        try:
            return CHARGE_FACTS[script.get("event", Fact.CHARGE_PAID.value)]
        except KeyError:
            raise BadScript(f"event must be one of {', '.join(CHARGE_FACTS)}; for others give raw text") from None

    def resend_webhook(self, delivery_id: int) -> tuple[Response, int]:
        """Send a logged webhook again, as the gateway's dashboard can; works for suppressed ones too."""
        state = self._party.state
        with state.lock:
            old = state.deliveries.get(delivery_id)
            if old is None:
                raise BadScript(f"no webhook has the id {delivery_id}", http=404)
            now = self._party.clock.now()
            again = self._sender.put(
                Delivery(
                    id=state.next_id("delivery"),
                    gateway=old.gateway,
                    reference=old.reference,
                    event=old.event,
                    body=old.body,
                    fault="resent",
                    ordered=False,
                    created_at=now,
                    due_at=now,
                )
            )
        return jsonify(again.to_json()), 202

    def set_targets(self) -> Response:
        """Set where webhooks go: {"paystack": "http://…"}; null switches a gateway's webhooks off."""
        for gateway, url in _json().items():
            if gateway not in self._party.dialects:
                raise BadScript(f"gateway must be one of {', '.join(sorted(self._party.dialects))}")
            if url is None:
                self._targets.urls.pop(gateway, None)
            elif isinstance(url, str) and safe_link(url):
                self._targets.urls[gateway] = url
            else:
                raise BadScript(f"the address for {gateway} must be an http or https URL, or null")
        return jsonify({"targets": self._targets.urls})

    def clock(self) -> Response:
        """Show the sandbox's time; POST pushes it forward by advance_seconds."""
        if request.method == "POST":
            seconds = _json().get("advance_seconds")
            if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or seconds < 0:
                raise BadScript("advance_seconds must be a number, zero or more")
            self._party.clock.advance(seconds)
            self._party.tick()
        clock = self._party.clock
        return jsonify({"now": clock.now().isoformat(), "offset_seconds": clock.offset_seconds})

    def reset(self) -> Response:
        """Forget everything that happened; planted faults too, unless keep_faults."""
        with self._party.state.lock:
            self._party.state.reset()
            if not _json().get("keep_faults"):
                self._party.faults.remove()
        return jsonify({"reset": True})


def _json() -> dict[str, Any]:
    body = request.get_json(force=True, silent=True) if request.get_data() else {}
    if not isinstance(body, dict):
        raise BadScript("the body must be a JSON object")
    return body
