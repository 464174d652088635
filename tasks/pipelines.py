"""Every chain on one page.

    initiate   payments.initiate → notifications.fan_out
    settle     (webhooks.process →) payments.verify → bookings.confirm → notifications.fan_out → deliver × n
    refund     refunds.submit | refunds.verify | refunds.adopt → bookings.release → notifications.fan_out → deliver × n

Links take lists of ids and find the steps still owed; who comes second finds the work done. A chain that breaks
anywhere is finished by the sweep, which reads what is owed from the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import chain, group, signature

LETTERS_PER_TASK = 16


def _link(name: str, *args: Any, gateway: str | None = None) -> Any:
    options = {"queue": f"gateway.{gateway}"} if gateway else {}
    return signature(name, args=args, immutable=True, options=options)


def settle(gateway: str, attempts: Sequence[tuple[str, str]]) -> None:
    """Start the settle chain over some tries: (attempt id, order id)."""
    attempt_ids = [attempt_id for attempt_id, _ in attempts]
    order_ids = sorted({order_id for _, order_id in attempts})
    chain(
        _link("payments.verify", gateway, attempt_ids, gateway=gateway),
        _link("bookings.confirm", order_ids),
        _link("notifications.fan_out", order_ids),
    ).apply_async()


def after_verify(order_ids: Sequence[str]) -> None:
    """The rest of the settle chain, after a drain that began with verification."""
    ids = sorted(set(order_ids))
    chain(_link("bookings.confirm", ids), _link("notifications.fan_out", ids)).apply_async()


def after_refund(order_ids: Sequence[str]) -> None:
    """The rest of the refund chain."""
    ids = sorted(set(order_ids))
    chain(_link("bookings.release", ids), _link("notifications.fan_out", ids)).apply_async()


def adopt_refunds(gateway: str, hints: Sequence[tuple[str, str]]) -> None:
    """Bring refunds in line after webhooks (inbox row id, try id); the rest of the chain follows from there."""
    event_ids, attempt_ids = [event_id for event_id, _ in hints], [attempt_id for _, attempt_id in hints]
    _link("refunds.adopt", gateway, event_ids, attempt_ids, gateway=gateway).apply_async()


def tell(order_ids: Sequence[str]) -> None:
    """Send the messages of some orders' events out."""
    _link("notifications.fan_out", sorted(set(order_ids))).apply_async()


def deliver(notification_ids: Sequence[str]) -> None:
    """One task per handful of letters, side by side."""
    handfuls = [
        list(notification_ids[start : start + LETTERS_PER_TASK])
        for start in range(0, len(notification_ids), LETTERS_PER_TASK)
    ]
    group([_link("notifications.deliver", handful) for handful in handfuls]).apply_async()
