"""`/payment/reports/`: sums for staff."""

from __future__ import annotations

from flask import Response

from payflow.core.errors import Forbidden
from payflow.store.queries import Visibility
from web import schemas
from web.answers import answer
from web.bodies import SummaryQuery
from web.context import caller, web
from web.sections import problems, section

api = section("reports", "/payment/reports", "Sums over many payments (staff).")


@api.get("/summary/", responses={"200": schemas.Summary, **problems(403)})
def show_summary(query: SummaryQuery) -> Response:
    """Success rate, volumes, failures by cause, refunds to review, by gateway and period"""
    found = web().reports.summary(staff_sight(), query.filters())
    return answer(schemas.Summary.model_validate(found))


def staff_sight() -> Visibility:
    """What the caller decides for, its own rows left out. Raises Forbidden for customers."""
    who = caller()
    if not who.is_staff:
        raise Forbidden("This needs an administrator of a workspace or an operator.")
    return who.staff_sight
