"""The languages messages are written in: gettext catalogues, read as a translator left them. Knows no events.

English stands in the code and the templates. Every other language is a file `languages/CODE.po` beside this one, whose
`msgid` is the English sentence (docs/howto/translate.md). A sentence without a translation is told in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from babel.core import Locale, UnknownLocaleError
from babel.messages.pofile import read_po

ENGLISH = "en"
LONGEST_TAG = 35
"""Characters a language tag needs at most (RFC 5646, section 4.4.1)."""
_FOLDER = Path(__file__).parent / "languages"


@cache
def languages() -> tuple[str, ...]:
    """Codes of the languages there are, English first."""
    return (ENGLISH, *sorted(path.stem for path in _FOLDER.glob("*.po")))


def recognised(tag: object) -> str | None:
    """A language tag (`fr`, `fr-CA`, `fr_CA`) in its usual spelling; None if no message is written in its language.

    A region nobody has numbers and dates for falls away: `fr-NG` is `fr`.
    """
    if not isinstance(tag, str) or not tag or len(tag) > LONGEST_TAG:
        return None
    words = tag.replace("_", "-")
    for candidate in (words, words.partition("-")[0]):
        try:
            locale = Locale.parse(candidate, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
        if locale.language in languages():
            return str(locale).replace("_", "-")
    return None


def locale_of(tag: str) -> Locale:
    """Babel's locale for a recognised tag."""
    return Locale.parse(tag, sep="-")


def say(sentence: str, tag: str) -> str:
    """An English sentence in the language of a recognised tag."""
    return catalogue(locale_of(tag).language).get(sentence, sentence)


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """What a language says for each English sentence; English needs nothing. Fuzzy ones do not count."""
    if language == ENGLISH:
        return {}
    with (_FOLDER / f"{language}.po").open("rb") as file:
        found = read_po(file, locale=language, abort_invalid=True)
    return {str(one.id): str(one.string) for one in found if one.id and one.string and not one.fuzzy}
