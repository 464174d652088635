"""The transport against hostile answers, over real sockets: what each means, and what is repeated."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from payflow.core.errors import AnswerNotUnderstood, GatewayRejected, GatewayUnavailable, InvalidInput, OutcomeUnknown
from payflow.gateways.answers import retry_after
from payflow.gateways.calls import Call, path_part
from tests.contract.hostile_server import HostileServer, http
from tests.contract.paystack_kit import Kept
from tests.contract.transport_kit import ASK, DO, OK, a_transport, fails

DO_WITH_KEY = Call(
    "do", "POST", "/thing", "/thing", is_question=False, is_repeatable=True, json={}, headers={"Idempotency-Key": "k"}
)


UNREADABLE = {
    "truncated": http(200, b'{"status": true, "data": {"id"'),
    "truncated below its length": http(200, b'{"status": tr', length=400),
    "empty": http(200, b""),
    "array": http(200, b"[1, 2]"),
    "null": http(200, b"null"),
    "captive page": http(200, b"<html>Log in to WiFi</html>", kind="text/html"),
    "json as text": http(200, b'{"ok": true}', kind="text/html"),
    "two megabytes": http(200, b'{"x": "' + b"x" * 2_000_000 + b'"}'),
    "deep": http(200, b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "not utf-8": http(200, b'{"x": "\xff"}'),
    "NaN": http(200, b'{"amount": NaN}'),
    "a number without end": http(200, b'{"amount": 1e999999999}'),
    "a redirect": http(302, b'{"ok": true}', "Location: http://127.0.0.1:9/elsewhere"),
    "an unreadable 404": http(404, b"<html>nginx</html>", kind="text/html"),
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("call", [ASK, DO], ids=["question", "command"])
def test_call_when_answer_is_no_json_object_then_not_understood(answer: bytes, call: Call) -> None:
    """Case 41: whatever is no JSON object of sane size is AnswerNotUnderstood (or a cut line); nothing else leaks."""
    with HostileServer(answer) as server:
        error = fails(a_transport(server.base_url), call)
    if isinstance(error, GatewayUnavailable | OutcomeUnknown) and not isinstance(error, AnswerNotUnderstood):
        assert answer is UNREADABLE["truncated below its length"]
        assert isinstance(error, GatewayUnavailable) is call.is_question
    else:
        assert isinstance(error, AnswerNotUnderstood)
    assert len(error.detail) < 300
    assert len(server.requests) == (3 if call.is_question else 1)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_call_when_gateway_fails_then_only_a_question_is_repeated(status: int) -> None:
    """Case 17: an nginx page of a dead gateway is never read as success; a command may have acted."""
    page = http(status, b"<html>502 Bad Gateway nginx</html>", kind="text/html")
    with HostileServer(page, page, OK) as server:
        assert a_transport(server.base_url).call(ASK).body == {"ok": True}
    with HostileServer(page) as server:
        error = fails(a_transport(server.base_url), DO)
        assert type(error) is OutcomeUnknown
        assert error.http_status == status
        assert len(server.requests) == 1
    with HostileServer(page) as server:
        assert type(fails(a_transport(server.base_url), ASK)) is GatewayUnavailable
        assert len(server.requests) == 3


def test_call_when_command_has_a_key_then_it_is_repeated_with_it() -> None:
    """A command declared repeatable is sent again, byte for byte."""
    with HostileServer(http(500, b"{}"), OK) as server:
        a_transport(server.base_url).call(DO_WITH_KEY)
    assert server.requests[0] == server.requests[1]
    assert b"Idempotency-Key: k" in server.requests[0]


def test_call_when_an_earlier_try_may_have_acted_then_a_later_refusal_does_not_hide_it() -> None:
    """Unknown, then rate-limited: the command may still have taken effect by the first try."""
    limited = http(429, b"{}", "Retry-After: 60")
    with HostileServer(http(500, b"{}"), limited) as server:
        assert type(fails(a_transport(server.base_url), DO_WITH_KEY)) is OutcomeUnknown


@pytest.mark.parametrize("call", [ASK, DO], ids=["question", "command"])
def test_call_when_connection_is_refused_then_unavailable(call: Call) -> None:
    """Nothing was sent, so even a command certainly had no effect."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert type(fails(a_transport(address), call)) is GatewayUnavailable


def test_call_when_name_does_not_resolve_then_unavailable() -> None:
    """DNS fails before anything is sent."""
    assert type(fails(a_transport("http://gateway.invalid"), DO)) is GatewayUnavailable


@pytest.mark.parametrize("answer", [b"", b"HTT"], ids=["hung up", "half a status line"])
def test_call_when_connection_breaks_then_a_command_is_unknown(answer: bytes) -> None:
    """The request had left: it may have taken effect."""
    with HostileServer(answer) as server:
        assert type(fails(a_transport(server.base_url), DO)) is OutcomeUnknown
        assert type(fails(a_transport(server.base_url), ASK)) is GatewayUnavailable


def test_call_when_gateway_is_silent_then_the_read_timeout_ends_it() -> None:
    """A hanging gateway costs the read time-out and no more; a question that took too long is not asked again."""
    with HostileServer(OK, delay_seconds=5) as server:
        transport = a_transport(server.base_url, read_seconds=0.2, retry_within_seconds=0.1)
        assert type(fails(transport, DO)) is OutcomeUnknown
        assert type(fails(transport, ASK)) is GatewayUnavailable
        assert len(server.requests) == 2


def test_call_when_answer_drips_then_the_deadline_ends_it() -> None:
    """Each byte comes in time, the whole does not: one deadline bounds the body."""
    with HostileServer(http(200, b'{"ok": "' + b"x" * 400 + b'"}'), drip_seconds=0.01) as server:
        transport = a_transport(server.base_url, read_seconds=0.3)
        assert type(fails(transport, DO)) is OutcomeUnknown


@pytest.mark.parametrize("trusted", [False, True], ids=["unknown authority", "wrong host name"])
def test_case_69_when_certificate_is_wrong_then_unavailable_and_never_downgraded(tmp_path: Path, trusted: bool) -> None:
    """Case 69: a certificate that cannot be trusted ends the call before anything is sent."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
        f"-keyout {key} -out {certificate}"
        " -subj /CN=elsewhere.example -addext subjectAltName=DNS:elsewhere.example".split(),
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HostileServer(OK, tls=context) as server:
        error = fails(a_transport(server.base_url, ca_bundle=str(certificate) if trusted else None), DO)
        assert server.requests == []
    assert type(error) is GatewayUnavailable
    assert "SSLCertVerificationError" in error.detail


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 7", 7),
        ("Retry-After: Thu, 15 Jan 2026 12:00:09 GMT", 9),
        ("x-ratelimit-reset: 11", 11),
        ("x-ratelimit-reset: 1768478413", 13),
        ("x-ratelimit-reset: 1768478415000", 15),
        ("Retry-After: soon", None),
        ("Retry-After: 99999999999", 3_600),
    ],
)
def test_case_18_when_rate_limited_then_the_wait_is_told(header: str, seconds: int | None) -> None:
    """Case 18: seconds, date and reset header all become retry_after_seconds; a long wait is not waited in a thread."""
    kept = Kept()
    with HostileServer(http(429, b'{"message": "slow down"}', header)) as server:
        error = fails(a_transport(server.base_url, kept), ASK)
    assert type(error) is GatewayUnavailable
    assert error.retry_after_seconds == seconds
    assert len(server.requests) == (3 if seconds is None else 1)


def test_call_when_retry_after_is_short_then_it_is_honoured() -> None:
    """A short wait is waited, and the answer after it counts."""
    kept = Kept()
    with HostileServer(http(429, b"{}", "Retry-After: 2"), OK) as server:
        a_transport(server.base_url, kept).call(ASK)
    assert len(kept.slept) == 1
    assert 2 <= kept.slept[0] <= 5


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    "body", [b'{"message": "Invalid key", "code": "invalid_Key"}', b"<html>"], ids=["json", "page"]
)
def test_case_19_when_key_is_refused_then_rejected_once_and_a_person_is_called(status: int, body: bytes) -> None:
    """Case 19: terminal, one request, one ERROR line."""
    with HostileServer(http(status, body)) as server, capture_logs() as lines:
        assert type(fails(a_transport(server.base_url), ASK)) is GatewayRejected
    assert len(server.requests) == 1
    assert [line["action"] for line in lines if line["log_level"] == "error"] == ["gateway.refused"]


def test_call_when_refused_then_the_gateways_words_are_carried() -> None:
    """A 4xx is final and tells code, sentence, status and request id."""
    answer = http(422, b'{"message": "No", "code": "nope"}', "X-Request-Id: req_1")
    with HostileServer(answer) as server:
        error = fails(a_transport(server.base_url), DO)
    assert isinstance(error, GatewayRejected)
    assert (error.gateway_code, error.http_status, error.request_id) == ("nope", 422, "req_1")
    assert error.detail == "fakepay answered 422: No"
    assert (error.gateway, error.operation) == ("fakepay", "do")


@pytest.mark.parametrize(("verdict", "status", "requests"), [("false", 500, 1), ("true", 409, 3), ("true", 500, 3)])
def test_case_22_when_gateway_says_whether_to_retry_then_it_is_obeyed(verdict: str, status: int, requests: int) -> None:
    """Case 22: `Stripe-Should-Retry` overrules our own view, for what is repeatable at all."""
    answer = http(status, b"{}", f"Stripe-Should-Retry: {verdict}")
    with HostileServer(answer) as server:
        fails(a_transport(server.base_url), DO_WITH_KEY)
        assert len(server.requests) == requests
        fails(a_transport(server.base_url), DO)
        assert len(server.requests) == requests + 1


def test_call_when_all_places_are_taken_then_unavailable_and_the_rest_goes_on() -> None:
    """The bulkhead: a hanging gateway holds at most its places, and the next caller is told so soon."""
    with HostileServer(OK, delay_seconds=1) as server:
        transport = a_transport(server.base_url, max_calls=2, max_wait_seconds=0.05, tries=1)
        first = [threading.Thread(target=transport.call, args=(ASK,)) for _ in range(2)]
        for thread in first:
            thread.start()
        while len(server.requests) < 2:
            pass
        error = fails(transport, DO)
        for thread in first:
            thread.join()
        assert type(error) is GatewayUnavailable
        assert "Too many calls" in error.detail
        assert transport.call(ASK).body == {"ok": True}


def test_call_when_many_threads_call_then_connections_are_pooled() -> None:
    """Forty calls by four threads need no more connections than places, and each gets its own answer."""
    with HostileServer(OK, keep_alive=True) as server:
        transport = a_transport(server.base_url, max_calls=4)
        answers: list[dict[str, Any]] = []
        threads = [
            threading.Thread(target=lambda: answers.extend(transport.call(ASK).body for _ in range(10)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [{"ok": True}] * 40
    assert server.connections <= 4


def test_call_when_form_is_given_then_it_is_sent_as_a_form() -> None:
    """Stripe speaks forms; brackets and repeats survive."""
    form = (("line_items[0][quantity]", "1"), ("metadata[name]", "Adá & co"))
    with HostileServer(OK) as server:
        a_transport(server.base_url).call(Call("do", "POST", "/v1/x", "/v1/x", is_question=False, form=form))
    assert b"application/x-www-form-urlencoded" in server.requests[0]
    assert server.requests[0].endswith(b"line_items%5B0%5D%5Bquantity%5D=1&metadata%5Bname%5D=Ad%C3%A1+%26+co")


def test_call_when_decimals_come_then_they_stay_exact() -> None:
    """No float is ever made of an amount."""
    with HostileServer(http(200, b'{"amount": 0.1, "sum": 108.88}')) as server:
        answer = a_transport(server.base_url).call(ASK)
    assert answer.body == {"amount": Decimal("0.1"), "sum": Decimal("108.88")}
    assert json.dumps(answer.raw) == '{"amount": "0.1", "sum": "108.88"}'


@pytest.mark.parametrize("text", ["", ".", "..", "..."])
def test_case_42_when_a_path_part_could_climb_then_it_is_refused(text: str) -> None:
    """Case 42: dots alone would be read as "go up"."""
    with pytest.raises(InvalidInput):
        path_part(text)


def test_case_42_when_a_path_part_holds_separators_then_they_are_encoded() -> None:
    """Case 42: what is put into a path stays one segment, on the wire too."""
    part = path_part("../refund?x=1#y")
    with HostileServer(OK) as server:
        a_transport(server.base_url).call(Call("ask", "GET", f"/verify/{part}", "/verify/{r}", is_question=True))
    assert server.requests[0].startswith(b"GET /verify/..%2Frefund%3Fx%3D1%23y HTTP/1.1")


def test_retry_after_when_the_moment_has_passed_then_zero() -> None:
    """A date in the past means: now."""
    now = datetime(2026, 1, 15, 12, tzinfo=UTC)
    header = {"retry-after": (now - timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")}
    assert retry_after(header, now, is_limited=True) == 0
