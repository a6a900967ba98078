"""Two records of one conversation made one, in the order in which it was held. Pure.

Holds which messages two stores have in common, and where those that only one of them
has belong. A turn is a user's message and what follows it, up to the next one; turns
are not torn apart.

Each store's own order is kept: it is known, while their clocks may differ. What both
have ties them together; only between two such turns do the times decide.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kit.app.tables import Message

__all__ = ["in_common", "merge_turns"]


def in_common(stored: Iterable[Message], others: Iterable[Message]) -> dict[str, str]:
    """By the id of each of `others` that is among `stored`: its id there.

    A message is the same if it has the same id, or was sent with the same
    `clientMessageId`.
    """
    stored = list(stored)
    ids = {message["id"] for message in stored}
    sent = {
        message["clientMessageId"]: message["id"]
        for message in stored
        if "clientMessageId" in message
    }
    same: dict[str, str] = {}
    for message in others:
        if message["id"] in ids:
            same[message["id"]] = message["id"]
        elif (known := sent.get(message.get("clientMessageId", ""))) is not None:
            same[message["id"]] = known
    return same


def merge_turns(
    stored: Sequence[Message], others: Sequence[Message], same: Mapping[str, str]
) -> list[Message]:
    """All of `stored`, in their order, and among them those of `others` not in `same`.

    `same` is what they have in common, see `in_common`. A turn of which `stored` has a
    part is completed there; another one comes after the turns that are older, but
    never past one that `others` have later.
    """
    rest = deque(_turns(stored))
    home_of = {message["id"]: turn for turn in rest for message in turn.messages}
    incoming = [(turn, _home(turn, same, home_of)) for turn in _turns(others)]
    homes = {home for _, home in incoming}
    merged: dict[_Turn, None] = {}  # in the order in which they were put in
    for turn, home in incoming:
        if home is not None:
            while home not in merged:
                merged[rest.popleft()] = None
            home.complete(turn, same)
            continue
        while rest and rest[0] not in homes and rest[0].begun <= turn.begun:
            merged[rest.popleft()] = None
        merged[turn] = None
    return [message for turn in [*merged, *rest] for message in turn.messages]


@dataclass(eq=False, slots=True)
class _Turn:
    messages: list[Message]

    @property
    def begun(self) -> datetime:
        return datetime.fromisoformat(self.messages[0]["createdAt"])

    def complete(self, other: _Turn, same: Mapping[str, str]) -> None:
        """Put in what only `other` has, each after what it follows there."""
        place = 0
        for message in other.messages:
            known = same.get(message["id"])
            if known is None:
                self.messages.insert(place, message)
                place += 1
            else:
                ids = [mine["id"] for mine in self.messages]
                place = ids.index(known) + 1 if known in ids else place


def _turns(messages: Iterable[Message]) -> list[_Turn]:
    turns: list[_Turn] = []
    for message in messages:
        if message["role"] == "user" or not turns:
            turns.append(_Turn([]))
        turns[-1].messages.append(message)
    return turns


def _home(
    turn: _Turn, same: Mapping[str, str], home_of: Mapping[str, _Turn]
) -> _Turn | None:
    """The stored turn that has the first of its messages that is stored."""
    for message in turn.messages:
        if message["id"] in same:
            return home_of[same[message["id"]]]
    return None
