"""The client against the embedded deployment: values, errors, outages, a free loop."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from deployment_fixture import DeploymentProcess, deployment_process

from kit.client import BlockingDeployment, Deployment
from kit.errors import ConvexFunctionError, DeploymentUnreachable, FunctionError
from kit.values import ConvexInt64


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DeploymentProcess]:
    with deployment_process(data=tmp_path / "data") as server:
        yield server


@pytest.fixture
async def deployment(server: DeploymentProcess) -> AsyncIterator[Deployment]:
    async with Deployment(server.url) as deployment:
        yield deployment


async def until(condition: Callable[[], bool], timeout: float = 10) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.01)


class LoopGaps:
    """Measures for how long the event loop was not free while the block ran."""

    async def __aenter__(self) -> "LoopGaps":
        self.longest = 0.0
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(0.01)
            self.longest = max(self.longest, loop.time() - last)
            last = loop.time()


async def test_every_kind_of_value_arrives_by_call_and_by_subscription(
    deployment: Deployment,
) -> None:
    called = await deployment.query("notes:every_kind")
    subscribed = await anext(deployment.subscribe("notes:every_kind"))
    for value in (called, subscribed):
        assert value.pop("nan") != value.get("nan")
        assert value == {
            "null": None,
            "boolean": True,
            "float": 5.0,
            "infinity": float("inf"),
            "int64": ConvexInt64(7),
            "string": "π",
            "bytes": b"ab",
            "array": [1.0, [2.0]],
        }


async def test_a_subscription_follows_mutations(deployment: Deployment) -> None:
    subscription = deployment.subscribe("notes:list", {"channel": "a"})
    assert await anext(subscription) == []
    for number in range(3):
        note = {"channel": "a", "body": str(number)}
        await deployment.mutation("notes:add", note)
        await deployment.mutation("notes:add", {**note, "channel": "b"})
        assert len(await anext(subscription)) == number + 1


async def test_errors_come_from_calls_and_subscriptions(deployment: Deployment) -> None:
    with pytest.raises(ConvexFunctionError) as refused:
        await deployment.mutation("notes:refuse", {"data": {"code": "Taken"}})
    assert refused.value.data == {"code": "Taken"}
    with pytest.raises(FunctionError, match="boom"):
        await deployment.mutation("notes:crash")
    with pytest.raises(FunctionError, match="Could not find public function"):
        await deployment.query("notes:secret")
    with pytest.raises(FunctionError, match="ArgumentValidationError"):
        await anext(deployment.subscribe("notes:list", {"channel": 5}))

    failing = deployment.subscribe("notes:failing", {"channel": "a"})
    with pytest.raises(FunctionError, match="the channel is empty"):
        await anext(failing)
    await deployment.mutation("notes:add", {"channel": "a", "body": "x"})
    assert await anext(failing) == ["x"]


async def test_the_loop_is_free_while_an_action_runs(deployment: Deployment) -> None:
    subscription = deployment.subscribe("notes:list", {"channel": "a"})
    await anext(subscription)
    async with LoopGaps() as gaps:
        assert await deployment.action("work:wait", {"seconds": 1}) == 1.0
    assert gaps.longest < 0.3


async def test_a_crashed_deployment_heals_and_nothing_blocks_meanwhile(
    server: DeploymentProcess, deployment: Deployment
) -> None:
    subscription = deployment.subscribe("notes:list", {"channel": "a"})
    assert await anext(subscription) == []
    async with LoopGaps() as gaps:
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: deployment.state == "reconnecting", timeout=3)
        with pytest.raises(DeploymentUnreachable):
            await deployment.mutation("notes:add", {"channel": "a", "body": "lost"})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                # Another query: of one that it follows, the client has the last value.
                await anext(deployment.subscribe("notes:list", {"channel": "b"}))
    assert gaps.longest < 0.3

    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    restarted = time.monotonic()
    await deployment.until_connected(timeout=3)
    await deployment.mutation("notes:add", {"channel": "a", "body": "kept"})
    while await anext(subscription) != ["kept"]:
        pass
    assert time.monotonic() - restarted < 3


@pytest.mark.timeout(40)
async def test_a_deployment_that_says_nothing_any_more_is_noticed(
    server: DeploymentProcess, deployment: Deployment
) -> None:
    subscription = deployment.subscribe("notes:list", {"channel": "a"})
    assert await anext(subscription) == []
    os.kill(server.pid, signal.SIGSTOP)
    try:
        async with LoopGaps() as gaps:
            await until(lambda: deployment.state == "reconnecting", timeout=8)
        assert gaps.longest < 0.3
    finally:
        os.kill(server.pid, signal.SIGCONT)
    await deployment.until_connected(timeout=3)
    await deployment.mutation("notes:add", {"channel": "a", "body": "x"})
    assert await anext(subscription) == ["x"]


def test_a_script_uses_it_without_await(server: DeploymentProcess) -> None:
    with BlockingDeployment(server.url, timeout=5) as deployment:
        values = deployment.subscribe("notes:list", {"channel": "a"}, timeout=5)
        assert next(values) == []
        deployment.mutation("notes:add", {"channel": "a", "body": "x"})
        assert next(values) == ["x"]
        assert deployment.action("work:wait", {"seconds": 0.1}) == 0.1
