"""The transport of a made-up gateway, two calls, and what a call that fails raises."""

from __future__ import annotations

from typing import Any

import pytest

from payflow.core.clock import HeldClock
from payflow.core.errors import GatewayError
from payflow.gateways.calls import Call, Dialect, ErrorWords, TransportOptions
from payflow.gateways.transport import Transport
from tests.contract.hostile_server import http
from tests.contract.paystack_kit import Kept

SECRET = "sk_test_deepest_secret_0001"
ASK = Call("ask", "GET", "/thing/1", "/thing/{id}", is_question=True)
DO = Call("do", "POST", "/thing", "/thing", is_question=False, json={"amount": 1})
OK = http(200, b'{"ok": true}')


def a_transport(base_url: str, kept: Kept | None = None, **limits: Any) -> Transport:
    kept = kept or Kept()
    return Transport(
        gateway="fakepay",
        base_url=base_url,
        secret_key=SECRET,
        dialect=Dialect(
            read_error=lambda _status, body: ErrorWords(gateway_code=body.get("code"), message=body.get("message")),
            should_retry_header="stripe-should-retry",
        ),
        clock=HeldClock(),
        options=TransportOptions(
            **({"read_seconds": 2.0, "connect_seconds": 1.0, "recorder": kept, "sleep": kept.slept.append} | limits)
        ),
    )


def fails(transport: Transport, call: Call) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        transport.call(call)
    return caught.value
