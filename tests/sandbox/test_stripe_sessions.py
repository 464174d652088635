"""The sandbox's Stripe dialect: sessions and payment intents."""

from typing import Any

import pytest

from tests.sandbox.stripe_side import NOW, ORDER, PRICE, Stripe


def test_create_then_an_open_session_with_a_page(stripe: Stripe) -> None:
    """Open, unpaid, no intent yet, a day to live, and an address that shows the page."""
    session = stripe.create().json
    assert (session["status"], session["payment_status"], session["payment_intent"]) == ("open", "unpaid", None)
    assert (session["amount_total"], session["currency"], session["livemode"]) == (2_000, "usd", False)
    assert (session["client_reference_id"], session["metadata"]) == ("PF-1", {"reference": "PF-1"})
    assert session["expires_at"] == NOW + 86_400
    page = stripe.client.get(session["url"])
    assert "USD 20.00" in page.text


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"mode": None}, "parameter_missing", "mode"),
        ({"mode": "setup"}, None, "mode"),
        ({"success_url": None}, "parameter_missing", "success_url"),
        ({f"{PRICE}[currency]": "USD"}, None, f"{PRICE}[currency]"),
        ({f"{PRICE}[currency]": "zzz"}, None, f"{PRICE}[currency]"),
        ({f"{PRICE}[unit_amount]": None}, "parameter_missing", f"{PRICE}[unit_amount]"),
        ({f"{PRICE}[unit_amount]": "20.00"}, "parameter_invalid_integer", f"{PRICE}[unit_amount]"),
        ({f"{PRICE}[unit_amount]": "-5"}, "parameter_invalid_integer", f"{PRICE}[unit_amount]"),
        ({f"{PRICE}[unit_amount]": "10"}, "amount_too_small", None),
        ({f"{PRICE}[unit_amount]": "100000000"}, "amount_too_large", None),
        ({f"{PRICE}[unit_amount]": "550", f"{PRICE}[currency]": "ugx"}, "parameter_invalid_integer", "amount"),
        ({f"{PRICE}[unit_amount]": "5124", f"{PRICE}[currency]": "kwd"}, "parameter_invalid_integer", "amount"),
        ({f"{PRICE}[product_data][name]": None}, "parameter_missing", f"{PRICE}[product_data][name]"),
        ({"customer_email": "nobody"}, "email_invalid", "customer_email"),
        ({"expires_at": str(NOW + 1_799)}, None, "expires_at"),
        ({"expires_at": str(NOW + 86_401)}, None, "expires_at"),
        ({"metadata[k]": "v" * 501}, None, "metadata"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
    ],
    ids=str,
)
def test_create_when_a_field_is_wrong_then_400_and_nothing_is_made(
    stripe: Stripe, change: dict[str, Any], code: str | None, param: str | None
) -> None:
    """A refused create names the field as Stripe does and leaves no session; its key is free again."""
    answer = stripe.create("k-1", **change)
    assert answer.status_code == 400
    error = answer.json["error"]
    assert (error["type"], error.get("code"), error.get("param")) == ("invalid_request_error", code, param)
    assert stripe.client.get("/sandbox/charges").json["charges"] == []
    assert stripe.create("k-1").status_code == 200


@pytest.mark.parametrize(
    ("currency", "amount", "shown"),
    [("jpy", "500", "JPY 500"), ("ugx", "500", "UGX 5.00"), ("kwd", "5120", "KWD 5.120"), ("xof", "500", "XOF 500")],
)
def test_create_then_each_currency_is_counted_as_stripe_counts_it(
    stripe: Stripe, currency: str, amount: str, shown: str
) -> None:
    """The page shows the sum a customer would see."""
    session = stripe.create(**{f"{PRICE}[currency]": currency, f"{PRICE}[unit_amount]": amount}).json
    assert shown in stripe.client.get(session["url"]).text


@pytest.mark.parametrize("value", [None, "sk_test_sandbox_stripe", "Bearer sk_test_other", "Bearer ", "Basic !!"])
def test_any_call_without_the_key_then_401(stripe: Stripe, value: str | None) -> None:
    """Every route wants the secret key, and a wrong one has no effect and is not shown."""
    for method, path in (
        ("POST", "/v1/checkout/sessions"), ("GET", "/v1/checkout/sessions"), ("GET", "/v1/checkout/sessions/cs_test_1"),
        ("POST", "/v1/checkout/sessions/cs_test_1/expire"), ("GET", "/v1/payment_intents/pi_1"),
        ("POST", "/v1/refunds"), ("GET", "/v1/refunds"), ("GET", "/v1/refunds/re_1"),
    ):  # fmt: skip
        headers = {"Authorization": value} if value else {}
        answer = stripe.client.open("/stripe" + path, method=method, headers=headers, data=ORDER)
        assert answer.status_code == 401, path
        assert "sk_test_other" not in answer.text
    assert stripe.client.get("/sandbox/charges").json["charges"] == []


def test_the_key_may_come_as_a_user_name(stripe: Stripe) -> None:
    """Basic authentication with the key and no password, as Stripe's own examples do it."""
    answer = stripe.client.get("/stripe/v1/refunds", auth=("sk_test_sandbox_stripe", ""))
    assert answer.status_code == 200
    assert answer.headers["Request-Id"].startswith("req_")


@pytest.mark.parametrize(
    ("outcome", "session_status", "intent_status", "events", "goes_to"),
    [
        (
            "success",
            ("complete", "paid"),
            "succeeded",
            ["payment_intent.succeeded", "checkout.session.completed"],
            "https://m.example/cb?session_id=cs_test_",
        ),
        (
            "decline",
            ("complete", "unpaid"),
            "requires_payment_method",
            ["payment_intent.payment_failed", "checkout.session.async_payment_failed"],
            "https://m.example/cb?session_id=cs_test_",
        ),
        ("late", ("complete", "unpaid"), "processing", [], "https://m.example/cb?session_id=cs_test_"),
        ("abandon", ("open", "unpaid"), None, [], "https://m.example/cancel"),
    ],
)
def test_pay_then_session_intent_events_and_browser_agree(
    stripe: Stripe,
    outcome: str,
    session_status: tuple[str, str],
    intent_status: str | None,
    events: list[str],
    goes_to: str,
) -> None:
    """What the customer does shows in the session, the intent, the webhooks and the way back."""
    name = stripe.create().json["id"]
    target = stripe.pay(outcome=outcome).json["redirect_url"]
    session = stripe.session(name)
    assert (session["status"], session["payment_status"]) == session_status
    assert (session["payment_intent"] or {}).get("status") == intent_status
    assert stripe.told() == events
    assert target.startswith(goes_to)
    assert target.endswith(name) or outcome == "abandon"
    assert (session["url"] is None) == (session_status[0] != "open")


def test_pay_when_the_card_is_declined_then_the_page_stays_open(stripe: Stripe) -> None:
    """A refused card is not final: only the intent tells of it, nobody is sent back, and another card may pay."""
    stripe.fault("decline", reference="PF-1", params={"reason": "card_declined"})
    name = stripe.create().json["id"]
    assert stripe.pay().json["redirect_url"] is None
    session = stripe.session(name)
    assert (session["status"], session["payment_intent"]["last_payment_error"]["code"]) == ("open", "card_declined")
    assert stripe.told() == ["payment_intent.payment_failed"]
    stripe.pay()
    assert stripe.session(name)["payment_status"] == "paid"


def test_pay_when_late_then_paid_afterwards(stripe: Stripe) -> None:
    """A delayed payment is complete and unpaid first."""
    name = stripe.create().json["id"]
    stripe.pay(outcome="late", after_seconds=60)
    stripe.later(60)
    assert (stripe.session(name)["payment_status"], stripe.told()[-1]) == ("paid", "checkout.session.completed")


def test_session_when_its_time_is_over_then_expired_and_told_once(stripe: Stripe) -> None:
    """Looking is what makes the sandbox notice; a second look tells nothing new."""
    name = stripe.create(expires_at=str(NOW + 1_800)).json["id"]
    stripe.later(1_799)
    assert stripe.session(name)["status"] == "open"
    stripe.later(1)
    for _ in range(2):
        session = stripe.session(name)
        assert (session["status"], session["payment_status"], session["url"]) == ("expired", "unpaid", None)
    assert stripe.told() == ["checkout.session.expired"]


def test_expire_then_only_an_open_session_ends(stripe: Stripe) -> None:
    """The merchant may close a page nobody has paid at."""
    name = stripe.create().json["id"]
    assert stripe.post(f"/v1/checkout/sessions/{name}/expire").json["status"] == "expired"
    again = stripe.post(f"/v1/checkout/sessions/{name}/expire")
    assert (again.status_code, "status of `expired`" in again.json["error"]["message"]) == (400, True)
    assert stripe.told() == ["checkout.session.expired"]
    assert stripe.post("/v1/checkout/sessions/cs_test_9/expire").status_code == 404


def test_pay_when_the_session_was_ended_then_nothing_is_taken(stripe: Stripe) -> None:
    """Whoever still has the page open leaves without paying."""
    name = stripe.create().json["id"]
    stripe.post(f"/v1/checkout/sessions/{name}/expire")
    stripe.pay()
    assert stripe.get(f"/v1/checkout/sessions/{name}").json["payment_status"] == "unpaid"


def test_unknown_ids_then_resource_missing(stripe: Stripe) -> None:
    """404 with Stripe's code, for odd ids too; one gateway's charge is no other's."""
    other = stripe.client.post(
        "/paystack/transaction/initialize",
        json={"email": "a@b.example", "amount": 5_000, "currency": "NGN", "reference": "PF-9"},
        headers={"Authorization": "Bearer sk_test_sandbox"},
    ).json["data"]["access_code"]
    for path in (
        "checkout/sessions/cs_test_1", f"checkout/sessions/cs_test_{other}", "checkout/sessions/..%2Frefunds",
        "payment_intents/pi_1", "payment_intents/ch_1", "refunds/re_1", "refunds/re_1Zaaaaaaaa",
    ):  # fmt: skip
        answer = stripe.get(f"/v1/{path}")
        assert (answer.status_code, answer.json["error"]["code"]) == (404, "resource_missing"), path


def test_lists_then_newest_first_by_cursor_and_payment(stripe: Stripe) -> None:
    """`starting_after` goes on where a page ended; an intent finds its session."""
    names = [stripe.paid(f"PF-{number}")["id"] for number in range(3)]
    first = stripe.get("/v1/checkout/sessions?limit=2").json
    assert ([row["id"] for row in first["data"]], first["has_more"]) == ([names[2], names[1]], True)
    rest = stripe.get(f"/v1/checkout/sessions?limit=2&starting_after={names[1]}").json
    assert ([row["id"] for row in rest["data"]], rest["has_more"]) == ([names[0]], False)
    intent = stripe.session(names[1])["payment_intent"]["id"]
    assert [row["id"] for row in stripe.get(f"/v1/checkout/sessions?payment_intent={intent}").json["data"]] == [
        names[1]
    ]
    assert stripe.get("/v1/checkout/sessions?limit=101").status_code == 400
    assert stripe.get("/v1/checkout/sessions?starting_after=cs_test_9").status_code == 404


def test_intents_then_listed_by_time_once_somebody_has_tried_to_pay(stripe: Stripe) -> None:
    """`created[gte]` belongs to the list, `created[lt]` does not; a page nobody came to has no intent."""
    stripe.create("PF-none")
    intent = stripe.session(stripe.paid("PF-1")["id"])["payment_intent"]
    at = intent["created"]
    asked = {(at, at + 1): [intent["id"]], (at + 1, at + 9): [], (at - 9, at): []}
    for (since, until), found in asked.items():
        rows = stripe.get(f"/v1/payment_intents?created[gte]={since}&created[lt]={until}").json["data"]
        assert [row["id"] for row in rows] == found
