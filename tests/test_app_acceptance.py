"""Which messages are to be answered: new ones, and those that nobody has answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.app.acceptance import accept, reply_id
from kit.app.history import History
from kit.errors import DatabaseError, KitError


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[History]:
    history = await History.open(f"sqlite:///{tmp_path / 'history.db'}")
    await history.create_task("t", task_id="t1")
    yield history
    await history.close()


async def ask(history: History, text: str, client_id: str = "c1") -> str:
    return await accept(history, "t1", text, model="m", client_message_id=client_id)


async def reply(history: History) -> None:
    await history.add_message("t1", "assistant", "hi", llm_model="m")


async def test_a_new_message_is_stored_and_to_be_answered(history: History) -> None:
    assert await ask(history, "hello") == "new"
    (message,) = await history.messages("t1")
    assert (message["role"], message["content"]) == ("user", "hello")
    assert (message["llmModel"], message["clientMessageId"]) == ("m", "c1")


async def test_one_that_has_its_reply_is_answered(history: History) -> None:
    await ask(history, "hello")
    await reply(history)
    assert await ask(history, "hello") == "answered"
    assert len(await history.messages("t1")) == 2


async def test_one_without_a_reply_is_stored_once(history: History) -> None:
    assert await ask(history, "hello") == "new"
    assert await ask(history, "hello") == "again"
    assert await ask(history, "and?", "c2") == "new"
    await reply(history)
    assert await ask(history, "hello") == "again", "the reply is another message's"
    assert await ask(history, "and?", "c2") == "answered"
    assert len(await history.messages("t1")) == 3


async def test_a_reply_that_came_later_is_known_by_its_id(history: History) -> None:
    await ask(history, "hello")
    await ask(history, "and?", "c2")
    await reply(history)
    await history.add_message(
        *("t1", "assistant", "late"), llm_model="m", message_id=reply_id("t1", "c1")
    )
    assert await ask(history, "hello") == "answered"


def test_a_reply_has_its_id_in_each_task() -> None:
    assert reply_id("t1", "c1") == reply_id("t1", "c1")
    assert len({reply_id("t1", "c1"), reply_id("t2", "c1"), reply_id("t1", "c2")}) == 3


async def test_text_that_sql_cannot_hold_is_the_same_text_again(
    history: History,
) -> None:
    await ask(history, "nul \0")
    assert await ask(history, "nul \0") == "again"


async def test_another_message_with_the_same_id_is_refused(history: History) -> None:
    await ask(history, "hello")
    with pytest.raises(KitError, match="clientMessageId c1 was used for another"):
        await ask(history, "bye")


async def test_what_cannot_be_stored_is_not_accepted(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(history, "add_message", fail)
    with pytest.raises(KitError, match=r"was not accepted\. the disk is full"):
        await ask(history, "hello")
