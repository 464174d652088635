"""The error tree. What the web answers is decided in web/errors.py, what a task repeats in tasks/base.py.

    PayflowError
      InvalidInput            the caller's fault; names the field
      NotFound                no such object, or not yours
      Forbidden               yours to see, not yours to do
      Conflict                right request, wrong moment
        ForbiddenMove         a status may not go there
        StaleRow              somebody else moved the row first
      StoreUnavailable        the database does not answer: come back in a moment
      ConfigurationError      the operator must set something
      GatewayError            a call to a gateway
        GatewayRejected       it said no for good; nothing was charged
        GatewayUnavailable    it did not act: may be repeated
          GatewayLeftAlone    it was not even called, for it has not been answering
        OutcomeUnknown        the request may have taken effect: probe before repeating
        AnswerNotUnderstood   an answer came that makes no sense: repeat a question, probe after a command
      DeliveryError           a message could not be handed over; `retryable` tells

Every class's docstring is its default message.
"""

from __future__ import annotations


class PayflowError(Exception):
    """Something went wrong."""

    code = "error"
    retryable = False

    def __init__(self, detail: str | None = None, *, code: str | None = None, pointer: str | None = None) -> None:
        super().__init__(detail or (self.__doc__ or "").strip().split("\n")[0])
        if code is not None:
            self.code = code
        self.pointer = pointer
        """JSON pointer of the field at fault, e.g. `/booking_ids/0`."""

    @property
    def detail(self) -> str:
        return str(self.args[0])


class InvalidInput(PayflowError):
    """The request cannot be understood."""

    code = "invalid_input"


class NotFound(PayflowError):
    """There is no such object."""

    code = "not_found"


class Forbidden(PayflowError):
    """This is not yours to do."""

    code = "forbidden"


class Conflict(PayflowError):
    """The object is not in a state that allows this."""

    code = "conflict"


class ForbiddenMove(Conflict):
    """That status change is not allowed."""

    code = "forbidden_move"

    def __init__(self, entity: str, entity_id: str, from_status: str, to_status: str) -> None:
        super().__init__(f"{entity} {entity_id} cannot go from {from_status} to {to_status}.")
        self.entity, self.entity_id = entity, entity_id
        self.from_status, self.to_status = from_status, to_status


class StaleRow(Conflict):
    """Somebody else changed this first; read it again."""

    code = "stale_row"
    retryable = True


class RuleBroken(Conflict):
    """The database refused what must never be."""

    code = "rule_broken"

    def __init__(self, rule: str) -> None:
        super().__init__(f"The database refused it: {rule}.")
        self.rule = rule


class StoreUnavailable(PayflowError):
    """The database does not answer at the moment; nothing was changed."""

    code = "store_unavailable"
    retryable = True


class ConfigurationError(PayflowError):
    """A setting is missing or wrong."""

    code = "configuration_error"


class GatewayError(PayflowError):
    """The payment gateway did not do what was asked."""

    code = "gateway_error"

    def __init__(
        self,
        detail: str | None = None,
        *,
        gateway: str = "",
        operation: str = "",
        code: str | None = None,
        http_status: int | None = None,
        gateway_code: str | None = None,
        request_id: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail, code=code)
        self.gateway, self.operation = gateway, operation
        self.http_status = http_status
        self.gateway_code = gateway_code
        """The gateway's own word for the error, e.g. `duplicate_reference`."""
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds


class GatewayRejected(GatewayError):
    """The gateway refused the request; repeating it cannot help."""

    code = "gateway_rejected"


class GatewayUnavailable(GatewayError):
    """The gateway could not take the request; nothing happened there."""

    code = "gateway_unavailable"
    retryable = True


class GatewayLeftAlone(GatewayUnavailable):
    """The gateway has not been answering; it is called again shortly."""

    code = "gateway_left_alone"


class OutcomeUnknown(GatewayError):
    """The request may or may not have taken effect at the gateway."""

    code = "outcome_unknown"
    retryable = True


class AnswerNotUnderstood(OutcomeUnknown):
    """The gateway's answer could not be understood."""

    code = "answer_not_understood"


class DeliveryError(PayflowError):
    """The message could not be handed over."""

    code = "delivery_failed"

    def __init__(self, detail: str | None = None, *, retryable: bool = True) -> None:
        super().__init__(detail)
        self.retryable = retryable
