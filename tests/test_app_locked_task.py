"""Messages put between others, each behaviour on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from databases import history, postgres_url, url

from kit.app.history import History, Message, MessageMetadata
from kit.errors import DatabaseError, MessageIdTaken

__all__ = ["history", "postgres_url", "url"]  # fixtures

REPLY: MessageMetadata = {
    "isStreaming": False,
    "parts": [{"type": "tool-call", "toolCallId": "t", "args": {"$a": [1, None]}}],
    "usage": {"promptTokens": 1, "completionTokens": 2, "totalTokens": 3},
    "finishReason": "stop",
}


@pytest.fixture
async def task_id(history: History) -> str:
    return await history.create_task("t")


def new(content: str, **more: object) -> Message:
    message: dict[str, object] = {
        "id": uuid.uuid4().hex,
        "role": "user",
        "content": content,
        "llmModel": "m",
        "sequence": 0,
        "createdAt": "2026-01-02T03:04:05.678000+00:00",
        **more,
    }
    return message  # type: ignore[return-value]


async def stored(history: History, task_id: str) -> list[tuple[int, str]]:
    return [(m["sequence"], m["content"]) for m in await history.messages(task_id)]


async def add(history: History, task_id: str, *texts: str) -> None:
    for text in texts:
        await history.add_message(task_id, "user", text, llm_model="m")


async def insert_at(history: History, task_id: str, place: int, *texts: str) -> None:
    async with history.locked(task_id) as task:
        messages = await task.messages()
        messages[place:place] = [new(text) for text in texts]
        await task.arrange(messages)


async def test_new_messages_at_the_end_continue_the_count(
    history: History, task_id: str
) -> None:
    await add(history, task_id, "a", "b")
    await insert_at(history, task_id, 2, "c", "d")
    assert await stored(history, task_id) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_new_messages_between_others_move_those_behind(
    history: History, task_id: str, place: int
) -> None:
    await add(history, task_id, "a", "b", "c")
    await insert_at(history, task_id, place, "x", "y", "z", "0")
    expected = ["a", "b", "c"]
    expected[place:place] = ["x", "y", "z", "0"]
    assert await stored(history, task_id) == list(enumerate(expected, 1))


async def test_what_is_arranged_as_it_is_stays_as_it_is(
    history: History, task_id: str
) -> None:
    await add(history, task_id, "a", "b")
    before = await history.messages(task_id)
    await insert_at(history, task_id, 1)
    assert await history.messages(task_id) == before


async def test_a_message_is_stored_whole(history: History, task_id: str) -> None:
    message = new("a\0b", role="assistant", metadata=REPLY)
    prompt = new("u", clientMessageId="c1", createdAt="2026-01-02T05:04:05+02:00")
    async with history.locked(task_id) as task:
        await task.arrange([prompt, message])
    user, reply = await history.messages(task_id)
    assert user == {**prompt, "sequence": 1, "createdAt": "2026-01-02T03:04:05+00:00"}
    assert reply == {**message, "sequence": 2, "content": "a\ufffdb"}


async def test_very_many_messages_are_stored_at_once(
    history: History, task_id: str
) -> None:
    await add(history, task_id, "last")
    await insert_at(history, task_id, 0, *map(str, range(1200)))
    expected = [*map(str, range(1200)), "last"]
    assert await stored(history, task_id) == list(enumerate(expected, 1))


async def test_messages_added_afterwards_come_after(
    history: History, task_id: str
) -> None:
    await insert_at(history, task_id, 0, "a", "b")
    await add(history, task_id, "c")
    assert await stored(history, task_id) == [(1, "a"), (2, "b"), (3, "c")]


async def test_nobody_adds_while_the_task_is_locked(
    history: History, task_id: str
) -> None:
    await add(history, task_id, "a")
    async with history.locked(task_id) as task:
        adding = asyncio.create_task(add(history, task_id, "late"))
        messages = await task.messages()
        await task.arrange([*messages, *(new(str(n)) for n in range(50))])
        assert not adding.done()
    await adding
    texts = [text for _, text in await stored(history, task_id)]
    assert texts == ["a", *map(str, range(50)), "late"]


async def test_an_error_in_the_block_undoes_all_of_it(
    history: History, task_id: str
) -> None:
    await add(history, task_id, "a", "b")
    before = await history.messages(task_id)

    async def fail() -> None:
        async with history.locked(task_id) as task:
            await task.arrange([new("x"), *await task.messages()])
            await task.set_status("FAILED", "half way")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        await fail()
    assert await history.messages(task_id) == before
    unchanged = await history.task(task_id)
    assert unchanged is not None
    assert unchanged["status"] == "INITIALIZING"


async def test_an_id_of_another_tasks_message_is_refused(
    history: History, task_id: str
) -> None:
    other = await history.create_task("other")
    taken = new("taken")
    async with history.locked(other) as task:
        await task.arrange([taken])
    await add(history, task_id, "a")
    with pytest.raises(MessageIdTaken, match=f"{taken['id']} .* task {other} has a"):
        async with history.locked(task_id) as task:
            await task.arrange([new("free"), *await task.messages(), taken])
    assert await stored(history, task_id) == [(1, "a")]


async def test_stored_messages_are_neither_left_out_nor_exchanged(
    history: History, task_id: str
) -> None:
    await add(history, task_id, "a", "b")
    for change in (slice(0, 1), slice(None, None, -1)):
        with pytest.raises(ValueError, match="in their order"):
            async with history.locked(task_id) as task:
                await task.arrange((await task.messages())[change])
    assert await stored(history, task_id) == [(1, "a"), (2, "b")]


async def test_a_task_that_is_missing_is_created_with_its_messages(
    history: History,
) -> None:
    created_at = datetime(2026, 1, 2, 5, tzinfo=timezone(timedelta(hours=2)))
    task_id = uuid.uuid4().hex
    async with history.locked(task_id) as task:
        assert not task.exists
        await task.create("Theirs\0", created_at=created_at)
        await task.arrange([new("a")])
        await task.set_status("FAILED", "broken")
    found = await history.task(task_id)
    assert found is not None
    assert found == {
        "id": task_id,
        "title": "Theirs\ufffd",
        "status": "FAILED",
        "errorMessage": "broken",
        "createdAt": created_at.astimezone(UTC).isoformat(),
    }
    assert await stored(history, task_id) == [(1, "a")]


async def test_a_task_created_by_two_at_once_is_created_once(history: History) -> None:
    task_id = uuid.uuid4().hex

    async def create(name: str) -> str:
        async with history.locked(task_id) as task:
            if not task.exists:
                await task.create(name, created_at=datetime.now(UTC))
        return name

    done = await asyncio.gather(create("1"), create("2"), return_exceptions=True)
    assert any(isinstance(name, str) for name in done)
    assert all(isinstance(name, str | DatabaseError) for name in done)
    assert await history.task(task_id) is not None
