"""The campaign's table and its JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

KINDS = ("lost", "doubled", "wrong", "stuck")
_COLUMNS = ("runs", "flight", "lost", "doubled", "wrong", "stuck", "seconds")


class Flight(NamedTuple):
    """A payment or a refund that is not at its end."""

    kind: str
    row_id: str


@dataclass
class Row:
    """One fault's figures; `findings` says in sentences what the counts count."""

    fault: str
    does: str
    runs: int = 1
    payments_in_flight: int = 0
    refunds_in_flight: int = 0
    """Not at their end when the fault struck."""
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    stuck: int = 0
    seconds: float = 0.0
    """From the end of the fault until everything was settled."""
    payments: int = 0
    letters_repeated: int = 0
    webhooks_repeated: int = 0
    is_reached: bool = True
    """False: a fail-point nobody came to, so that nothing was shown."""
    is_idle: bool = False
    """True: too little was in flight to show anything; at a fail-point, not both a payment and a refund."""
    findings: list[str] = field(default_factory=list)

    def count(self, in_flight: Iterable[Flight]) -> None:
        """Add what was in flight at a stroke."""
        kinds = [one.kind for one in in_flight]
        self.payments_in_flight += kinds.count("payment")
        self.refunds_in_flight += kinds.count("refund")
        self.is_idle = not self.in_flight

    @property
    def in_flight(self) -> int:
        return self.payments_in_flight + self.refunds_in_flight

    @property
    def is_shown(self) -> bool:
        """Whether the stroke fell on enough to show something."""
        return self.is_reached and not self.is_idle

    def and_again(self, other: Row) -> Row:
        """This row with another run of it: all that was found stands; one of them has to have shown something."""
        both = total([self, other])
        both.fault, both.does, both.findings = self.fault, self.does, [*self.findings, *other.findings]
        both.is_reached, both.is_idle = other.is_reached or self.is_reached, not (self.is_shown or other.is_shown)
        return both

    @property
    def is_clean(self) -> bool:
        return self.is_shown and not (self.lost or self.doubled or self.wrong or self.stuck)

    def line(self, width: int) -> str:
        """As one line of the table."""
        figures = (self.runs, self.in_flight, self.lost, self.doubled, self.wrong, self.stuck, f"{self.seconds:.1f}")
        mark = "" if self.is_clean else f"  <-- {self._mark()}"
        return f"{self.fault:<{width}}" + "".join(f"{figure!s:>9}" for figure in figures) + mark

    def _mark(self) -> str:
        if not self.is_reached:
            return "not reached"
        return "nothing in flight" if self.is_idle else "look below"


def heading(width: int) -> str:
    return f"{'fault':<{width}}" + "".join(f"{name:>9}" for name in _COLUMNS)


def total(rows: Sequence[Row]) -> Row:
    """All rows as one; seconds are the longest."""
    return Row(
        fault="all",
        does="",
        runs=sum(row.runs for row in rows),
        payments_in_flight=sum(row.payments_in_flight for row in rows),
        refunds_in_flight=sum(row.refunds_in_flight for row in rows),
        lost=sum(row.lost for row in rows),
        doubled=sum(row.doubled for row in rows),
        wrong=sum(row.wrong for row in rows),
        stuck=sum(row.stuck for row in rows),
        seconds=max((row.seconds for row in rows), default=0.0),
        payments=sum(row.payments for row in rows),
        letters_repeated=sum(row.letters_repeated for row in rows),
        webhooks_repeated=sum(row.webhooks_repeated for row in rows),
        is_reached=all(row.is_reached for row in rows),
        is_idle=any(row.is_idle for row in rows),
        findings=[f"{row.fault}: {one}" for row in rows for one in row.findings],
    )


def table(rows: Sequence[Row]) -> str:
    """The whole table, and below it what was found."""
    every = total(rows)
    width = max([len(row.fault) for row in rows] + [12]) + 1
    lines = [heading(width), *(row.line(width) for row in rows), every.line(width)]
    if every.letters_repeated:
        lines.append(f"({every.letters_repeated} letters reached the mail server twice: SMTP cannot promise once.)")
    if every.webhooks_repeated:
        lines.append(f"({every.webhooks_repeated} webhooks were taken twice, under the same webhook-id.)")
    return "\n".join([*lines, *(f"  {one}" for one in every.findings)])


def write_json(path: Path, *, about: dict[str, Any], rows: Sequence[Row]) -> None:
    """The same for machines: {"about": {...}, "rows": [{...}], "all": {...}}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"about": about, "rows": [asdict(row) for row in rows], "all": asdict(total(rows))}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
