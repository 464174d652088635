"""A real SMTP server on loopback that counts what it takes and behaves at each command as a test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from payflow.embedded import free_port

DROPPED = ""


def _nothing(_message_id: str) -> None:
    """A letter is taken as it comes."""


@dataclass
class MailServer:
    """Takes every letter, unless a test says otherwise."""

    url: str = ""
    at_quit: str = "221 Bye"
    """What QUIT is answered; DROPPED = the line is gone instead."""
    before_each: float = 0.0
    """Seconds it lets a client wait for each answer to MAIL and RCPT."""
    on_letter: Callable[[str], str | None] = _nothing
    """Called with the Message-ID before a letter is taken, and may wait; an answer it gives refuses the letter."""
    taken: Counter[str] = field(default_factory=Counter)
    """How often each Message-ID was answered 250."""

    # the names are aiosmtpd's

    async def handle_MAIL(  # noqa: N802 - aiosmtpd calls it by this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        await asyncio.sleep(self.before_each)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it by this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        await asyncio.sleep(self.before_each)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd calls it by this name
        del server, session
        content = envelope.content or b""
        message_id = str(message_from_bytes(content if isinstance(content, bytes) else content.encode())["Message-ID"])
        refusal = await asyncio.to_thread(self.on_letter, message_id)
        if refusal is not None:
            return refusal
        self.taken[message_id] += 1
        return "250 taken"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd calls it by this name
        del session, envelope
        if self.at_quit == DROPPED and server.transport is not None:
            server.transport.abort()  # type: ignore[attr-defined]  # a socket's transport, which has it
        return self.at_quit


@contextmanager
def a_mail_server() -> Iterator[MailServer]:
    """A mail server while inside."""
    mail = MailServer()
    controller = Controller(mail, hostname="127.0.0.1", port=free_port())
    controller.start()
    mail.url = f"smtp://127.0.0.1:{controller.port}"
    try:
        yield mail
    finally:
        controller.stop()
