"""One assistant message on its way into SQL: its parts, and when they are written.

Holds the fold from StreamChunks to the parts in the message's metadata, and the rule
of the guide's application: a row at the first part, then at most one write per second
with the whole message, then a last one. Sends nothing.

Three things differ from the guide's application: a reply that begins with a tool call
is stored too, one that was stopped is marked as ended, and neighbouring pieces of
text are one part, as its viewers show them.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import assert_never

from kit.app.history import History, MessageMetadata, MessagePart, Usage
from kit.app.llm_service import StreamChunk
from kit.errors import DatabaseError

__all__ = ["WRITE_INTERVAL", "Reply"]

logger = logging.getLogger(__name__)

WRITE_INTERVAL = 1.0  # seconds


class Reply:
    """A reply of `model` in one task. Whatever happens, await `finish()` in the end.

    `message_id` will be its id, a new one if None. `finish_reason` and `error` are what
    the chunks so far said, None if nothing yet.
    """

    def __init__(
        self,
        history: History,
        task_id: str,
        model: str,
        *,
        message_id: str | None = None,
        interval: float = WRITE_INTERVAL,
    ) -> None:
        self.finish_reason: str | None = None
        self.error: str | None = None
        self._history = history
        self._task_id = task_id
        self._model = model
        self._interval = interval
        self._parts: list[MessagePart] = []
        self._pieces: list[str] = []  # of the last part's text, while it grows
        self._usage: Usage | None = None
        self._message_id = message_id or uuid.uuid4().hex
        self._has_row = False
        self._changed = asyncio.Event()
        self._write_lock = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Write the row before there is anything in it: whoever finds it, waits for it.

        Raises DatabaseError, also if there is a message with this id already.
        """
        async with self._write_lock:
            await self._write(streaming=True)

    def add(self, chunk: StreamChunk) -> None:
        """Take in a chunk; what it changed is written within the interval."""
        match chunk["type"]:
            case "content":
                self._grow("text", chunk["content"])
            case "reasoning":
                self._grow("reasoning", chunk["reasoning"])
            case "reasoning-signature":
                if self._parts and self._parts[-1]["type"] == "reasoning":
                    self._settle()
                    self._parts[-1]["signature"] = chunk["reasoningSignature"]
            case "redacted-reasoning":
                data = chunk["redactedReasoningData"]
                self._append({"type": "redacted-reasoning", "data": data})
            case "tool-call":
                call = chunk["toolCall"]
                self._append(
                    {
                        "type": "tool-call",
                        "toolCallId": call["id"],
                        "toolName": call["name"],
                        "args": call["args"],
                    }
                )
            case "tool-result":
                call_id = chunk["toolResult"]["id"]
                self._append(
                    {
                        "type": "tool-result",
                        "toolCallId": call_id,
                        "toolName": self._tool_name(call_id),
                        "result": chunk["toolResult"]["result"],
                    }
                )
            case "usage":
                self._usage = chunk["usage"]
            case "complete":
                self.finish_reason = chunk["finishReason"]
            case "error":
                self.error = chunk["error"]
                self.finish_reason = chunk["finishReason"]
                self._append(
                    {
                        "type": "error",
                        "error": self.error,
                        "finishReason": self.finish_reason,
                    }
                )
            case "tool-call-start" | "tool-call-delta":
                return  # stored when its arguments are complete
            case _:
                assert_never(chunk["type"])
        self._changed.set()
        if self._parts and self._writer is None:
            self._writer = asyncio.create_task(self._keep_written())

    async def finish(self, finish_reason: str | None = None) -> None:
        """Write the message as it is to stay; nothing, if it has no parts and no row.

        `finish_reason` counts where the chunks named none. Raises DatabaseError.
        """
        self.finish_reason = self.finish_reason or finish_reason
        async with self._write_lock:  # a write under way is never cut off
            if self._writer is not None:
                self._writer.cancel()
            if self._parts or self._has_row:
                await self._write(streaming=False)

    async def _keep_written(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                async with self._write_lock:
                    await self._write(streaming=True)
            except DatabaseError as error:
                # The next write holds everything that this one would have held.
                logger.warning("[CHAT] Reply of task %s: %s", self._task_id, error)
            await asyncio.sleep(self._interval)

    async def _write(self, *, streaming: bool) -> None:
        self._settle()
        metadata: MessageMetadata = {
            "isStreaming": streaming,
            "parts": [dict(part) for part in self._parts],
        }
        if self._usage is not None:
            metadata["usage"] = self._usage
        if self.finish_reason is not None:
            metadata["finishReason"] = self.finish_reason
        texts = [part["text"] for part in self._parts if part["type"] == "text"]
        content = "".join(texts)
        if self._has_row:
            await self._history.update_message(self._message_id, content, metadata)
            return
        await self._history.add_message(
            self._task_id,
            "assistant",
            content,
            llm_model=self._model,
            metadata=metadata,
            message_id=self._message_id,
        )
        self._has_row = True

    def _grow(self, kind: str, piece: str) -> None:
        last = self._parts[-1] if self._parts else None
        if last is None or last["type"] != kind or "signature" in last:
            self._append({"type": kind, "text": ""})
        self._pieces.append(piece)

    def _append(self, part: MessagePart) -> None:
        self._settle()
        self._parts.append(part)

    def _settle(self) -> None:
        """Put the pieces into the part that they belong to, the last one."""
        if self._pieces:
            self._parts[-1]["text"] += "".join(self._pieces)
            self._pieces.clear()

    def _tool_name(self, call_id: str) -> str:
        for part in reversed(self._parts):
            if part["type"] == "tool-call" and part["toolCallId"] == call_id:
                name: str = part["toolName"]
                return name
        return ""
