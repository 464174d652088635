"""Ids, order numbers and references: what we hand out and what a gateway accepts.

Row ids are UUIDv7 (RFC 9562, section 5.7): they sort by creation, which keyset pages rely on.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from typing import NewType
from uuid import UUID

from uuid_utils import uuid7

OrderId = NewType("OrderId", str)
PaymentId = NewType("PaymentId", str)
AttemptId = NewType("AttemptId", str)
RefundId = NewType("RefundId", str)
BookingId = NewType("BookingId", str)
EventId = NewType("EventId", str)

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""No 0/O and no 1/I: order numbers are read out on the telephone."""

ORDER_NUMBER = re.compile(rf"ORD-\d{{8}}-[{_ALPHABET}]{{6}}")
ORDER_CODE = re.compile(rf"[{_ALPHABET}]{{6}}")
"""The end of an order number. No part of its date looks like one: a month has a 0 or a 1."""


def new_id() -> str:
    """A fresh UUIDv7 in its canonical text form."""
    return str(uuid7())


def order_number(at: datetime) -> str:
    """`ORD-YYYYMMDD-XXXXXX` (the day in UTC); unique by the database, so a caller repeats on a clash."""
    return f"ORD-{at:%Y%m%d}-{''.join(secrets.choice(_ALPHABET) for _ in range(6))}"


def attempt_reference() -> str:
    """A reference for one try at a gateway: `PF-` and 26 characters, in every gateway's alphabet.

    Paystack takes only alphanumerics and `- . =` (Paystack API, Initialize transaction); 130 random bits make it
    unguessable, so knowing one's own reference tells nothing of another's.
    """
    return f"PF-{''.join(secrets.choice(_ALPHABET) for _ in range(26))}"


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID, in any of the spellings clients use."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
