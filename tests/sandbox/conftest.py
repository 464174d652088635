"""One sandbox for each test, its clock held: at its control API, and as each gateway's merchants see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from flask.testing import FlaskClient

from payflow.core.clock import HeldClock
from payflow.sandbox.app import SandboxConfig, SandboxRooms, create_app
from payflow.sandbox.clock import OffsetClock
from tests.sandbox import desk as at_the_desk
from tests.sandbox import flutterwave_side, paystack_side, stripe_side
from tests.sandbox.desk import Desk, Receiver
from tests.sandbox.flutterwave_side import Flutterwave
from tests.sandbox.paystack_side import Paystack
from tests.sandbox.stripe_side import Stripe


@pytest.fixture
def desk() -> Iterator[Desk]:
    receiver = Receiver()
    app = create_app(
        SandboxConfig(webhook_urls={"paystack": receiver.url}), clock=OffsetClock(HeldClock(at_the_desk.AT))
    )
    rooms = app.extensions["sandbox"]
    yield Desk(app.test_client(), rooms, receiver)
    rooms.sender.stop()
    receiver.close()


@pytest.fixture
def paystack() -> Iterator[Paystack]:
    with a_sandbox(paystack_side.AT) as opened:
        yield Paystack(*opened)


@pytest.fixture
def flutterwave() -> Iterator[Flutterwave]:
    with a_sandbox(flutterwave_side.AT) as opened:
        yield Flutterwave(*opened)


@pytest.fixture
def stripe() -> Iterator[Stripe]:
    with a_sandbox(stripe_side.AT) as opened:
        yield Stripe(*opened)


@contextmanager
def a_sandbox(at: datetime) -> Iterator[tuple[FlaskClient, SandboxRooms]]:
    """Nobody listens for its webhooks."""
    app = create_app(SandboxConfig(), clock=OffsetClock(HeldClock(at)))
    rooms = app.extensions["sandbox"]
    yield app.test_client(), rooms
    rooms.party.state.close()
