"""`/payment/orders/`: what a customer pays for at once, and staff's view of how it went."""

from __future__ import annotations

from flask import Response

from web import schemas
from web.answers import answer, remembered
from web.bodies import ById, NewOrder, OrderQuery
from web.context import caller, web
from web.idempotency import creates
from web.pages import links, read_cursor
from web.sections import problems, section

api = section("orders", "/payment/orders", "Bookings paid for together.")


@api.post("/", responses={"201": schemas.Order, **problems(403, 409)})
@creates
def create_order(new_id: str | None, body: NewOrder) -> Response:
    """Create an order

    Over the caller's own pending bookings of one workspace and one currency. Bookings still on an older pending order
    move to the new one; a booking on an order that is being paid is refused with 409.
    """
    order_id = web().container.orders.create_order(
        caller(), body.booking_ids, discount_minor=body.discount, order_id=new_id
    )
    return answer(_shape(order_id), 201, {"Location": f"{api.url_prefix}/{order_id}/"})


@api.get("/", responses={"200": schemas.Orders})
def list_orders(query: OrderQuery) -> Response:
    """List orders, newest first"""
    cursor = read_cursor(query.cursor)

    def make() -> schemas.Orders:
        page = web().queries.orders(caller().visibility, query.filters(), size=query.page_size, cursor=cursor)
        return schemas.Orders.model_validate({**links(page), "results": page.rows})

    return remembered("orders", make)


@api.get("/<uuid:id>/", responses={"200": schemas.Order})
def show_order(path: ById) -> Response:
    """Show an order with its bookings and payment"""
    return remembered("orders", lambda: _shape(str(path)))


@api.post("/<uuid:id>/cancel/", responses={"200": schemas.Order, **problems(409)})
def cancel_order(path: ById) -> Response:
    """Cancel an order before money moved"""
    web().container.orders.cancel(caller(), str(path))
    return answer(_shape(str(path)))


@api.get("/<uuid:id>/timeline/", responses={"200": schemas.Timeline, **problems(403)})
def show_timeline(path: ById) -> Response:
    """Everything that happened to an order, why it is where it is, and what happens next (staff)"""
    return answer(schemas.Timeline.model_validate(web().explainer.story(caller(), str(path)).as_json()))


def _shape(order_id: str) -> schemas.Order:
    return schemas.Order.model_validate(web().queries.order(caller().visibility, order_id))
