"""The sandbox's memory: every record, found by the keys a gateway is asked by, kept over a restart if wanted.

It stores and finds. What a payment or refund does belongs into counterparty.py; what it looks like, into a
dialect. This memory is the oracle for tests, so it never forgets a charge.
"""

import heapq
import json
import random
import string
import threading
from collections import defaultdict, deque
from datetime import datetime
from pathlib import Path
from typing import IO

from payflow.sandbox.records import Call, Charge, Delivery, DeliveryStatus, Dispute, Record, Refund

CALLS_KEPT = 200_000
DELIVERIES_KEPT = 200_000
JOURNALLED: dict[str, type[Record]] = {
    "charge": Charge,
    "refund": Refund,
    "dispute": Dispute,
    "delivery": Delivery,
}
KIND_OF: dict[type[Record], str] = {row_type: kind for kind, row_type in JOURNALLED.items()}


class SandboxState:
    """All records behind one lock; take `lock` around every read-then-write."""

    def __init__(self, *, seed: int, path: Path | None = None) -> None:
        """Start empty, or from the journal at `path` if there; equal seeds give equal ids and codes."""
        self.lock = threading.RLock()
        self.seed = seed
        self._path = path
        self._journal: IO[str] | None = None
        start = random.Random(f"{seed}:start")  # noqa: S311 - repeatable ids are the point, not secrecy
        self._next_id = {kind: start.randrange(3_000_000, 9_000_000) * 10 for kind in (*JOURNALLED, "call")}
        self._clear()
        if path is not None:
            self._open_journal(path)

    def _clear(self) -> None:
        self.charges: dict[int, Charge] = {}
        self.refunds: dict[int, Refund] = {}
        self.disputes: dict[int, Dispute] = {}
        self.deliveries: dict[int, Delivery] = {}
        self.pending_deliveries: dict[int, Delivery] = {}
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self._by_reference: dict[tuple[str, str], list[Charge]] = defaultdict(list)
        self._by_access_code: dict[str, Charge] = {}
        self._gateways: set[str] = set()
        self._refunds_by_charge: dict[int, list[Refund]] = defaultdict(list)
        self._agenda: list[tuple[datetime, str, int]] = []

    def reset(self) -> None:
        """Forget everything, the journal included; ids go on counting, as a real gateway's would."""
        with self.lock:
            self._clear()
            if self._journal is not None:
                self._journal.seek(0)
                self._journal.truncate()

    def close(self) -> None:
        """Close the journal."""
        with self.lock:
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    # --- ids

    def next_id(self, kind: str) -> int:
        """Return the next number of its kind ("charge", "refund", "dispute", "delivery", "call")."""
        with self.lock:
            self._next_id[kind] += 1
            return self._next_id[kind]

    def code(self, purpose: str, number: int, length: int) -> str:
        """Return the repeatable code of `length` characters that belongs to `purpose` and `number`."""
        source = random.Random(f"{self.seed}:{purpose}:{number}")  # noqa: S311 - repeatable, not secret
        return "".join(source.choices(string.ascii_lowercase + string.digits, k=length))

    # --- writing

    def save(self, row: Charge | Refund | Dispute | Delivery) -> None:
        """Store `row`, new or changed, put it on the agenda if it has something due, and journal it."""
        with self.lock:
            self._index(row)
            if self._journal is not None:
                self._journal.write(_journal_line(row))
                self._journal.flush()

    def log_call(self, call: Call) -> None:
        """Remember a request that reached a gateway."""
        with self.lock:
            self.calls.append(call)

    def _index(self, row: Record) -> None:
        match row:
            case Charge():
                if row.id not in self.charges:
                    self._by_reference[row.gateway, row.reference].append(row)
                    self._by_access_code[row.access_code] = row
                    self._gateways.add(row.gateway)
                self.charges[row.id] = row
                if row.due_at is not None:
                    heapq.heappush(self._agenda, (row.due_at, "charge", row.id))
            case Refund():
                if row.id not in self.refunds:
                    self._refunds_by_charge[row.charge_id].append(row)
                self.refunds[row.id] = row
                if row.next_at is not None:
                    heapq.heappush(self._agenda, (row.next_at, "refund", row.id))
            case Dispute():
                self.disputes[row.id] = row
            case Delivery():
                self._index_delivery(row)

    def _index_delivery(self, row: Delivery) -> None:
        self.deliveries[row.id] = row
        if row.status is DeliveryStatus.PENDING:
            self.pending_deliveries[row.id] = row
        else:
            self.pending_deliveries.pop(row.id, None)
        if len(self.deliveries) > DELIVERIES_KEPT:
            oldest = next((key for key in self.deliveries if key not in self.pending_deliveries), None)
            if oldest is not None:
                del self.deliveries[oldest]

    def next_due(self, now: datetime) -> Charge | Refund | None:
        """Take the next charge or refund whose step is due off the agenda."""
        with self.lock:
            while self._agenda and self._agenda[0][0] <= now:
                moment, kind, row_id = heapq.heappop(self._agenda)
                charge = self.charges.get(row_id) if kind == "charge" else None
                if charge is not None and charge.due_at == moment:
                    return charge
                refund = self.refunds.get(row_id) if kind == "refund" else None
                if refund is not None and refund.next_at == moment:
                    return refund
            return None

    # --- finding

    def charges_of(self, gateway: str, reference: str) -> list[Charge]:
        """Return the charges a merchant's reference owns, oldest first."""
        with self.lock:
            return list(self._by_reference.get((gateway, reference), ()))

    def charge_by_code(self, access_code: str) -> Charge | None:
        """Return the charge behind a hosted page's address."""
        with self.lock:
            return self._by_access_code.get(access_code)

    def find_charge(self, reference: str, gateway: str | None = None) -> Charge | None:
        """Return the newest charge with this reference at `gateway`, or at any."""
        with self.lock:
            names = self._gateways if gateway is None else {gateway}
            found = [charge for name in names for charge in self._by_reference.get((name, reference), ())]
            return max(found, key=lambda charge: charge.id, default=None)

    def refunds_of(self, charge_id: int) -> list[Refund]:
        """Return the refunds of one charge, oldest first."""
        with self.lock:
            return list(self._refunds_by_charge.get(charge_id, ()))

    # --- the journal

    def _open_journal(self, path: Path) -> None:
        """Read what an earlier run wrote, then write it anew, one line per row, and go on appending."""
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                self._replay(line)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        with fresh.open("w", encoding="utf-8") as out:
            for rows in (self.charges, self.refunds, self.disputes, self.deliveries):
                out.writelines(_journal_line(row) for row in rows.values())
        fresh.replace(path)
        self._journal = path.open("a", encoding="utf-8")

    def _replay(self, line: str) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return  # a line cut short by a kill; the row's earlier line stands
        row = JOURNALLED[entry["kind"]].from_json(entry["row"])
        kind = entry["kind"]
        self._next_id[kind] = max(self._next_id[kind], row.id)
        if isinstance(row, Charge) and row.id in self.charges:
            self._replace_charge(row)
        elif isinstance(row, Refund) and row.id in self.refunds:
            siblings = self._refunds_by_charge[row.charge_id]
            siblings[:] = [row if sibling.id == row.id else sibling for sibling in siblings]
        self._index(row)

    def _replace_charge(self, row: Charge) -> None:
        siblings = self._by_reference[row.gateway, row.reference]
        siblings[:] = [row if sibling.id == row.id else sibling for sibling in siblings]
        self._by_access_code[row.access_code] = row


def _journal_line(row: Record) -> str:
    return json.dumps({"kind": KIND_OF[type(row)], "row": row.to_json()}, separators=(",", ":")) + "\n"
