"""The live reply as a client of Socket.IO can know it: from StreamChunks alone.

Holds the parts, and whether they still grow. Pure: every method changes the fields and
returns what changed, for observers to be told when all of it has.

A chunk names neither its reply nor its place in it. So chunks that come after a gap are
appended where the last ones ended, and a reply is taken to be a new one when its
predecessor has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kit.app.hooks.live_parts import LiveParts
from kit.app.hooks.source import HookChange, PartsChanged, PartsReset, StateChanged
from kit.app.hooks.stream_chunks import ChunkCounter

__all__ = ["LIVE_MESSAGE_ID", "SocketReply"]

LIVE_MESSAGE_ID = "streaming"
"""The guide's synthetic id of the message that live parts belong to."""


class SocketReply:
    """`live` are the parts; `is_streaming` says whether they grow."""

    def __init__(self) -> None:
        self.live = LiveParts(LIVE_MESSAGE_ID)
        self.is_streaming = False
        self._counter = ChunkCounter()
        self._ended = False
        self._stopped = False

    @property
    def is_shown(self) -> bool:
        """Whether there is a live reply: it streams, or its parts are still there."""
        return self.is_streaming or bool(self.live.order)

    def take(self, stream_chunk: Any) -> list[HookChange]:
        """Fold one StreamChunk in. Raises what `ChunkCounter.convert` raises."""
        ends = stream_chunk["type"] in ("complete", "error")
        changes: list[HookChange] = []
        chunks = self._counter.convert(stream_chunk)
        if chunks and self._ended and not ends:  # the first chunk of another reply
            changes += self.drop()
            chunks = self._counter.convert(stream_chunk)
        self._ended = self._ended or ends
        grown = self.live.apply(chunks)
        if grown and not self._ended and not self._stopped:
            changes += self._set_streaming(True)
        if grown:
            changes.append(PartsChanged(LIVE_MESSAGE_ID, grown))
        return changes

    def restore(self, chunks: Iterable[Any], is_streaming: bool) -> list[HookChange]:
        """Begin again with the chunks that the server says it has."""
        self._begin_again()
        for chunk in chunks:
            self.live.apply(self._counter.convert(chunk))
        self.is_streaming = is_streaming
        return [PartsReset(), StateChanged()]

    def end(self) -> list[HookChange]:
        """Its last chunk has come; the next one belongs to another reply."""
        self._ended = True
        return self._set_streaming(False)

    def stop(self) -> list[HookChange]:
        """Somebody stopped it: what still comes of it does not make it stream again."""
        self._stopped = True
        return self._set_streaming(False)

    def expect_another(self) -> None:
        """A message was sent: what comes now is a reply that nobody has stopped."""
        self._stopped = False

    def pause(self) -> list[HookChange]:
        """Nothing comes for the time being: the connection is lost."""
        return self._set_streaming(False)

    def drop(self) -> list[HookChange]:
        """Forget it, parts and all."""
        changes: list[HookChange] = [PartsReset()] if self.live.order else []
        self._begin_again()
        return changes + self._set_streaming(False)

    def _begin_again(self) -> None:
        self.live = LiveParts(LIVE_MESSAGE_ID)
        self._counter = ChunkCounter()
        self._ended = False
        self._stopped = False

    def _set_streaming(self, is_streaming: bool) -> list[HookChange]:
        if is_streaming == self.is_streaming:
            return []
        self.is_streaming = is_streaming
        return [StateChanged()]
