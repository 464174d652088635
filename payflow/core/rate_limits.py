"""How often a caller may come: rules such as `initiate=60/minute`, read from one line of text. Floor 1, no counting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PERIODS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_RULE = re.compile(r"([a-z_]+)=([1-9][0-9]{0,8})/([a-z]+)")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in a window of so many seconds."""

    requests: int
    seconds: int


DEFAULT_RATES: Mapping[str, Rate] = {
    "default": Rate(600, 60),
    "initiate": Rate(60, 60),
    "check_status": Rate(60, 60),
    "callback": Rate(120, 60),
    "webhooks": Rate(6_000, 60),
    "anonymous": Rate(120, 60),
}
"""Each request counts against one rule. `callback`, `webhooks` and `anonymous` (public pages, and credentials that were
refused) count per address, the others per user or service key."""


def read_rates(text: str) -> Mapping[str, Rate] | None:
    """The rules of a comma list; what it leaves out stays as by default. `off` is None. Raises ValueError."""
    if text == "off":
        return None
    found = dict(DEFAULT_RATES)
    for word in filter(None, (part.strip() for part in text.split(","))):
        rule = _RULE.fullmatch(word)
        if rule is None or rule[3] not in _PERIODS:
            raise ValueError(f"{word!r} is not a rule such as initiate=60/minute (second, minute, hour or day)")
        if rule[1] not in DEFAULT_RATES:
            raise ValueError(f"there is no {rule[1]!r}; known are {', '.join(DEFAULT_RATES)}")
        found[rule[1]] = Rate(int(rule[2]), _PERIODS[rule[3]])
    return found
