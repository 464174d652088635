"""A worker that dies in the middle of a call to a gateway: before the request leaves, or after it took effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.house import House


class Killed(BaseException):
    """Nobody catches it, as nobody catches SIGKILL."""


class _DeadlyGateway:
    """A gateway whose one operation kills whoever calls it."""

    def __init__(self, real: Any, operation: str, *, after_effect: bool) -> None:
        self._real, self._operation, self._after_effect = real, operation, after_effect

    def __getattr__(self, name: str) -> Any:
        real: Callable[..., Any] = getattr(self._real, name)
        if name != self._operation:
            return real

        def die(*given: Any) -> None:
            if self._after_effect:
                real(*given)
            raise Killed

        return die


@contextmanager
def worker_killed_in(house: House, operation: str, *, after_effect: bool) -> Iterator[None]:
    """Inside, the step that makes this call dies in it; what it had committed before is all that is left."""
    gateways: Any = house.container.gateways
    real = gateways["paystack"]
    gateways["paystack"] = _DeadlyGateway(real, operation, after_effect=after_effect)
    try:
        with pytest.raises(Killed):
            yield
    finally:
        gateways["paystack"] = real
