"""The mail catcher: what is sent by SMTP can be read as JSON and as a page, and never runs as markup."""

import smtplib
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
import requests

from payflow.sandbox.app import RunningSandbox, SandboxConfig, start
from payflow.sandbox.clock import OffsetClock
from payflow.sandbox.mail import Mailbox


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    running = start(SandboxConfig(smtp_port=0))
    yield running
    running.stop()


def send(sandbox: RunningSandbox, message: EmailMessage) -> None:
    with smtplib.SMTP("127.0.0.1", sandbox.smtp_port or 0, timeout=5) as smtp:
        smtp.send_message(message)


def letter(subject: str = "Payment successful", to: str = "ada@example.com") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "payflow <pay@example.com>", to, subject
    message["X-Order"] = "ORD-1"
    message.set_content("We received ₦200.00.\n")
    message.add_alternative("<p>We received <b>₦200.00</b>.</p><script>alert(1)</script>", subtype="html")
    return message


def test_message_by_smtp_then_read_as_json(sandbox: RunningSandbox) -> None:
    """Both parts, the envelope and the headers come out as they went in, and the newest is first."""
    send(sandbox, letter())
    send(sandbox, letter("Refund completed", to="bob@example.com"))
    newest, oldest = requests.get(f"{sandbox.url}/mail/messages", timeout=5).json()
    assert newest["subject"] == "Refund completed"
    assert oldest["id"] < newest["id"]
    assert (oldest["from"], oldest["to"]) == ("pay@example.com", ["ada@example.com"])
    assert oldest["text"] == "We received ₦200.00.\n"
    assert "<b>₦200.00</b>" in oldest["html"]
    assert oldest["headers"]["X-Order"] == "ORD-1"
    assert oldest["received_at"].endswith("+00:00")
    only = requests.get(f"{sandbox.url}/mail/messages?to=bob@example.com", timeout=5).json()
    assert [message["subject"] for message in only] == ["Refund completed"]


def test_mail_page_then_lists_escapes_and_frames_the_html(sandbox: RunningSandbox) -> None:
    """A subject with markup is text, the HTML body stands in a frame that may run nothing."""
    send(sandbox, letter("<img src=x onerror=alert(1)>"))
    listed = requests.get(f"{sandbox.url}/mail", timeout=5).text
    assert "&lt;img src=x onerror=alert(1)&gt;" in listed
    assert "<img" not in listed
    number = requests.get(f"{sandbox.url}/mail/messages", timeout=5).json()[0]["id"]
    opened = requests.get(f"{sandbox.url}/mail?id={number}", timeout=5).text
    assert '<iframe sandbox=""' in opened
    assert "&lt;script&gt;" in opened
    assert "<script" not in opened
    assert requests.get(f"{sandbox.url}/mail?id=999", timeout=5).status_code == 404


def test_delete_then_the_box_is_empty(sandbox: RunningSandbox) -> None:
    """DELETE says how many went; other origins may read and delete."""
    send(sandbox, letter())
    answer = requests.delete(f"{sandbox.url}/mail/messages", timeout=5)
    assert answer.json() == {"deleted": 1}
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert requests.get(f"{sandbox.url}/mail/messages", timeout=5).json() == []


def test_mail_rejected_then_the_sender_is_told_and_nothing_is_kept(sandbox: RunningSandbox) -> None:
    """ "mail_rejected": the SMTP answer is the code asked for, once."""
    plan = {"fault": "mail_rejected", "params": {"code": 550}}
    planted = requests.post(f"{sandbox.url}/sandbox/faults", json=plan, timeout=5)
    assert planted.status_code == 201
    with pytest.raises(smtplib.SMTPDataError, match="550"):
        send(sandbox, letter())
    send(sandbox, letter())
    assert len(requests.get(f"{sandbox.url}/mail/messages", timeout=5).json()) == 1


def test_mailbox_when_full_then_the_oldest_goes() -> None:
    """Memory is bounded."""
    box = Mailbox(OffsetClock(), keep=2)
    for number in range(3):
        box.catch(letter(f"no {number}").as_bytes(), sender="a@b.c", to=["d@e.f"])
    assert [message.subject for message in box.messages()] == ["no 2", "no 1"]


def test_mailbox_when_a_message_is_broken_then_kept_as_well_as_can_be() -> None:
    """An unknown character set, or no message at all, is still shown."""
    box = Mailbox(OffsetClock())
    odd = box.catch(b"Subject: x\r\nContent-Type: text/plain; charset=klingon\r\n\r\nnuqneH\r\n", sender="", to=[])
    assert odd.text.strip() == "nuqneH"
    assert box.catch(b"", sender="", to=[]).subject == ""
