"""Which messages are to be answered: new ones, and those that nobody has answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.app.acceptance import accept
from kit.app.history import History
from kit.errors import DatabaseError, KitError


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[History]:
    history = await History.open(f"sqlite:///{tmp_path / 'history.db'}")
    await history.create_task("t", task_id="t1")
    yield history
    await history.close()


async def ask(history: History, text: str, client_id: str = "c1") -> bool:
    return await accept(history, "t1", text, model="m", client_message_id=client_id)


async def reply(history: History) -> None:
    await history.add_message("t1", "assistant", "hi", llm_model="m")


async def test_a_new_message_is_stored_and_to_be_answered(history: History) -> None:
    assert await ask(history, "hello")
    (message,) = await history.messages("t1")
    assert (message["role"], message["content"]) == ("user", "hello")
    assert (message["llmModel"], message["clientMessageId"]) == ("m", "c1")


async def test_one_that_has_its_reply_is_not(history: History) -> None:
    assert await ask(history, "hello")
    await reply(history)
    assert not await ask(history, "hello")
    assert len(await history.messages("t1")) == 2


async def test_one_without_a_reply_is_and_is_stored_once(history: History) -> None:
    assert await ask(history, "hello")
    assert await ask(history, "hello")
    assert await ask(history, "and?", "c2")
    await reply(history)
    assert await ask(history, "hello"), "the reply is another message's"
    assert not await ask(history, "and?", "c2")
    assert len(await history.messages("t1")) == 3


async def test_text_that_sql_cannot_hold_is_the_same_text_again(
    history: History,
) -> None:
    assert await ask(history, "nul \0")
    await reply(history)
    assert not await ask(history, "nul \0")


async def test_another_message_with_the_same_id_is_refused(history: History) -> None:
    assert await ask(history, "hello")
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
