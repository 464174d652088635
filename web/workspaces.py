"""`/workspaces/{id}/policy/`: how a workspace wants its money handled."""

from __future__ import annotations

from flask import Response

from web import schemas
from web.answers import answer
from web.bodies import ByWorkspace, PolicyChange
from web.context import caller, web
from web.sections import problems, section

api = section("workspaces", "/workspaces", "Sellers and their settings (administrators).")


@api.get("/<id>/policy/", responses={"200": schemas.Policy, **problems(403)})
def show_policy(path: ByWorkspace) -> Response:
    """Show a workspace's settings"""
    return answer(schemas.Policy.model_validate(web().policies.read(caller(), path.id)))


@api.patch("/<id>/policy/", responses={"200": schemas.Policy, **problems(403)})
def change_policy(path: ByWorkspace, body: PolicyChange) -> Response:
    """Change some of a workspace's settings"""
    changes = body.model_dump(exclude_unset=True)
    return answer(schemas.Policy.model_validate(web().policies.change(caller(), path.id, changes)))
