"""The sandbox's Stripe dialect against Stripe's own specification, samples, recorded requests and signatures."""

import base64
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from openapi_schema_validator import OAS30Validator

from payflow.sandbox import stripe_shapes
from payflow.sandbox.app import SandboxConfig, SandboxRooms, create_app, start
from payflow.sandbox.cli import parser
from payflow.sandbox.clock import OffsetClock

REPO = Path(__file__).resolve().parents[2]
SPECS = Path(os.environ.get("PAYFLOW_SPECS_DIR") or REPO / ".." / "shared" / "specs")
needs_specs = pytest.mark.skipif(
    not (SPECS / "stripe.openapi.json").is_file(),
    reason="the gateways' official specifications are not here; PAYFLOW_SPECS_DIR says where they are",
)
KEY = {"Authorization": "Bearer sk_test_sandbox_stripe"}
NOW = 1_800_000_000 - 3_600
PRICE = "line_items[0][price_data]"
ORDER = {
    "mode": "payment",
    "success_url": "https://m.example/cb?session_id={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://m.example/cancel",
    "client_reference_id": "PF-1",
    "customer_email": "ada@example.com",
    "line_items[0][quantity]": "1",
    f"{PRICE}[currency]": "usd",
    f"{PRICE}[unit_amount]": "2000",
    f"{PRICE}[product_data][name]": "Order PF-1",
    "metadata[reference]": "PF-1",
    "payment_intent_data[metadata][reference]": "PF-1",
}


class HeldClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(NOW, UTC)


class Stripe:
    """A merchant's view of the sandbox, plus the customer at the page."""

    def __init__(self, client: FlaskClient, rooms: SandboxRooms) -> None:
        self.client, self.rooms = client, rooms

    def create(self, key: str | None = None, **changes: Any) -> Any:
        form = {name: value for name, value in {**ORDER, **changes}.items() if value is not None}
        return self.post("/v1/checkout/sessions", key, **form)

    def post(self, path: str, key: str | None = None, **form: Any) -> Any:
        return self.client.post(f"/stripe{path}", data=form, headers=KEY | ({"Idempotency-Key": key} if key else {}))

    def get(self, path: str) -> Any:
        return self.client.get(f"/stripe{path}", headers=KEY)

    def session(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.get(f"/v1/checkout/sessions/{name}?expand[0]=payment_intent").json
        return shown

    def pay(self, reference: str = "PF-1", outcome: str = "success", **more: Any) -> Any:
        return self.client.post("/sandbox/pay", json={"reference": reference, "outcome": outcome, **more})

    def paid(self, reference: str = "PF-1", **changes: Any) -> dict[str, Any]:
        name = self.create(client_reference_id=reference, **changes).json["id"]
        self.pay(reference)
        return self.session(name)

    def refund(self, intent: str, key: str | None = None, **form: Any) -> Any:
        return self.post("/v1/refunds", key, payment_intent=intent, **form)

    def fault(self, name: str, **more: Any) -> None:
        assert self.client.post("/sandbox/faults", json={"fault": name, **more}).status_code == 201

    def later(self, seconds: float) -> None:
        self.client.post("/sandbox/clock", json={"advance_seconds": seconds})

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(row["body"]) for row in self.client.get("/sandbox/webhooks").json["webhooks"]]

    def told(self) -> list[str]:
        return [event["type"] for event in self.sent()]


@pytest.fixture
def stripe() -> Iterator[Stripe]:
    app = create_app(SandboxConfig(), clock=OffsetClock(HeldClock()))
    yield Stripe(app.test_client(), app.extensions["sandbox"])
    app.extensions["sandbox"].party.state.close()


def _text(name: str) -> str:
    return (SPECS / name).read_text(encoding="utf-8")


def _lifted(node: Any) -> Any:
    """Let null pass beside `enum` and `$ref`, as OpenAPI 3.0 means it."""
    if isinstance(node, list):
        return [_lifted(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {name: _lifted(value) for name, value in node.items()}
    if node.get("nullable") is True and ("$ref" in node or "anyOf" in node or "enum" in node):
        return {"anyOf": [{name: value for name, value in node.items() if name != "nullable"}, {"enum": [None]}]}
    return node


def _check(answer: Any, schema: str) -> None:
    components = _lifted(json.loads(_text("stripe.openapi.json"))["components"])
    whole = {"allOf": [{"$ref": f"#/components/schemas/{schema}"}], "components": components}
    problems = [
        f"{'/'.join(map(str, error.path))}: {error.message}" for error in OAS30Validator(whole).iter_errors(answer)
    ]
    assert problems == []


# --- the official material


@needs_specs
def test_golden_requests_of_the_official_library_are_accepted(stripe: Stripe) -> None:
    """What Stripe's own library really sends is understood; ids are those the sandbox gave out."""
    names: dict[str, str] = {}
    statuses = []
    for line in _text("golden/golden-stripe.jsonl").splitlines():
        golden = json.loads(line)
        if golden["path"].endswith("/cancel") or golden["path"].startswith("/v1/events"):
            continue  # not spoken here
        path, body = golden["path"], golden["body"]
        for theirs, ours in names.items():
            path, body = path.replace(theirs, ours), body.replace(theirs, ours)
        headers = {**golden["headers"], "authorization": KEY["Authorization"]}
        answer = stripe.client.open("/stripe" + path, method=golden["method"], headers=headers, data=body)
        statuses.append((golden["method"], answer.status_code))
        if not names:
            stripe.pay()
            session = stripe.session(answer.json["id"])
            names = {"cs_test_1": session["id"], "pi_1": session["payment_intent"]["id"]}
        elif "/refunds" in path and golden["method"] == "POST":
            names["re_1"] = answer.json["id"]
    # only expiring a session that is paid is refused
    assert [status for _, status in statuses] == [200, 200, 400, 200, 200, 200, 200, 200]


@needs_specs
def test_signature_of_official_bytes_then_equals_the_vectors() -> None:
    """The signature is the one openssl, Python and Stripe's Node library agree on, over time and raw bytes."""
    for vector in json.loads(_text("signature-vectors.json"))["stripe"]:
        body = base64.b64decode(vector["body_b64"])
        assert stripe_shapes.signature(body, vector["secret"], vector["timestamp"]) == vector["value"]


def test_signature_of_a_fixed_body_then_is_the_known_hex() -> None:
    """v1 is hex HMAC-SHA256 of time, dot and body, checked without the specs."""
    body = b'{\n  "id": "evt_test",\n  "object": "event",\n  "type": "checkout.session.completed"\n}'
    assert stripe_shapes.signature(body, "whsec_vector_0001", 1_800_000_000) == (
        "t=1800000000,v1=ee42b853ed1b9c52282f98ea0ea9cbea12ec6c2ad5eecefbeb1f601739ca775b"
    )


@needs_specs
@pytest.mark.parametrize("outcome", [None, "success", "decline", "late"])
def test_answers_then_satisfy_the_specification(stripe: Stripe, outcome: str | None) -> None:
    """Sessions, intents, refunds, charges and events hold against Stripe's schema in every state."""
    created = stripe.create(expires_at=str(NOW + 3_600)).json
    _check(created, "checkout.session")
    if outcome:
        stripe.pay(outcome=outcome)
        session = stripe.session(created["id"])
        _check(session, "checkout.session")
        _check(stripe.get(f"/v1/payment_intents/{session['payment_intent']['id']}").json, "payment_intent")
    if outcome == "success":
        refund = stripe.refund(session["payment_intent"]["id"], amount="500").json
        _check(refund, "refund")
        stripe.later(5)
        _check(stripe.get(f"/v1/refunds/{refund['id']}").json, "refund")
    for event in stripe.sent():
        _check(event, "event")
        if event["data"]["object"]["object"] in ("charge", "refund", "payment_intent", "checkout.session"):
            _check(event["data"]["object"], event["data"]["object"]["object"])


@needs_specs
def test_answer_fields_then_are_those_of_the_official_samples(stripe: Stripe) -> None:
    """An adapter that reads any field of an official sample finds it in the sandbox's answer."""
    session = stripe.paid()
    refund = stripe.refund(session["payment_intent"]["id"]).json
    charge = next(event["data"]["object"] for event in stripe.sent() if event["type"] == "charge.refunded")
    for name, mine in (
        ("checkout.session", session),
        ("payment_intent", session["payment_intent"]),
        ("refund", refund),
        ("charge", charge),
        ("event", stripe.sent()[0]),
    ):
        assert set(json.loads(_text(f"samples/stripe/{name}.json"))) <= set(mine), name


# --- sessions


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


# --- idempotency keys


def test_key_when_repeated_then_the_first_answer_again(stripe: Stripe) -> None:
    """Status and body as they were, though the session has been paid since; one session, and the order is no matter."""
    first = stripe.create("k-1")
    stripe.pay()
    again = stripe.client.post(
        "/stripe/v1/checkout/sessions", data=dict(reversed(ORDER.items())), headers=KEY | {"Idempotency-Key": "k-1"}
    )
    assert (again.status_code, again.data) == (200, first.data)
    assert (again.headers["Idempotent-Replayed"], again.headers["Idempotency-Key"]) == ("true", "k-1")
    assert "Idempotent-Replayed" not in first.headers
    assert len(stripe.client.get("/sandbox/charges").json["charges"]) == 1


def test_key_when_anything_differs_then_idempotency_error(stripe: Stripe) -> None:
    """Another amount, or the same form elsewhere, under a key that is taken."""
    stripe.create("k-1")
    for answer in (stripe.create("k-1", **{f"{PRICE}[unit_amount]": "2001"}), stripe.refund("pi_1", "k-1")):
        assert (answer.status_code, answer.json["error"]["type"]) == (400, "idempotency_error")
    assert len(stripe.client.get("/sandbox/charges").json["charges"]) == 1


def test_key_when_absent_or_too_long(stripe: Stripe) -> None:
    """Without a key each request makes a session; a key has 255 characters at most."""
    assert stripe.create().json["id"] != stripe.create().json["id"]
    assert stripe.create("k" * 256).status_code == 400


def test_key_when_a_day_has_passed_then_forgotten(stripe: Stripe) -> None:
    """Stripe may drop a key after 24 hours, and then the same request acts again."""
    first = stripe.create("k-1").json["id"]
    stripe.later(86_399)
    assert stripe.create("k-1").json["id"] == first
    stripe.later(1)
    assert stripe.create("k-1").json["id"] != first


def test_key_when_the_work_was_refused_then_the_refusal_again(stripe: Stripe) -> None:
    """A refusal of the endpoint itself is remembered, even when the reason has gone."""
    stripe.create()
    stripe.pay(outcome="decline")
    intent = stripe.get("/v1/checkout/sessions").json["data"][0]["payment_intent"]
    refused = stripe.refund(intent, "r-1")
    assert refused.status_code == 400
    stripe.pay()
    again = stripe.refund(intent, "r-1")
    assert (again.status_code, again.data, again.headers["Idempotent-Replayed"]) == (400, refused.data, "true")


def test_key_when_the_sandbox_is_reset_then_forgotten(stripe: Stripe) -> None:
    """What nobody remembers cannot be answered again."""
    first = stripe.create("k-1").json["id"]
    stripe.client.post("/sandbox/reset")
    assert stripe.create("k-1").json["id"] != first


def test_key_over_a_restart_then_still_known(tmp_path: Path) -> None:
    """Sessions, refunds and their keys survive the sandbox."""
    config = SandboxConfig(state_path=tmp_path / "sandbox.jsonl")
    clock = OffsetClock(HeldClock())
    before = create_app(config, clock=clock)
    merchant = Stripe(before.test_client(), before.extensions["sandbox"])
    first = merchant.create("k-1")
    merchant.pay()
    intent = merchant.session(first.json["id"])["payment_intent"]["id"]
    refund = merchant.refund(intent, "r-1", amount="500")
    merchant.rooms.party.state.close()

    after = create_app(config, clock=clock)
    merchant = Stripe(after.test_client(), after.extensions["sandbox"])
    assert merchant.create("k-1").json == first.json
    assert merchant.create("k-1", customer_email=None).json["error"]["type"] == "idempotency_error"
    merchant.later(10)
    assert merchant.refund(intent, "r-1", amount="500").json == refund.json
    assert merchant.get(f"/v1/refunds/{refund.json['id']}").json["status"] == "succeeded"
    assert len(merchant.client.get("/sandbox/refunds").json["refunds"]) == 1
    merchant.rooms.party.state.close()


def test_key_when_in_flight_then_409_and_afterwards_the_answer() -> None:
    """While the first request is worked on a second one is turned away; when it has acted, it is answered alike."""
    sandbox = start(SandboxConfig())
    try:
        url, headers = f"{sandbox.url}/stripe/v1/checkout/sessions", KEY | {"Idempotency-Key": "k-1"}
        requests.post(f"{sandbox.url}/sandbox/faults", json={"fault": "slow", "params": {"seconds": 0.6}}, timeout=5)
        answers: list[requests.Response] = []
        slow = threading.Thread(
            target=lambda: answers.append(requests.post(url, data=ORDER, headers=headers, timeout=5))
        )
        slow.start()
        while not requests.get(f"{sandbox.url}/sandbox/faults", timeout=5).json()["faults"][0]["used"]:
            assert slow.is_alive()
        turned_away = requests.post(url, data=ORDER, headers=headers, timeout=5)
        slow.join()
        assert (turned_away.status_code, turned_away.json()["error"]["code"]) == (409, "idempotency_key_in_use")
        assert turned_away.headers["Stripe-Should-Retry"] == "true"
        again = requests.post(url, data=ORDER, headers=headers, timeout=5)
        assert again.json() == answers[0].json()
        assert len(requests.get(f"{sandbox.url}/sandbox/charges", timeout=5).json()["charges"]) == 1
    finally:
        sandbox.stop()


# --- refunds


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


# --- webhooks and faults


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
