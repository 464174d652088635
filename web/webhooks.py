"""`/payment/webhooks/{gateway}/`: what gateways tell. The raw body is what is signed; the work is a task."""

from __future__ import annotations

from typing import cast

from flask import Response, request

from web import schemas
from web.answers import answer
from web.bodies import ByGateway
from web.context import web
from web.requests import StrictRequest
from web.sections import public, section

api = section("webhooks", "/payment/webhooks", "What gateways tell; signed by them.")


@api.post("/<gateway>/", responses={"200": schemas.Accepted}, security=[{}])
@public
def receive_webhook(path: ByGateway) -> Response:
    """Take a gateway's webhook

    Its signature is checked on the raw body (401), a gateway that is off is unknown (404), what is signed but
    unreadable is refused (400). The same event is stored once; 200 either way.
    """
    body = cast(StrictRequest, request).raw_body()
    headers = {name: ",".join(request.headers.getlist(name)) for name in set(request.headers.keys())}
    web().container.webhooks.receive(path.gateway, headers, body)
    return answer(schemas.Accepted(received=True))
