"""Structured JSON logs: one line per fact, a fixed `action`, ids as fields, secrets masked. Floor 1.

ERROR = a person must act; WARNING = retried or odd; INFO = a state moved.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

_SECRET = re.compile(
    r"(sk_(?:test|live)_|FLWSECK|whsec_|rk_(?:test|live)_|pfk_|(?i:Bearer)\s+|\beyJ)[A-Za-z0-9_\-.=+/]+"
)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
_CARD = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|(\b\d(?:[ -]?\d){12,18}\b)", re.IGNORECASE)
"""Our own ids come first, so that one made of digits only stays readable."""

_hidden: tuple[str, ...] = ()


def hide(secrets: Iterable[str]) -> None:
    """From now on take these out too, whatever they look like: the secrets this process was configured with."""
    global _hidden  # noqa: PLW0603 - logging is the process's, and so is what it must not tell
    _hidden = tuple(sorted({*_hidden, *(one for one in secrets if len(one) >= 8)}, key=len, reverse=True))


def mask(text: str) -> str:
    """Take secret keys, tokens, passwords in addresses and card-shaped numbers out of a text."""
    for secret in _hidden:
        text = text.replace(secret, "[masked]")
    text = _URL_PASSWORD.sub(r"\1[masked]@", _SECRET.sub(r"\1[masked]", text))
    return _CARD.sub(lambda found: "[digits]" if found.group(1) else found.group(), text)


def _masked(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in entry.items():
        entry[key] = _masked_value(value)
    return entry


def _masked_value(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: _masked_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked_value(item) for item in value]
    return value


def configure(level: str = "INFO") -> None:
    """Send everything, the libraries' own lines too, as JSON to stderr."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _masked,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry whatever `bound` has bound."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


@contextmanager
def bound(**fields: str | int | None) -> Iterator[None]:
    """Bind fields (correlation_id, task, …) to every line logged inside."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def task() -> str | None:
    """The Celery task this runs in: its name and id."""
    found = structlog.contextvars.get_contextvars()
    return f"{found['task']} {found['task_id']}"[:128] if found.get("task_id") else None


def correlation_id() -> str | None:
    """The correlation id bound at the moment, if any."""
    value = structlog.contextvars.get_contextvars().get("correlation_id")
    return str(value) if value else None
