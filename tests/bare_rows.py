"""Rows written past every model and service, as only a mistake would."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from payflow.models.order import Order
from payflow.models.payment import Payment, PaymentAttempt
from tests.rows import NOW, a_payment, an_attempt, an_order


def store(engine: Engine, *rows: Any) -> None:
    """Write rows in one transaction, in the order given."""
    with Session(engine, expire_on_commit=False) as session:
        for row in rows:
            session.add(row)
            session.flush()
        session.commit()


def change(engine: Engine, model: type[Any], row_id: str, **values: Any) -> None:
    """A bare UPDATE, past every model and service."""
    with engine.begin() as connection:
        connection.execute(update(model).where(model.id == row_id).values(**values))


def paid_rows(engine: Engine, *, captured: int = 1_000) -> tuple[Order, Payment, PaymentAttempt]:
    """An order paid with 10.00, on record; the try may have brought more."""
    order = an_order(status="paid", paid_at=NOW)
    payment = a_payment(order, status="success", captured_minor=1_000)
    attempt = an_attempt(
        payment, status="succeeded", application="applied", captured_minor=captured, captured_currency="NGN"
    )
    store(engine, order, payment, attempt)
    return order, payment, attempt
