"""The demo's cast: one workspace, one customer, an operator, and bookings to buy. Development only. Floor 7."""

from __future__ import annotations

from datetime import timedelta

from payflow.container import Container
from payflow.services.access import Caller
from payflow.services.booking import NewBooking

WORKSPACE_ID = "01900000-0000-7000-8000-0000000000aa"
WORKSPACE_NAME = "Harbour Rooms"
CUSTOMER_ID = "demo-customer"
CUSTOMER_EMAIL = "ada@example.com"
CUSTOMER_NAME = "Ada Obi"
OPERATOR_ID = "demo-operator"
CURRENCY = "NGN"

ROOMS = (
    ("Lagoon room", 1_500_000),
    ("Window desk 4", 350_000),
    ("Podcast booth", 600_000),
    ("Rooftop, evening", 2_400_000),
    ("Quiet pod 2", 200_000),
    ("Workshop bench", 450_000),
)
"""Resource and price in kobo."""


def platform() -> Caller:
    """The booking platform's server."""
    return Caller(user_id="demo-platform", is_service=True)


def add_bookings(container: Container) -> list[str]:
    """A fresh handful of pending bookings for the demo customer, in slots nobody has yet; their ids."""
    start = container.clock.now().replace(minute=0, second=0, microsecond=0) + timedelta(days=1)
    serial = int(container.clock.now().timestamp() * 1000) % 1_000_000
    return [
        container.bookings.create(
            platform(),
            NewBooking(
                workspace_id=WORKSPACE_ID,
                resource_id=f"{name} #{serial}",
                starts_at=start + timedelta(hours=number),
                ends_at=start + timedelta(hours=number + 1),
                amount_minor=price,
                currency=CURRENCY,
                user_id=CUSTOMER_ID,
                user_email=CUSTOMER_EMAIL,
                user_name=CUSTOMER_NAME,
            ),
        )
        for number, (name, price) in enumerate(ROOMS)
    ]


def seed(container: Container) -> int:
    """Add the first demo bookings; how many (0 when there are some already)."""
    with container.units.reading() as rows:
        if rows.has_bookings(CUSTOMER_ID):
            return 0
    container.units.run(lambda tx: tx.upsert_workspace(WORKSPACE_ID, name=WORKSPACE_NAME, at=tx.act.at), actor="system")
    return len(add_bookings(container))
