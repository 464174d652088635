"""From event to receiver: once per endpoint, in numbered order, until it is taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook

import celeryconfig
from payflow import logs
from payflow.core.errors import Conflict, NotFound
from payflow.core.events import EventType, outside_name
from payflow.core.identifiers import new_id
from payflow.models.refund import RefundReason
from payflow.models.webhook_endpoint import WebhookDelivery, WebhookEndpoint, WebhookTry
from payflow.services.explain import Explainer
from payflow.services.parked import ParkedService
from tasks import deliveries as deliveries_task
from tests.house import ADA, ADMIN, OTHER_WORKSPACE, PLATFORM, WORKSPACE, House
from tests.receivers import HowtoReceiver, Receiver, a_receiver

pytestmark = [
    pytest.mark.parametrize("house", [{"PAYFLOW_WEBHOOK_ALLOW_PRIVATE": "1"}], indirect=True),
    pytest.mark.usefixtures("sound_in_the_end"),
]
NOWHERE = "http://127.0.0.1:9/"
HOUR, DAY = 3_600, 86_400


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as found:
        yield found


def subscribe(house: House, url: str, *events: str, workspace: str = WORKSPACE) -> tuple[str, str]:
    """An endpoint and its secret."""
    return house.container.webhook_endpoints.create(PLATFORM, workspace, url=url, events=events)


@pytest.fixture(autouse=True)
def known(house: House) -> None:
    """The workspaces exist."""
    for workspace in (WORKSPACE, OTHER_WORKSPACE):
        house.booking(workspace_id=workspace)


def deliveries(house: House, endpoint_id: str | None = None) -> list[WebhookDelivery]:
    rows: list[WebhookDelivery] = house.rows(WebhookDelivery)
    return [row for row in rows if endpoint_id in (None, row.endpoint_id)]


def endpoint(house: House, endpoint_id: str) -> WebhookEndpoint:
    return next(row for row in house.rows(WebhookEndpoint) if row.id == endpoint_id)


def now_for_real(house: House) -> None:
    """Receivers compare `webhook-timestamp` with their own clock."""
    house.clock.advance((datetime.now(UTC) - house.clock.now()).total_seconds())


def test_the_official_library_in_another_process_accepts_what_arrives(house: House, tmp_path: Path) -> None:
    """The howto's receiver, as printed: each event of a paid order verified, once, in order; a wrong secret is 401."""
    now_for_real(house)
    howto = HowtoReceiver(tmp_path)
    endpoint_id, secret = subscribe(house, howto.url)
    with howto.running(secret):
        order_id = house.paid()
    reference = house.attempts(order_id)[0].reference
    lines = howto.lines()
    assert [line[0] for line in sorted(lines, key=lambda line: int(line[0]))] == ["1", "2", "3", "4", "5"]
    assert [line[1] for line in sorted(lines, key=lambda line: int(line[0]))] == [
        "order.created", "payment.initiated", "payment.completed", "booking.confirmed", "booking.confirmed"
    ]  # fmt: skip
    assert {line[2] for line in lines if line[1].startswith("payment.")} == {reference}
    with howto.running("whsec_" + "b3RoZXJz" * 5):
        house.container.webhook_endpoints.ping(ADMIN, endpoint_id)
        house.drain()
    assert howto.lines() == []
    assert deliveries(house)[-1].http_status == 401


def test_a_receiver_that_is_down_for_an_hour_gets_each_event_once_it_is_back(house: House, receiver: Receiver) -> None:
    """Two orders' events wait through five hundreds and an hour; afterwards each arrives, and none twice."""
    endpoint_id, _ = subscribe(house, receiver.url, "payment.completed", "booking.confirmed")
    receiver.status = 503
    house.paid()
    for _ in range(4):
        house.later(HOUR // 4)
    house.paid()
    failed = len(receiver.arrived)
    assert failed > len(deliveries(house)), "it was tried, and tried again"
    receiver.status = 200
    for _ in range(12):
        house.later(HOUR // 4)
    ids = [one.headers["webhook-id"] for one in receiver.arrived[failed:]]
    assert sorted(ids) == sorted(str(row.event_id) for row in deliveries(house, endpoint_id))
    assert len(ids) == 6
    assert all(row.delivered_at is not None and row.due_at is None for row in deliveries(house))


def test_tries_follow_the_schedule_and_end_after_the_tenth(house: House, receiver: Receiver) -> None:
    """5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, each up to a twentieth later; then failed."""
    receiver.status, receiver.answer = 500, b'{"error": "ada@example.com sk_test_12345 is not known"}'
    subscribe(house, receiver.url, "order.created")
    house.order()
    house.drain()
    waits = []
    while (row := deliveries(house)[0]).due_at is not None:
        waits.append((row.due_at - house.clock.now()).total_seconds())
        house.later(waits[-1])
    planned = [5, 300, 1_800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]
    assert all(plan <= wait <= plan * 1.05 for plan, wait in zip(planned, waits, strict=True))
    assert (row.tries_made, row.error, row.http_status) == (10, "The receiver answered 500.", 500)
    assert row.parked_at is not None
    tries: list[WebhookTry] = house.rows(WebhookTry)
    assert len(tries) == 10
    assert "ada@example.com" not in tries[0].excerpt
    assert "12345" not in tries[0].excerpt
    assert "is not known" in tries[0].excerpt


@pytest.mark.parametrize("elsewhere", ["http://169.254.169.254/latest/meta-data/", "https://hooks.example.com/"])
def test_a_redirect_is_a_failure_on_record_and_not_followed(house: House, receiver: Receiver, elsewhere: str) -> None:
    """Wherever it points: one request, to the address that was checked, and it is tried again later."""
    subscribe(house, receiver.url, "order.created")
    receiver.status, receiver.location = 302, elsewhere
    house.order()
    house.drain()
    row = deliveries(house)[0]
    assert (row.error, row.http_status) == ("The receiver answered 302, and redirects are not followed.", 302)
    assert row.due_at is not None
    assert len(receiver.arrived) == 1


def test_making_an_endpoint_or_a_ping_again_under_the_same_id_makes_one(house: House) -> None:
    """A process that died between the work and its answer is repeated: the same secret, the same delivery."""
    desk, endpoint_id, delivery_id = house.container.webhook_endpoints, new_id(), new_id()
    first, again = (desk.create(ADMIN, WORKSPACE, url=NOWHERE, endpoint_id=endpoint_id) for _ in range(2))
    assert first == again
    assert [desk.ping(ADMIN, endpoint_id, delivery_id=delivery_id) for _ in range(2)] == [delivery_id] * 2
    assert (len(house.rows(WebhookEndpoint)), len(deliveries(house))) == (1, 1)


def test_a_webhook_that_comes_late_tells_what_was_and_never_passes_for_what_is(
    house: House, receiver: Receiver
) -> None:
    """The success is undeliverable until the money has gone back: it then says when it was so, and where it stands."""
    subscribe(house, receiver.url, "payment.completed", "refund.completed")
    receiver.status = 500
    order_id = house.paid()
    told_at = house.clock.now()
    house.later(60)
    payment = house.payment_row(order_id)
    house.container.refunds.request_refund(ADA, payment.id, amount_minor=None, reason=RefundReason.OTHER)
    house.drain()
    receiver.status, failed = 200, len(receiver.arrived)
    house.later(HOUR)
    bodies = {one.body["type"]: one.body for one in receiver.arrived[failed:]}
    success, refund = bodies["payment.completed"], bodies["refund.completed"]
    assert house.payment_row(order_id).status == "refunded"
    assert success["timestamp"] == told_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert success["timestamp"] < refund["timestamp"]
    assert success["sequence"] < refund["sequence"]
    assert not {"status", "payment_status"} & set(success["data"])
    assert success["version"] == refund["version"] == 1
    assert success["data"]["reference"] == refund["data"]["reference"] == house.attempts(order_id)[0].reference
    assert (success["data"]["amount"], success["data"]["order_id"]) == (300_000, order_id)


def test_an_endpoint_hears_what_it_asked_for_in_its_workspace(house: House) -> None:
    """Not other types, not other workspaces, nothing while it is disabled, nothing after it was deleted."""
    with a_receiver() as one, a_receiver() as all_, a_receiver() as elsewhere, a_receiver() as off:
        subscribe(house, one.url, "refund.completed", "order.created")
        gone, _ = subscribe(house, all_.url)
        subscribe(house, elsewhere.url, workspace=OTHER_WORKSPACE)
        disabled, _ = subscribe(house, off.url)
        house.container.webhook_endpoints.change(ADMIN, disabled, {"enabled": False})
        house.paid()
        house.container.webhook_endpoints.delete(ADMIN, gone)
        house.order()
        house.drain()
    assert one.types == ["order.created"] * 2
    assert sorted(set(all_.types)) == ["booking.confirmed", "order.created", "payment.completed", "payment.initiated"]
    assert len(all_.types) == 5
    assert elsewhere.types == off.types == []
    assert endpoint(house, gone).secret == ""


def test_an_orders_story_tells_which_systems_were_told_and_which_are_still_to_be(
    house: House, receiver: Receiver
) -> None:
    """What was taken and what was not, with the next try's time; the same id through all of it."""
    subscribe(house, receiver.url, "order.created")
    with logs.bound(correlation_id="req-78"):
        order_id = house.order()
    receiver.status = 500
    house.drain()
    story = Explainer(house.container.units).story(ADMIN, order_id)
    entry = next(one for one in story.entries if one.kind == "delivery")
    assert "not taken yet after 1 tries: The receiver answered 500." in entry.what
    assert entry.correlation_id == "req-78"
    owed = next(one for one in story.next if "webhook endpoint" in one.what)
    assert owed.due_at == house.clock.now() + timedelta(seconds=5)


def test_an_orders_story_tells_every_try_with_its_task(house: House, receiver: Receiver) -> None:
    """The earlier ones by what came back, the last one by how the delivery stands."""
    endpoint_id, _ = subscribe(house, receiver.url, "order.created")
    order_id = house.order()
    receiver.status = 500
    for task_id in ("a1", "a2", "a3"):
        with logs.bound(task="deliveries.send", task_id=task_id):
            house.drain()
        house.clock.advance(400)
        receiver.status = 500 if task_id == "a1" else 204
    story = Explainer(house.container.units).story(ADMIN, order_id)
    told = [(one.what, one.task) for one in story.entries if one.kind == "delivery"]
    assert [task for _, task in told] == ["deliveries.send a1", "deliveries.send a2", "deliveries.send a3"]
    assert told[0][0].startswith(f"ORDER_CREATED to webhook endpoint {endpoint_id}: 500 after ")
    assert "taken after 3 tries" in told[2][0]


def test_the_id_of_the_request_goes_all_the_way_to_the_receiver(house: House, receiver: Receiver) -> None:
    """From the web through outbox and delivery to the header."""
    subscribe(house, receiver.url)
    with logs.bound(correlation_id="req-77"):
        house.order()
    house.drain()
    assert receiver.arrived[0].headers["x-request-id"] == "req-77"
    assert deliveries(house)[0].correlation_id == "req-77"


def test_both_secrets_sign_while_they_are_rotated_and_the_old_one_no_longer(house: House, receiver: Receiver) -> None:
    """Rotated twice within the overlap, all three sign; afterwards only the last."""
    now_for_real(house)
    endpoint_id, first = subscribe(house, receiver.url)
    desk = house.container.webhook_endpoints
    second = desk.rotate_secret(ADMIN, endpoint_id, overlap_seconds=60)
    third = desk.rotate_secret(ADMIN, endpoint_id, overlap_seconds=100)
    assert len({first, second, third}) == 3
    assert all(secret.startswith("whsec_") for secret in (first, second, third))
    desk.ping(ADMIN, endpoint_id)
    house.drain()
    for secret in (first, second, third):
        assert Webhook(secret).verify(receiver.arrived[0].raw, receiver.arrived[0].headers)["type"] == "ping"
    assert receiver.arrived[0].headers["webhook-signature"].count("v1,") == 3
    house.clock.advance(101)
    desk.ping(ADMIN, endpoint_id)
    house.drain()
    assert receiver.arrived[1].headers["webhook-signature"].count(" ") == 0
    assert Webhook(third).verify(receiver.arrived[1].raw, receiver.arrived[1].headers)


def test_a_resend_has_the_same_id_and_body_and_the_tries_stay_on_record(house: House, receiver: Receiver) -> None:
    """Of one delivery, though it was delivered; a stranger's does not exist."""
    subscribe(house, receiver.url)
    house.order()
    house.drain()
    delivery = deliveries(house)[0]
    house.container.webhook_endpoints.resend(ADMIN, delivery.id)
    house.drain()
    first, second = receiver.arrived
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery.event_id
    assert first.raw == second.raw
    assert (deliveries(house)[0].tries_made, len(house.rows(WebhookTry))) == (2, 2)
    with pytest.raises(NotFound):
        house.container.webhook_endpoints.resend(ADMIN, new_id())


def test_failed_ones_or_all_of_a_period_are_sent_again_by_one_request(house: House, receiver: Receiver) -> None:
    """Given up while the receiver was away; an hour's worth, or everything, afterwards. What is on its way is left."""
    endpoint_id, _ = subscribe(house, receiver.url, "order.created")
    desk = house.container.webhook_endpoints
    house.order()
    house.drain()
    receiver.status = 500
    house.order()
    for _ in range(90):
        house.later(HOUR)
    assert [row.parked_at is not None for row in deliveries(house)] == [False, True]
    receiver.status, before = 200, len(receiver.arrived)
    recent = house.clock.now() - timedelta(hours=1)
    assert desk.resend_many(ADMIN, endpoint_id, since=recent, until=None, failed_only=True) == 0
    assert desk.resend_many(ADMIN, endpoint_id, since=None, until=None, failed_only=True) == 1
    assert desk.resend_many(ADMIN, endpoint_id, since=None, until=recent, failed_only=False) == 1
    house.drain()
    assert len(receiver.arrived) - before == 2
    assert all(row.delivered_at for row in deliveries(house))


def test_410_disables_the_endpoint_at_once_and_nothing_more_is_sent(
    house: House, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is owed is given up, in sight; a person is told by an error line; enabling and resending catches up."""
    endpoint_id, _ = subscribe(house, receiver.url, "order.created")
    receiver.status = 500
    house.order()
    house.drain()
    receiver.status = 410
    house.order()
    house.drain()
    row = endpoint(house, endpoint_id)
    assert (row.enabled, row.disabled_reason, row.disabled_at) == (False, "gone", house.clock.now())
    assert [one.due_at for one in deliveries(house)] == [None, None]
    house.order()
    house.later(DAY)
    assert len(receiver.arrived) == 2
    desk = house.container.webhook_endpoints
    with pytest.raises(Conflict):
        desk.resend(ADMIN, deliveries(house)[0].id)
    with pytest.raises(Conflict):
        desk.ping(ADMIN, endpoint_id)
    parked = ParkedService(house.container.units)
    assert {one.kind for one in parked.list()} == {"delivery"}
    parked.replay(parked.list()[0].id, actor="user:u-op")
    house.drain()
    assert (len(receiver.arrived), len(parked.list())) == (2, 2)
    receiver.status = 200
    desk.change(ADMIN, endpoint_id, {"enabled": True})
    assert desk.resend_many(ADMIN, endpoint_id, since=None, until=None, failed_only=True) == 2
    house.drain()
    assert all(one.delivered_at for one in deliveries(house))


def test_five_days_of_nothing_but_failure_disable_an_endpoint_and_one_success_does_not(house: House) -> None:
    """Two endpoints fail for four days; one of them then answers once."""
    with a_receiver() as dead, a_receiver() as shaky:
        dead.status = shaky.status = 500
        ids = [subscribe(house, one.url, "order.created")[0] for one in (dead, shaky)]
        for day in range(6):
            house.order()
            house.drain()
            shaky.status = 200 if day == 4 else 500
            for _ in range(8):
                house.later(3 * HOUR)
    assert [(endpoint(house, one).enabled, endpoint(house, one).disabled_reason) for one in ids] == [
        (False, "failing"), (True, None)
    ]  # fmt: skip
    assert endpoint(house, ids[0]).disabled_at is not None


def test_a_ping_is_tried_once(house: House, receiver: Receiver) -> None:
    """It is a question asked now: its outcome stands in the log, and it is not repeated tomorrow."""
    endpoint_id, _ = subscribe(house, receiver.url)
    receiver.status = 418
    delivery_id = house.container.webhook_endpoints.ping(ADMIN, endpoint_id)
    for _ in range(3):
        house.later(HOUR)
    assert receiver.types == ["ping"]
    row = deliveries(house)[0]
    assert (row.id, row.http_status, row.error) == (delivery_id, 418, "The receiver answered 418.")
    assert receiver.arrived[0].headers["webhook-id"] == delivery_id
    assert receiver.arrived[0].body["data"] == {
        "endpoint_id": endpoint_id, "workspace_id": WORKSPACE, "reference": None
    }  # fmt: skip


def test_webhooks_have_a_queue_of_their_own() -> None:
    """Slow receivers wait behind each other, not before bookings or money: two threads of a worker at most."""
    assert deliveries_task.send.places == 2
    assert "deliveries" in celeryconfig.QUEUES
    assert celeryconfig.task_routes["deliveries.*"] == {"queue": "deliveries"}


@pytest.mark.parametrize("kind", EventType)
def test_every_event_has_a_name_outside(kind: EventType) -> None:
    """Small letters and one dot."""
    noun, dot, verb = outside_name(kind).partition(".")
    assert (dot, noun.isalpha(), verb.isalpha()) == (".", True, True)
