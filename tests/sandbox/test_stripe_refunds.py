"""The sandbox's Stripe dialect: refunds, webhooks and faults."""

import pytest

from payflow.sandbox import stripe_shapes
from payflow.sandbox.cli import parser
from tests.sandbox.stripe_side import NOW, Stripe


def test_refund_when_time_passes_then_pending_and_succeeded(stripe: Stripe) -> None:
    """A refund starts pending; its events and the charge's are sent, and the session stays paid."""
    session = stripe.paid()
    intent = session["payment_intent"]["id"]
    made = stripe.refund(intent, "r-1", amount="500", reason="duplicate", **{"metadata[refund_id]": "R-1"}).json
    assert (made["status"], made["amount"], made["currency"], made["reason"]) == ("pending", 500, "usd", "duplicate")
    assert (made["metadata"], made["payment_intent"]) == ({"refund_id": "R-1"}, intent)
    stripe.later(2)
    assert stripe.get(f"/v1/refunds/{made['id']}").json["status"] == "succeeded"
    assert stripe.told()[2:] == ["refund.created", "charge.refunded", "refund.updated", "charge.refund.updated"]
    assert stripe.session(session["id"])["payment_status"] == "paid"


@pytest.mark.parametrize(
    ("fault", "statuses", "last_events"),
    [
        ("refund_stuck_pending", ["pending", "pending"], ["refund.created", "charge.refunded"]),
        ("refund_fails", ["failed", "failed"], ["refund.failed", "refund.updated", "charge.refund.updated"]),
        ("refund_needs_attention", ["requires_action"] * 2, ["refund.updated", "charge.refund.updated"]),
        (
            "refund_fails_after_success",
            ["succeeded", "failed"],
            ["refund.failed", "refund.updated", "charge.refund.updated"],
        ),
    ],
)
def test_refund_when_it_goes_wrong_then_told(
    stripe: Stripe, fault: str, statuses: list[str], last_events: list[str]
) -> None:
    """Each planted end has Stripe's word and Stripe's events; a succeeded refund may still fail."""
    intent = stripe.paid()["payment_intent"]["id"]
    stripe.fault(fault)
    name = stripe.refund(intent).json["id"]
    seen = []
    for _ in range(2):
        stripe.later(2.5)
        seen.append(stripe.get(f"/v1/refunds/{name}").json["status"])
    assert seen == statuses
    assert stripe.told()[-len(last_events) :] == last_events


def test_refund_when_too_much_then_refused_in_stripes_words(stripe: Stripe) -> None:
    """Parts add up to the whole and not a cent further; without an amount all that is left goes back."""
    intent = stripe.paid()["payment_intent"]["id"]
    assert stripe.refund(intent, amount="500").json["amount"] == 500
    more = stripe.refund(intent, amount="1501").json["error"]
    assert "greater than unrefunded amount" in more["message"]
    assert stripe.refund(intent).json["amount"] == 1_500
    assert stripe.refund(intent, amount="1").json["error"]["code"] == "charge_already_refunded"
    listed = stripe.get(f"/v1/refunds?payment_intent={intent}").json
    assert [row["amount"] for row in listed["data"]] == [1_500, 500]


def test_refund_when_not_allowed_then_refused(stripe: Stripe) -> None:
    """Unknown payments, odd reasons and amounts, an empty balance, a charge that was charged back."""
    intent = stripe.paid()["payment_intent"]["id"]
    assert stripe.post("/v1/refunds").json["error"]["code"] == "parameter_missing"
    assert stripe.refund("pi_1").status_code == 404
    assert stripe.refund(intent, reason="because").json["error"]["param"] == "reason"
    assert stripe.refund(intent, amount="0").status_code == 400
    stripe.fault("refund_no_balance")
    assert stripe.refund(intent, "r-1").json["error"]["code"] == "balance_insufficient"
    assert stripe.refund(intent, "r-1", amount="1").status_code == 200
    stripe.fault("dispute", reference="PF-1")
    stripe.fault("dispute_resolve", reference="PF-1")
    assert stripe.refund(intent, "r-2").json["error"]["code"] == "charge_disputed"
    assert stripe.told()[-2:] == ["charge.dispute.created", "charge.dispute.closed"]
    assert {event["data"]["object"]["payment_intent"] for event in stripe.sent()[-2:]} == {intent}


def test_webhooks_then_each_event_has_its_own_id_and_the_signature_the_machines_time(stripe: Stripe) -> None:
    """Pushing the sandbox's clock ahead must not make webhooks look made for the future."""
    stripe.paid()
    stripe.paid("PF-2")
    ids = [event["id"] for event in stripe.sent()]
    assert len(set(ids)) == len(ids) == 4
    assert all(event["api_version"] == "2026-10-28.endive" for event in stripe.sent())
    stripe.later(7_200)
    dialect = stripe.rooms.party.dialects["stripe"]
    header = dialect.sign(b"{}", secret="whsec_sandbox", now=stripe.rooms.party.clock.now())["Stripe-Signature"]
    assert header == stripe_shapes.signature(b"{}", "whsec_sandbox", NOW)
    assert stripe.rooms.targets.secrets["stripe"] == "whsec_sandbox"


def test_made_up_webhooks_then_lie_as_asked(stripe: Stripe) -> None:
    """A script may have a payment told that never was: the adapter must not believe it."""
    name = stripe.create().json["id"]
    stripe.client.post("/sandbox/webhooks", json={"reference": "PF-1", "event": "charge_paid", "signature": "valid"})
    assert stripe.told() == ["payment_intent.succeeded", "checkout.session.completed"]
    assert stripe.sent()[1]["data"]["object"]["payment_status"] == "paid"
    assert stripe.session(name)["payment_status"] == "unpaid"


def test_faults_that_shape_answers_then_shape_them(stripe: Stripe) -> None:
    """Not found, an unknown word, another reference, amounts and currencies that are off, a server error, a limit."""
    session = stripe.paid()
    path = f"/v1/checkout/sessions/{session['id']}"
    stripe.fault("not_found_on_verify")
    assert stripe.get(path).json["error"]["code"] == "resource_missing"
    stripe.fault("unknown_status")
    assert stripe.get(path).json["status"] == "frobnicated"
    stripe.fault("wrong_reference", operation="verify")
    assert stripe.get(path).json["client_reference_id"] == "SOMEBODY-ELSE"
    stripe.fault("wrong_amount")
    assert stripe.paid("PF-2")["amount_total"] == 1_999
    stripe.fault("wrong_amount", params={"field": "amount"})
    short = stripe.paid("PF-3")
    assert (short["amount_total"], short["payment_intent"]["amount_received"]) == (2_000, 1_999)
    stripe.fault("wrong_currency", params={"currency": "EUR"})
    assert stripe.paid("PF-4")["currency"] == "eur"
    stripe.fault("error_500")
    assert (stripe.get(path).status_code, stripe.get(path).status_code) == (500, 200)
    stripe.fault("rate_limit")
    limited = stripe.get(path)
    assert (limited.status_code, limited.headers["Retry-After"], limited.json["error"]["code"]) == (
        429,
        "2",
        "rate_limit",
    )


def test_command_line_then_takes_both_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """From an option, else from the environment, else the development ones."""
    monkeypatch.delenv("STRIPE_SECRET_KEY", raising=False)
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_env, whsec_older")
    given = parser().parse_args([])
    assert (given.stripe_secret_key, given.stripe_webhook_secret) == ("sk_test_sandbox_stripe", "whsec_env")
    assert parser().parse_args(["--stripe-secret-key", "sk_test_mine"]).stripe_secret_key == "sk_test_mine"
