"""Floor 2: the rows. Each class guards its own invariants; how rows are found and locked is store/'s business."""

from payflow.models import (  # noqa: F401 - importing them registers the tables
    access,
    act,
    booking,
    breach,
    decision,
    dispute,
    gateway_call,
    health,
    ledger,
    notification,
    order,
    outbox,
    payment,
    reconciliation,
    refund,
    webhook_endpoint,
    webhook_event,
)
from payflow.models.base import Base as Base
