"""What clients get about outbound webhooks: endpoints and deliveries. As web/schemas.py says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from payflow.core.events import outside_name
from web.schemas import PageShape, Shape
from web.text import Id, Moment

EventName = Annotated[str, AfterValidator(outside_name)]
"""From our own word to the one told outside."""


class Endpoint(Shape):
    """A receiver of outbound webhooks."""

    id: Id
    workspace_id: str
    url: str
    description: str
    events: list[EventName] = Field(description="Empty = all.")
    enabled: bool
    disabled_at: Moment | None
    disabled_reason: Literal["by_hand", "gone", "failing"] | None = Field(
        description="`gone`: it answered 410. `failing`: five days of nothing but failures."
    )
    failing_since: Moment | None = Field(description="When the first of an unbroken row of failures happened.")
    created_at: Moment
    updated_at: Moment


class EndpointWithSecret(Endpoint):
    """As it is answered once, when the secret is made."""

    secret: str = Field(description="`whsec_…`; verifies signatures by the Standard Webhooks scheme.")


class Delivery(Shape):
    """One event on its way to one endpoint."""

    id: Id
    endpoint_id: Id
    webhook_id: Id = Field(description="The `webhook-id` header: the same on every try.")
    type: EventName
    order_id: Id | None
    sequence: int
    status: Literal["pending", "delivered", "failed"]
    tries: int
    http_status: int | None = Field(description="Of the last try; null = no answer came.")
    duration_ms: int | None
    error: str | None
    tried_at: Moment | None
    delivered_at: Moment | None
    next_try_at: Moment | None
    correlation_id: str | None
    created_at: Moment


class DeliveryTry(Shape):
    """One request to a receiver."""

    at: Moment
    url: str
    http_status: int | None
    duration_ms: int
    error: str | None
    excerpt: str = Field(description="The beginning of the answer, redacted.")


class DeliveryDetail(Delivery):
    """A delivery with every try, the oldest first."""

    attempts: list[DeliveryTry]


class Resent(Shape):
    """How many deliveries were made due."""

    resent: int


class Endpoints(PageShape):
    results: list[Endpoint]


class Deliveries(PageShape):
    results: list[Delivery]
