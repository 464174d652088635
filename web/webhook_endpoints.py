"""`/payment/webhook-endpoints/`: where a workspace's own systems hear of its events, and what became of each."""

from __future__ import annotations

from flask import Response

from web import webhook_schemas as schemas
from web.answers import answer
from web.bodies import (
    ById,
    DeliveryQuery,
    EndpointChange,
    EndpointQuery,
    NewEndpoint,
    Resend,
    SecretRotation,
)
from web.context import caller, web
from web.idempotency import creates
from web.pages import links, read_cursor
from web.reports import staff_sight
from web.sections import problems, section

api = section("webhook_endpoints", "/payment/webhook-endpoints", "Outbound webhooks a workspace subscribes to (staff).")


@api.post("/", responses={"201": schemas.EndpointWithSecret, **problems(403, 409)})
@creates
def create_webhook_endpoint(new_id: str | None, body: NewEndpoint) -> Response:
    """Subscribe an address to a workspace's events

    The answer is the only one that holds the secret.
    """
    endpoint_id, secret = web().container.webhook_endpoints.create(
        caller(),
        body.workspace_id,
        url=body.url,
        events=body.events,
        description=body.description,
        enabled=body.enabled,
        endpoint_id=new_id,
    )
    return answer(_with_secret(endpoint_id, secret), 201, {"Location": f"{api.url_prefix}/{endpoint_id}/"})


@api.get("/", responses={"200": schemas.Endpoints, **problems(403)})
def list_webhook_endpoints(query: EndpointQuery) -> Response:
    """List endpoints, newest first"""
    page = web().outgoing.endpoints(
        staff_sight(), workspace=query.workspace, size=query.page_size, cursor=read_cursor(query.cursor)
    )
    return answer(schemas.Endpoints.model_validate({**links(page), "results": page.rows}))


@api.get("/<uuid:id>/", responses={"200": schemas.Endpoint})
def show_webhook_endpoint(path: ById) -> Response:
    """Show an endpoint"""
    return answer(_shape(str(path)))


@api.patch("/<uuid:id>/", responses={"200": schemas.Endpoint, **problems(403)})
def change_webhook_endpoint(path: ById, body: EndpointChange) -> Response:
    """Change an endpoint

    Disabling gives up what is owed to it; enabling begins with the events to come.
    """
    web().container.webhook_endpoints.change(caller(), str(path), body.model_dump(exclude_none=True))
    return answer(_shape(str(path)))


@api.delete("/<uuid:id>/", responses={"204": None, **problems(403)})
def delete_webhook_endpoint(path: ById) -> Response:
    """Delete an endpoint"""
    web().container.webhook_endpoints.delete(caller(), str(path))
    return Response(status=204)


@api.post("/<uuid:id>/rotate-secret/", responses={"201": schemas.EndpointWithSecret, **problems(403)})
@creates
def rotate_webhook_secret(_new_id: str | None, path: ById, body: SecretRotation) -> Response:
    """Make a new secret

    For a while every webhook is signed with the old one too.
    """
    secret = web().container.webhook_endpoints.rotate_secret(caller(), str(path), overlap_seconds=body.overlap_seconds)
    return answer(_with_secret(str(path), secret), 201, {"Location": f"{api.url_prefix}/{path}/"})


@api.post("/<uuid:id>/ping/", responses={"202": schemas.DeliveryDetail, **problems(403, 409)})
@creates
def ping_webhook_endpoint(new_id: str | None, path: ById) -> Response:
    """Send a signed `ping`, once

    Its outcome stands in the delivery log.
    """
    delivery_id = web().container.webhook_endpoints.ping(caller(), str(path), delivery_id=new_id)
    return answer(_delivery(delivery_id), 202, {"Location": f"{api.url_prefix}/deliveries/{delivery_id}/"})


@api.post("/<uuid:id>/resend/", responses={"202": schemas.Resent, **problems(403, 409)})
def resend_webhooks(path: ById, body: Resend) -> Response:
    """Send what failed, or everything, of a period again

    At most 10,000 at once, the oldest first; what is on its way is left alone.
    """
    resent = web().container.webhook_endpoints.resend_many(
        caller(), str(path), since=body.since, until=body.until, failed_only=body.status == "failed"
    )
    return answer(schemas.Resent(resent=resent), 202)


@api.get("/<uuid:id>/deliveries/", responses={"200": schemas.Deliveries})
def list_webhook_deliveries(path: ById, query: DeliveryQuery) -> Response:
    """List what an endpoint was told, newest first"""
    page = web().outgoing.deliveries(
        caller().staff_sight, str(path), status=query.status, size=query.page_size, cursor=read_cursor(query.cursor)
    )
    return answer(schemas.Deliveries.model_validate({**links(page), "results": page.rows}))


@api.get("/deliveries/<uuid:id>/", responses={"200": schemas.DeliveryDetail})
def show_webhook_delivery(path: ById) -> Response:
    """Show a delivery with every try"""
    return answer(_delivery(str(path)))


@api.post("/deliveries/<uuid:id>/resend/", responses={"202": schemas.DeliveryDetail, **problems(403, 409)})
def resend_webhook(path: ById) -> Response:
    """Send a delivery again, under the same `webhook-id`"""
    web().container.webhook_endpoints.resend(caller(), str(path))
    return answer(_delivery(str(path)), 202)


def _shape(endpoint_id: str) -> schemas.Endpoint:
    return schemas.Endpoint.model_validate(web().outgoing.endpoint(caller().staff_sight, endpoint_id))


def _with_secret(endpoint_id: str, secret: str) -> schemas.EndpointWithSecret:
    found = web().outgoing.endpoint(caller().staff_sight, endpoint_id)
    return schemas.EndpointWithSecret.model_validate({**found, "secret": secret})


def _delivery(delivery_id: str) -> schemas.DeliveryDetail:
    return schemas.DeliveryDetail.model_validate(web().outgoing.delivery(caller().staff_sight, delivery_id))
