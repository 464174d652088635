"""The webhook sender: queues what a gateway has to tell, sends it signed until it is accepted, keeps the log.

The only place here that makes requests. What a webhook says is the dialect's business.
"""

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import requests

from payflow.sandbox.counterparty import Counterparty
from payflow.sandbox.dialect import Event
from payflow.sandbox.fault_table import WEBHOOK, FaultName
from payflow.sandbox.faults import FaultPlan
from payflow.sandbox.records import Delivery, DeliveryStatus

RETRY_SECONDS = (1, 2, 5, 10, 30, 60)
MAX_ATTEMPTS = 500
ANSWER_TIMEOUT_SECONDS = 30
SENDERS = 8
LOOP_SECONDS = 0.05
FORGERS_KEY = "not-the-merchants-key"
ACCEPTED = 200


@dataclass(slots=True)
class WebhookTargets:
    """Where each gateway's webhooks go, and the key each gateway signs with."""

    secrets: Mapping[str, str]
    urls: dict[str, str] = field(default_factory=dict)


class WebhookSender:
    """Sends the queued webhooks, oldest first, a few at a time."""

    def __init__(
        self,
        counterparty: Counterparty,
        targets: WebhookTargets,
        *,
        retry_seconds: tuple[float, ...] = RETRY_SECONDS,
    ) -> None:
        """Send what `counterparty` announces to `targets`."""
        self._party = counterparty
        self._targets = targets
        self._retry_seconds = retry_seconds
        self._in_flight: set[int] = set()
        self._busy: set[tuple[str, str]] = set()
        self._wake = threading.Event()
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._claimed: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        counterparty.announce = self.announce

    # --- queueing

    def announce(self, event: Event) -> None:
        """Queue the webhooks of a fact, with the planted faults applied."""
        charge = event.charge
        for name, body in self._party.dialects[charge.gateway].webhooks(event):
            self.queue(gateway=charge.gateway, reference=charge.reference, event=name, body=body)

    def queue(self, *, gateway: str, reference: str, event: str, body: str) -> None:
        """Queue one webhook as the faults planted for it want."""

        def struck(fault: FaultName) -> FaultPlan | None:
            return self._party.faults.take(fault, gateway=gateway, reference=reference, operation=WEBHOOK, event=event)

        now = self._party.clock.now()

        def new(
            due_at: datetime = now,
            status: DeliveryStatus = DeliveryStatus.PENDING,
            fault: str | None = None,
            signature: str = "valid",
            *,
            ordered: bool = True,
            after_next: bool = False,
        ) -> Delivery:
            return self.put(
                Delivery(
                    id=self._party.state.next_id("delivery"),
                    gateway=gateway,
                    reference=reference,
                    event=event,
                    body=body,
                    signature=signature,
                    status=status,
                    fault=fault,
                    ordered=ordered,
                    after_next=after_next,
                    created_at=now,
                    due_at=due_at,
                )
            )

        if struck(FaultName.WEBHOOK_MISSING):
            new(status=DeliveryStatus.SUPPRESSED, fault=FaultName.WEBHOOK_MISSING)
            return
        if forged := struck(FaultName.WEBHOOK_FORGED):
            new(signature="forged", fault=FaultName.WEBHOOK_FORGED)
            if forged.params["only"]:
                return
        due_at, fault, after_next = now, None, False
        if late := struck(FaultName.WEBHOOK_DELAY):
            due_at, fault = now + timedelta(seconds=late.params["seconds"]), late.fault
        if held := struck(FaultName.WEBHOOK_OUT_OF_ORDER):
            due_at, fault, after_next = now + timedelta(seconds=held.params["seconds"]), held.fault, True
        copies = struck(FaultName.WEBHOOK_DUPLICATE)
        new(due_at, fault=fault, ordered=copies is None, after_next=after_next)
        if copies is not None:
            gap = timedelta(seconds=copies.params["gap_seconds"])
            for number in range(1, int(copies.params["n"])):
                new(due_at + gap * number, fault=FaultName.WEBHOOK_DUPLICATE, ordered=False)

    def put(self, delivery: Delivery) -> Delivery:
        """Put a ready-made webhook in the queue."""
        with self._party.state.lock:
            if delivery.status is DeliveryStatus.PENDING and delivery.gateway not in self._targets.urls:
                delivery.status = DeliveryStatus.NO_TARGET
            self._party.state.save(delivery)
        self._wake.set()
        return delivery

    # --- sending

    def send_due(self) -> int:
        """Send everything that is due now, one after the other; returns how many were tried."""
        tried = 0
        while claimed := self._claim():
            for delivery in claimed:
                self._attempt(delivery)
            tried += len(claimed)
        return tried

    def _claim(self) -> list[Delivery]:
        """Take what may be sent now; an ordered webhook waits for its reference's line to be free."""
        with self._party.state.lock:
            now = self._party.clock.now()
            claimed = []
            for delivery in self._party.state.pending_deliveries.values():
                line = (delivery.gateway, delivery.reference)
                if delivery.id in self._in_flight or delivery.due_at > now:
                    continue
                if delivery.ordered:
                    if line in self._busy:
                        continue
                    self._busy.add(line)
                self._in_flight.add(delivery.id)
                claimed.append(delivery)
            return claimed

    def _attempt(self, delivery: Delivery) -> None:
        status_code: int | None = None
        error: str | None = None
        try:
            status_code = self._post(delivery)
        except (requests.RequestException, OSError, ValueError) as problem:
            error = f"{type(problem).__name__}: {problem}"[:300]
        with self._party.state.lock:
            self._in_flight.discard(delivery.id)
            if delivery.ordered:
                self._busy.discard((delivery.gateway, delivery.reference))
            now = self._party.clock.now()
            delivery.attempts.append({"at": now.isoformat(), "status_code": status_code, "error": error})
            if status_code == ACCEPTED:
                delivery.status = DeliveryStatus.DELIVERED
            elif delivery.signature != "valid":
                delivery.status = DeliveryStatus.REFUSED
            elif len(delivery.attempts) >= MAX_ATTEMPTS:
                delivery.status = DeliveryStatus.GIVEN_UP
            else:
                step = min(len(delivery.attempts), len(self._retry_seconds)) - 1
                delivery.due_at = now + timedelta(seconds=self._retry_seconds[step])
            if delivery.id in self._party.state.deliveries:  # unless everything was reset meanwhile
                self._party.state.save(delivery)
                self._release_overtaken(delivery, now)
        self._wake.set()

    def _release_overtaken(self, sent: Delivery, now: datetime) -> None:
        for held in self._party.state.pending_deliveries.values():
            if (
                held.after_next
                and held.id < sent.id
                and (held.gateway, held.reference) == (sent.gateway, sent.reference)
            ):
                held.after_next, held.due_at = False, now

    def _post(self, delivery: Delivery) -> int:
        url = self._targets.urls.get(delivery.gateway)
        if url is None:
            raise ValueError("no webhook address is configured for this gateway")
        body = delivery.body.encode()
        headers = {"Content-Type": "application/json", "User-Agent": "payflow-sandbox"}
        if delivery.signature != "missing":
            secret = self._targets.secrets[delivery.gateway] if delivery.signature == "valid" else FORGERS_KEY
            dialect = self._party.dialects[delivery.gateway]
            headers.update(dialect.sign(body, secret=secret, now=self._party.clock.now()))
        answer = self._session().post(
            url, data=body, headers=headers, timeout=ANSWER_TIMEOUT_SECONDS, allow_redirects=False
        )
        return answer.status_code

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            self._sessions.append(session)
            session.trust_env = False  # no proxy between the sandbox and a server next to it
        return session

    # --- the threads

    def start(self) -> None:
        """Let time pass and send webhooks until `stop`."""
        self._threads = [threading.Thread(target=self._run, name="sandbox-time", daemon=True)]
        self._threads += [
            threading.Thread(target=self._work, name=f"sandbox-webhook-{number}", daemon=True)
            for number in range(SENDERS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop sending; what was not accepted stays in the journal. A deaf receiver holds nobody up."""
        self._wake.set()
        for _ in self._threads:
            self._claimed.put(None)
        for thread in self._threads:
            thread.join(timeout=1)
        for session in self._sessions:
            session.close()

    def _run(self) -> None:
        while not self._party.stopping.is_set():
            self._wake.wait(LOOP_SECONDS)
            self._wake.clear()
            self._party.tick()
            for delivery in self._claim():
                self._claimed.put(delivery)

    def _work(self) -> None:
        while (delivery := self._claimed.get()) is not None and not self._party.stopping.is_set():
            self._attempt(delivery)
