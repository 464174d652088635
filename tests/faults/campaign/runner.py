"""Runs faults on one stage: load, the fault, the wait until everything is settled, the verdict."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import requests
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from payflow.core.errors import PayflowError
from tests.faults.campaign.customers import GATEWAYS, PRICE_MINOR, STAFF, Arrivals, Crowd, GaveUp, Track
from tests.faults.campaign.faults import FAULTS, Fault
from tests.faults.campaign.injections import Scene
from tests.faults.campaign.oracle import Oracle, Sampler, Verdict
from tests.faults.campaign.points import stories_for
from tests.faults.campaign.report import Flight, Row
from tests.faults.campaign.stage import Stage
from tests.live import WORKSPACE

ARRIVALS_PER_SECOND = 4.0
READY = 60
"""Customers with bookings in hand before a fault begins."""
BUSY = 3
"""Payments and refunds in flight that a fault waits for before it strikes."""
CROWDED = 60
"""Payments, refunds and webhooks on their way beyond which the random mode waits with the next faults."""
SLOW_REFUND_SECONDS = 6.0
REACH_SECONDS = 45.0
"""How long a fail-point may take to be come to."""
_IN_FLIGHT = """
    SELECT 'payment', id FROM orders WHERE status IN ('pending', 'processing', 'paid')
    UNION ALL SELECT 'refund', id FROM refunds WHERE status IN ('pending', 'processing')
"""


class Campaign:
    """One stage's campaign. `limit_seconds` is how long everything may take to settle."""

    def __init__(self, stage: Stage, *, seed: int, limit_seconds: float) -> None:
        self.stage, self.limit = stage, limit_seconds
        self.rng = random.Random(seed)
        self.crowd = Crowd(stage.live, patience_seconds=limit_seconds)
        self.oracle = Oracle(stage.live, stage.receiver)
        self.scene = Scene(stage, self.crowd, self.rng)
        self._spare: list[Track] = []
        endpoint = {"workspace_id": WORKSPACE, "url": stage.receiver.url}
        self.crowd.post(STAFF, "/payment/webhook-endpoints/", endpoint, staff_of=WORKSPACE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.crowd.close()

    # -- one fault -----------------------------------------------------------------------------------------------

    def fault(self, fault: Fault) -> Row:
        """Under load: begin, inject, take back, settle, judge."""
        row = Row(fault.name, fault.does)
        sampler = Sampler(self.stage.live)
        before = self.in_flight()
        with self._load() as arrivals:
            time.sleep(2)
            row.count(self._busy(before))
            sampler.start()
            try:
                fault.inject(self.scene)
            finally:
                self.stage.calm()
        row.payments = len(arrivals.came)
        self._settle(row, arrivals.came, sampler.stop())
        return row

    def point(self, point: str, action: str = "kill9") -> Row:
        """Arm one fail-point, once; a payment and a refund at each gateway run into it, while another page stands open
        and another refund is on its way."""
        row = Row(f"{action} {point}", "", payments=len(GATEWAYS) + 1)
        slow, *regretting = self._regretting(1 + len(GATEWAYS))
        first, before = len(self.crowd.tracks), self.in_flight()
        lingering, *buying = [self.crowd.arrive(gateway) for gateway in (self.rng.choice(GATEWAYS), *GATEWAYS)]
        self.crowd.begin(self.crowd.give_back_slowly, slow, SLOW_REFUND_SECONDS)
        self.crowd.begin(self.crowd.order_and_open, lingering)
        self.crowd.finish(self.limit)
        self.stage.arm(f"{point}={action}@1")
        for story in stories_for(point):
            story(self.scene)
        for number, track in enumerate(buying):
            self.crowd.begin(self.crowd.buy, track)
            for other in regretting[number : number + 1]:
                self.crowd.begin(self.crowd.give_back, other, None if self.rng.random() < 0.5 else PRICE_MINOR)
        row.is_reached = self._until(lambda: point in self.stage.passages(), REACH_SECONDS)
        row.count(self.in_flight() - before)
        row.is_idle = not (row.payments_in_flight and row.refunds_in_flight)
        self.stage.arm("")
        self.stage.revive()
        self.crowd.begin(self.crowd.pay_at_last, lingering)
        self._settle(row, [slow, *regretting, *self.crowd.tracks[first:]], set())
        return row

    def random(self, seconds: float, note: Callable[[str], None]) -> list[Row]:
        """Pairs of faults at random moments under constant load, then the books; `note` gets the schedule's lines.

        Before the books are judged the night's comparison with the gateways is made: a refund made by hand whose
        webhook another fault had swallowed is found by that and by nothing else.
        """
        names = [one.name for one in FAULTS.values() if self.stage.stack in one.stacks and not one.is_slow]
        rows: dict[str, Row] = {}
        came: list[Track] = []
        began = time.monotonic()
        sampler = Sampler(self.stage.live)
        sampler.start()
        while time.monotonic() - began < seconds:
            self._until(self._keeps_up, self.limit)
            pair, apart = self.rng.sample(names, 2), self.rng.uniform(0, 3)
            with self._load() as arrivals:
                time.sleep(1)
                in_flight = self._busy()
                when = f"{time.monotonic() - began:7.1f} s"
                note(f"{when}  {pair[0]} and {apart:.1f} s later {pair[1]}; {len(in_flight)} in flight")
                for problem in self._inject_both(pair, apart):
                    note(f"{when}  {problem}")
            came += arrivals.came
            for name in pair:
                row = rows.setdefault(name, Row(name, FAULTS[name].does, runs=0))
                row.runs += 1
                row.count(in_flight)
                row.payments += len(arrivals.came)
        end = Row("the end of it all", "", runs=0)
        self._until(self._keeps_up, self.limit)
        note(self.stage.reconcile())
        self._settle(end, came, sampler.stop())
        return [*sorted(rows.values(), key=lambda row: row.fault), end]

    # -- parts of it ---------------------------------------------------------------------------------------------

    def _inject_both(self, pair: Sequence[str], apart: float) -> list[str]:
        """Two faults that overlap; what one of them could not do because of the other."""

        def inject(name: str, wait: float) -> str | None:
            time.sleep(wait)
            try:
                FAULTS[name].inject(self.scene)
            except (PayflowError, SQLAlchemyError, OSError, RedisError, AssertionError, GaveUp) as problem:
                return f"{name} was cut short: {type(problem).__name__} {problem}"
            return None

        try:
            with ThreadPoolExecutor(2) as pool:
                return [problem for problem in pool.map(inject, pair, (0.0, apart)) if problem]
        finally:
            self.stage.calm()

    @contextlib.contextmanager
    def _load(self) -> Iterator[Arrivals]:
        """Customers arriving while inside; who did not come keeps their bookings for the next time."""
        missing = READY - len(self._spare)
        ready = self._spare + [self.crowd.arrive(GATEWAYS[number % len(GATEWAYS)]) for number in range(missing)]
        arrivals = Arrivals(self.crowd, self.rng, per_second=ARRIVALS_PER_SECOND, ready=ready)
        arrivals.start()
        try:
            yield arrivals
        finally:
            arrivals.stop()
            self._spare = ready[len(arrivals.came) :]

    def _regretting(self, count: int) -> list[Track]:
        """Customers of earlier rows who want their money back now; some buy first where there are none."""
        while len(found := [one for one in self.crowd.tracks if one.can_be_refunded]) < count:
            for gateway in GATEWAYS:
                self.crowd.begin(self.crowd.buy, self.crowd.arrive(gateway))
            self.crowd.finish(self.limit)
        return found[:count]

    def in_flight(self) -> set[Flight]:
        """Payments and refunds not at their end."""
        with contextlib.suppress(SQLAlchemyError, PayflowError):
            return {Flight(kind, str(row_id)) for kind, row_id in self.stage.live.rows(_IN_FLIGHT)}
        return set()

    def _keeps_up(self) -> bool:
        """Whether the machine has worked off what it was given; one that is behind shows nothing but that."""
        with contextlib.suppress(SQLAlchemyError, PayflowError, requests.RequestException, AssertionError):
            self.oracle.read_letters()  # the catcher keeps the newest only
            owed = self.stage.live.rows("SELECT id FROM webhook_deliveries WHERE due_at IS NOT NULL")
            return len(self.in_flight()) + len(owed) < CROWDED
        return False

    def _busy(self, before: AbstractSet[Flight] = frozenset()) -> set[Flight]:
        """What is in flight and was not before, as soon as it is enough for a fault to show something."""
        found: set[Flight] = set()

        def is_enough() -> bool:
            found.clear()
            found.update(self.in_flight() - before)
            return len(found) >= BUSY

        self._until(is_enough, 15)
        return found

    def _settle(self, row: Row, tracks: Sequence[Track], sampled: set[str]) -> None:
        """Wait until all is at its end, then judge."""
        began = time.monotonic()
        self.crowd.finish(self.limit)
        left: list[str] = []

        def is_settled() -> bool:
            left[:] = self.oracle.unsettled(tracks)
            return not left

        self._until(is_settled, max(1.0, self.limit - (time.monotonic() - began)))
        row.seconds = time.monotonic() - began
        verdict: Verdict = self.oracle.judge(tracks, left)
        verdict.wrong += sorted(sampled)
        for kind, count in verdict.counts().items():
            setattr(row, kind, getattr(row, kind) + count)
        row.findings = verdict.sentences()
        row.letters_repeated, row.webhooks_repeated = verdict.letters_repeated, verdict.webhooks_repeated

    def _until(self, question: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not (answer := question()) and time.monotonic() < deadline:
            time.sleep(0.25)
        return answer


def keep_logs(stage: Stage, place: Path) -> None:
    """Keep what the processes wrote, for whoever looks into a finding."""
    for folder in (stage.folder / "system" / "logs", stage.folder / "logs"):
        for log in folder.glob("*.log"):
            place.mkdir(parents=True, exist_ok=True)
            (place / log.name).write_bytes(log.read_bytes())
