"""One try at a receiver: signed, to the address that was checked, over when its time is over."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from payflow.channels.webhook import Message, Receipt, WebhookSender
from payflow.core.destinations import UnfitDestination
from tests.contract.hostile_server import HostileServer

OLD, NEW = "whsec_" + "b2xkc2VjcmV0b2xkc2VjcmV0b2xkc2Vj", "whsec_" + "bmV3c2VjcmV0bmV3c2VjcmV0bmV3c2Vj"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def send(url: str, sender: WebhookSender | None = None, *, at: datetime | None = None, secret: str = NEW) -> Receipt:
    message = Message(url, "m-1", '{"type":"ping"}', (secret, OLD), at or datetime.now(UTC), "r-7")
    return (sender or WebhookSender(allow_private=True)).send(message)


def headers_of(request: bytes) -> tuple[dict[str, str], str]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body.decode()


def test_the_official_library_accepts_what_is_sent_by_each_secret_and_no_other() -> None:
    """While secrets are rotated both sign; the request carries the id that follows it through the house."""
    with HostileServer(OK) as server:
        receipt = send(f"{server.base_url}/hook?x=1")
    assert (receipt.http_status, receipt.error, receipt.excerpt) == (200, None, "ok")
    headers, body = headers_of(server.requests[0])
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(body, headers) == {"type": "ping"}
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_b3RoZXJvdGhlcm90aGVyb3RoZXI=").verify(body, headers)
    assert (headers["webhook-id"], headers["x-request-id"]) == ("m-1", "r-7")
    assert server.requests[0].startswith(b"POST /hook?x=1 HTTP/1.1\r\n")


def test_a_moment_of_another_zone_is_signed_as_the_moment_it_is() -> None:
    """The library takes a clock's face for UTC; a sender in Lagos must not sign an hour ahead."""
    lagos = datetime.now(UTC).astimezone(timezone(timedelta(hours=1)))
    with HostileServer(OK) as server:
        assert send(server.base_url, at=lagos).error is None
    headers, body = headers_of(server.requests[0])
    assert Webhook(NEW).verify(body, headers)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nbusy", "answered 500"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (b"no HTTP at all\r\n\r\n", "could not be reached"),
        (b"", "could not be reached"),
    ],
)
def test_only_2xx_counts(answer: bytes, says: str) -> None:
    """Anything else is a failure with a sentence."""
    with HostileServer(answer) as server:
        receipt = send(server.base_url)
    assert receipt.error is not None
    assert says in receipt.error


def test_nobody_listening_is_a_failure_like_any_other() -> None:
    """Nothing is raised."""
    receipt = send("http://127.0.0.1:9/")
    assert receipt.http_status is None
    assert "could not be reached" in (receipt.error or "")


def test_a_redirect_to_the_metadata_address_is_a_failure_and_not_followed() -> None:
    """One request, to the first address; the one in `Location` is never asked."""
    there = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n"
    with HostileServer(there) as server:
        receipt = send(server.base_url)
    assert (receipt.http_status, server.connections) == (302, 1)
    assert "redirects are not followed" in (receipt.error or "")


@pytest.mark.parametrize("drip", [{"delay_seconds": 3}, {"drip_seconds": 0.2}])
def test_an_answer_that_drips_is_over_when_its_time_is_over(drip: dict[str, float]) -> None:
    """The limit is for the whole call, not for each byte."""
    with HostileServer(OK + b"x" * 100, **drip) as server:
        receipt = send(server.base_url, WebhookSender(allow_private=True, timeout_seconds=1))
    assert receipt.error == "There was no answer within 1 s."
    assert 900 <= receipt.duration_ms < 2_500


def test_a_body_that_drips_after_its_status_does_not_undo_the_status() -> None:
    """2xx was said; what follows is only kept as far as it comes at once."""
    with HostileServer(b"HTTP/1.1 204 Done\r\nContent-Length: 1000000\r\n\r\n") as server:
        assert send(server.base_url, WebhookSender(allow_private=True, timeout_seconds=1)).error is None


class Names:
    """A name server whose answers change from question to question."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::a00:1"],
        [],
    ],
)
def test_a_name_that_leads_home_is_refused_when_saved_and_when_sent(addresses: list[str]) -> None:
    """One private address among public ones is enough; so is a name that means nothing."""
    sender = WebhookSender(allow_private=False, resolver=Names(addresses))
    with pytest.raises(UnfitDestination) as caught:
        sender.check("https://hooks.example.com/x")
    assert (caught.value.pointer, caught.value.code) == ("/url", "url_not_public" if addresses else "url_not_found")
    receipt = send("https://hooks.example.com/x", sender)
    assert receipt.http_status is None
    assert receipt.error == caught.value.detail


def test_a_name_that_moves_home_after_it_was_saved_is_refused_at_the_next_send() -> None:
    """DNS rebinding: public when checked, private when sent. Each send looks once, and connects to what it saw."""
    names = Names(["8.8.8.8"], ["127.0.0.1"])
    sender = WebhookSender(allow_private=False, resolver=names)
    sender.check("https://hooks.example.com/x")
    assert "not on the public internet" in (send("https://hooks.example.com/x", sender).error or "")
    assert names.asked == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the name `hooks.test`, and its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=hooks.test", "-addext", "subjectAltName=DNS:hooks.test",
         "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return both


def test_the_connection_goes_to_the_checked_address_while_tls_and_host_keep_the_name(certificate: Path) -> None:
    """`hooks.test` stands in no name server: only a pinned address reaches it, and its certificate still counts."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    told: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: told.append(name)
    names = Names(["127.0.0.2", "127.0.0.1"])  # nobody listens at the first
    sender = WebhookSender(allow_private=True, resolver=names, ca_bundle=str(certificate))
    with HostileServer(OK, tls=tls) as server:
        port = server.base_url.rpartition(":")[2]
        receipt = send(f"https://hooks.test:{port}/x", sender)
        other = send(f"https://other.test:{port}/x", sender)
    assert (receipt.http_status, receipt.error) == (200, None)
    assert (told[0], names.asked) == ("hooks.test", 2)
    assert headers_of(server.requests[0])[0]["host"] == f"hooks.test:{port}"
    assert other.http_status is None
    assert "SSL" in (other.error or ""), "another name's certificate is refused"
