"""`/payment/reports/`: sums for staff, comparisons with the gateways for operators."""

from __future__ import annotations

from flask import Response

from payflow.core.errors import Forbidden
from payflow.store.queries import Visibility
from web import report_schemas as schemas
from web.answers import answer
from web.bodies import ById, DifferenceQuery, PageQuery, Remark, SummaryQuery
from web.context import caller, web
from web.pages import links, read_cursor
from web.sections import problems, section

api = section("reports", "/payment/reports", "Sums over many payments (staff).")


@api.get("/summary/", responses={"200": schemas.Summary, **problems(403)})
def show_summary(query: SummaryQuery) -> Response:
    """Success rate, volumes, failures by cause, refunds to review, by gateway and period"""
    found = web().reports.summary(staff_sight(), query.filters())
    return answer(schemas.Summary.model_validate(found))


@api.get("/reconciliation/", responses={"200": schemas.ReconciliationRuns, **problems(403)})
def list_reconciliations(query: PageQuery) -> Response:
    """List comparisons with the gateways, newest first, each with what it found (operators)

    A run is `complete` only when every list was read to its end; otherwise it is `running` or `incomplete`.
    """
    _must_see_all()
    page = web().reconciliation.runs(query.page_size, read_cursor(query.cursor))
    return answer(schemas.ReconciliationRuns.model_validate({**links(page), "results": page.rows}))


@api.get("/reconciliation/differences/", responses={"200": schemas.Differences, **problems(403)})
def list_differences(query: DifferenceQuery) -> Response:
    """List differences with the gateways, newest first (operators)

    `open` holds those being repaired too.
    """
    _must_see_all()
    page = web().reconciliation.differences(query.status, query.page_size, read_cursor(query.cursor))
    return answer(schemas.Differences.model_validate({**links(page), "results": page.rows}))


@api.post("/reconciliation/differences/<uuid:id>/close/", responses={"200": schemas.Difference, **problems(403)})
def close_difference(path: ById, body: Remark) -> Response:
    """Close a difference that was looked into (operators)

    It does not open again while both sides stay as they are. The question about it is answered by that.
    """
    _must_see_all()
    web().container.reconciliation.close(caller(), str(path), note=body.note)
    return answer(schemas.Difference.model_validate(web().reconciliation.difference(str(path))))


def _must_see_all() -> None:
    if not caller().all_workspaces:
        raise Forbidden("This needs an operator: a gateway's account is not one workspace's.")


def staff_sight() -> Visibility:
    """What the caller decides for, its own rows left out. Raises Forbidden for customers."""
    who = caller()
    if not who.is_staff:
        raise Forbidden("This needs an administrator of a workspace or an operator.")
    return who.staff_sight
