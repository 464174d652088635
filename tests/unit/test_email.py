"""Letters: composed from facts, escaped in HTML, one header line each, and never to an address that is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payflow import bus
from payflow.channels.email import EmailSender, Letter
from payflow.core.errors import ConfigurationError, DeliveryError
from payflow.sandbox.app import RunningSandbox, SandboxConfig, start
from tests.mail_servers import DROPPED, a_mail_server
from tests.unit.test_in_app import payload

SCRIPT = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def catcher() -> Iterator[RunningSandbox]:
    """A real SMTP server that keeps what it gets."""
    running = start(SandboxConfig(smtp_port=0))
    yield running
    running.stop()


@pytest.fixture
def sender(catcher: RunningSandbox) -> EmailSender:
    catcher.app.test_client().delete("/mail/messages")
    return EmailSender(f"smtp://127.0.0.1:{catcher.smtp_port}", mail_from="payflow <no-reply@payflow.example>")


def caught(catcher: RunningSandbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = catcher.app.test_client().get("/mail/messages").get_json()
    return found


def a_letter(**given: Any) -> Letter:
    fields = {"message_id": "<1@payflow>", "recipient": "ada@example.com", "subject": "s", "text": "t", "html": "<p>t"}
    return Letter(**(fields | given))


@pytest.mark.parametrize("kind", sorted(bus.EMAIL_EVENTS))
def test_letter_for_every_kind_worth_one_tells_the_same_twice(sender: EmailSender, kind: Any) -> None:
    """Text and HTML carry the same facts: title, order number, a greeting by name."""
    facts = payload(kind) | {"user_name": "Ada Obi", "workspace_name": "Harbour"}
    letter = sender.compose("n-1", "ada@example.com", kind, facts)
    assert letter.message_id == "<n-1@payflow>"
    for part in (letter.text, letter.html):
        assert "Ada Obi" in part
        assert "Harbour" in part
        assert str(facts.get("order_number", "")) in part
    assert letter.subject


@pytest.mark.parametrize("field", ["user_name", "workspace_name", "order_number", "gateway_reference"])
def test_names_from_outside_are_escaped_in_html(sender: EmailSender, field: str) -> None:
    """A customer called <script> is shown by that name, not run."""
    facts = payload(bus.EventType.PAYMENT_COMPLETED) | {field: SCRIPT}
    letter = sender.compose("n-1", "ada@example.com", "PAYMENT_COMPLETED", facts)
    assert "<script" not in letter.html
    assert "&lt;script&gt;" in letter.html
    assert SCRIPT in letter.text


def test_letter_without_its_facts_is_refused_for_good(sender: EmailSender) -> None:
    """Trying again would not bring them."""
    with pytest.raises(DeliveryError) as caught_error:
        sender.compose("n-1", "ada@example.com", "PAYMENT_COMPLETED", {})
    assert caught_error.value.retryable is False


def test_sent_letter_arrives_with_both_parts_and_its_own_id(sender: EmailSender, catcher: RunningSandbox) -> None:
    """The Message-ID is the notification's, so that a repeat can be told."""
    facts = payload(bus.EventType.PAYMENT_COMPLETED) | {"user_name": "Adaéze 鈴木"}
    sender.send(sender.compose("n-7", "Ada <ada@example.com>", "PAYMENT_COMPLETED", facts))
    (message,) = caught(catcher)
    assert message["to"] == ["ada@example.com"]
    assert message["headers"]["Message-ID"] == "<n-7@payflow>"
    assert "Adaéze 鈴木" in message["text"]
    assert "Adaéze 鈴木" in message["html"]


@pytest.mark.parametrize("field", ["order_number", "user_name", "workspace_name"])
def test_line_breaks_from_outside_make_no_header(sender: EmailSender, catcher: RunningSandbox, field: str) -> None:
    """A line break in a fact cannot add a recipient or a header."""
    facts = payload(bus.EventType.PAYMENT_COMPLETED) | {field: "x\r\nBcc: evil@example.com\nX-Evil: 1"}
    sender.send(sender.compose("n-1", "ada@example.com", "PAYMENT_COMPLETED", facts))
    (message,) = caught(catcher)
    assert message["to"] == ["ada@example.com"]
    assert not {"Bcc", "X-Evil"} & message["headers"].keys()


@pytest.mark.parametrize(
    "recipient",
    ["", "ada", "not an address", "ada@example.com\nBcc: evil@example.com", "ada@example.com\r\n", "<>", "@", "a@b@c",
     "ada@", "@example.com", "ada@exa mple.com", "ada example@example.com", "ada@example.com,evil@example.com"],
)  # fmt: skip
def test_broken_address_gets_no_letter_and_no_second_try(
    sender: EmailSender, catcher: RunningSandbox, recipient: str
) -> None:
    """What is no single address is refused here, for good, before any server is asked."""
    with pytest.raises(DeliveryError) as caught_error:
        sender.send(a_letter(recipient=recipient))
    assert caught_error.value.retryable is False
    assert caught(catcher) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    recipient=st.text(max_size=30) | st.from_regex(r"[^@]{1,9}@[^@]{1,9}", fullmatch=True), subject=st.text(max_size=30)
)
def test_no_recipient_or_subject_breaks_more_than_its_own_letter(
    sender: EmailSender, recipient: str, subject: str
) -> None:
    """Whatever text comes in: sent, or a DeliveryError; never an error that would take the batch down."""
    with suppress(DeliveryError):
        sender.send(a_letter(recipient=recipient, subject=subject))


@pytest.mark.parametrize(("code", "retryable"), [(451, True), (550, False)])
def test_refusal_of_the_server_says_whether_to_try_again(
    sender: EmailSender, catcher: RunningSandbox, code: int, retryable: bool
) -> None:
    """4xx means later, 5xx means never (RFC 5321, section 4.2.1)."""
    catcher.app.test_client().post("/sandbox/faults", json={"fault": "mail_rejected", "params": {"code": code}})
    with pytest.raises(DeliveryError) as caught_error:
        sender.send(a_letter())
    assert caught_error.value.retryable is retryable


@pytest.mark.parametrize("goodbye", ["421 too busy for that", "500 what?", "nonsense", DROPPED])
def test_a_letter_that_was_taken_is_sent_however_the_server_takes_leave(goodbye: str) -> None:
    """The letter is the server's once DATA was answered 250 (RFC 5321, section 4.2.5); QUIT decides nothing."""
    with a_mail_server() as mail:
        mail.at_quit = goodbye
        EmailSender(mail.url, mail_from="a@b.example").send(a_letter())
        assert mail.taken == {"<1@payflow>": 1}


def test_a_server_that_speaks_slowly_is_left_when_the_letter_has_had_its_time() -> None:
    """Each answer comes in time, but not all together: later, and nothing was taken."""
    with a_mail_server() as mail:
        mail.before_each = 0.3
        with pytest.raises(DeliveryError) as caught_error:
            EmailSender(mail.url, mail_from="a@b.example", letter_seconds=0.4).send(a_letter())
        assert caught_error.value.retryable is True
        assert mail.taken == {}


def test_server_that_is_not_there_means_later() -> None:
    """A refused connection is the server's trouble, not the letter's."""
    with pytest.raises(DeliveryError) as caught_error:
        EmailSender("smtp://127.0.0.1:1", mail_from="a@b.example").send(a_letter())
    assert caught_error.value.retryable is True


@pytest.mark.parametrize("url", ["", "127.0.0.1:25", "http://mail.example", "smtp://", "imap://mail.example"])
def test_smtp_address_that_cannot_be_used_stops_the_start(url: str) -> None:
    """The sentence names the variable and the shape it wants."""
    with pytest.raises(ConfigurationError, match="PAYFLOW_SMTP_URL"):
        EmailSender(url, mail_from="a@b.example")
