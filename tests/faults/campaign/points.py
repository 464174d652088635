"""What must happen beside plain payments and refunds for a fail-point to be reached: one small story per kind of point.

A story is told by a customer (and sometimes staff) who repeat what was not answered, so it ends well however often the
processes die in it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import requests
from sqlalchemy import update

from payflow.models.decision import Decision
from payflow.models.order import Order
from tests.faults.campaign.customers import APPROVING, PRICE_MINOR, STAFF, Crowd, GaveUp, Refused, Track
from tests.faults.campaign.injections import Scene
from tests.live import WORKSPACE

Story = Callable[[Scene], None]


def stories_for(point: str) -> list[Story]:
    """The stories that lead to a point; none where plain payments and refunds do."""
    fitting = [name for name in _STORIES if point.startswith(f"{name}.")]
    return [_STORIES[max(fitting, key=len)]] if fitting else []


def _tell(scene: Scene, act: Callable[[Crowd, Track], None], gateway: str = "paystack", **given: str) -> None:
    track = scene.crowd.arrive(gateway, **given)
    scene.crowd.begin(lambda one: act(scene.crowd, one), track)


def _book(scene: Scene) -> None:
    """The customer books through the API, then buys."""

    def act(crowd: Crowd, track: Track) -> None:
        start = datetime(2032, 1, 1, tzinfo=UTC)
        body = {
            "workspace_id": WORKSPACE,
            "resource_id": f"desk-{track.number}",
            "starts_at": start.isoformat(),
            "ends_at": (start + timedelta(hours=1)).isoformat(),
            "amount": 2 * PRICE_MINOR,
            "currency": "NGN",
        }
        track.booking_ids = (str(crowd.post(track.user_id, "/bookings/", body)["id"]),)
        crowd.buy(track)

    _tell(scene, act)


def _cancel_order(scene: Scene) -> None:
    def act(crowd: Crowd, track: Track) -> None:
        track.goal = frozenset({"cancelled"})
        crowd.order(track)
        crowd.post(track.user_id, f"/payment/orders/{track.order_id}/cancel/")

    _tell(scene, act)


def _cancel_booking(scene: Scene) -> None:
    """A paid booking is cancelled: its share goes back by the workspace's policy."""

    def act(crowd: Crowd, track: Track) -> None:
        crowd.buy(track)
        crowd.post(track.user_id, f"/bookings/{track.booking_ids[0]}/cancel/")
        track.kept_minor = PRICE_MINOR

    _tell(scene, act)


def _return_and_check(scene: Scene) -> None:
    """The browser comes back and the customer presses the check button."""

    def act(crowd: Crowd, track: Track) -> None:
        crowd.order(track)
        crowd.pay(track)
        crowd.post(track.user_id, "/payment/payments/callback/", {"reference": track.paid_reference})
        crowd.get(track.user_id, f"/payment/payments/{track.payment_id}/check-status/")
        crowd.see(track, lambda seen: seen.order in track.goal, "the order is completed")

    _tell(scene, act)


def _approve(scene: Scene) -> None:
    _with_approval(scene, "approve")


def _reject(scene: Scene) -> None:
    _with_approval(scene, "reject")


def _with_approval(scene: Scene, verdict: str) -> None:
    def act(crowd: Crowd, track: Track) -> None:
        _policy(crowd, {"refund_needs_approval": True})
        crowd.buy(track)
        crowd.give_back(track, PRICE_MINOR)
        (refund_id,) = track.refunds
        crowd.post(STAFF, f"/payment/refunds/{refund_id}/{verdict}/", staff_of=APPROVING)
        if verdict == "reject":
            track.refunds, track.kept_minor = {}, track.paid_minor

    _tell(scene, act, workspace=APPROVING)


def _policy(crowd: Crowd, changes: dict[str, object]) -> None:
    headers = {"Authorization": f"Bearer {crowd.token(STAFF, APPROVING)}"}
    path = f"{crowd.live.api}/workspaces/{APPROVING}/policy/"
    requests.patch(path, json=changes, headers=headers, timeout=20).raise_for_status()


def _decide(scene: Scene) -> None:
    """The bank sent too little; staff gives it back."""

    def act(crowd: Crowd, track: Track) -> None:
        track.goal = frozenset({"processing", "failed", "expired"})
        crowd.order(track)
        crowd.pay(track, fault="wrong_amount", params={"delta": -100, "field": "amount"})
        track.paid_minor -= 100
        crowd.see(track, lambda seen: seen.attempt == "mismatched", "the money is recorded")
        with crowd.live.container.units.reading() as rows:
            decision = next(one for one in rows.all_of(Decision) if one.order_id == track.order_id)
        body = {"action": "refund"}
        crowd.post(STAFF, f"/payment/decisions/{decision.id}/resolve/", body, staff_of=track.workspace)
        track.kept_minor = 0

    _tell(scene, act)


def _refused_with_a_key(scene: Scene) -> None:
    """A refund of what was not paid yet is refused, and its key is free again."""

    def act(crowd: Crowd, track: Track) -> None:
        crowd.order(track)
        crowd.initiate(track)
        try:
            crowd.give_back(track)
        except Refused:
            crowd.pay(track)
            crowd.see(track, lambda seen: seen.order in track.goal, "the order is completed")
        else:
            raise GaveUp("a refund of an unpaid order was accepted")

    _tell(scene, act)


def _let_expire(scene: Scene) -> None:
    _expire(scene)


def _expire_in_vain(scene: Scene) -> None:
    """The gateway cannot be asked at first, so the order does not expire yet."""
    _expire(scene, fault="rate_limit", operation="verify", times=8, params={"retry_after": 1})


def _end_a_page(scene: Scene) -> None:
    """Stripe ends its page when asked to."""
    _expire(scene, gateway="stripe")


def _expire(scene: Scene, gateway: str = "paystack", **fault: object) -> None:
    def act(crowd: Crowd, track: Track) -> None:
        track.goal = frozenset({"expired"})
        crowd.order(track)
        crowd.initiate(track)
        seen = crowd.see(track, lambda one: one.attempt == "initiated", "a page is open")
        if fault:
            crowd.control("POST", "/sandbox/faults", {"reference": seen.reference, **fault})
        past = datetime.now(UTC) - timedelta(seconds=1)
        with crowd.live.container.engine.begin() as connection:  # its time is over, sooner than in half an hour
            connection.execute(update(Order).where(Order.id == track.order_id).values(expires_at=past, due_at=past))
        crowd.see(track, lambda one: one.order == "expired", "the order is expired")

    _tell(scene, act, gateway)


def _restart_a_worker(scene: Scene) -> None:
    scene.stage.kill("core")


def _refund_untold(scene: Scene) -> None:
    """No webhook tells of a refund, so it is asked about."""
    scene.crowd.control("POST", "/sandbox/faults", {"fault": "webhook_missing", "times": 24})


_STORIES: dict[str, Story] = {
    "web.booking": _book,
    "web.cancel_order": _cancel_order,
    "web.cancel_booking": _cancel_booking,
    "web.check": _return_and_check,
    "web.callback": _return_and_check,
    "web.approve": _approve,
    "web.reject": _reject,
    "web.decide": _decide,
    "key.release": _refused_with_a_key,
    "end_page": _end_a_page,
    "order.claim": _let_expire,
    "expire": _let_expire,
    "expire.later": _expire_in_vain,
    "orders.expire": _let_expire,
    "fetch_refund": _refund_untold,
    "refunds.verify": _refund_untold,
    "sweep.give_up_claims": _restart_a_worker,
}
