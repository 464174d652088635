"""How Stripe receives a request: the key, the idempotency key, refusals in its words.

No routes and no rules about money: those are in stripe.py.
"""

import base64
import binascii
import hmac
from collections.abc import Callable
from typing import Any

from flask import Response, request

from payflow.sandbox.answers import ApiDesk
from payflow.sandbox.counterparty import Counterparty
from payflow.sandbox.fault_table import FaultName
from payflow.sandbox.records import Charge
from payflow.sandbox.stripe_keys import KeptRefusal, KeyBook, given_key
from payflow.sandbox.stripe_reading import Refusal, refused


class StripeDesk:
    """The desk every Stripe request goes over."""

    def __init__(self, counterparty: Counterparty, gateway: str, *, secret: str) -> None:
        """Serve whoever knows `secret`."""
        self._party = counterparty
        self._gateway = gateway
        self._secret = secret
        self._desk = ApiDesk(counterparty, gateway)
        self.keys = KeyBook(is_known=lambda number: number in counterparty.state.charges, now=counterparty.clock.now)

    def serve(self, operation: str, reference: str | None, work: Callable[[], Response]) -> Response:
        """Answer a request of whoever knows the key."""

        def guarded() -> Response:
            try:
                self._check_key()
                return work()
            except Refusal as no:
                return refused(no)

        return self._desk.serve(operation, reference, guarded)

    def command(self, operation: str, reference: str | None, work: Callable[[], tuple[Response, int]]) -> Response:
        """Answer a command under its idempotency key; another request with the key is in flight until the work is done.

        What is done to the answer afterwards (silence, half a text) no longer holds the key.
        """
        try:
            key = given_key()
        except Refusal as no:
            return refused(no)
        if key is None:
            return self.serve(operation, reference, lambda: self._without_key(work))
        is_first = self.keys.enter(key)

        def once() -> Response:
            try:
                return self.keys.answer_once(key, work, is_first=is_first)
            finally:
                if is_first:
                    self.keys.leave(key)

        try:
            return self.serve(operation, reference, once)
        finally:
            if is_first:
                self.keys.leave(key)  # also when a fault answered instead

    @staticmethod
    def _without_key(work: Callable[[], tuple[Response, int]]) -> Response:
        try:
            return work()[0]
        except KeptRefusal as no:
            raise no.refusal from None

    def _check_key(self) -> None:
        """Take the key as a bearer token or as the user name of basic authentication."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                key = base64.b64decode(key, validate=True).decode("ascii", "replace").partition(":")[0]
            except binascii.Error:
                key = ""
        elif scheme.lower() != "bearer":
            key = ""
        if not key.strip():
            message = (
                "You did not provide an API key. You need to provide your API key in the Authorization header, "
                "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
            )
            raise Refusal(message, http=401)
        if not hmac.compare_digest(key.strip().encode(), self._secret.encode()):
            raise Refusal(f"Invalid API Key provided: {key[:8]}{'*' * 8}", http=401)

    def strike(self, fault: FaultName, charge: Charge, operation: str) -> dict[str, Any] | None:
        """Return the parameters of a planted fault that strikes now."""
        plan = self._party.faults.take(fault, gateway=self._gateway, reference=charge.reference, operation=operation)
        return None if plan is None else plan.params
