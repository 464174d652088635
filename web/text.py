"""Kinds of text and time that come from outside: bounded, printable, aware. Nothing about money or orders."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, PlainSerializer, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from payflow.core.cards import holds_card_number
from payflow.core.events import timestamp


def _printable(text: str) -> str:
    """No control characters: they break logs and letters, and PostgreSQL stores no NUL."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise PydanticCustomError("control_characters", "Control characters are not allowed")
    return text


def _paragraph(text: str) -> str:
    _printable(text.replace("\n", " ").replace("\r", " ").replace("\t", " "))
    return text


def no_card_number(text: str) -> str:
    """Nobody stores a card number here, whatever field it is typed into."""
    if holds_card_number(text):
        raise PydanticCustomError("card_number", "Card numbers are not taken here: pay on the gateway's page")
    return text


def _canonical_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise PydanticCustomError("invalid_id", "That is not an id (a UUID)") from None


def _from_text(value: object) -> object:
    """A moment is RFC 3339 text; a number is not a moment."""
    if not isinstance(value, str | datetime) or (isinstance(value, str) and "-" not in value):
        raise PydanticCustomError(
            "datetime_type", "A moment is RFC 3339 text with an offset, e.g. 2026-01-31T09:00:00Z"
        )
    return value


def _in_range(moment: datetime) -> datetime:
    try:
        moment = moment.astimezone(UTC)
    except (OverflowError, ValueError):
        moment = datetime.min.replace(tzinfo=UTC)
    if not 2000 <= moment.year <= 9000:
        raise PydanticCustomError("datetime_range", "The moment lies outside of what can be handled")
    return moment


Line = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=255), AfterValidator(_printable)]
"""One line of text."""
FreeLine = Annotated[Line, AfterValidator(no_card_number)]
"""One line that a person may have typed."""
Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64), AfterValidator(_printable)]
"""The name of a workspace or payment method."""
Note = Annotated[
    str, StringConstraints(strict=True, max_length=500), AfterValidator(_paragraph), AfterValidator(no_card_number)
]
"""A remark by a person; may have several lines."""
RowId = Annotated[
    str,
    StringConstraints(strict=True),
    AfterValidator(_canonical_id),
    WithJsonSchema({"type": "string", "format": "uuid"}),
]
"""A UUID in any spelling, kept in the canonical one."""
MomentIn = Annotated[
    AwareDatetime,
    BeforeValidator(_from_text),
    AfterValidator(_in_range),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment a client gives, with its offset; kept in UTC."""
Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
"""An id in an answer."""
Moment = Annotated[
    datetime,
    PlainSerializer(timestamp, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""A moment in an answer: RFC 3339, UTC, milliseconds."""
