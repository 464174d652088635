"""When to ask again: poll plans and retry schedules as values. Nothing here sleeps."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

MINUTE, HOUR, DAY = 60, 3_600, 86_400

DEFAULT_POLL_PLAN: tuple[int, ...] = (
    5, 5, 10, 20, 40, MINUTE, 2 * MINUTE, 4 * MINUTE,
    *(10 * MINUTE,) * 6, *(HOUR,) * 71, *(DAY,) * 4,
)  # fmt: skip
"""Seconds between questions: quick at first, ten-minutely for an hour, hourly for three days, daily for a week."""

REFUND_POLL_PLAN: tuple[int, ...] = (5, 10, 20, 40, MINUTE, 5 * MINUTE, 10 * MINUTE, *(HOUR,) * 24, *(DAY,) * 30)
"""A refund may take ten working days at a bank (Paystack docs, Refunds), so the plan runs for a month."""


@dataclass(frozen=True, slots=True)
class PollPlan:
    """Delays in seconds; `delays[n]` is the wait after the n-th question. Exhausted = an explicit verdict is due."""

    delays: tuple[int, ...] = DEFAULT_POLL_PLAN

    def next_at(self, step: int, now: datetime) -> datetime | None:
        """When to ask after `step` questions; None when the plan has come to its end."""
        if step >= len(self.delays):
            return None
        return now + timedelta(seconds=self.delays[step])

    def next_for(self, step: int, *, since: datetime, now: datetime) -> datetime | None:
        """As `next_at`, but a plan that began at `since` lasts as long as it says: questions asked in between, by a
        webhook or a customer, do not bring its end nearer."""
        if step >= len(self.delays) and now < since + timedelta(seconds=sum(self.delays)):
            return now + timedelta(seconds=self.delays[-1])
        return self.next_at(step, now)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits for work that failed: `base`, doubled each time, capped; parked after `max_tries`."""

    base_seconds: int
    cap_seconds: int
    max_tries: int

    def next_at(self, tries: int, now: datetime) -> datetime | None:
        """When to try again after `tries` failures; None = park it for a person."""
        if tries >= self.max_tries:
            return None
        return now + timedelta(seconds=min(self.base_seconds * 2 ** max(tries - 1, 0), self.cap_seconds))


EMAIL_BACKOFF = Backoff(base_seconds=5, cap_seconds=6 * HOUR, max_tries=18)
INBOX_BACKOFF = Backoff(base_seconds=2, cap_seconds=HOUR, max_tries=20)
OUTBOX_BACKOFF = Backoff(base_seconds=2, cap_seconds=HOUR, max_tries=20)
GATEWAY_BACKOFF = Backoff(base_seconds=2, cap_seconds=10 * MINUTE, max_tries=1_000)
"""A gateway that is down is asked again until it answers; the order's own deadline ends the wait, not a counter."""


SILENCE = timedelta(days=1)
"""A gateway that owes an answer for so long is put before a person."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Fixed waits (seconds) for work that failed, each up to a twentieth longer so that many do not come back at once;
    given up after the last."""

    delays: tuple[int, ...]

    def next_at(self, tries: int, now: datetime) -> datetime | None:
        """When to try again after `tries` failures; None = it is given up."""
        if tries > len(self.delays):
            return None
        seconds = self.delays[tries - 1]
        return now + timedelta(seconds=seconds + secrets.randbelow(seconds // 20 + 1))


WEBHOOK_SCHEDULE = Schedule(
    (5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
)
"""That of the Standard Webhooks specification: ten tries in a little over three days."""
