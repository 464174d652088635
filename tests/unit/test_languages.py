"""Languages: every one says everything, with the same facts; amounts and dates as its readers write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payflow.channels import email, formats, in_app
from payflow.channels import languages as house
from payflow.core.events import EventType
from payflow.core.money import Money
from tests.unit.test_in_app import payload

OTHERS = [language for language in house.languages() if language != house.ENGLISH]
_FACT = re.compile(r"{\w+}")


def sentences() -> set[str]:
    """All that is said in English: by the code and by the letters' templates."""
    folder = Path(email.__file__).parent / "templates"
    templates = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("letter.*")))
    return in_app.sentences() | email.sentences() | set(re.findall(r'say\("([^"]+)"\)', templates))


def test_there_is_a_language_besides_english() -> None:
    """French; and a file more is a language more."""
    assert house.languages()[0] == house.ENGLISH
    assert "fr" in OTHERS
    assert "Hello {name}," in sentences()


@pytest.mark.parametrize("language", OTHERS)
def test_no_language_lacks_a_text(language: str) -> None:
    """Every sentence is translated, none is left over, and none is merely English again."""
    translated = house.catalogue(language)
    assert sentences() - translated.keys() == set()
    assert translated.keys() - sentences() == set()
    assert {one for one, said in translated.items() if one == said} <= {"Date"}


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_tells_the_same_facts(language: str) -> None:
    """The same `{facts}`, each as often."""
    for sentence, said in house.catalogue(language).items():
        assert sorted(_FACT.findall(sentence)) == sorted(_FACT.findall(said)), said


@pytest.mark.parametrize("kind", EventType)
@pytest.mark.parametrize("language", ["fr", "fr-CA", "en-GB"])
def test_every_event_is_told_in_every_language(kind: EventType, language: str) -> None:
    """No placeholder left, no English title in another language."""
    text = in_app.render(kind, payload(kind), language)
    assert not any(odd in text.title + text.body for odd in ("{", "}", "None"))
    assert (text.title == in_app.TITLES[kind]) == (language == "en-GB")


@pytest.mark.parametrize(
    ("tag", "known"),
    [
        ("en", "en"), ("en-US", "en-US"), ("en_GB", "en-GB"), ("FR", "fr"), ("fr-CA", "fr-CA"), ("fr-NG", "fr"),
        ("de", None), ("", None), ("fr\r\nBcc: x", None), ("../../etc/passwd", None), ("x" * 400, None), (7, None),
        (None, None), (["fr"], None),
    ],
)  # fmt: skip
def test_a_language_tag_is_known_or_not(tag: object, known: str | None) -> None:
    """In any spelling; a region without customs of its own falls away; a language nothing is written in is none."""
    assert house.recognised(tag) == known


@given(st.text(max_size=50))
def test_no_tag_makes_it_fail(tag: str) -> None:
    """Whatever a token claims: a tag of ours, or None."""
    known = house.recognised(tag)
    assert known is None or house.recognised(known) == known


@pytest.mark.parametrize(
    ("money", "tag", "shown"),
    [
        (Money(1_250, "EUR"), "en", "€12.50"),
        (Money(1_250, "EUR"), "fr", "12,50\u00a0€"),
        (Money(150_000_000, "NGN"), "fr", "1\u202f500\u202f000,00\u00a0NGN"),
        (Money(150_000, "NGN"), "en", "NGN\u00a01,500.00"),
        (Money(1_500, "JPY"), "fr", "1\u202f500\u00a0JPY"),
        (Money(5, "KWD"), "fr", "0,005\u00a0KWD"),
        (Money(1, "USD"), "en-GB", "US$0.01"),
    ],
)
def test_amounts_are_written_by_language_and_currency(money: Money, tag: str, shown: str) -> None:
    """Signs and separators are the locale's, decimals the currency's by ISO 4217."""
    assert formats.amount(money, tag) == shown


@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        ("en", "Jan 15, 2026, 12:05\u202fPM UTC"),
        ("fr", "15 janv. 2026, 12:05 UTC"),
        ("en-GB", "15 Jan 2026, 12:05 UTC"),
    ],
)
def test_moments_are_written_by_language_and_say_their_zone(tag: str, shown: str) -> None:
    """To the minute, in UTC."""
    assert formats.moment(datetime(2026, 1, 15, 12, 5, 30, tzinfo=UTC), tag) == shown


@pytest.mark.parametrize(
    ("status", "told"),
    [("completed", "are confirmed"), ("refunded", "given back"), ("paid", "are being confirmed"), (None, "being")],
)
def test_the_text_is_chosen_from_the_facts(status: str | None, told: str) -> None:
    """What the order came to decides what is said of the money."""
    facts = payload(EventType.PAYMENT_COMPLETED) | {"order_status": status}
    assert told in in_app.render("PAYMENT_COMPLETED", facts).body


@pytest.mark.parametrize(("kind", "fact"), [("ORDER_CREATED", "expires_at"), ("BOOKING_CANCELLED", "starts_at")])
def test_an_event_from_before_a_fact_was_told_is_still_told(kind: str, fact: str) -> None:
    """Rows of an older version in the outbox make messages too."""
    facts = payload(EventType(kind))
    assert "2026" in in_app.render(kind, facts).body
    del facts[fact]
    assert "2026" not in in_app.render(kind, facts).body.replace(facts.get("order_number", "-"), "")
