"""Subscriptions through worker and official client: the newest value, no repeats."""

import asyncio
import functools
import gc
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fake_convex import FakeConvex, Raise, fake_convex

from kit.client import Deployment
from kit.errors import ConvexFunctionError, FunctionError, RequestRejected
from kit.values import ConvexInt64


@pytest.fixture
async def fake() -> AsyncIterator[FakeConvex]:
    async with fake_convex() as fake:
        yield fake


@pytest.fixture
async def deployment(fake: FakeConvex) -> AsyncIterator[Deployment]:
    async with Deployment(fake.url) as deployment:
        yield deployment


async def until(condition: Callable[[], bool], timeout: float = 10) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.01)


class Counter:
    """A query whose value the test changes."""

    def __init__(self, fake: FakeConvex, path: str = "m:count") -> None:
        self.fake = fake
        self.path = path
        self.value: Any = 0.0
        fake.queries[path] = self.run

    def run(self, _: Any) -> Any:
        if isinstance(self.value, Raise):
            raise self.value
        return self.value

    async def set(self, value: Any) -> None:
        self.value = value
        await self.fake.publish(self.path)


async def test_a_subscription_yields_the_present_value_and_each_change(
    fake: FakeConvex, deployment: Deployment
) -> None:
    counter = Counter(fake)
    subscription = deployment.subscribe("m:count")
    assert subscription.latest is None
    assert await anext(subscription) == 0.0
    for value in (1.0, "two", None, [3.0]):
        await counter.set(value)
        assert await anext(subscription) == value
        assert subscription.latest == value


async def test_values_of_every_type_arrive_as_they_are(
    fake: FakeConvex, deployment: Deployment
) -> None:
    seen = []

    def reflect(args: dict[str, Any]) -> Any:
        seen.append(args)
        return args

    fake.queries["m:reflect"] = reflect
    args = {
        "int64": ConvexInt64(-1),
        "nan-like": float("-inf"),
        "bytes": b"\x00\xff",
        "text": "ünï\ud83d\ude00\n".encode("utf-16", "surrogatepass").decode("utf-16"),
        "nested": {"list": [1, 2.5, None, False]},
    }
    assert await anext(deployment.subscribe("m:reflect", args)) == {
        **args,
        "nested": {"list": [1.0, 2.5, None, False]},
    }
    assert seen[0]["int64"] == {"$integer": "//////////8="}


async def test_an_unchanged_value_is_not_repeated(
    fake: FakeConvex, deployment: Deployment
) -> None:
    idle, busy = Counter(fake, "m:idle"), Counter(fake, "m:busy")
    quiet, lively = deployment.subscribe("m:idle"), deployment.subscribe("m:busy")
    assert await anext(quiet) == 0.0
    assert await anext(lively) == 0.0
    for value in (1.0, 2.0, 3.0):  # the official client yields both, each time
        await busy.set(value)
        assert await anext(lively) == value
    await idle.set("changed")
    assert await anext(quiet) == "changed"


@pytest.mark.parametrize(("one", "other"), [(1.0, True), (0.0, False), (0.0, "0")])
async def test_values_that_python_calls_equal_are_still_a_change(
    fake: FakeConvex, deployment: Deployment, one: Any, other: Any
) -> None:
    counter = Counter(fake)
    counter.value = [one]
    subscription = deployment.subscribe("m:count")
    assert repr(await anext(subscription)) == repr([one])
    await counter.set([other])
    assert repr(await anext(subscription)) == repr([other])


async def test_a_slow_consumer_gets_the_newest_value(
    fake: FakeConvex, deployment: Deployment
) -> None:
    counter = Counter(fake)
    subscription = deployment.subscribe("m:count")
    assert await anext(subscription) == 0.0
    for value in range(1, 201):
        await counter.set(float(value))
    await until(lambda: subscription.latest == 200.0)
    assert await anext(subscription) == 200.0
    await counter.set(201.0)
    assert await anext(subscription) == 201.0


async def test_a_value_of_megabytes_arrives_whole(
    fake: FakeConvex, deployment: Deployment
) -> None:
    text = "0123456789ü\n" * 300_000
    fake.queries["m:big"] = lambda _: text
    assert await anext(deployment.subscribe("m:big")) == text


async def test_a_failing_query_raises_and_the_subscription_goes_on(
    fake: FakeConvex, deployment: Deployment
) -> None:
    counter = Counter(fake)
    counter.value = Raise("Error: boom")
    other = Counter(fake, "m:other")
    subscription, clock = (
        deployment.subscribe("m:count"),
        deployment.subscribe("m:other"),
    )
    with pytest.raises(FunctionError, match=r"(?s)m:count: .*Uncaught Error: boom"):
        await anext(subscription)

    waiting = asyncio.ensure_future(anext(subscription))
    assert await anext(clock) == 0.0
    await counter.set(Raise("Error: boom"))  # runs again, fails the same way
    await other.set(1.0)
    assert await anext(clock) == 1.0
    assert not waiting.done()

    await counter.set("well")
    assert await waiting == "well"
    await counter.set(Raise("ConvexError: taken", {"by": "me"}))
    with pytest.raises(ConvexFunctionError) as caught:
        await anext(subscription)
    assert caught.value.data == {"by": "me"}


@pytest.mark.parametrize("path", ["foo bar:x", "a:b:c", ""])
async def test_a_malformed_function_path_raises(
    fake: FakeConvex, deployment: Deployment, path: str
) -> None:
    fake.queries["m:count"] = lambda _: 1.0
    with pytest.raises(RequestRejected, match="BadConvexFunctionIdentifier"):
        await anext(deployment.subscribe(path))
    assert await anext(deployment.subscribe("m:count")) == 1.0


def constant(value: Any, _: Any) -> Any:
    return value


async def test_subscriptions_share_one_worker(
    fake: FakeConvex, deployment: Deployment
) -> None:
    for name in "abc":
        fake.queries[f"m:{name}"] = functools.partial(constant, name)
    subscriptions = [deployment.subscribe(f"m:{name}") for name in "abc"]
    assert [await anext(one) for one in subscriptions] == ["a", "b", "c"]
    assert len(fake.sessions) == 1


async def test_closing_unsubscribes_and_ends_the_iteration(
    fake: FakeConvex, deployment: Deployment
) -> None:
    Counter(fake)
    Counter(fake, "m:other")
    kept = deployment.subscribe("m:other")
    async with deployment.subscribe("m:count") as subscription:
        values = [await anext(kept), await anext(subscription)]
        waiting = asyncio.ensure_future(anext(subscription, "ended"))
    assert values == [0.0, 0.0]
    assert await waiting == "ended"
    await until(lambda: fake.subscribed == ["m:other"])
    await subscription.aclose()
    assert [value async for value in subscription] == []


async def test_leaving_the_loop_unsubscribes(
    fake: FakeConvex, deployment: Deployment
) -> None:
    Counter(fake)
    async for _ in deployment.subscribe("m:count"):
        break
    gc.collect()
    await until(lambda: fake.subscribed == [])


async def test_a_cancelled_consumer_loses_nothing(
    fake: FakeConvex, deployment: Deployment
) -> None:
    counter = Counter(fake)
    subscription = deployment.subscribe("m:count")
    assert await anext(subscription) == 0.0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(subscription)
    await counter.set(1.0)
    assert await anext(subscription) == 1.0
    assert fake.subscribed == ["m:count"]


async def test_two_consumers_of_one_subscription_share_its_values(
    fake: FakeConvex, deployment: Deployment
) -> None:
    counter = Counter(fake)
    subscription = deployment.subscribe("m:count")
    assert await anext(subscription) == 0.0
    both = [asyncio.ensure_future(anext(subscription)) for _ in range(2)]
    await counter.set(1.0)
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    await counter.set(2.0)
    assert sorted([await both[0], await both[1]]) == [1.0, 2.0]


async def test_log_lines_of_functions_do_not_disturb_the_pipe(
    fake: FakeConvex, deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "kit.client.worker")
    counter = Counter(fake)  # each run logs a line, which the official client prints
    subscription = deployment.subscribe("m:count")
    for value in (1.0, 2.0):
        await anext(subscription)
        await counter.set(value)
    assert await anext(subscription) == 2.0
    await until(lambda: "[LOG] 'ran'" in caplog.messages)


async def test_a_closed_deployment_ends_its_subscriptions_and_its_worker(
    fake: FakeConvex,
) -> None:
    Counter(fake)
    async with Deployment(fake.url) as deployment:
        subscription = deployment.subscribe("m:count")
        assert await anext(subscription) == 0.0
        waiting = asyncio.ensure_future(anext(subscription, "ended"))
        pid = deployment.worker_pid
        assert pid is not None
    assert await waiting == "ended"
    assert deployment.state == "closed"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await until(lambda: fake.sessions == [])
