"""What the campaign puts into worker processes (`celery worker -I`): a clock it can set wrong, and naive builds.

The ten minutes in which a lost refund request may still arrive are half a minute here: no fault holds one up longer.
A webhook that its receiver did not take is sent again after seconds instead of minutes. A letter is claimed for half a
minute instead of four: the campaign's mail server keeps nobody waiting.

The naive builds have the usual mistakes. The one that `forgets` acknowledges a message before its work is done, and
nobody looks for work whose message was lost. The one that `repeats` sends a refund again when the answer was lost, and
does not look at the gateway's list. The campaign must find what they lose and double; none of it is in the product.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import worker
from payflow.container import Container, build
from payflow.core.clock import SystemClock
from payflow.core.polling import Schedule
from payflow.gateways.base import Gateway, RefundResult
from payflow.services import delivery, notification, refund_answers
from payflow.services.refund_adoption import RefundAdoption
from payflow.services.refund_calls import RefundCalls
from payflow.services.sweep import SweepService
from payflow.settings import Settings
from tests.faults.campaign import NAIVE, SKEW


class SkewedClock:
    """The machine's clock, wrong by the seconds a file names."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return SystemClock().now() + timedelta(seconds=float(self._file.read_text(encoding="ascii") or 0))


def _build() -> Container:
    return build(Settings.from_environ(os.environ), worker=worker.app.worker_name, clock=SkewedClock(Path(skew)))


def _send_again(self: RefundCalls, gateway: Gateway, job: object) -> RefundResult:
    return gateway.refund(job.request)  # type: ignore[attr-defined]  # a private class of refund_calls


def _adopt_nothing(self: RefundAdoption, gateway: str, hints: Sequence[tuple[str, str]]) -> list[str]:
    return []


def _rings_nothing(self: SweepService) -> list[str]:
    return []


def _frees_nothing(self: SweepService, worker: str) -> int:
    return 0


def _acknowledge_early() -> None:
    worker.app.conf.task_acks_late = False
    for task in worker.app.tasks.values():
        task.acks_late = False


refund_answers.REQUEST_MAY_LIVE_SECONDS = 30
notification.LETTER_LEASE_SECONDS = 30
delivery.WEBHOOK_SCHEDULE = Schedule((2, 2, 3, 3, 5, 5, 10, 10, 30))
skew = os.environ.get(SKEW, "")
if skew:
    worker.app.build_container = _build  # type: ignore[method-assign]  # what it is for
if os.environ.get(NAIVE) == "repeats":
    RefundCalls._send = _send_again  # type: ignore[method-assign]  # what it is for
    RefundAdoption.adopt = _adopt_nothing  # type: ignore[method-assign]  # what it is for
if os.environ.get(NAIVE) == "forgets":
    SweepService.ring_due = _rings_nothing  # type: ignore[method-assign]  # what it is for
    SweepService.give_up_claims = _frees_nothing  # type: ignore[method-assign]  # what it is for
    _acknowledge_early()
