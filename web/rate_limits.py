"""How often a caller may come (Flask-Limiter): counted in the cache's Redis, or in this process without one.

Each request counts against one rule of `PAYFLOW_RATE_LIMITS`, per user or key where somebody is known, per address
otherwise. When Redis is gone each process counts for itself: an outage makes the limits looser, never the API slower or
down. Headers: `RateLimit-Limit`, `-Remaining` and `-Reset` (seconds; draft-ietf-httpapi-ratelimit-headers-03).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from math import ceil
from typing import Any

from flask import Flask, Response, g, request
from flask_limiter import ApplicationLimit, Limiter
from limits.errors import StorageError

from payflow.core.rate_limits import Rate
from payflow.settings import Settings
from web.sections import BASE

_RULES = {
    "payments.initiate_payment": "initiate",
    "payments.check_status": "check_status",
    "payments.confirm_return": "check_status",
    "payments.return_from_gateway": "callback",
    "webhooks.receive_webhook": "webhooks",
}
"""Endpoint to rule; the others fall under `default`, or `anonymous` where nobody is known."""
_TIMEOUT_SECONDS = 0.5


def install(app: Flask, settings: Settings) -> None:
    """Count every request of the API, in the order in which this stands among the app's first steps."""
    rates = settings.rate_limits
    if rates is None:
        return
    limiter = Limiter(
        _who,
        application_limits=[
            ApplicationLimit(
                limit_provider=lambda: _written(rates[_rule()]),
                error_message="That is too often; come back after the seconds in Retry-After.",
            )
        ],
        storage_uri=_storage(settings),
        storage_options=_options(settings),
        key_prefix=hashlib.sha256(settings.database_url.encode()).hexdigest()[:12],
        strategy="fixed-window",
        in_memory_fallback_enabled=True,
        swallow_errors=True,
    )
    limiter.request_filter(lambda: request.method == "OPTIONS" or not request.path.startswith(f"{BASE}/"))
    limiter.init_app(app)
    app.after_request(lambda response: _tell(limiter, response))


def _rule() -> str:
    rule = _RULES.get(request.endpoint or "", "default")
    return "anonymous" if "caller" not in g and rule not in ("callback", "webhooks") else rule


def _who() -> str:
    """Rule and caller, hashed: an address or a login is nobody's business in Redis or a log line."""
    caller = g.caller.actor if "caller" in g else f"address:{request.remote_addr}"
    return hashlib.sha256(f"{_rule()}\n{caller}".encode()).hexdigest()[:32]


def _written(rate: Rate) -> str:
    return f"{rate.requests} per {rate.seconds} second"


def _storage(settings: Settings) -> str:
    address = settings.cache_url or "memory://"
    return address.replace("unix://", "redis+unix://", 1) if address.startswith("unix://") else address


def _options(settings: Settings) -> dict[str, Any]:
    if settings.cache_url is None:
        return {}
    return {"socket_timeout": _TIMEOUT_SECONDS, "socket_connect_timeout": _TIMEOUT_SECONDS, "wrap_exceptions": True}


def _tell(limiter: Limiter, response: Response) -> Response:
    """Say what is left; a refused request also hears when to come back."""
    counted = limiter.current_limit
    if counted is None:
        return response
    try:
        left, seconds = counted.remaining, max(1, ceil(counted.window.reset_time - time.time()))
    except StorageError:  # the next request notices, and counts in memory
        return response
    told: Mapping[str, int] = {"Limit": counted.limit.amount, "Remaining": left, "Reset": seconds}
    response.headers.update({f"RateLimit-{name}": str(value) for name, value in told.items()})
    if counted.breached:
        response.headers["Retry-After"] = str(seconds)
    return response
