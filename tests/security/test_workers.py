"""What comes to workers by the broker or in a gateway's name: it can ring a bell, and nothing more."""

from __future__ import annotations

import json
import pickle
from importlib.metadata import version
from typing import Any

import pytest
from celery import Celery
from flask import Flask
from kombu import Producer
from kombu.exceptions import ContentDisallowed
from kombu.message import Message
from pytest_celery import CeleryTestSetup

import celeryconfig
from payflow.core.polling import PollPlan
from payflow.models.decision import Decision
from payflow.models.ledger import LedgerPosting
from payflow.models.notification import Notification
from payflow.models.payment import PaymentAttempt
from payflow.models.refund import Refund
from payflow.models.webhook_event import WebhookEvent
from payflow.services.gateway_calls import GatewayCalls
from payflow.services.routing import Routes
from payflow.services.side_by_side import SideBySide
from tests.builders import API, Client, signed
from tests.house import ADA, BEN, WEBHOOK_SECRET, House
from tests.nodes import wait_until


def stand(house: House) -> tuple[Any, ...]:
    """Everything about money that a forged message might have changed."""
    return (
        [(row.id, row.status) for row in house.rows(PaymentAttempt)],
        [(row.id, row.status) for row in house.rows(Refund)],
        [row.id for row in house.rows(LedgerPosting)],
        [row.id for row in house.rows(Notification)],
        len(house.letters()),
    )


def test_forged_task_messages_do_nothing(house: House) -> None:
    """Whoever writes to the broker can name any row: each step reads it anew and finds nothing owed."""
    unpaid, reference = house.initiated(ADA)
    paid = house.paid(BEN)
    attempt_ids = [row.id for row in house.rows(PaymentAttempt)]
    messages = [row.id for row in house.rows(Notification)]
    before, books = stand(house), house.statuses(unpaid)
    own = house.container
    for gateway in own.gateways:
        own.gateway_calls.initiate(gateway, attempt_ids)
        own.refund_calls.submit(gateway, [*attempt_ids, unpaid, paid])
        own.refund_calls.verify(gateway, [*attempt_ids, unpaid, paid])
        own.refund_adoption.adopt(gateway, [])
    own.bookings.confirm([unpaid, paid, "01900000-0000-7000-8000-000000000000"])
    own.bookings.release([unpaid, paid])
    own.expiry.expire()
    own.notifications.fan_out([unpaid, paid])
    own.notifications.deliver(messages)
    assert stand(house) == before
    assert house.statuses(unpaid) == books == ("processing", "processing", {"pending"})
    assert house.charges(reference) == 0


def test_a_forged_settle_asks_the_gateway_and_believes_it(house: House) -> None:
    """`payments.verify` with somebody's id is a question: no money at the gateway, no payment here."""
    order_id, reference = house.initiated(ADA)
    (attempt,) = house.attempts(order_id)
    asked = house.calls("verify")
    house.container.gateway_calls.verify("paystack", [attempt.id])
    house.container.gateway_calls.verify("stripe", [attempt.id])
    assert house.calls("verify") > asked
    assert house.statuses(order_id) == ("processing", "processing", {"pending"})
    assert house.charges(reference) == 0


def test_a_true_static_secret_over_a_forged_body_pays_nothing(house: House, app: Flask) -> None:
    """Flutterwave's header is the same for every event: who has seen one can send any body. The gateway is asked."""
    order_id = house.order(ADA, house.booking(amount=1_500_000))
    reference = house.container.payments.initiate_payment(ADA, order_id, gateway="flutterwave").reference
    house.drain()
    body = {
        "event": "charge.completed",
        "data": {"id": 9, "tx_ref": reference, "status": "successful", "amount": 15_000, "currency": "NGN"},
    }
    answer = app.test_client().post(
        f"{API}/payment/webhooks/flutterwave/", data=json.dumps(body), headers={"verif-hash": WEBHOOK_SECRET}
    )
    assert answer.status_code == 200
    house.drain()
    assert house.statuses(order_id) == ("processing", "processing", {"pending"})
    assert len([row for row in house.rows(WebhookEvent) if row.gateway == "flutterwave"]) == 1


def test_money_of_the_other_mode_is_put_before_a_person(house: House) -> None:
    """A live house that is told of test money: no payment, no booking, a decision."""
    order_id, reference = house.initiated(ADA)
    house.pay(reference)
    own = house.container
    live = GatewayCalls(
        own.units,
        own.clock,
        own.gateways,
        Routes(own.gateways),
        SideBySide(threads=1),
        plans={name: PollPlan(one.poll_plan) for name, one in own.settings.gateways.items()},
        public_url=own.settings.public_url,
        is_live=True,
    )
    live.verify("paystack", [row.id for row in house.attempts(order_id)])
    house.drain()
    assert house.statuses(order_id) == ("processing", "processing", {"pending"})
    assert [row.kind for row in house.rows(Decision) if row.order_id == order_id] == ["mode_mismatch"]


def test_a_message_from_another_account_is_only_a_hint(house: House, anybody: Client) -> None:
    """A signed event about a payment this house never opened matches nothing, and books nothing."""
    before = len(house.rows(LedgerPosting))
    body, headers = signed(
        {"event": "charge.success", "data": {"id": 1, "reference": "OTHER-1", "domain": "test", "amount": 1}}
    )
    assert anybody.http.post(f"{API}/payment/webhooks/paystack/", data=body, headers=headers).status_code == 200
    house.drain()
    (row,) = [row for row in house.rows(WebhookEvent) if row.reference == "OTHER-1"]
    assert row.handled_at is None
    assert len(house.rows(LedgerPosting)) == before


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("application/x-python-serialize", "binary"),
        ("application/x-yaml", "utf-8"),
        ("application/x-msgpack", "binary"),
    ],
)
def test_only_json_is_unpacked(content_type: str, encoding: str) -> None:
    """A pickle in the broker is refused before it is opened, by the settings workers start with."""
    app = Celery("security", config_source="celeryconfig", set_as_current=False)
    assert app.conf.accept_content == ["json"]
    bomb = Message(
        body=pickle.dumps({"task": "payments.verify"}),
        content_type=content_type,
        content_encoding=encoding,
        accept=["application/json"] if "json" in app.conf.accept_content else None,
    )
    with pytest.raises(ContentDisallowed):
        bomb.decode()


def test_nothing_is_read_back_from_a_result_store() -> None:
    """No result backend to inject into (CVE-2021-23727), in a Celery long past the fix; results are not asked for."""
    assert celeryconfig.result_backend is None
    assert celeryconfig.task_ignore_result is True
    assert celeryconfig.task_serializer == celeryconfig.result_serializer == "json"
    assert tuple(int(part) for part in version("celery").split(".")[:2]) >= (5, 3)


@pytest.mark.acceptance
def test_a_pickle_in_the_queue_is_thrown_out_and_the_worker_lives(celery_setup: CeleryTestSetup) -> None:
    """payflow's own worker on a real broker: poisoned messages go unopened, and it answers as before."""
    url = str(celery_setup.broker.config()["url"])
    app = Celery("security", broker=url, config_source="celeryconfig", set_as_current=False)
    app.conf.broker_url = url
    with app.connection_for_write() as connection:
        for content_type in ("application/x-python-serialize", "application/x-yaml"):
            Producer(connection).publish(
                pickle.dumps([[], {}, {}]),
                exchange="",
                routing_key="sweeps",
                content_type=content_type,
                content_encoding="binary",
                headers={"task": "sweeps.due", "id": "forged", "lang": "py"},
            )
    wait_until(lambda: celery_setup.worker.logs().count("Refusing to deserialize") >= 2, 30, "both are thrown out")
    wait_until(lambda: bool(app.control.ping(timeout=1)), 30, "the worker answers as before")
