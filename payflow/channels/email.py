"""Letters by SMTP: composed from templates, sent over one short connection each. Knows no rows."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError, select_autoescape

from payflow.channels import in_app
from payflow.core.errors import ConfigurationError, DeliveryError

TIMEOUT_SECONDS = 15
_MAILBOX = re.compile(r"[^\s@,;:<>()\[\]\"\\]+@[^\s@,;:<>()\[\]\"\\]+")


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter ready to go. `message_id` is the notification's id: a repeat carries the same one."""

    message_id: str
    recipient: str
    subject: str
    text: str
    html: str


class EmailSender:
    """Composes and sends letters through one SMTP server.

    SMTP cannot promise once: if the process dies between the server's yes and our note of it, the letter repeats, with
    the same Message-ID.
    """

    def __init__(self, smtp_url: str, *, mail_from: str) -> None:
        parts = urlsplit(smtp_url)
        if parts.scheme not in ("smtp", "smtps", "smtp+starttls") or not parts.hostname:
            raise ConfigurationError(
                "PAYFLOW_SMTP_URL must look like smtp://user:password@host:port (or smtps, smtp+starttls)."
            )
        self._parts, self._mail_from = parts, mail_from
        self._templates = Environment(
            loader=PackageLoader("payflow.channels", "templates"),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
        )

    def compose(self, notification_id: str, recipient: str, event_type: str, data: Mapping[str, Any]) -> Letter:
        """The letter for an event's payload, as text and HTML. Raises DeliveryError for a payload without the facts."""
        try:
            text = in_app.render(event_type, data)
            facts = {"title": text.title, "body": text.body, "name": data.get("user_name") or "", "data": data}
            plain = self._templates.get_template("letter.txt").render(facts)
            html = self._templates.get_template("letter.html").render(facts)
        except (TemplateError, KeyError) as error:
            raise DeliveryError(f"The letter for {event_type} cannot be written.", retryable=False) from error
        return Letter(
            message_id=f"<{notification_id}@payflow>",
            recipient=recipient,
            subject=f"{text.title}: {data['order_number']}" if data.get("order_number") else text.title,
            text=plain,
            html=html,
        )

    def send(self, letter: Letter) -> None:
        """Hand the letter to the server. Raises DeliveryError; `retryable` is False for an address refused for good."""
        address = _one_address(letter.recipient)
        message = EmailMessage()
        message["From"], message["To"] = self._mail_from, address
        message["Subject"] = " ".join(letter.subject.split())
        message["Message-ID"] = letter.message_id
        message.set_content(letter.text)
        message.add_alternative(letter.html, subtype="html")
        try:
            with self._connect() as server:
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise DeliveryError(
                "The mail server refused the recipient.", retryable=all(code < 500 for code in codes)
            ) from error
        except smtplib.SMTPDataError as error:
            retryable = error.smtp_code < 500
            raise DeliveryError("The mail server refused the letter.", retryable=retryable) from error
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryError(f"The mail server could not be reached or said no ({type(error).__name__}).") from error

    def _connect(self) -> smtplib.SMTP:
        parts = self._parts
        kind = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
        server = kind(
            parts.hostname or "", parts.port or (465 if parts.scheme == "smtps" else 25), timeout=TIMEOUT_SECONDS
        )
        if parts.scheme == "smtp+starttls":
            server.starttls()
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        return server


def _one_address(recipient: str) -> str:
    """The address in `name@host` or `Name <name@host>`, as it stands there. Raises DeliveryError, for good."""
    found = getaddresses([recipient])
    address = found[0][1] if len(found) == 1 else ""
    if not _MAILBOX.fullmatch(address) or address not in recipient or any(one in recipient for one in "\r\n"):
        raise DeliveryError("The address cannot be written to.", retryable=False)
    return address
