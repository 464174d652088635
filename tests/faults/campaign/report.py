"""The campaign's table and its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_COLUMNS = ("runs", "flight", "lost", "doubled", "wrong", "stuck", "seconds")


@dataclass
class Row:
    """One fault's figures; `findings` says in sentences what the counts count."""

    fault: str
    does: str
    runs: int = 1
    in_flight: int = 0
    """Payments and refunds that were not at their end when the fault struck."""
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    stuck: int = 0
    seconds: float = 0.0
    """From the end of the fault until everything was settled."""
    payments: int = 0
    letters_repeated: int = 0
    is_reached: bool = True
    """False: a fail-point nobody came to, so that nothing was shown."""
    findings: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return self.is_reached and not (self.lost or self.doubled or self.wrong or self.stuck)

    def line(self, width: int) -> str:
        """As one line of the table."""
        figures = (self.runs, self.in_flight, self.lost, self.doubled, self.wrong, self.stuck, f"{self.seconds:.1f}")
        mark = "" if self.is_clean else "  <-- " + ("not reached" if not self.is_reached else "look below")
        return f"{self.fault:<{width}}" + "".join(f"{figure!s:>9}" for figure in figures) + mark


def heading(width: int) -> str:
    return f"{'fault':<{width}}" + "".join(f"{name:>9}" for name in _COLUMNS)


def total(rows: Sequence[Row]) -> Row:
    """All rows as one; seconds are the longest."""
    return Row(
        fault="all",
        does="",
        runs=sum(row.runs for row in rows),
        in_flight=sum(row.in_flight for row in rows),
        lost=sum(row.lost for row in rows),
        doubled=sum(row.doubled for row in rows),
        wrong=sum(row.wrong for row in rows),
        stuck=sum(row.stuck for row in rows),
        seconds=max((row.seconds for row in rows), default=0.0),
        payments=sum(row.payments for row in rows),
        letters_repeated=sum(row.letters_repeated for row in rows),
        is_reached=all(row.is_reached for row in rows),
        findings=[f"{row.fault}: {one}" for row in rows for one in row.findings],
    )


def table(rows: Sequence[Row]) -> str:
    """The whole table, and below it what was found."""
    every = total(rows)
    width = max([len(row.fault) for row in rows] + [12]) + 1
    lines = [heading(width), *(row.line(width) for row in rows), every.line(width)]
    if every.letters_repeated:
        lines.append(f"({every.letters_repeated} letters reached the mail server twice: SMTP cannot promise once.)")
    return "\n".join([*lines, *(f"  {one}" for one in every.findings)])


def write_json(path: Path, *, about: dict[str, Any], rows: Sequence[Row]) -> None:
    """The same for machines: {"about": {...}, "rows": [{...}], "all": {...}}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"about": about, "rows": [asdict(row) for row in rows], "all": asdict(total(rows))}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
