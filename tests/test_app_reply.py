"""A reply on its way into SQL: its parts, and when they are written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kit.app.history import History, Message, MessageMetadata
from kit.app.llm_service import StreamChunk
from kit.app.reply import Reply
from kit.errors import DatabaseError

T = TypeVar("T")


class WatchedHistory(History):
    """A real history that counts its writes, lets a test wait for them, or fails."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.writes: list[str] = []
        self.failing = False
        self._written = asyncio.Event()

    async def add_message(self, *args: Any, **kwargs: Any) -> str | None:
        return await self._watched(super().add_message(*args, **kwargs), args[2])

    async def update_message(
        self, message_id: str, content: str, metadata: MessageMetadata
    ) -> None:
        write = super().update_message(message_id, content, metadata)
        await self._watched(write, content)

    async def _watched(self, write: Coroutine[Any, Any, T], content: str) -> T:
        if self.failing:
            write.close()
            self._note("failed")
            raise DatabaseError("the disk is full")
        value = await write
        self._note(content)
        return value

    def _note(self, write: str) -> None:
        self.writes.append(write)
        self._written.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._written.clear()
            await self._written.wait()


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[WatchedHistory]:
    opened = await WatchedHistory.open(f"sqlite:///{tmp_path / 'history.db'}")
    yield opened
    await opened.close()


@pytest.fixture
async def task_id(history: History) -> str:
    return await history.create_task("t")


async def stored(history: History, task_id: str) -> Message:
    (message,) = await history.messages(task_id)
    return message


def content(text: str) -> StreamChunk:
    return {"type": "content", "content": text}


REPLY: list[StreamChunk] = [
    {"type": "reasoning", "reasoning": "I th"},
    {"type": "reasoning", "reasoning": "ink"},
    {"type": "reasoning-signature", "reasoningSignature": "sig"},
    {"type": "reasoning", "reasoning": "more"},
    {"type": "redacted-reasoning", "redactedReasoningData": "xyz"},
    content("Let me "),
    content("look."),
    {"type": "tool-call-start", "toolCallStart": {"id": "c1", "name": "f"}},
    {
        "type": "tool-call-delta",
        "toolCallDelta": {"id": "c1", "name": "f", "argsTextDelta": "{}"},
    },
    {"type": "tool-call", "toolCall": {"id": "c1", "name": "f", "args": {"a": 1}}},
    {"type": "tool-result", "toolResult": {"id": "c1", "result": [2], "isValid": True}},
    content("Done."),
    {
        "type": "usage",
        "usage": {"promptTokens": 1, "completionTokens": 2, "totalTokens": 3},
    },
    {"type": "complete", "finishReason": "stop"},
]


async def test_the_finished_message_has_all_parts_in_order(
    history: WatchedHistory, task_id: str
) -> None:
    reply = Reply(history, task_id, "model-1")
    for chunk in REPLY:
        reply.add(chunk)
    await reply.finish()
    message = await stored(history, task_id)
    assert message["role"] == "assistant"
    assert message["llmModel"] == "model-1"
    assert message["content"] == "Let me look.Done."
    assert message["metadata"] == {
        "isStreaming": False,
        "parts": [
            {"type": "reasoning", "text": "I think", "signature": "sig"},
            {"type": "reasoning", "text": "more"},
            {"type": "redacted-reasoning", "data": "xyz"},
            {"type": "text", "text": "Let me look."},
            {
                "type": "tool-call",
                "toolCallId": "c1",
                "toolName": "f",
                "args": {"a": 1},
            },
            {"type": "tool-result", "toolCallId": "c1", "toolName": "f", "result": [2]},
            {"type": "text", "text": "Done."},
        ],
        "usage": {"promptTokens": 1, "completionTokens": 2, "totalTokens": 3},
        "finishReason": "stop",
    }


async def test_a_row_appears_with_the_first_part_and_says_that_it_streams(
    history: WatchedHistory, task_id: str
) -> None:
    reply = Reply(history, task_id, "m", interval=60)
    reply.add(content("Hel"))
    await history.until(lambda: bool(history.writes))
    message = await stored(history, task_id)
    assert message["content"] == "Hel"
    assert message["metadata"] == {
        "isStreaming": True,
        "parts": [{"type": "text", "text": "Hel"}],
    }
    await reply.finish()


async def test_between_writes_sql_stays_behind_and_the_last_write_catches_up(
    history: WatchedHistory, task_id: str
) -> None:
    reply = Reply(history, task_id, "m", interval=60)
    reply.add(content("a"))
    await history.until(lambda: bool(history.writes))
    for text in "bcdefgh":
        reply.add(content(text))
    await reply.finish()
    assert history.writes == ["a", "abcdefgh"]


async def test_what_arrived_is_written_without_waiting_for_the_next_chunk(
    history: WatchedHistory, task_id: str
) -> None:
    reply = Reply(history, task_id, "m", interval=0.01)
    reply.add(content("a"))
    await history.until(lambda: bool(history.writes))
    reply.add(content("b"))
    await history.until(lambda: history.writes[-1] == "ab")
    await reply.finish()


@pytest.mark.parametrize(
    "chunk",
    [
        {"type": "tool-call", "toolCall": {"id": "c", "name": "f", "args": {}}},
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "redacted-reasoning", "redactedReasoningData": "x"},
        {"type": "error", "error": "broken", "finishReason": "error"},
    ],
)
async def test_a_reply_without_text_is_stored_too(
    history: WatchedHistory, task_id: str, chunk: StreamChunk
) -> None:
    reply = Reply(history, task_id, "m")
    reply.add(chunk)
    await reply.finish()
    message = await stored(history, task_id)
    assert message["content"] == ""
    assert message["metadata"]["parts"][0]["type"] == chunk["type"]


async def test_a_reply_that_said_nothing_leaves_no_row(
    history: WatchedHistory, task_id: str
) -> None:
    reply = Reply(history, task_id, "m")
    reply.add({"type": "tool-call-start", "toolCallStart": {"id": "c", "name": "f"}})
    reply.add({"type": "complete", "finishReason": "stop"})
    await reply.finish()
    assert await history.messages(task_id) == []


async def test_an_error_ends_the_reply_and_keeps_its_text(
    history: WatchedHistory, task_id: str
) -> None:
    reply = Reply(history, task_id, "m")
    reply.add(content("half"))
    reply.add({"type": "error", "error": "cut off", "finishReason": "error"})
    assert reply.error == "cut off"
    await reply.finish("stop")
    message = await stored(history, task_id)
    assert message["content"] == "half"
    assert message["metadata"]["finishReason"] == "error"
    assert message["metadata"]["parts"][-1] == {
        "type": "error",
        "error": "cut off",
        "finishReason": "error",
    }


async def test_the_end_can_be_named_where_no_chunk_did(
    history: WatchedHistory, task_id: str
) -> None:
    reply = Reply(history, task_id, "m")
    reply.add(content("half"))
    await reply.finish("aborted")
    metadata = (await stored(history, task_id))["metadata"]
    assert metadata["finishReason"] == "aborted"
    assert metadata["isStreaming"] is False


async def test_a_failed_write_is_made_up_for_by_the_next(
    history: WatchedHistory, task_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    history.failing = True
    reply = Reply(history, task_id, "m", interval=0.01)
    reply.add(content("a"))
    await history.until(lambda: "failed" in history.writes)
    history.failing = False
    reply.add(content("b"))
    await history.until(lambda: "ab" in history.writes)
    assert "the disk is full" in caplog.text
    await reply.finish()
    assert (await stored(history, task_id))["content"] == "ab"


async def test_a_last_write_that_fails_is_raised(
    history: WatchedHistory, task_id: str
) -> None:
    reply = Reply(history, task_id, "m")
    reply.add(content("a"))
    history.failing = True
    with pytest.raises(DatabaseError, match="the disk is full"):
        await reply.finish()


async def test_a_write_under_way_is_not_cut_off_by_the_end(
    history: WatchedHistory, task_id: str
) -> None:
    reply = Reply(history, task_id, "m")
    reply.add(content("a"))
    await asyncio.sleep(0)  # the first write has begun
    reply.add(content("b"))
    await reply.finish()
    assert history.writes[-1] == "ab"
    assert (await stored(history, task_id))["content"] == "ab"


async def test_a_row_may_be_there_before_there_is_anything_in_it(
    history: WatchedHistory, task_id: str
) -> None:
    reply = Reply(history, task_id, "model-1", message_id="r1")
    await reply.begin()
    message = await stored(history, task_id)
    assert (message["id"], message["content"]) == ("r1", "")
    assert message["metadata"] == {"isStreaming": True, "parts": []}
    with pytest.raises(DatabaseError):
        await Reply(history, task_id, "model-1", message_id="r1").begin()
    await reply.finish("aborted")
    message = await stored(history, task_id)
    assert message["metadata"] == {
        "isStreaming": False,
        "parts": [],
        "finishReason": "aborted",
    }
