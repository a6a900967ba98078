"""Whether SQL holds what Convex holds of one conversation. Pure.

Holds the comparison of messages that were read from both, in the application's shapes:
all there, in the same order, saying the same. Ids, times and numbering may differ; a
message that only SQL has is none of its business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.app.tables import Message
from kit.app.turns import in_common

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`missing`: the ids on Convex of what SQL lacks; `differences` in words.

    The digests are of what was said, each store's own. `only_in_sql`: how many messages
    SQL has beside those of Convex.
    """

    convex_digest: str
    sql_digest: str
    missing: tuple[str, ...]
    differences: tuple[str, ...]
    only_in_sql: int

    @property
    def equal(self) -> bool:
        return self.convex_digest == self.sql_digest and not (
            self.missing or self.differences
        )


def compare(on_convex: Sequence[Message], in_sql: Sequence[Message]) -> Comparison:
    """What of Convex's ended messages is missing, elsewhere or different in SQL."""
    same = in_common(in_sql, on_convex)
    found = set(same.values())
    kept = [message for message in in_sql if message["id"] in found]
    return Comparison(
        convex_digest=_digest(on_convex),
        sql_digest=_digest(kept),
        missing=tuple(m["id"] for m in on_convex if m["id"] not in same),
        differences=tuple(_differences(on_convex, kept, same)),
        only_in_sql=len(in_sql) - len(kept),
    )


def _differences(
    on_convex: Sequence[Message], kept: Sequence[Message], same: Mapping[str, str]
) -> Iterator[str]:
    by_id = {message["id"]: message for message in kept}
    places = {message["id"]: place for place, message in enumerate(kept)}
    last = -1
    for message in on_convex:
        if message["id"] not in same:
            continue
        name = f"{message['role']}'s message {message['id']}"
        stored = by_id[same[message["id"]]]
        for field in _differing(_said(message), _said(stored)):
            yield f"{name} differs in {field}"
        place = places[stored["id"]]
        if place < last:
            yield f"{name} comes before others in SQL that it follows on Convex"
        last = max(last, place)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [name for name in one if _text(one[name]) != _text(other[name])]


def _said(message: Message) -> dict[str, Any]:
    """What a message says and how it ended, without what each store adds of its own."""
    metadata = message.get("metadata", {})
    return {
        "role": message["role"],
        "content": message["content"],
        "model": message["llmModel"],
        "parts": metadata.get("parts"),
        "finish reason": metadata.get("finishReason"),
        "usage": metadata.get("usage"),
        "streaming": metadata.get("isStreaming", False),
    }


def _digest(messages: Iterable[Message]) -> str:
    text = _text([_said(message) for message in messages])
    return hashlib.sha256(text.encode()).hexdigest()


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
