"""The SQL history, each behaviour on a SQLite file and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from databases import PASSWORD, free_port, history, postgres_url, url

from kit.app.history import History, MessageMetadata
from kit.errors import ConfigError, DatabaseError

__all__ = ["history", "postgres_url", "url"]  # fixtures

REPLY: MessageMetadata = {
    "isStreaming": False,
    "parts": [
        {"type": "text", "text": "hi"},
        {"type": "tool-call", "toolCallId": "t", "toolName": "f", "args": {"$a": [1]}},
    ],
    "usage": {"promptTokens": 1, "completionTokens": 2, "totalTokens": 3},
    "finishReason": "stop",
}


# --- tasks and messages ---------------------------------------------------------


async def test_a_task_is_stored_with_the_id_it_is_given(history: History) -> None:
    own = await history.create_task("Mine")
    given = await history.create_task("Theirs", task_id=own + "x")
    assert given == own + "x"
    task = await history.task(own)
    assert task is not None
    assert (task["title"], task["status"]) == ("Mine", "INITIALIZING")
    assert task["createdAt"].endswith("+00:00")
    assert await history.task("unknown\0\ud800") is None


async def test_a_status_carries_its_error_until_the_next(history: History) -> None:
    task_id = await history.create_task("t")
    await history.set_task_status(task_id, "FAILED", "broken")
    failed = await history.task(task_id)
    assert failed is not None
    assert (failed["status"], failed["errorMessage"]) == ("FAILED", "broken")
    await history.set_task_status(task_id, "RUNNING")
    running = await history.task(task_id)
    assert running is not None
    assert "errorMessage" not in running


async def test_messages_come_back_in_sequence_and_whole(history: History) -> None:
    task_id = await history.create_task("t")
    await history.add_message(
        task_id, "user", "hello", llm_model="m", client_message_id="c1"
    )
    reply_id = await history.add_message(
        task_id, "assistant", "h", llm_model="m", metadata={"isStreaming": True}
    )
    assert reply_id is not None
    await history.update_message(reply_id, "hi", REPLY)
    user, reply = await history.messages(task_id)
    assert (user["sequence"], user["role"], user["content"]) == (1, "user", "hello")
    assert user["clientMessageId"] == "c1"
    assert "metadata" not in user
    assert (reply["id"], reply["sequence"], reply["content"]) == (reply_id, 2, "hi")
    assert reply["metadata"] == REPLY


async def test_the_same_client_message_is_stored_once_per_task(
    history: History,
) -> None:
    first, second = await history.create_task("1"), await history.create_task("2")

    async def add(task_id: str) -> str | None:
        return await history.add_message(
            task_id, "user", "x", llm_model="m", client_message_id="c"
        )

    ids = await asyncio.gather(*(add(first) for _ in range(5)), add(second))
    assert sum(id is not None for id in ids) == 2
    assert len(await history.messages(first)) == 1


async def test_messages_added_at_once_get_different_sequences(
    history: History,
) -> None:
    task_id = await history.create_task("t")
    await asyncio.gather(
        *(history.add_message(task_id, "user", str(n), llm_model="m") for n in range(8))
    )
    stored = await history.messages(task_id)
    assert [message["sequence"] for message in stored] == list(range(1, 9))


async def test_text_that_no_database_takes_is_still_stored(history: History) -> None:
    task_id = await history.create_task("a\0b")
    await history.add_message(
        task_id,
        "assistant",
        "x\0y\ud800z\N{GRINNING FACE}",
        llm_model="m",
        metadata={"parts": [{"type": "text", "text": "x\0y\ud800z"}]},
    )
    (message,) = await history.messages(task_id)
    assert message["content"] == "x\N{REPLACEMENT CHARACTER}y\ufffdz\N{GRINNING FACE}"


async def test_a_message_of_an_unknown_task_is_refused(history: History) -> None:
    with pytest.raises(DatabaseError, match="has no task nope"):
        await history.add_message("nope", "user", "x", llm_model="m")
    assert await history.messages("nope") == []


async def test_what_was_stored_is_there_when_opened_again(url: str) -> None:
    first = await History.open(url)
    task_id = await first.create_task("kept")
    await first.close()
    await first.close()
    second = await History.open(url)
    task = await second.task(task_id)
    await second.close()
    assert task is not None
    assert task["title"] == "kept"


# --- URLs and databases that cannot be used -------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "cannot be read"),
        (f"no url {PASSWORD}", "cannot be read"),
        (f"postgresql://u:{PASSWORD}@host:port/db", "cannot be read"),
        (f"mysql://u:{PASSWORD}@host/db", "cannot use mysql"),
        (f"postgresql+asyncpg://u:{PASSWORD}@h/db", "cannot use postgresql+asyncpg"),
    ],
)
async def test_a_bad_url_is_refused_with_what_to_write(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await History.open(url)
    assert said in str(caught.value)
    assert "sqlite+aiosqlite:///" in str(caught.value)
    assert PASSWORD not in str(caught.value)


async def test_a_file_that_cannot_be_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        await History.open(f"sqlite:///{tmp_path / 'no' / 'folder.db'}")
    with pytest.raises(ConfigError, match="Is a directory"):
        await History.open(f"sqlite:///{tmp_path}")
    broken = tmp_path / "broken.db"
    broken.write_text("not a database, " * 100)
    with pytest.raises(ConfigError, match="not a database"):
        await History.open(f"sqlite:///{broken}")


async def test_a_history_that_must_be_there_is_not_created(tmp_path: Path) -> None:
    file = tmp_path / "typo.db"
    with pytest.raises(ConfigError, match="No such file or directory"):
        await History.open(f"sqlite:///{file}", create=False)
    assert not file.exists()
    file.touch()
    with pytest.raises(ConfigError, match="no table tasks and no chat_messages"):
        await History.open(f"sqlite:///{file}", create=False)


async def test_a_history_that_is_there_is_opened_as_it_is(
    url: str, history: History
) -> None:
    task_id = await history.create_task("kept")
    again = await History.open(url, create=False)
    assert await again.task(task_id) is not None
    await again.close()


async def test_a_database_that_does_not_answer_is_refused() -> None:
    url = f"postgresql://kit:{PASSWORD}@127.0.0.1:{free_port()}/db"
    with pytest.raises(ConfigError) as caught:
        await History.open(url)
    assert "that it is running" in str(caught.value)
    assert "kit:***@127.0.0.1" in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.postgres
async def test_a_refused_password_is_not_shown(postgres_url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await History.open(postgres_url.replace(PASSWORD, "wrong-sentinel"))
    assert "password authentication failed" in str(caught.value)
    assert "wrong-sentinel" not in str(caught.value)


async def test_a_database_that_fails_later_says_so(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    history = await History.open(f"sqlite:///{file}")
    task_id = await history.create_task("t")
    await history.close()
    file.write_text("overwritten, " * 1000)
    with pytest.raises(DatabaseError, match="failed: file is not a database"):
        await history.messages(task_id)
    await history.close()


@pytest.mark.postgres
async def test_a_password_may_stay_off_the_command_line(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    history = await History.open(postgres_url.replace(f":{PASSWORD}", ""))
    assert await history.task("nobody's") is None
    await history.close()
