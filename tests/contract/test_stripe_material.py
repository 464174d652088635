"""The Stripe adapter on official samples; callbacks, what is kept, and the registry's row."""

from __future__ import annotations

from pathlib import Path

import pytest
import responses

from payflow.core.clock import HeldClock
from payflow.core.errors import (
    AnswerNotUnderstood,
    ConfigurationError,
    GatewayUnavailable,
    PayflowError,
)
from payflow.core.money import Money
from payflow.gateways.base import HintKind, Outcome
from payflow.gateways.registry import build_gateways, choose
from payflow.settings import Settings
from tests.contract.official import needs_specs
from tests.contract.stripe_kit import (
    NOW,
    REFUNDS,
    SECRET,
    SESSIONS,
    Kept,
    a_gateway,
    a_list,
    a_refund_ref,
    an_attempt,
    an_event,
    answers_verify,
    at,
    intent,
    paid,
    sample,
    signed,
    spec_text,
)


@pytest.mark.parametrize("secrets", [(), ("",), ("whsec_a", "")])
def test_adapter_when_a_webhook_secret_is_empty_then_it_refuses_to_start(secrets: tuple[str, ...]) -> None:
    """Anybody could sign with an empty key."""
    with pytest.raises(ConfigurationError):
        a_gateway(webhook_secrets=secrets)


@pytest.mark.parametrize(
    ("query", "reference"),
    [
        ({"session_id": "cs_test_a1YS1U"}, "cs_test_a1YS1U"),
        ({"session_id": "cs_live_1", "reference": "PF-1"}, "cs_live_1"),
        ({"reference": "PF-1"}, "PF-1"),
        ({"session_id": "{CHECKOUT_SESSION_ID}", "reference": "PF-1"}, "PF-1"),
        ({"session_id": "{CHECKOUT_SESSION_ID}"}, None),
        ({"session_id": "cs_test_1/../x"}, None),
        ({"session_id": "pi_1"}, None),
        ({}, None),
    ],
)
def test_callback_reference(query: dict[str, str], reference: str | None) -> None:
    """The session Stripe filled in, or the reference we put into cancel_url."""
    assert a_gateway().callback_reference(query) == reference


@needs_specs
@responses.activate
def test_official_samples_parse_to_the_right_outcome() -> None:
    """Every official Stripe object, as published, reads as what it says."""
    gateway = a_gateway()
    name = sample("checkout.session")["id"]
    answers_verify(name, json=sample("checkout.session"))
    told = gateway.verify(an_attempt(session_id=name))
    assert (told.outcome, told.reference, told.amount, told.found) == (Outcome.PENDING, "", None, True)
    assert (told.transaction_id, told.is_test, told.payment_method) == ("pi_1PgafyB7WZ01zgkWSjxsAJo3", True, "card")

    responses.replace(
        responses.GET,
        f"{SESSIONS}/{name}",
        json=sample("checkout.session") | {"payment_intent": sample("payment_intent")},
    )
    assert gateway.verify(an_attempt(session_id=name)).transaction_id == "pi_1PgafyB7WZ01zgkWSjxsAJo3"

    made = sample("refund")
    responses.get(f"{REFUNDS}/{made['id']}", json=made)
    done = gateway.fetch_refund(a_refund_ref(made["id"]))
    assert (done.outcome, done.amount, done.refund_id) == (Outcome.SUCCEEDED, Money(100, "USD"), None)
    responses.get(REFUNDS, json=a_list(made))
    assert [one.gateway_refund_id for one in gateway.list_refunds(an_attempt())] == [made["id"]]

    body = spec_text("samples/stripe/event.json").encode()
    hint = gateway.read_webhook(signed(body), body)
    assert (hint.kind, hint.event_type, hint.event_key) == (HintKind.OTHER, "plan.created", sample("event")["id"])
    for kind, about, hinted in (
        ("charge.refunded", sample("charge"), HintKind.REFUND),
        ("payment_intent.succeeded", sample("payment_intent"), HintKind.PAYMENT),
    ):
        body = an_event(kind, about)
        assert gateway.read_webhook(signed(body), body).kind is hinted


@responses.activate
def test_answers_are_kept_redacted() -> None:
    """Nothing that is kept, logged or shown holds card data, addresses or keys; the record has each exchange."""
    kept = Kept()
    answers_verify(
        json=paid(
            client_secret="secret_planted",
            customer_details={"email": "planted@private.example", "phone": "08012345678", "name": "Planted Name"},
            payment_intent=intent(
                client_secret="pi_1_secret_planted",
                last_payment_error={"message": "Declined 4084084084084081 for planted@private.example"},
                latest_charge={"payment_method_details": {"card": {"last4": "4242", "fingerprint": "AOB934RV"}}},
            ),
        )
    )
    seen = a_gateway(kept).verify(an_attempt())
    told = f"{seen!r}{kept.records!r}"
    planted = (
        "secret_planted",
        "planted@",
        "08012345678",
        "Planted Name",
        "4084084084084081",
        "4242",
        "AOB934RV",
        SECRET,
    )
    assert not [word for word in planted if word in told]
    assert (kept.records[0].operation, kept.records[0].route) == ("verify", "/v1/checkout/sessions/{session}")
    assert seen.raw["client_reference_id"] == "PF-1"


def settings(tmp_path: Path, **more: str) -> Settings:
    environ = {
        "PAYFLOW_JWT_SECRET": "x" * 32,
        "PAYFLOW_BROKER_URL": "redis://127.0.0.1",
        "PAYFLOW_DATA_DIR": str(tmp_path),
        "STRIPE_SECRET_KEY": "sk_test_x",
        "PAYFLOW_GATEWAYS": "stripe",
    }
    return Settings.from_environ(environ | more)


def test_registry_when_stripe_is_enabled_then_it_is_built_with_all_its_secrets(tmp_path: Path) -> None:
    """A comma list of webhook secrets is what a rolled secret looks like; `auto` finds it by currency."""
    gateways = build_gateways(settings(tmp_path, STRIPE_WEBHOOK_SECRET="whsec_new, whsec_old"), HeldClock(at(NOW)))
    assert list(gateways) == ["stripe"]
    assert choose(gateways, "KWD") is gateways["stripe"]
    body = an_event("plan.created", {})
    for secret in ("whsec_new", "whsec_old"):
        assert gateways["stripe"].read_webhook(signed(body, secret=secret), body).event_key == "evt_1"
    with pytest.raises(ConfigurationError):
        settings(tmp_path)


@responses.activate
def test_errors_are_all_of_one_tree() -> None:
    """Whatever Stripe answers, only payflow's errors come out."""
    bodies = ("", "null", "{}", '{"error": null}', '{"error": {"type": 1, "code": ["x"], "message": {}}}', '{"id": 1}')
    for status in (100, 204, 302, 400, 402, 404, 409, 424, 429, 500, 599):
        for body in bodies:
            responses.reset()
            answers_verify(status=status, body=body, content_type="application/json")
            with pytest.raises(PayflowError) as caught:
                a_gateway().verify(an_attempt())
            assert status not in (429, 409) or isinstance(caught.value, GatewayUnavailable | AnswerNotUnderstood)
