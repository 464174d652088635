"""What people want to hear, in which language: asked for by them, honoured when messages are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from payflow import bus
from payflow.channels.languages import ENGLISH, languages, recognised
from payflow.core.errors import Forbidden, InvalidInput
from payflow.core.events import EventType
from payflow.models.access import User, Workspace
from payflow.models.notification import Channel, NotificationPreferences
from payflow.models.outbox import OutboxEvent
from payflow.services.access import Caller
from payflow.store.repositories import Repositories
from payflow.store.unit_of_work import Transaction, UnitOfWork

CHANNELS: Mapping[Channel, frozenset[EventType]] = {
    Channel.IN_APP: bus.CUSTOMER_EVENTS,
    Channel.EMAIL: bus.EMAIL_EVENTS,
}
"""What a person hears of on each channel unless it is switched off."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody messages are written for. `language` is a recognised tag."""

    language: str
    switched_off: Mapping[str, Sequence[str]]

    def hears(self, channel: Channel, kind: EventType) -> bool:
        if kind not in CHANNELS[channel]:
            return False
        kept = channel is Channel.IN_APP and kind in bus.KEPT_IN_APP
        return kept or kind.value not in self.switched_off.get(channel.value, ())


def readers(rows: Repositories, events: Sequence[OutboxEvent]) -> dict[str, Reader]:
    """Event id → who it is told to: the user's own choice, else what their token said, else the workspace's language,
    else English."""
    if not events:
        return {}
    chosen = rows.preferences_of(event.user_id for event in events)
    users = {row.id: row for row in rows.many(User, sorted({event.user_id for event in events}))}
    workspaces = {row.id: row for row in rows.many(Workspace, sorted({event.workspace_id for event in events}))}
    found = {}
    for event in events:
        preferences = chosen.get(event.user_id)
        wishes = (preferences, users.get(event.user_id), workspaces.get(event.workspace_id))
        tags = (recognised(one.locale) for one in wishes if one is not None)  # a catalogue may have gone since
        language = next((tag for tag in tags if tag), ENGLISH)
        found[event.id] = Reader(language, preferences.switched_off if preferences else {})
    return found


class PreferenceService:
    """A user reads and changes its own."""

    def __init__(self, units: UnitOfWork) -> None:
        self._units = units

    def read(self, caller: Caller) -> dict[str, Any]:
        """Language, and per channel which events are on. Raises Forbidden for keys, which get no messages."""
        _must_be_a_person(caller)
        with self._units.reading() as rows:
            return _shown(rows.preferences_of([caller.user_id]).get(caller.user_id))

    def change(self, caller: Caller, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set `locale` (None = the token's or the workspace's) and single events of `channels` on or off; what is not
        named stays. Raises InvalidInput naming the field, Forbidden for keys."""
        _must_be_a_person(caller)
        if changes.get("locale") is not None:
            changes = {**changes, "locale": known_locale(changes["locale"])}
        switches = dict(_switches(changes.get("channels") or {}))

        def step(tx: Transaction) -> dict[str, Any]:
            row = tx.lock_preferences(caller.user_id, tx.act.at)
            if "locale" in changes:
                row.locale = changes["locale"]
            off = {(channel, event) for channel, events in row.switched_off.items() for event in events}
            off = (off | {one for one, is_on in switches.items() if not is_on}) - {
                one for one, is_on in switches.items() if is_on
            }
            row.switched_off = {
                channel.value: sorted(event for name, event in off if name == channel.value) for channel in CHANNELS
            }
            row.updated_at = tx.act.at
            return _shown(row)

        return self._units.run(step, actor=caller.actor)


def known_locale(tag: str) -> str:
    """A tag in its usual spelling. Raises InvalidInput for a language nothing is written in."""
    found = recognised(tag)
    if found is None:
        raise InvalidInput(
            f"Messages are written in {', '.join(languages())}; a region may follow, as in en-GB.",
            code="unknown_locale",
            pointer="/locale",
        )
    return found


def _switches(channels: Mapping[str, Mapping[str, bool]]) -> list[tuple[tuple[str, str], bool]]:
    """((channel, event), on?) of each switch. Raises InvalidInput for one that is not there or cannot be off."""
    found = []
    for name, events in channels.items():
        for event, is_on in events.items():
            channel, kind, pointer = Channel(name), EventType(event), f"/channels/{name}/{event}"
            if kind not in CHANNELS[channel]:
                raise InvalidInput(f"{name} tells nothing of {event}.", code="unknown_event", pointer=pointer)
            if channel is Channel.IN_APP and kind in bus.KEPT_IN_APP and not is_on:
                raise InvalidInput(
                    "What becomes of your money is always told in the app.", code="always_on", pointer=pointer
                )
            found.append(((channel.value, kind.value), is_on))
    return found


def _must_be_a_person(caller: Caller) -> None:
    if caller.is_service:
        raise Forbidden("A key gets no messages.")


def _shown(row: NotificationPreferences | None) -> dict[str, Any]:
    reader = Reader(ENGLISH, row.switched_off if row else {})
    return {
        "locale": row.locale if row else None,
        "languages": list(languages()),
        "channels": {
            channel.value: {kind.value: reader.hears(channel, kind) for kind in sorted(kinds)}
            for channel, kinds in CHANNELS.items()
        },
    }
