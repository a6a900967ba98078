"""Documents as frames: whole tables, in order; the deltas of one stream."""

from collections.abc import AsyncIterator
from typing import Any

import pandas as pd
import pytest

from kit.client import Deployment
from kit.errors import ConfigError
from kit.explore import deltas, documents
from kit.stack import ADMIN_KEY, Stack


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with await Stack.start(app=False, pace=0) as stack:
        yield stack


async def finished_reply(stack: Stack) -> dict[str, Any]:
    async with Deployment(stack.deployment_url) as deployment:
        task_id = await deployment.mutation("tasks:create", {"title": "Looked at"})
        done = await deployment.action(
            "streaming:streamChatWithTools",
            {"taskId": task_id, "prompt": "Hello", "model": "claude-opus-5-5"},
        )
        return dict(done)


async def test_the_documents_of_a_table_oldest_first(stack: Stack) -> None:
    done = await finished_reply(stack)
    frame = await documents(stack, "chatMessages")
    assert list(frame["role"]) == ["USER", "ASSISTANT"]
    assert frame.index[1] == done["messageId"]
    assert frame.loc[done["messageId"], "content"] == done["text"]
    assert frame["created"].is_monotonic_increasing
    age = pd.Timestamp.now(tz="UTC") - frame["created"].iloc[0]
    assert pd.Timedelta(0) <= age < pd.Timedelta(minutes=1)


async def test_more_documents_than_a_page(stack: Stack) -> None:
    count = 600
    async with Deployment(stack.deployment_url) as deployment:
        for number in range(count):
            await deployment.mutation("tasks:create", {"title": str(number)})
    frame = await documents(stack, "tasks")
    assert list(frame["title"]) == [str(number) for number in range(count)]


async def test_an_empty_table_is_an_empty_frame(stack: Stack) -> None:
    frame = await documents(stack, "tasks")
    assert len(frame) == 0
    assert "created" in frame.columns


async def test_the_deltas_of_a_stream_give_its_text(stack: Stack) -> None:
    done = await finished_reply(stack)
    await finished_reply(stack)  # of another stream: not among them
    frame = await deltas(stack, done["streamId"])
    assert list(frame.index) == list(range(len(frame)))
    assert done["text"] in "".join(frame["text"])
    assert (frame["bytes"] > 0).all()
    assert (frame["after_ms"].iloc[1:] >= 0).all()


async def test_what_there_is_not_is_said(stack: Stack) -> None:
    with pytest.raises(ConfigError, match="There is no table 'nothing'"):
        await documents(stack, "nothing")
    with pytest.raises(ConfigError, match="no deltas of stream 'x'"):
        await deltas(stack, "x")


async def test_without_an_admin_key_it_says_which_to_set(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ADMIN_KEY, raising=False)
    url = stack.deployment_url
    async with await Stack.start(deployment_url=url, app=False) as attached:
        with pytest.raises(ConfigError, match=ADMIN_KEY):
            await documents(attached, "tasks")
