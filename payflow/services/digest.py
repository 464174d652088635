"""What operators are told by mail: everything new that waits for a person, in one letter per interval.

No storm: a hundred matters are one letter, a matter is told once, and no news is no letter. The letter is a row first,
at most one per interval by a unique key, and is delivered like any other.
"""

from __future__ import annotations

from collections import Counter

from payflow.core.errors import RuleBroken
from payflow.core.events import timestamp
from payflow.core.identifiers import new_id
from payflow.models.notification import Alert, Channel, Notification
from payflow.models.outbox import OutboxEvent
from payflow.store.alerts import Untold, untold
from payflow.store.unit_of_work import Transaction, UnitOfWork

DIGEST = "OPERATOR_DIGEST"
"""The type of a digest's outbox row. No event of the contract: no workspace or customer hears of it."""
MOST_LINES = 50


class DigestService:
    """`send_to` is the operators' address; None = nobody is told."""

    def __init__(self, units: UnitOfWork, *, send_to: str | None, every_seconds: int) -> None:
        self._units, self._send_to, self._every_seconds = units, send_to, every_seconds

    def tell(self) -> int:
        """Write the letter of this interval if there is news; how many matters it tells. Two at once write one."""
        if self._send_to is None:
            return 0
        send_to = self._send_to

        def step(tx: Transaction) -> int:
            news = untold(tx, tx.act.at)
            if not news:
                return 0
            window = int(tx.act.at.timestamp()) // self._every_seconds
            try:
                with tx.savepoint():
                    _write(tx, news, send_to=send_to, window=window)
            except RuleBroken:  # this interval has its letter, or another beat is telling the same: next time
                return 0
            tx.ring("notifications.deliver")
            return len(news)

        return self._units.run(step)


def _write(tx: Transaction, news: list[Untold], *, send_to: str, window: int) -> None:
    title = f"{len(news)} {'matter waits' if len(news) == 1 else 'matters wait'} for a person"
    lines = [_line(one) for one in news[:MOST_LINES]]
    event = OutboxEvent(
        id=new_id(),
        type=DIGEST,
        dedupe_key=f"{DIGEST}:{window}",
        subject_id=new_id(),
        user_id="",
        workspace_id="",
        payload={
            "title": title,
            "counts": dict(Counter(one.kind for one in news)),
            "lines": lines,
            "more": len(news) - len(lines),
        },
        created_at=tx.act.at,
        fanned_out_at=tx.act.at,
        tries=0,
    )
    tx.add(event)
    tx.flush()
    for one in news:
        tx.add(Alert(kind=one.kind, subject_id=one.subject_id, since=one.since, told_at=tx.act.at, digest_id=event.id))
    tx.add(
        Notification(
            event_id=event.id,
            event=DIGEST,
            channel=Channel.EMAIL.value,
            recipient=send_to,
            title=title,
            body="\n".join(lines),
            created_at=tx.act.at,
            due_at=tx.act.at,
            tries=0,
        )
    )
    tx.flush()


def _line(one: Untold) -> str:
    order = f" ({one.order_number})" if one.order_number else ""
    return f"{timestamp(one.since)} {one.kind}{order}: {' '.join(one.what.split())}"
