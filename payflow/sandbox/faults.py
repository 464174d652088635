"""The book of planted faults: who asked for which misbehaviour, and whether it strikes now.

The faults themselves are described in fault_table.py. Carrying one out happens where the thing is done:
answers.py for answers, counterparty.py for money, webhooks.py for webhooks, mail.py for mail.
"""

import random
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from payflow.sandbox.fault_table import FAULT_TABLE, FaultName


class UnknownFault(ValueError):
    """The script asks for a fault, an operation or a parameter that is not in the table."""


@dataclass(slots=True, kw_only=True, eq=False)
class FaultPlan:
    """A planted fault: it strikes the next `times` matching occasions, each with probability `chance`."""

    id: int
    fault: FaultName
    gateway: str | None
    reference: str | None
    operation: str | None
    times: int | None
    """Occasions left; None = until deleted."""
    chance: float
    params: dict[str, Any]
    used: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready copy."""
        return asdict(self)

    def is_for(self, *, gateway: str, operation: str, event: str | None) -> bool:
        """Tell whether this plan is for this occasion; its reference has been looked at."""
        return (
            operation in FAULT_TABLE[self.fault].operations
            and self.gateway in (None, gateway)
            and self.operation in (None, operation)
            and self.params.get("event") in (None, event)
        )


class FaultBook:
    """The planted faults; on one occasion the plan planted first strikes first."""

    def __init__(self, *, seed: int) -> None:
        """Start with nothing planted; `seed` drives the faults that strike by chance."""
        self._lock = threading.Lock()
        self._plans: dict[int, FaultPlan] = {}
        self._live: dict[tuple[FaultName, str | None], list[FaultPlan]] = defaultdict(list)
        self._last_id = 0
        self._dice = random.Random(f"{seed}:faults")  # noqa: S311 - repeatable by design

    def plant(self, request: Mapping[str, Any]) -> FaultPlan:
        """Plant what a script asks for; raises UnknownFault with a sentence the script's author can use."""
        plan = _parse(request)
        with self._lock:
            self._last_id += 1
            plan.id = self._last_id
            self._plans[plan.id] = plan
            self._live[plan.fault, plan.reference].append(plan)
        return plan

    def take(
        self,
        *faults: FaultName,
        gateway: str,
        reference: str | None,
        operation: str,
        event: str | None = None,
    ) -> FaultPlan | None:
        """Return the first planted plan of these faults that strikes now, and count the stroke."""
        with self._lock:
            for plan in self._candidates(faults, reference):
                if self._strikes(plan, gateway, operation, event):
                    return plan
        return None

    def take_each(self, *faults: FaultName, gateway: str, reference: str | None, operation: str) -> list[FaultPlan]:
        """Return every plan of these faults that strikes now, in the order of planting, each counted once."""
        with self._lock:
            candidates = self._candidates(faults, reference)
            return [plan for plan in candidates if self._strikes(plan, gateway, operation, None)]

    def _candidates(self, faults: tuple[FaultName, ...], reference: str | None) -> list[FaultPlan]:
        keys = {(fault, name) for fault in faults for name in (reference, None)}
        plans = [plan for key in keys if key in self._live for plan in self._live[key]]
        return sorted(plans, key=lambda plan: plan.id)

    def _strikes(self, plan: FaultPlan, gateway: str, operation: str, event: str | None) -> bool:
        if not plan.is_for(gateway=gateway, operation=operation, event=event):
            return False
        if plan.chance < 1 and self._dice.random() >= plan.chance:
            return False
        self._count(plan)
        return True

    def _count(self, plan: FaultPlan) -> None:
        plan.used += 1
        if plan.times is not None:
            plan.times -= 1
            if plan.times == 0:
                self._retire(plan)

    def _retire(self, plan: FaultPlan) -> None:
        live = self._live[plan.fault, plan.reference]
        live.remove(plan)
        if not live:
            del self._live[plan.fault, plan.reference]

    def count_stroke(self, plan: FaultPlan) -> None:
        """Count a stroke carried out at planting time."""
        with self._lock:
            self._count(plan)

    def plans(self) -> list[FaultPlan]:
        """Return every plan, the used-up ones too."""
        with self._lock:
            return list(self._plans.values())

    def remove(self, plan_id: int | None = None) -> int:
        """Forget one plan, or all; returns how many there were."""
        with self._lock:
            if plan_id is None:
                removed = len(self._plans)
                self._plans.clear()
                self._live.clear()
                return removed
            plan = self._plans.pop(plan_id, None)
            if plan is not None and plan.times != 0:
                self._retire(plan)
            return 0 if plan is None else 1


def _parse(request: Mapping[str, Any]) -> FaultPlan:
    try:
        fault = FaultName(str(request.get("fault")))
    except ValueError:
        raise UnknownFault(f"unknown fault {request.get('fault')!r}; GET /sandbox/faults lists them") from None
    row = FAULT_TABLE[fault]
    operation = request.get("operation")
    if operation is not None and operation not in row.operations:
        raise UnknownFault(f"{fault} applies to {', '.join(sorted(row.operations))}, not to {operation!r}")
    params = request.get("params")
    params = {} if params is None else params
    reference = request.get("reference")
    if reference is not None and not isinstance(reference, str):
        raise UnknownFault("reference must be a text, or null for any")
    if not isinstance(params, dict):
        raise UnknownFault("params must be an object")
    if unknown := set(params) - set(row.params):
        raise UnknownFault(
            f"{fault} takes {', '.join(row.params) or 'no parameters'}, not {', '.join(sorted(unknown))}"
        )
    for name, value in params.items():
        if isinstance(row.params[name], (int, float)) and not isinstance(value, (int, float)):
            raise UnknownFault(f"parameter {name} of {fault} must be a number or true/false")
    times = request.get("times", 1)
    if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
        raise UnknownFault("times must be a whole number above zero, or null for ever")
    chance = request.get("chance", 1)
    if not isinstance(chance, (int, float)) or not 0 < chance <= 1:
        raise UnknownFault("chance must be above 0 and at most 1")
    return FaultPlan(
        id=0,
        fault=fault,
        gateway=request.get("gateway"),
        reference=reference,
        operation=operation,
        times=times,
        chance=chance,
        params={**row.params, **params},
    )
