"""A chat source whose replies a test writes itself, chunk by chunk.

It tells its changes as `use_message_streaming` does: a row that is being written, live
parts of that row, and a row that turns final at the moment when the live parts go.
Notebooks in tests import it too.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

from kit.app.hooks import MessagesChanged, PartsChanged, PartsReset, StateChanged
from kit.app.hooks.live_parts import LiveParts
from kit.app.hooks.source import Delivery, Hook, Message
from kit.app.runs import WhenActive
from kit.parts import Chunk

__all__ = ["FakeChat", "text_chunks", "tool_chunks"]


def text_chunks(
    text: str, *, part_id: str = "text-0", size: int = 12, kind: str = "text"
) -> list[Chunk]:
    """One text or reasoning part, in deltas of `size` characters."""
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    chunks: list[Any] = [{"type": f"{kind}-start", "id": part_id}]
    chunks += [{"type": f"{kind}-delta", "id": part_id, "delta": p} for p in pieces]
    chunks.append({"type": f"{kind}-end", "id": part_id})
    return chunks


def tool_chunks(call: str, tool: str, args: str, result: str) -> list[Chunk]:
    """One tool call with its arguments streamed, and its result."""
    chunks: list[Any] = [
        {"type": "tool-input-start", "toolCallId": call, "toolName": tool}
    ]
    chunks += [
        {"type": "tool-input-delta", "toolCallId": call, "inputTextDelta": letter}
        for letter in args
    ]
    chunks += [
        {
            "type": "tool-input-available",
            "toolCallId": call,
            "toolName": tool,
            "inputText": args,
        },
        {"type": "tool-output-available", "toolCallId": call, "outputText": result},
    ]
    return chunks


class FakeChat(Hook):
    """A `ChatSource` without anything behind it."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        super().__init__("task-1")
        self.rows: list[Message] = list(messages)
        self.state = "connected"
        self.sent: list[str] = []
        self.stopped = asyncio.Event()
        self.refusal: Exception | None = None
        """What sending and stopping raise."""
        self.lag: float | None = None
        """Seconds that chunks are said to have taken; None: nobody knows."""
        self._parts = LiveParts()

    @property
    def messages(self) -> list[Message]:
        return self.rows

    @property
    def is_streaming(self) -> bool:
        return bool(self.rows) and self.rows[-1]["status"] == "streaming"

    @property
    def connection(self) -> str:
        return self.state

    @property
    def _live(self) -> LiveParts:
        return self._parts

    # --- what a view asks for -------------------------------------------------------

    async def send_message(
        self,
        text: str,
        *,
        model: str | None = None,
        client_message_id: str | None = None,
        when_active: WhenActive = "reject",
    ) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.sent.append(text)
        self.ask(text)
        return "client-message"

    async def stop_stream(self) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.set_row(status="stopping")
        self.stopped.set()

    async def _end(self) -> None:
        pass

    # --- what a test does -----------------------------------------------------------

    def ask(self, text: str) -> None:
        """A user's message appears."""
        row = self.row("USER", content=text, status="complete")
        self.rows = [*self.rows, row]
        self._tell(MessagesChanged())

    def begin(self) -> str:
        """A reply begins; the id of its message."""
        row = self.row("ASSISTANT", content="", status="streaming")
        row["llmModel"] = "claude-opus-5-5"
        self.rows = [*self.rows, row]
        self._parts = LiveParts(row["_id"])
        self._tell(MessagesChanged(), PartsReset(), StateChanged())
        message_id: str = row["_id"]
        return message_id

    def feed(self, *chunks: Chunk) -> None:
        """Chunks of the reply arrive, in one batch."""
        if self.lag is not None:
            now = time.time()
            self._delivery = Delivery(now - self.lag, now)
        changes = self._parts.apply(chunks)
        if changes:
            self._tell(PartsChanged(self._parts.message_id, changes))

    def end(self, status: str = "complete", **fields: Any) -> None:
        """The reply's row turns final and holds the parts."""
        parts = [self._parts.parts[part_id] for part_id in self._parts.order]
        row = {
            **self.rows[-1],
            "status": status,
            "content": self._parts.text(),
            "parts": parts,
            **fields,
        }
        self.rows = [*self.rows[:-1], row]
        self._parts = LiveParts()
        self._tell(MessagesChanged(), PartsReset(), StateChanged())

    def set_row(self, **fields: Any) -> None:
        """Change the last row."""
        self.rows = [*self.rows[:-1], {**self.rows[-1], **fields}]
        self._tell(MessagesChanged(), StateChanged())

    def set_connection(self, state: str) -> None:
        self.state = state
        self._tell(StateChanged())

    async def stream(
        self, chunks: Sequence[Chunk], *, pace: float = 100.0, until: str = ""
    ) -> None:
        """A whole reply, `pace` chunks a second; ends early when it is stopped, and not
        before there is a file `until`, if one is named."""
        self.stopped.clear()
        self.begin()
        for chunk in chunks:
            self.feed(chunk)
            try:
                async with asyncio.timeout(1 / pace):
                    await self.stopped.wait()
            except TimeoutError:
                continue
            self.end("stopped")
            return
        while until and not os.path.exists(until):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)
        self.end()

    def row(self, role: str, **fields: Any) -> Message:
        number = len(self.rows)
        return {
            "_id": f"message-{number}",
            "_creationTime": 1_700_000_000_000.0 + number,
            "taskId": self.task_id,
            "role": role,
            "sequence": float(number),
            **fields,
        }
