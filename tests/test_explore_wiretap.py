"""The wire listened to: real clients pass through, what they say is noted."""

from collections.abc import AsyncIterator

import pytest

from kit.client import Deployment
from kit.errors import DeploymentUnreachable
from kit.explore import Wiretap
from kit.stack import Stack


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with await Stack.start(app=False, pace=0) as stack:
        yield stack


async def test_calls_and_subscriptions_pass_and_are_heard(stack: Stack) -> None:
    async with (
        Wiretap(stack.deployment_url) as tap,
        Deployment(tap.url) as deployment,
    ):
        tasks = deployment.subscribe("tasks:list", {})
        async with tasks:
            assert await anext(tasks) == []
            await deployment.mutation("tasks:create", {"title": "Heard"})
            assert [task["title"] for task in await anext(tasks)] == ["Heard"]
        frame = tap.frame()
        sent = frame[frame["direction"] == "to deployment"]
        said = [type for type in sent["type"] if type != "Authenticate"]
        assert said[:2] == ["Connect", "ModifyQuerySet"]
        pushed = frame[frame["type"] == "Transition"]
        assert len(pushed) >= 2
        assert pushed["version"].iloc[-1].endswith(", 1 changed")
        assert (frame["bytes"] > 10).all()
        assert frame["seconds"].is_monotonic_increasing
        assert str(len(frame)) in tap.timeline().caption
        assert "← Transition" in tap.timeline().svg


async def test_function_errors_pass_as_they_are(stack: Stack) -> None:
    async with Wiretap(stack.deployment_url) as tap, Deployment(tap.url) as deployment:
        with pytest.raises(Exception, match="There is no task"):
            await deployment.mutation(
                "streaming:stopTask",
                {"taskId": await gone_task(deployment)},
            )


async def gone_task(deployment: Deployment) -> str:
    task_id = await deployment.mutation("tasks:create", {"title": "Gone"})
    await deployment.mutation("tasks:remove", {"taskId": task_id})
    return str(task_id)


async def test_nobody_behind_it_is_an_error_as_without_it(stack: Stack) -> None:
    async with Wiretap(stack.deployment_url) as tap, Deployment(tap.url) as deployment:
        assert stack.deployment is not None
        await stack.deployment.stop()
        with pytest.raises(DeploymentUnreachable):
            await deployment.query("tasks:list", {})


async def test_it_ends_with_clients_still_connected(stack: Stack) -> None:
    tap = Wiretap(stack.deployment_url)
    await tap.start()
    async with Deployment(tap.url) as deployment:
        tasks = deployment.subscribe("tasks:list", {})
        assert await anext(tasks) == []
        await tap.aclose()
        await tasks.aclose()
