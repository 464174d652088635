"""Card numbers in free text: told by issuer, length and check digit, so that they are refused and never stored.

Customers pay on the gateway's page; a card number that arrives here was typed into the wrong place, and keeping it
would bring this system under rules it is built to stay clear of (PCI DSS, SAQ A).
"""

from __future__ import annotations

import re

_DIGITS = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<![\da-f])(\d(?:[ .\-]?\d){12,18})(?![\da-f])", re.IGNORECASE
)
"""Thirteen to nineteen digits, in groups or not; ids of ours come first, so that no part of one counts. Digits that
touch a to f belong to a hexadecimal token: one random key in a thousand holds what would pass for a card."""
_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"6011|64[4-9]|65|62"), (16, 17, 18, 19)),  # Discover, UnionPay
    (re.compile(r"506099|5061|507[89]|6500"), (16, 18, 19)),  # Verve
    (re.compile(r"5018|5020|5038|6304|6759|676[1-3]"), (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (re.compile(r"30[0-5]|36|38"), (14,)),  # Diners Club
    (re.compile(r"35(?:2[89]|[3-8])"), (16,)),  # JCB
)
"""First digits and lengths (ISO/IEC 7812, the schemes' published ranges). Numbers of no scheme are somebody's ids."""


def holds_card_number(text: str) -> bool:
    """Whether there is a number in it that a card could have. Digits of any script count as their ASCII ones."""
    plain = "".join(str(int(one)) if one.isdecimal() else one for one in text)
    return any(_is_card(re.sub(r"\D", "", found.group(1))) for found in _DIGITS.finditer(plain) if found.group(1))


def _is_card(digits: str) -> bool:
    return _adds_up(digits) and any(
        issuer.match(digits) is not None and len(digits) in lengths for issuer, lengths in _ISSUERS
    )


def _adds_up(digits: str) -> bool:
    """The check digit is right (Luhn, ISO/IEC 7812-1 annex B)."""
    doubled = (int(one) if place % 2 == 0 else int(one) * 2 for place, one in enumerate(reversed(digits)))
    return sum(one - 9 if one > 9 else one for one in doubled) % 10 == 0
