"""Following one stream's log: each delta once, in order, from wherever one joins."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fake_convex import Raise
from fake_streaming import FakeStreaming, fake_streaming

from kit.app.hooks.stream_follower import StreamFollower
from kit.client import Deployment
from kit.parts import Chunk


class Follower:
    """A running follower and the text that it has handed on."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._news = asyncio.Event()

    def take(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            assert chunk["type"] == "text-delta"
            self.texts.append(chunk["delta"])
        self._news.set()

    async def until(self, *texts: str) -> None:
        async with asyncio.timeout(10):
            while self.texts != list(texts):
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def server() -> AsyncIterator[FakeStreaming]:
    async with fake_streaming() as server:
        yield server


@asynccontextmanager
async def following(server: FakeStreaming, stream_id: str) -> AsyncIterator[Follower]:
    follower = Follower()
    async with Deployment(server.url) as deployment:
        run = StreamFollower(deployment, stream_id, follower.take).run()
        task = asyncio.create_task(run)
        yield follower
        task.cancel()


def numbers(end: int) -> list[str]:
    return [str(number) for number in range(end)]


async def test_it_follows_from_the_start_over_many_pages(server: FakeStreaming) -> None:
    stream_id = await server.begin()
    async with following(server, stream_id) as follower:
        for number in range(11):
            await server.say(str(number))
            await follower.until(*numbers(number + 1))
        # Full pages are dropped; one that has begun is followed together with the next.
        assert server.pages == [2.0, 3.0]


async def test_a_late_joiner_catches_up_and_goes_on(server: FakeStreaming) -> None:
    stream_id = await server.begin()
    await server.say(*numbers(25))
    async with following(server, stream_id) as follower:
        await follower.until(*numbers(25))
        starts = [args["from"] for args in server.called("streaming:catchUp")]
        assert starts == [0.0, 10.0, 20.0]
        await server.say("25", "26")
        await follower.until(*numbers(27))
        assert server.pages == [6.0]


async def test_one_that_lags_behind_catches_up_in_one_call(
    server: FakeStreaming,
) -> None:
    stream_id = await server.begin()
    async with following(server, stream_id) as follower:
        await server.say("0")
        await follower.until("0")
        await server.say(*numbers(12)[1:], publish=False)
        await server.convex.publish("streaming:read")
        await follower.until(*numbers(12))
        assert len(server.called("streaming:catchUp")) == 2


async def test_what_fails_is_tried_again_from_where_it_was(
    server: FakeStreaming, caplog: pytest.LogCaptureFixture
) -> None:
    stream_id = await server.begin()
    log = server.logs.pop(stream_id)

    async def no_such_stream(_: object) -> None:
        raise Raise("Error: no such stream")

    working = server.convex.handlers["streaming:catchUp"]
    server.convex.handlers["streaming:catchUp"] = no_such_stream
    async with following(server, stream_id) as follower:
        async with asyncio.timeout(5):
            while "no such stream" not in caplog.text:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        server.logs[stream_id] = log
        server.convex.handlers["streaming:catchUp"] = working
        await server.say("0")
        await follower.until("0")
