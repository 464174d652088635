"""`/payment/decisions/`: money that arrived wrong, late or twice, or fits nothing, and what a person makes of it."""

from __future__ import annotations

from flask import Response

from payflow.store.shapes import Row
from web import schemas
from web.answers import answer
from web.bodies import ById, DecisionQuery, Resolution
from web.context import caller, web
from web.pages import links, read_cursor
from web.reports import staff_sight
from web.sections import problems, section

api = section("decisions", "/payment/decisions", "Questions about money that a person answers (staff).")


@api.get("/", responses={"200": schemas.Decisions, **problems(403)})
def list_decisions(query: DecisionQuery) -> Response:
    """List questions about money, newest first

    Those that fit no order are shown to operators.
    """
    page = web().reports.decisions(
        staff_sight(),
        state=query.status,
        workspace=query.workspace,
        size=query.page_size,
        cursor=read_cursor(query.cursor),
    )
    return answer(schemas.Decisions.model_validate({**links(page), "results": [_aged(row) for row in page.rows]}))


@api.post("/<uuid:id>/resolve/", responses={"200": schemas.Decision, **problems(403, 409)})
def resolve_decision(path: ById, body: Resolution) -> Response:
    """Answer a question about money

    `refund` gives back what is held, `extend` asks the gateway again, `accept` takes late money for its order, `ignore`
    closes the question. What fits no order is for operators; a webhook nobody could place is looked for again by
    `extend`. Who answered, when and why is kept.
    """
    web().decisions.resolve(caller(), str(path), body.action, note=body.note)
    return answer(schemas.Decision.model_validate(_aged(web().reports.decision(str(path)))))


def _aged(row: Row) -> Row:
    waited = (row["resolved_at"] or web().container.clock.now()) - row["created_at"]
    return {**row, "age_seconds": int(waited.total_seconds())}
