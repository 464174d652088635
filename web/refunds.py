"""`/payment/refunds/`: asking for money back, and letting it go or not."""

from __future__ import annotations

from flask import Response

from web import schemas
from web.answers import answer, remembered
from web.bodies import ById, NewRefund, RefundQuery, RefundVerdict
from web.context import caller, web
from web.idempotency import creates
from web.pages import links, read_cursor
from web.sections import problems, section

api = section("refunds", "/payment/refunds", "Money on its way back.")


@api.post("/", responses={"202": schemas.Refund, **problems(409)})
@creates
def request_refund(new_id: str | None, body: NewRefund) -> Response:
    """Ask for money back

    Without an amount, all that is left. Where the workspace's policy asks for it, an administrator approves first.
    """
    refund_id = web().container.refunds.request_refund(
        caller(),
        body.payment_id,
        amount_minor=body.amount,
        reason=body.reason,
        description=body.reason_description,
        refund_id=new_id,
    )
    return answer(_shape(refund_id), 202, {"Location": f"{api.url_prefix}/{refund_id}/"})


@api.get("/", responses={"200": schemas.Refunds})
def list_refunds(query: RefundQuery) -> Response:
    """List refunds, newest first"""
    cursor = read_cursor(query.cursor)

    def make() -> schemas.Refunds:
        page = web().queries.refunds(caller().visibility, query.filters(), size=query.page_size, cursor=cursor)
        return schemas.Refunds.model_validate({**links(page), "results": page.rows})

    return remembered("refunds", make)


@api.get("/<uuid:id>/", responses={"200": schemas.Refund})
def show_refund(path: ById) -> Response:
    """Show a refund"""
    return remembered("refunds", lambda: _shape(str(path)))


@api.post("/<uuid:id>/approve/", responses={"200": schemas.Refund, **problems(403, 409)})
def approve_refund(path: ById) -> Response:
    """Let a waiting refund go to the gateway (staff)"""
    web().container.refunds.approve(caller(), str(path))
    return answer(_shape(str(path)))


@api.post("/<uuid:id>/reject/", responses={"200": schemas.Refund, **problems(403, 409)})
def reject_refund(path: ById, body: RefundVerdict) -> Response:
    """Refuse a waiting refund (staff)"""
    web().container.refunds.reject(caller(), str(path), note=body.note)
    return answer(_shape(str(path)))


def _shape(refund_id: str) -> schemas.Refund:
    return schemas.Refund.model_validate(web().queries.refund(caller().visibility, refund_id))
