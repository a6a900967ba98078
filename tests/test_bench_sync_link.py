"""The light client of the sync protocol."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.bench.sync_link import SyncLink
from kit.bench.ways.convex import FUNCTIONS
from kit.errors import DeploymentUnreachable, FunctionError
from kit.serving import HOST
from kit.stack import ServerProcess


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[SyncLink]:
    args = ["kit.deployment", "--data", str(tmp_path), "--functions", str(FUNCTIONS)]
    server = ServerProcess("deployment", args, log=tmp_path / "log", env={})
    link = SyncLink(await server.start())
    try:
        await link.open()
        yield link
    finally:
        await link.close()
        await server.stop()


async def test_values_follow_what_mutations_change(link: SyncLink) -> None:
    tasks = [await link.mutation("tasks:create", {"title": t}) for t in ("a", "b")]
    subscriptions = [link.subscribe("messages:byTask", {"taskId": t}) for t in tasks]
    for rows in subscriptions:
        assert await anext(rows) == []
    assert await link.query("messages:byTask", {"taskId": tasks[0]}) == []
    answers = await asyncio.gather(
        *(link.mutation("notes:add", {"body": str(n)}) for n in range(50))
    )
    assert len(set(answers)) == 50
    await subscriptions[0].aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(subscriptions[0])


async def test_what_a_function_raises_is_raised(link: SyncLink) -> None:
    with pytest.raises(FunctionError, match="ArgumentValidationError"):
        await link.mutation("notes:add", {"body": 1})
    with pytest.raises(FunctionError, match="ArgumentValidationError"):
        await anext(link.subscribe("messages:byTask", {"taskId": "none"}))


async def test_a_link_that_was_closed_ends_its_subscriptions(link: SyncLink) -> None:
    task = await link.mutation("tasks:create", {"title": "a"})
    rows = link.subscribe("messages:byTask", {"taskId": task})
    await anext(rows)
    waiting = asyncio.ensure_future(anext(rows))
    await asyncio.sleep(0)
    await link.close()
    with pytest.raises(StopAsyncIteration):
        await waiting
    with pytest.raises(DeploymentUnreachable):
        await link.until_connected()


async def test_where_nobody_answers(unused_tcp_port: int) -> None:
    with pytest.raises(DeploymentUnreachable):
        await SyncLink(f"http://{HOST}:{unused_tcp_port}").open()
