"""Logs: one JSON object per line, with fixed fields and nothing secret in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from payflow import logs
from payflow.core.identifiers import new_id

SECRETS = [
    "sk_live_abcDEF123456",
    "sk_test_abcDEF123456",
    "rk_live_abcDEF123456",
    "whsec_abcDEF123456+/=",
    "pfk_abcDEF-123456_7",
    "FLWSECK_TEST-abcdef0123456789-X",
    "FLWSECK-abcdef0123456789-X",
    "Bearer abc.DEF-123_456",
    "bearer abc.DEF-123_456",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "postgresql://payflow:hunter2secret@db.example/payflow",
    "redis://:hunter2secret@cache.example:6379/0",
    "4084084084084081",
    "4084 0840 8408 4081",
    "4084-0840-8408-4081",
]
TELLING = ("abcDEF123456", "abc.DEF", "0123456789", "c2lnbmF0dXJl", "hunter2secret", "4084", "abcDEF-123456")


@contextmanager
def logging_to(capsys: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """Logging as a process sets it up; afterwards as it was, and the list holds the lines written."""
    root, written = logging.getLogger(), list[str]()
    before, level = root.handlers[:], root.level
    logs.configure()
    structlog.configure(cache_logger_on_first_use=False)  # or whoever logs in here would do so for ever
    try:
        yield written
    finally:
        written += capsys.readouterr().err.splitlines()
        root.handlers[:] = before
        root.setLevel(level)
        structlog.reset_defaults()


@pytest.mark.parametrize("secret", SECRETS)
def test_mask_takes_secrets_out_of_the_middle_of_a_text(secret: str) -> None:
    """Keys, tokens, passwords in addresses and card-shaped numbers go; what stands around them stays."""
    masked = logs.mask(f"before {secret} after")
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert not any(piece in masked for piece in TELLING)


@pytest.mark.parametrize(
    "text",
    [
        "order ORD-20260115-7K3XQZ of 1500000 NGN",
        "2026-01-15T12:00:00.123456Z",
        "http://127.0.0.1:8000/api/v1/payment/orders/",
        "PF-AMY9DVLCRCQ4V733FXZ69K7VNJ",
        "01934567-8901-7234-8567-890123456789",
        "",
    ],
)
def test_mask_leaves_ids_amounts_and_times_readable(text: str) -> None:
    """A log without ids helps nobody; also an id that happens to be made of digits only."""
    assert logs.mask(text) == text


def test_mask_leaves_every_id_of_ours_alone() -> None:
    """Thousands of fresh ids pass unchanged."""
    ids = [new_id() for _ in range(5_000)]
    assert [logs.mask(one) for one in ids] == ids


def test_line_is_json_with_action_level_and_bound_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """What is bound around a piece of work is on every line inside, and gone after it."""
    with logging_to(capsys) as written:
        log = logs.get("payflow.test")
        with logs.bound(correlation_id="corr-1", task="payments.verify"):
            assert logs.correlation_id() == "corr-1"
            log.info("inside", action="test.inside", attempt_id="a-1")
        log.warning("outside", action="test.outside")
    inside, outside = map(json.loads, written)
    assert (inside["event"], inside["action"], inside["level"]) == ("inside", "test.inside", "info")
    assert (inside["correlation_id"], inside["task"], inside["attempt_id"]) == ("corr-1", "payments.verify", "a-1")
    assert inside["timestamp"].endswith("Z")
    assert "correlation_id" not in outside
    assert logs.correlation_id() is None


@pytest.mark.parametrize("secret", SECRETS)
def test_no_line_holds_a_secret(capsys: pytest.CaptureFixture[str], secret: str) -> None:
    """In the sentence, a field, a nested field, an exception, or a library's own line."""
    sentence = f"sentence {secret}"
    with logging_to(capsys) as written:
        log = logs.get("payflow.test")
        log.error(sentence, field=secret, nested={"list": [secret, {"deep": secret}]})
        logging.getLogger("some.library").warning("their %s line", secret)
        log.error("failed", exc_info=ValueError(sentence))
    assert len(written) == 3
    assert not any(piece in line for piece in TELLING for line in written)
    assert "ValueError: sentence" in written[2]


def test_line_breaks_in_a_text_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A customer's name with a line break in it is still one line."""
    with logging_to(capsys) as written:
        logs.get("payflow.test").info("named", name='Ada\n{"level": "error", "event": "forged"}\r\n')
    (line,) = written
    assert json.loads(line)["event"] == "named"
