"""A model of the rules that keep money safe, small enough to look at every state it can ever be in.

One payment and one refund of it; two workers; a broker that loses and repeats messages; processes that die between any
two steps; a gateway whose answers get lost and whose requests may arrive long after the caller gave up. `explore` walks
through all interleavings and says what is unsafe (with the shortest way there) and from where no good end can be
reached any more. Each rule can be switched off. It is the rules that are checked here, not the code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MESSAGES_AT_ONCE = 2
FAULTS = 3
IDLE = ("idle",)

Worker = tuple[str, ...]
"""What a worker is about to do, and what it remembers."""


@dataclass(frozen=True)
class Rules:
    """The design; `replace` a field for a broken variant."""

    sweep: bool = True
    """What is owed is found again without a message."""
    compare_and_set: bool = True
    """A status is looked at again in the moment it is changed."""
    stable_key: bool = True
    """Every repetition of a request carries the same key."""
    idempotent_gateway: bool = True
    """The gateway makes one refund of all requests with one key."""
    after_a_lost_answer: str = "repeat"
    """repeat; or look (at the gateway's list) and `look_and_repeat`, `look_and_park`, `look_wait_repeat_once`."""


class State(NamedTuple):
    """Everything that matters at one moment."""

    is_charged: bool = False
    """The customer has paid at the gateway."""
    refunds_there: int = 0
    """How often the gateway has given the money back (more than two count as two)."""
    keys_there: frozenset[int] = frozenset()
    on_the_way: tuple[int, ...] = ()
    """Keys of refund requests that will still arrive, although nobody waits for them any more."""
    payment: str = "open"
    confirmations: int = 0
    refund: str = "none"
    """none, owed, sent (written down before the call), sent_again, done, parked (a person has it)."""
    next_key: int = 0
    messages: tuple[str, ...] = ()
    workers: tuple[Worker, Worker] = (IDLE, IDLE)
    faults_left: int = FAULTS


class Move(NamedTuple):
    """One thing that may happen next. What is `needed` happens in the end; the rest is bad luck or chance."""

    name: str
    to: State
    is_needed: bool = True


@dataclass
class Verdict:
    """What a walk through all states has shown."""

    states: int
    unsafe: dict[str, list[str]] = field(default_factory=dict)
    """What must never be → the shortest way there, as names of moves."""
    stuck: int = 0
    """States from which, even without further faults, nothing leads to a good end."""
    way_to_stuck: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.unsafe and not self.stuck


NEVER: Mapping[str, Callable[[State], bool]] = {
    "money goes back twice": lambda state: state.refunds_there > 1,
    "bookings are confirmed twice": lambda state: state.confirmations > 1,
    "a refund counts as done and is not": lambda state: state.refund == "done" and state.refunds_there == 0,
}


def is_good_end(state: State) -> bool:
    """Paid and known; the money back and known, or before a person; nothing on its way that could change it."""
    is_refunded = state.refund == "parked" or (state.refund == "done" and state.refunds_there == 1)
    return state.is_charged and state.payment == "success" and is_refunded and not state.on_the_way


def explore(rules: Rules) -> Verdict:
    """Walk through every state that can be reached, the nearest first."""
    start = State()
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    leads_here: dict[State, list[State]] = {}
    verdict, queue = Verdict(0), deque([start])
    while queue:
        state = queue.popleft()
        for what, is_so in NEVER.items():
            if what not in verdict.unsafe and is_so(state):
                verdict.unsafe[what] = _way(came_from, state)
        for move in moves(state, rules):
            if move.is_needed:
                leads_here.setdefault(move.to, []).append(state)
            if move.to not in came_from:
                came_from[move.to] = (state, move.name)
                queue.append(move.to)
    verdict.states = len(came_from)
    saved = _all_behind([state for state in came_from if is_good_end(state)], leads_here)
    lost = [state for state in came_from if state not in saved]
    verdict.stuck = len(lost)
    verdict.way_to_stuck = _way(came_from, lost[0]) if lost else []
    return verdict


def _all_behind(ends: list[State], leads_here: Mapping[State, list[State]]) -> set[State]:
    """The states from which one of the ends can be reached."""
    found, queue = set(ends), deque(ends)
    while queue:
        for before in leads_here.get(queue.popleft(), ()):
            if before not in found:
                found.add(before)
                queue.append(before)
    return found


def _way(came_from: Mapping[State, tuple[State, str] | None], state: State) -> list[str]:
    names: list[str] = []
    while (step := came_from[state]) is not None:
        state, name = step
        names.append(name)
    return names[::-1]


# -- what may happen next ---------------------------------------------------------------------------------------------


def moves(state: State, rules: Rules) -> Iterator[Move]:
    """Everything that may happen in a state."""
    yield from _world(state, rules)
    if rules.sweep:
        yield from _sweep(state)
    yield from _broker(state)
    for number, worker in enumerate(state.workers):
        if worker != IDLE:
            if state.faults_left:
                yield Move("a worker dies", _worker(_fault(state), number, IDLE), is_needed=False)
            step = _verify if worker[0] == "verify" else _refund
            yield from step(state, rules, number, worker)


def _world(state: State, rules: Rules) -> Iterator[Move]:
    """The customer, the gateway's news, the network."""
    if not state.is_charged:
        yield Move("the customer pays", state._replace(is_charged=True))
    elif (told := _send(state, "verify")) is not None:
        yield Move("the gateway tells of the charge", told, is_needed=False)
    if state.payment == "success" and state.refund == "none":
        asked = state._replace(refund="owed")
        yield Move("a refund is asked for", _send(asked, "refund") or asked)
    for position, key in enumerate(state.on_the_way):
        rest = state.on_the_way[:position] + state.on_the_way[position + 1 :]
        yield Move("a late request arrives", _arrive(state._replace(on_the_way=rest), rules, key))


def _sweep(state: State) -> Iterator[Move]:
    """Rows say what is owed."""
    is_verify_owed = state.payment == "open" and state.is_charged
    is_refund_owed = state.refund in ("owed", "sent", "sent_again")
    for kind, is_owed in (("verify", is_verify_owed), ("refund", is_refund_owed)):
        if is_owed and (rung := _send(state, kind)) is not None:
            yield Move(f"the sweep rings for {kind}", rung)


def _broker(state: State) -> Iterator[Move]:
    for position, kind in enumerate(state.messages):
        rest = state.messages[:position] + state.messages[position + 1 :]
        for number, worker in enumerate(state.workers):
            if worker == IDLE:
                taken = _worker(state._replace(messages=rest), number, (kind, "begin"))
                yield Move(f"a worker takes {kind}", taken)
                if state.faults_left:
                    twice = _worker(_fault(state), number, (kind, "begin"))
                    yield Move(f"{kind} is delivered and delivered again", twice, is_needed=False)
        if state.faults_left:
            yield Move(f"the broker loses {kind}", _fault(state)._replace(messages=rest), is_needed=False)


def _verify(state: State, rules: Rules, number: int, worker: Worker) -> Iterator[Move]:
    """Ask the gateway, then write the answer down."""
    if worker[1] == "begin":
        after = ("verify", "write", state.payment) if state.is_charged else IDLE
        yield Move("the gateway is asked", _worker(state, number, after))
        return
    seen = state.payment if rules.compare_and_set else worker[2]
    done = _worker(state, number, IDLE)
    if seen == "open":
        done = done._replace(payment="success", confirmations=min(state.confirmations + 1, 2))
    yield Move("the payment is written down", done)


def _refund(state: State, rules: Rules, number: int, worker: Worker) -> Iterator[Move]:
    match worker[1]:
        case "begin":
            yield from _begin_refund(state, rules, number)
        case "look":
            yield from _look(state, rules, number)
        case "call":
            yield from _call(state, rules, number)
        case _:
            yield Move("the refund is written down", _worker(state._replace(refund="done"), number, IDLE))


def _begin_refund(state: State, rules: Rules, number: int) -> Iterator[Move]:
    """Write down that the call is about to be made; after an earlier one, what to do about it."""
    if state.refund == "owed":
        yield Move("about to send is written down", _worker(state._replace(refund="sent"), number, ("refund", "call")))
    elif state.refund not in ("sent", "sent_again"):
        yield Move("nothing is owed any more", _worker(state, number, IDLE))
    elif rules.after_a_lost_answer == "repeat":
        yield Move("the request is repeated", _worker(state, number, ("refund", "call")))
    elif rules.after_a_lost_answer != "look_wait_repeat_once":
        yield Move("its end is unknown", _worker(state, number, ("refund", "look")))
    elif not state.on_the_way and ("refund", "call") not in state.workers:  # so long that no request can be alive
        yield Move("the waiting is over", _worker(state, number, ("refund", "look")))
    else:
        yield Move("it is too early to look", _worker(state, number, IDLE))


def _look(state: State, rules: Rules, number: int) -> Iterator[Move]:
    """The gateway's list of refunds is read."""
    how = rules.after_a_lost_answer
    if state.refunds_there:
        yield Move("the list shows it", _worker(state._replace(refund="done"), number, IDLE))
    elif how == "look_and_repeat":
        yield Move("the list does not show it", _worker(state, number, ("refund", "call")))
    elif how == "look_wait_repeat_once" and state.refund == "sent":
        again = state._replace(refund="sent_again")
        yield Move("the one repetition is written down", _worker(again, number, ("refund", "call")))
    elif state.refund in ("sent", "sent_again"):
        yield Move("a person is asked", _worker(state._replace(refund="parked"), number, IDLE))
    else:
        yield Move("somebody else has seen to it", _worker(state, number, IDLE))


def _call(state: State, rules: Rules, number: int) -> Iterator[Move]:
    """The request: answered, or made with its answer lost, or still under way when the caller gives up."""
    key = 0 if rules.stable_key else state.next_key
    sent = state if rules.stable_key else state._replace(next_key=min(key + 1, FAULTS + 1))
    made = _arrive(sent, rules, key)
    yield Move("the gateway makes the refund", _worker(made, number, ("refund", "write")))
    if state.faults_left:
        yield Move("it is made, the answer lost", _worker(_fault(made), number, IDLE), is_needed=False)
        if len(sent.on_the_way) < MESSAGES_AT_ONCE:
            late = _fault(sent)._replace(on_the_way=tuple(sorted((*sent.on_the_way, key))))
            yield Move("the request hangs in the network", _worker(late, number, IDLE), is_needed=False)


# -- small changes of a state -----------------------------------------------------------------------------------------


def _send(state: State, kind: str) -> State | None:
    """With one more message; None if it is there already or the queue is full."""
    if kind in state.messages or len(state.messages) >= MESSAGES_AT_ONCE:
        return None
    return state._replace(messages=tuple(sorted((*state.messages, kind))))


def _worker(state: State, number: int, does: Worker) -> State:
    """One worker goes on to something else. Which of the two it is makes no difference."""
    other = state.workers[1 - number]
    return state._replace(workers=(min(does, other), max(does, other)))


def _fault(state: State) -> State:
    return state._replace(faults_left=state.faults_left - 1)


def _arrive(state: State, rules: Rules, key: int) -> State:
    """A refund request reaches the gateway."""
    if rules.idempotent_gateway and key in state.keys_there:
        return state
    return state._replace(refunds_there=min(state.refunds_there + 1, 2), keys_there=state.keys_there | {key})
