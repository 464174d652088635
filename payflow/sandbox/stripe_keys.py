"""Stripe's idempotency keys: what a command answered under a key is answered again for a day.

Source: Stripe API, Idempotent requests. Validation failures, wrong keys and planted faults are not remembered (at
Stripe a 500 of a request that had begun is): the same key may be tried again after them.
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Response, request

from payflow.sandbox.stripe_reading import Refusal, refused

REMEMBERED = timedelta(hours=24)
LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class Kept:
    """The first answer under a key, and what was asked then."""

    fingerprint: str
    at: datetime
    charge_id: int
    """The charge it is about: when the sandbox forgets that, it forgets this."""
    answer: Callable[[], Response]


class KeyBook:
    """Every key that was used; the sandbox's own lock is held around `answer_once`."""

    def __init__(self, *, is_known: Callable[[int], bool], now: Callable[[], datetime]) -> None:
        """Start empty; `is_known` tells whether a charge still exists."""
        self._is_known, self._now = is_known, now
        self._kept: dict[str, Kept] = {}
        self._in_flight: set[str] = set()
        self._lock = threading.Lock()

    def restore(self, key: str, kept: Kept) -> None:
        """Take in what an earlier run remembered."""
        self._kept[key] = kept

    def enter(self, key: str) -> bool:
        """Note that a request with this key has come in; False when another one is still being worked on."""
        with self._lock:
            if key in self._in_flight:
                return False
            self._in_flight.add(key)
            return True

    def leave(self, key: str) -> None:
        """Note that the request is done with, whether or not its answer has arrived."""
        with self._lock:
            self._in_flight.discard(key)

    def answer_once(self, key: str, work: Callable[[], tuple[Response, int]], *, is_first: bool) -> Response:
        """Answer by `work`, which returns the answer and its charge's number, or as it was answered before."""
        asked, kept = fingerprint(), self._find(key)
        if kept is not None:
            if kept.fingerprint != asked:
                message = (
                    "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                    f"Try using a key other than '{key}' if you meant to execute a different request."
                )
                raise Refusal(message, kind="idempotency_error")
            again = kept.answer()
            again.headers["Idempotent-Replayed"] = "true"
            return again
        with self._lock:
            if not is_first and key in self._in_flight:
                message = f"There is currently another in-progress request using this idempotent key ({key})."
                raise Refusal(message, code="idempotency_key_in_use", http=409, kind="idempotency_error")
        try:
            answer, charge_id = work()
        except KeptRefusal as no:
            self._keep(key, asked, refused(no.refusal), no.charge_id)
            raise no.refusal from None
        self._keep(key, asked, answer, charge_id)
        return answer

    def _find(self, key: str) -> Kept | None:
        kept = self._kept.get(key)
        if kept is not None and (kept.at + REMEMBERED <= self._now() or not self._is_known(kept.charge_id)):
            del self._kept[key]
            return None
        return kept

    def _keep(self, key: str, asked: str, answer: Response, charge_id: int) -> None:
        status, body = answer.status_code, answer.get_data()
        self._kept[key] = Kept(
            asked, self._now(), charge_id, lambda: Response(body, status=status, mimetype="application/json")
        )


class KeptRefusal(Exception):
    """A refusal that came after the endpoint had begun its work: the key remembers it."""

    def __init__(self, refusal: Refusal, charge_id: int) -> None:
        """Carry the refusal and the charge it is about."""
        super().__init__(refusal.message)
        self.refusal, self.charge_id = refusal, charge_id


def fingerprint() -> str:
    """Return what tells this request from another: its path and its parameters, whatever their order."""
    pairs = sorted(request.form.items(multi=True))
    return hashlib.sha256(repr((request.path, pairs)).encode()).hexdigest()


def given_key() -> str | None:
    """Return the request's key, if it has one."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= LONGEST_KEY:
        raise Refusal("Idempotency keys can have up to 255 characters.", kind="idempotency_error")
    return key
