"""What the transport knows and is told in confidence: keys, cards and addresses stay inside."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from payflow.core.clock import HeldClock
from payflow.core.errors import ConfigurationError, GatewayError
from payflow.gateways.answers import parse_object
from payflow.gateways.calls import Call, Dialect, ErrorWords
from payflow.gateways.redaction import redact
from payflow.gateways.transport import Transport
from tests.contract.hostile_server import HostileServer, http
from tests.contract.paystack_kit import Kept
from tests.contract.transport_kit import ASK, DO, SECRET, a_transport, fails


def test_call_when_cookie_and_netrc_are_offered_then_neither_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is never replaced by a ~/.netrc entry, and no state is kept between calls."""
    (tmp_path / "netrc").write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with HostileServer(http(200, b"{}", "Set-Cookie: a=b; Path=/")) as server:
        transport = a_transport(server.base_url)
        transport.call(ASK)
        transport.call(ASK)
    assert f"Authorization: Bearer {SECRET}".encode() in server.requests[1]
    assert b"ookie" not in server.requests[1]


def test_call_then_one_line_is_logged_and_one_record_is_kept() -> None:
    """The log line names the call and never holds a payload; the record is redacted."""
    kept = Kept()
    with (
        HostileServer(http(200, b'{"data": {"email": "a@b.example"}}', "X-Request-Id: req_9")) as server,
        capture_logs() as lines,
    ):
        a_transport(server.base_url, kept).call(DO)
    assert lines[0] | {"duration_ms": 0} == {
        "event": "gateway call", "log_level": "info", "action": "gateway.call", "gateway": "fakepay", "operation": "do",
        "http_status": 200, "duration_ms": 0, "request_id": "req_9", "error": None,
    }  # fmt: skip
    record = kept.records[0]
    assert (record.method, record.route, record.http_status, record.request_id) == ("POST", "/thing", 200, "req_9")
    assert record.request == {"amount": 1}
    assert record.response == {"data": {"email": "[redacted]"}}
    assert len(kept.records) == 1


def test_case_70_when_secrets_are_echoed_then_none_gets_out(caplog: pytest.LogCaptureFixture) -> None:
    """Case 70: keys, cards and addresses a gateway echoes reach no log, error, repr, record or raw."""
    planted = [
        "4084084084084081",
        "buyer@private.example",
        "+2348012345678",
        "AUTH_secret1",
        "0408",
        "197.210.54.33",
        SECRET,
    ]
    body = {
        "message": f"Card 4084084084084081 of buyer@private.example refused, key {SECRET}",
        "code": SECRET,
        "data": {
            "authorization": {"authorization_code": "AUTH_secret1", "last4": "0408", "bin": "408408"},
            "customer": {"email": "buyer@private.example", "phone": "+2348012345678", "id": 7},
            "ip_address": "197.210.54.33",
            "card": {"number": "4084084084084081"},
            "nested": [{"Authorization-Code": "AUTH_secret1", "exp_month": "0408"}],
            "history": [{"by": "buyer@private.example", "note": "4084 0840 8408 4081"}],
        },
    }  # fmt: skip
    call = Call("do", "POST", "/t", "/t", is_question=False, json={"email": "buyer@private.example", "k": SECRET})
    caplog.set_level(logging.DEBUG)
    kept, told = Kept(), ""
    for status in (200, 400, 401, 429, 500):
        with HostileServer(http(status, json.dumps(body).encode())) as server, capture_logs() as lines:
            transport = a_transport(server.base_url, kept)
            try:
                answer = transport.call(call)
                told += f"{answer!r}{answer.raw}"
            except GatewayError as error:
                told += f"{error!r}{error}{vars(error)}{error.__cause__!r}{error.__context__!r}"
            told += f"{transport!r}{lines}"
    with HostileServer(
        http(200, f"<p>{SECRET} 4084084084084081 buyer@private.example".encode(), kind="text/html")
    ) as server:
        told += str(fails(a_transport(server.base_url, kept), call))
    told += f"{kept.records}{caplog.text}"
    assert [secret for secret in planted if secret in told] == []
    assert "'id': 7" in told


def test_case_70_when_a_key_of_unknown_shape_is_echoed_then_it_is_still_masked() -> None:
    """The transport knows its own key: no prefix is needed to keep it out of an error."""
    with HostileServer(http(400, b'{"message": "bad key oddly-shaped-key-77"}')) as server:
        transport = Transport(
            gateway="fakepay", base_url=server.base_url, secret_key="oddly-shaped-key-77", clock=HeldClock(),
            dialect=Dialect(read_error=lambda _status, body: ErrorWords(message=body["message"])),
        )  # fmt: skip
        assert fails(transport, DO).detail == "fakepay answered 400: bad key [masked]"


def test_redact_when_postgres_could_not_store_it_then_it_is_cleaned() -> None:
    """NUL and lone surrogates are legal JSON and no PostgreSQL text."""
    parsed = parse_object(b'{"a": "x\\u0000y", "b": "\\ud800"}')
    assert json.dumps(redact(parsed)).encode()
    assert redact(parsed) == {"a": "xy", "b": "?"}


def test_redact_keeps_what_is_needed_to_find_a_payment_again() -> None:
    """References, ids, amounts and states stay readable."""
    kept = {"reference": "PF-1", "id": 4_099_260_516, "status": "success", "authorization_url": "https://pay.example/x"}
    assert redact(kept) == kept


@pytest.mark.parametrize("secret", ["", "sk test", "sk_té", "sk_test\n"])
def test_transport_when_secret_cannot_be_a_header_then_it_refuses_to_start(secret: str) -> None:
    """A key that cannot be sent stops the start, and is not repeated in the text."""
    with pytest.raises(ConfigurationError) as caught:
        Transport(
            gateway="fakepay", base_url="https://x.example", secret_key=secret,
            dialect=Dialect(read_error=lambda _status, _body: ErrorWords()), clock=HeldClock(),
        )  # fmt: skip
    assert not secret or secret not in caught.value.detail
