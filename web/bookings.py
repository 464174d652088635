"""`/bookings/`: the booking platform's side."""

from __future__ import annotations

from flask import Response

from payflow.services import booking
from web import schemas
from web.answers import answer, remembered
from web.bodies import BookingQuery, ById, NewBooking
from web.context import caller, web
from web.idempotency import creates
from web.pages import links, read_cursor
from web.sections import problems, section

api = section("bookings", "/bookings", "Slots that are to be paid for.")


@api.post("/", responses={"201": schemas.Booking, **problems(403, 409)})
@creates
def create_booking(new_id: str | None, body: NewBooking) -> Response:
    """Create a pending booking

    A customer books for itself where the workspace allows it; a service key for anyone, naming `user_id`.
    """
    wanted = booking.NewBooking(
        workspace_id=body.workspace_id,
        resource_id=body.resource_id,
        starts_at=body.starts_at,
        ends_at=body.ends_at,
        amount_minor=body.amount,
        currency=body.currency,
        user_id=body.user_id,
        user_email=body.user_email,
        user_name=body.user_name,
    )
    booking_id = web().container.bookings.create(caller(), wanted, booking_id=new_id)
    return answer(_shape(booking_id), 201, {"Location": f"{api.url_prefix}/{booking_id}/"})


@api.get("/", responses={"200": schemas.Bookings})
def list_bookings(query: BookingQuery) -> Response:
    """List bookings, newest first"""
    cursor = read_cursor(query.cursor)

    def make() -> schemas.Bookings:
        page = web().queries.bookings(caller().visibility, query.filters(), size=query.page_size, cursor=cursor)
        return schemas.Bookings.model_validate({**links(page), "results": page.rows})

    return remembered("bookings", make)


@api.get("/<uuid:id>/", responses={"200": schemas.Booking})
def show_booking(path: ById) -> Response:
    """Show a booking"""
    return remembered("bookings", lambda: _shape(str(path)))


@api.post("/<uuid:id>/cancel/", responses={"200": schemas.Booking, **problems(409)})
def cancel_booking(path: ById) -> Response:
    """Cancel a booking

    Unpaid, it is cancelled at once; confirmed and paid, its refund is requested by the workspace's policy and the slot
    is released when the money is back.
    """
    web().container.bookings.cancel(caller(), str(path))
    return answer(_shape(str(path)))


def _shape(booking_id: str) -> schemas.Booking:
    return schemas.Booking.model_validate(web().queries.booking(caller().visibility, booking_id))
