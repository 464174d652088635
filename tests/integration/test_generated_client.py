"""A client generated from the kept document by openapi-python-client, and one journey driven with it. No network."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from flask import Flask

from tests.builders import a_booking_body, a_token
from tests.committed import DOCS
from tests.house import ADA, House

NAME = "payflow_client"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder the generated package lies in, importable while the tests run."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "config.yaml").write_text("post_hooks: []\n")
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("openapi-python-client")), "generate",
            "--path", str(DOCS / "openapi.json"), "--output-path", str(folder / NAME), "--meta", "none",
            "--config", str(folder / "config.yaml"), "--fail-on-warning",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == NAME]:
        del sys.modules[name]


def _part(name: str) -> ModuleType:
    return importlib.import_module(f"{NAME}.{name}")


def test_the_generated_client_pays_an_order(generated: Path, house: House, app: Flask) -> None:
    """Token, booking, order, payment, paid: typed calls, typed answers, a typed error on the way."""
    models = _part("models")
    client = _part("client").AuthenticatedClient(
        base_url="http://payflow.test", token=a_token(ADA), httpx_args={"transport": httpx.WSGITransport(app=app)}
    )
    with client:
        new = models.NewBooking.from_dict(a_booking_body(house))
        booking = _part("api.bookings.create_booking").sync(client=client, body=new, idempotency_key="b-1")
        assert isinstance(booking.starts_at, datetime)
        order_body = models.NewOrder(booking_ids=[booking.id])
        order = _part("api.orders.create_order").sync(client=client, body=order_body)
        assert (order.total, order.currency, order.payment) == (150_000, "NGN", None)

        wrong = _part("api.payments.initiate_payment").sync_detailed(
            client=client, body=models.NewPayment(order_id=order.id, gateway="paypal")
        )
        assert wrong.status_code == 422
        assert isinstance(wrong.parsed, models.Problem)
        assert wrong.parsed.errors[0].pointer == "/gateway"

        opened = _part("api.payments.initiate_payment").sync(
            client=client, body=models.NewPayment(order_id=order.id, gateway="paystack")
        )
        house.drain()
        house.pay(opened.reference)
        payment = _part("api.payments.confirm_return").sync(
            client=client, body=models.Reference(reference=opened.reference)
        )
        assert payment.id == opened.id
        house.drain()
        assert _part("api.payments.show_payment").sync(opened.id, client=client).status == models.PaymentStatus.SUCCESS
        paid = _part("api.orders.list_orders").sync(client=client, status=models.OrderStatus.COMPLETED)
        assert [one.id for one in paid.results] == [order.id]
