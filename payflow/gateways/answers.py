"""Reading what comes over the wire: bytes to a JSON object, header to seconds; and writing JSON with exact decimals.

No HTTP, no gateway's own word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any

_LARGEST_EXPONENT = 30
"""A decimal beyond 10^30 is no amount of money; turning `1e999999999` into an integer would never end."""
_LONGEST_WAIT_SECONDS = 3_600


def parse_object(
    body: bytes, content_type: str | None = "application/json", *, is_whole: bool = True
) -> dict[str, Any]:
    """A JSON object with exact decimals. Raises ValueError whose text names what came instead (no content in it)."""
    if not is_whole:
        raise ValueError("a body that is too large")
    if not body.strip():
        raise ValueError("an empty body")
    kind = (content_type or "").split(";")[0].strip().lower()
    if not (kind.endswith(("/json", "+json"))):
        raise ValueError("a body that is not JSON")
    try:
        parsed = json.loads(body.decode("utf-8"), parse_float=_decimal, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError("broken JSON") from None
    if not isinstance(parsed, dict):
        raise ValueError("JSON that is no object")  # noqa: TRY004 - one class for every unreadable body
    return parsed


def json_text(value: Any) -> str:
    """JSON to send, decimals exact: 75.50 is written 75.5, never by way of a float. TypeError for what is not JSON."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {json_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(json_text(item) for item in value) + "]"
    if isinstance(value, float):
        raise TypeError("a float is never sent: amounts are integers or Decimal")
    return json.dumps(value)


def retry_after(headers: Mapping[str, str], now: datetime, *, is_limited: bool) -> int | None:
    """Seconds to wait by `Retry-After` (RFC 9110, section 10.2.3: seconds or a date) or `x-ratelimit-reset`.

    The latter is read as seconds to go, or as a moment in Unix seconds or milliseconds when it is that large
    (Paystack does not publish which), and only where a limit was hit: it may stand on every answer. Capped at an
    hour; None when neither says anything readable.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), _LONGEST_WAIT_SECONDS)
    if text:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        return _seconds_until(at if at.tzinfo else at.replace(tzinfo=UTC), now)
    reset = headers.get("x-ratelimit-reset", "").strip() if is_limited else ""
    if not (reset.isascii() and reset.isdigit() and len(reset) <= 14):
        return None
    value = int(reset)
    if value >= 10**12:
        return _seconds_until(datetime.fromtimestamp(value // 1_000, UTC), now)
    if value >= 10**9:
        return _seconds_until(datetime.fromtimestamp(value, UTC), now)
    return min(value, _LONGEST_WAIT_SECONDS)


def _seconds_until(at: datetime, now: datetime) -> int:
    seconds = (at - now).total_seconds()
    return min(max(int(-(-seconds // 1)), 0), _LONGEST_WAIT_SECONDS)


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError("a number out of range") from None
    if value and abs(value.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError("a number out of range")
    return value


def _refuse(word: str) -> Decimal:
    raise ValueError(f"{word} is not JSON")


def text_id(value: Any) -> str | None:
    """An id as text, whether it came as number or text; None for anything else or anything unprintable."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable() else None


def whole_number(value: Any) -> int | None:
    """A non-negative whole number sent as 20000, "20000" or 20000.0; None for anything else."""
    if isinstance(value, Decimal):
        return int(value) if value >= 0 and value == value.to_integral_value() else None
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) <= 30 else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def moment(value: Any) -> datetime | None:
    """An ISO 8601 moment, UTC where no zone is told; None when it cannot be read."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at and at.tzinfo is None else at
