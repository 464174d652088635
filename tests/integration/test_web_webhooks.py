"""Gateways' webhooks at the door: signed or refused, readable or refused, stored once."""

from __future__ import annotations

import json

import pytest
from werkzeug.test import TestResponse

from payflow.models.webhook_event import WebhookEvent
from tests.builders import API, Client, a_problem, signed
from tests.house import House

PATH = f"{API}/payment/webhooks/paystack/"
EVENT = {"event": "charge.success", "data": {"id": 7, "reference": "PF-SOMETHING"}}


def _send(client: Client, body: bytes, headers: dict[str, str], path: str = PATH) -> TestResponse:
    return client.http.post(path, data=body, headers=headers)


def test_a_signed_webhook_is_stored_once_and_rings_once(house: House, anybody: Client) -> None:
    """The same event again: 200, nothing new."""
    body, headers = signed(EVENT)
    for _ in range(3):
        answer = _send(anybody, body, headers)
        assert (answer.status_code, answer.get_json()) == (200, {"received": True})
    assert _send(anybody, body, headers, PATH.rstrip("/")).status_code == 200
    assert len(house.rows(WebhookEvent)) == 1
    assert house.bells.rung == ["webhooks.process"]


def test_the_raw_bytes_are_what_is_signed(house: House, anybody: Client) -> None:
    """Odd white space, escapes and key order pass as sent; the same JSON written anew does not."""
    odd = b'{ "data" : {"reference":"PF-\\u0041", "id" : 7},\n"event":"charge.success" }'
    body, headers = signed(odd)
    assert _send(anybody, body, headers).status_code == 200
    a_problem(_send(anybody, json.dumps(json.loads(odd)).encode(), headers), 401, "signature_invalid")


@pytest.mark.parametrize(
    "case", ["none", "empty", "wrong secret", "one byte", "not ascii", "of empty body", "capitals", "twice"]
)
def test_a_bad_signature_is_401_and_nothing_is_stored(house: House, anybody: Client, case: str) -> None:
    """Whatever is wrong with it."""
    body, headers = signed(EVENT)
    name = "x-paystack-signature"
    if case == "none":
        del headers[name]
    elif case == "empty":
        headers[name] = ""
    elif case == "wrong secret":
        _, headers = signed(body, secret="sk_test_other")
    elif case == "one byte":
        body = body.replace(b"7", b"8")
    elif case == "not ascii":
        headers[name] = "ä" * 128
    elif case == "of empty body":
        _, headers = signed(b"")
    elif case == "capitals":
        headers[name] = headers[name].upper()
    elif case == "twice":
        headers[name] = f"{headers[name]},{headers[name]}"
    a_problem(_send(anybody, body, headers), 401, "signature_invalid")
    assert house.rows(WebhookEvent) == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"event": 1}', b"\xff", b"[" * 100_000])
def test_signed_but_unreadable_is_400(house: House, anybody: Client, raw: bytes) -> None:
    """Said so, and not stored."""
    body, headers = signed(raw)
    a_problem(_send(anybody, body, headers), 400, "unreadable_webhook")
    assert house.rows(WebhookEvent) == []


@pytest.mark.gateways("paystack")
def test_a_gateway_that_is_off_is_404(anybody: Client) -> None:
    """As is one that never was."""
    body, headers = signed(EVENT)
    for name in ("stripe", "nonsense"):
        a_problem(_send(anybody, body, headers, f"{API}/payment/webhooks/{name}/"), 404)


def test_a_webhook_that_is_too_large_is_413(house: House, anybody: Client) -> None:
    """Before anything is read of it."""
    body, headers = signed(b" " * 300_000)
    a_problem(_send(anybody, body, headers), 413)
    assert house.rows(WebhookEvent) == []


def test_a_forged_claim_of_success_changes_nothing(house: House, anybody: Client) -> None:
    """Signed or not, a webhook is a hint: the gateway is asked, and says the money has not come."""
    order_id, reference = house.initiated()
    body, headers = signed({"event": "charge.success", "data": {"id": 7, "reference": reference, "amount": 1}})
    assert _send(anybody, body, headers).status_code == 200
    house.drain()
    assert house.order_row(order_id).status == "processing"
