"""The mail catcher: an SMTP server that keeps what it is given and shows it, and never sends anything on.

It knows messages only: no payments, no gateways. It keeps the newest messages in memory and nothing on disk.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Blueprint, Response, abort, jsonify, render_template, request

from payflow.sandbox.clock import Clock

MESSAGES_KEPT = 1_000
MESSAGE_BYTES = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtMessage:
    """One message as it arrived."""

    id: int
    sender: str
    to: list[str]
    subject: str
    text: str
    html: str
    headers: dict[str, str]
    received_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready copy; the sender is called `from` there."""
        row = asdict(self)
        return {**row, "from": row.pop("sender"), "received_at": self.received_at.isoformat()}


class Mailbox:
    """The newest messages, in memory."""

    def __init__(self, clock: Clock, *, keep: int = MESSAGES_KEPT) -> None:
        """Start empty; the oldest message goes when there are more than `keep`."""
        self._clock = clock
        self._lock = threading.Lock()
        self._messages: deque[CaughtMessage] = deque(maxlen=keep)
        self._last_id = 0

    def catch(self, raw: bytes, *, sender: str, to: list[str]) -> CaughtMessage:
        """Keep one message; whatever cannot be decoded is shown as well as it can be."""
        parsed = message_from_bytes(raw, _class=EmailMessage, policy=default_policy)
        headers: dict[str, str] = {}
        for name, value in parsed.items():
            headers[name] = f"{headers[name]}, {value}" if name in headers else str(value)
        with self._lock:
            self._last_id += 1
            message = CaughtMessage(
                id=self._last_id, sender=sender, to=to, subject=headers.get("Subject", ""),
                text=_part(parsed, "plain"), html=_part(parsed, "html"), headers=headers,
                received_at=self._clock.now(),
            )  # fmt: skip
            self._messages.append(message)
        return message

    def messages(self, *, to: str | None = None) -> list[CaughtMessage]:
        """Return the messages, newest first; `to` keeps those for one address."""
        with self._lock:
            return [message for message in reversed(self._messages) if to is None or to in message.to]

    def find(self, message_id: int) -> CaughtMessage | None:
        """Return one message."""
        with self._lock:
            return next((message for message in self._messages if message.id == message_id), None)

    def clear(self) -> int:
        """Throw all messages away; returns how many there were."""
        with self._lock:
            count = len(self._messages)
            self._messages.clear()
            return count


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    if part is None:
        return ""
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, UnicodeError, ValueError):  # a character set nobody knows
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else str(payload)


class _Sink:
    """The SMTP side of the mailbox; the method names are aiosmtpd's."""

    def __init__(self, mailbox: Mailbox, refusal: Callable[[str], int | None]) -> None:
        self._mailbox = mailbox
        self._refusal = refusal

    async def handle_DATA(  # noqa: N802 - aiosmtpd looks for this name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        del server, session
        code = self._refusal(envelope.rcpt_tos[0] if envelope.rcpt_tos else "")
        if code is not None:
            return f"{code} refused on request"
        content = envelope.content or b""
        raw = content if isinstance(content, bytes) else content.encode()
        self._mailbox.catch(raw, sender=envelope.mail_from or "", to=[str(to) for to in envelope.rcpt_tos])
        return "250 caught"


def smtp_server(mailbox: Mailbox, *, host: str, port: int, refusal: Callable[[str], int | None]) -> Controller:
    """Return the SMTP server, not started; `refusal` gives the reply code for a recipient to refuse."""
    return Controller(
        _Sink(mailbox, refusal), hostname=host, port=port, server_hostname=host, data_size_limit=MESSAGE_BYTES
    )


def mail_blueprint(mailbox: Mailbox) -> Blueprint:
    """Return the pages and the JSON of the mail catcher."""
    routes = Blueprint("mail", __name__)

    @routes.get("/mail")
    def mail_page() -> str:
        chosen = request.args.get("id", type=int)
        message = None if chosen is None else mailbox.find(chosen)
        if chosen is not None and message is None:
            abort(404)
        return render_template("mail.html", messages=mailbox.messages(), message=message)

    @routes.get("/mail/messages")
    def mail_messages() -> Response:
        return jsonify([message.to_json() for message in mailbox.messages(to=request.args.get("to"))])

    @routes.delete("/mail/messages")
    def mail_clear() -> Response:
        return jsonify({"deleted": mailbox.clear()})

    return routes
