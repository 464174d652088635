"""Letters by SMTP: composed from templates, sent over one short connection each. Knows no rows."""

from __future__ import annotations

import re
import smtplib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import getaddresses
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError, select_autoescape

from payflow.channels import in_app
from payflow.channels.languages import ENGLISH, say
from payflow.channels.lines import cut_at
from payflow.core.errors import ConfigurationError, DeliveryError, PayflowError

TIMEOUT_SECONDS = 15
"""For each single answer; connection, TLS and greeting are three of them."""
LETTER_SECONDS = 30
"""For a whole letter, however many answers it takes. It is watched from the greeting on, so none lasts longer than
those three first answers may."""
_PAIR = "{name}: {value}"
_DETAILS = {
    "order_number": "Order",
    "workspace_name": "Sold by",
    "gateway_reference": "Reference",
    "timestamp": "Date",
}
"""The facts listed below a letter, and their names."""
_MAILBOX = re.compile(r"[^\s@,;:<>()\[\]\"\\]+@[^\s@,;:<>()\[\]\"\\]+")


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter ready to go. `message_id` is the notification's id: a repeat carries the same one."""

    message_id: str
    recipient: str
    subject: str
    text: str
    html: str
    from_name: str | None = None
    """Shown as the sender, at the installation's own address; None = as the installation calls itself."""
    reply_to: str | None = None
    """The address answers go to."""


class EmailSender:
    """Composes and sends letters through one SMTP server.

    SMTP cannot promise once: if the process dies between the server's yes and our note of it, the letter repeats, with
    the same Message-ID.
    """

    def __init__(self, smtp_url: str, *, mail_from: str, letter_seconds: float = LETTER_SECONDS) -> None:
        parts = urlsplit(smtp_url)
        if parts.scheme not in ("smtp", "smtps", "smtp+starttls") or not parts.hostname:
            raise ConfigurationError(
                "PAYFLOW_SMTP_URL must look like smtp://user:password@host:port (or smtps, smtp+starttls)."
            )
        self._parts, self._mail_from, self._letter_seconds = parts, _sender(mail_from), letter_seconds
        self._templates = Environment(
            loader=PackageLoader("payflow.channels", "templates"),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
        )

    def compose(
        self,
        notification_id: str,
        recipient: str,
        event_type: str,
        data: Mapping[str, Any],
        *,
        language: str = ENGLISH,
        from_name: str | None = None,
        reply_to: str | None = None,
    ) -> Letter:
        """The letter for an event's payload, as text and HTML, in a recognised language.

        Raises DeliveryError, for good, for a payload without the facts.
        """
        try:
            text = in_app.render(event_type, data, language)
            facts = {
                "title": text.title,
                "body": text.body,
                "name": data.get("user_name") or "",
                "details": list(_details(data, language)),
            }
            plain, html = self._rendered("letter", facts, language)
        except (TemplateError, KeyError, ValueError, TypeError, PayflowError) as error:
            raise DeliveryError(f"The letter for {event_type} cannot be written.", retryable=False) from error
        number = data.get("order_number")
        return Letter(
            message_id=f"<{notification_id}@payflow>",
            recipient=recipient,
            subject=say(_PAIR, language).format(name=text.title, value=number) if number else text.title,
            text=plain,
            html=html,
            from_name=from_name,
            reply_to=reply_to,
        )

    def digest(self, notification_id: str, recipient: str, news: Mapping[str, Any]) -> Letter:
        """The operators' letter: `title`, `counts` by kind, `lines`, and how many `more`. Raises DeliveryError."""
        try:
            plain, html = self._rendered("digest", news, ENGLISH)
        except TemplateError as error:
            raise DeliveryError("The digest cannot be written.", retryable=False) from error
        return Letter(f"<{notification_id}@payflow>", recipient, f"payflow: {news['title']}", plain, html)

    def _rendered(self, name: str, facts: Mapping[str, Any], language: str) -> tuple[str, str]:
        """A template as text and as HTML."""
        known = {**facts, "language": language, "say": partial(say, tag=language), "pair": say(_PAIR, language)}
        plain = self._templates.get_template(f"{name}.txt").render(known)
        return plain, self._templates.get_template(f"{name}.html").render(known)

    def send(self, letter: Letter) -> None:
        """Hand the letter to the server. Raises DeliveryError; `retryable` is False for an address refused for good."""
        address = _one_address(letter.recipient)
        message = EmailMessage()
        message["From"], message["To"] = _called(self._mail_from, letter.from_name), address
        if letter.reply_to:
            message["Reply-To"] = _one_address(letter.reply_to)
        message["Subject"] = " ".join(letter.subject.split())
        message["Message-ID"] = letter.message_id
        message.set_content(letter.text)
        message.add_alternative(letter.html, subtype="html")
        try:
            with self._line() as server:
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

    @contextmanager
    def _line(self) -> Iterator[smtplib.SMTP]:
        """A server that is ready for a letter. What it makes of our leave says nothing about the letter: that was its
        own from the moment it answered 250 to DATA (RFC 5321, section 4.2.5)."""
        ends_at, parts = time.monotonic() + self._letter_seconds, self._parts
        kind = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
        server = kind(
            parts.hostname or "", parts.port or (465 if parts.scheme == "smtps" else 25), timeout=TIMEOUT_SECONDS
        )
        with cut_at(ends_at, server):
            try:
                if parts.scheme == "smtp+starttls":
                    server.starttls()
                if parts.username:
                    server.login(unquote(parts.username), unquote(parts.password or ""))
                yield server
            finally:
                with suppress(smtplib.SMTPException, OSError):
                    server.quit()
                server.close()


def _one_address(recipient: str) -> str:
    """The address in `name@host` or `Name <name@host>`, as it stands there. Raises DeliveryError, for good."""
    found = getaddresses([recipient])
    address = found[0][1] if len(found) == 1 else ""
    if not _MAILBOX.fullmatch(address) or address not in recipient or any(one in recipient for one in "\r\n"):
        raise DeliveryError("The address cannot be written to.", retryable=False)
    return address


def _sender(mail_from: str) -> Address:
    """`Name <name@host>`, as configured. Raises ConfigurationError."""
    found = getaddresses([mail_from])
    try:
        return Address(display_name=found[0][0], addr_spec=_one_address(mail_from))
    except (ValueError, DeliveryError) as error:  # the header registry's errors are ValueErrors
        raise ConfigurationError("PAYFLOW_MAIL_FROM must look like Bookings <bookings@example.com>.") from error


def _called(sender: Address, name: str | None) -> Address:
    """The sender under another name; the address stays. A name that could break the header is an error for good."""
    if not name:
        return sender
    try:
        return Address(display_name=name, addr_spec=sender.addr_spec)
    except ValueError as error:
        raise DeliveryError("The sender's name cannot be written.", retryable=False) from error


def _details(data: Mapping[str, Any], language: str) -> Iterator[tuple[str, str]]:
    facts = in_app.Facts(data, language)
    for fact, name in _DETAILS.items():
        if data.get(fact):
            yield say(name, language), facts[fact]


def sentences() -> set[str]:
    """Every English word of letters outside the templates: what a language must have a translation of."""
    return {_PAIR, *_DETAILS.values()}
