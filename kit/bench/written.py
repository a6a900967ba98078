"""What a reply makes the store write: documents and their bytes, counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kit.bench.store import KIT, Counts, open_store
from kit.bench.ways.convex import FUNCTIONS
from kit.client import Deployment

__all__ = ["Written", "deltas_of", "written_by_guide", "written_by_kit"]


@dataclass(frozen=True)
class Written:
    """What one reply came to, its prompt, its beginning and its end included."""

    way: str
    tokens: int
    appends: int
    documents: int
    bytes: int
    text_bytes: int

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / self.tokens

    @property
    def beyond_text(self) -> float:
        """Bytes per token beside the text itself."""
        return (self.bytes - self.text_bytes) / self.tokens


async def deltas_of(deployment: Deployment, task: str) -> list[list[Any]]:
    """The deltas of a task's newest reply, as its producer has appended them.

    Raises DeploymentError.
    """
    rows = await deployment.query("messages:byTask", {"taskId": task})
    found: list[list[Any]] = []
    more, position = True, 0.0
    while more:
        answer = await deployment.query(
            "streaming:catchUp", {"streamId": rows[-1]["streamId"], "from": position}
        )
        found += [delta["chunks"] for delta in answer["deltas"]]
        more, position = answer["more"], answer["nextSeq"]
    return found


def written_by_kit(
    way: str, deltas: Sequence[Sequence[Any]], tokens: Sequence[str]
) -> Written:
    """Play a reply's deltas again, and count."""
    with open_store(KIT) as store:
        task = store.create_task()
        before = store.counts
        stream = store.begin(task)
        for seq, chunks in enumerate(deltas):
            store.append(stream, seq, chunks)
        store.finalize(stream)
        return _written(way, store.counts.since(before), len(deltas), tokens)


def written_by_guide(tokens: Sequence[str], *, parts: bool) -> Written:
    """Rewrite a message for each token, with a part for each or without, and count."""
    with open_store(FUNCTIONS) as store:
        task = store.create_task()
        before = store.counts
        message = store.call("messages:begin", {"taskId": task, "prompt": "Go on."})
        delta = {"messageId": message, "partPerToken": parts}
        for token in tokens:
            store.call("messages:appendStreamDelta", {**delta, "deltaText": token})
        store.call("messages:complete", {"messageId": message})
        name = "guide" if parts else "guide-text"
        return _written(name, store.counts.since(before), len(tokens), tokens)


def _written(way: str, counts: Counts, appends: int, tokens: Sequence[str]) -> Written:
    return Written(
        way,
        len(tokens),
        appends,
        counts.documents_written,
        counts.bytes_written,
        text_bytes=len("".join(tokens).encode()),
    )
