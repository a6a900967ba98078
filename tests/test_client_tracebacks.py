"""What a call sends shows in no traceback, not even in one with variables."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fake_convex import FakeConvex, Raise, fake_convex
from wrong_places import refusing

from kit.client import BlockingDeployment, Deployment
from kit.errors import (
    ConvexFunctionError,
    DeploymentError,
    DeploymentUnreachable,
    FunctionError,
)
from kit.llm.secret import Secret

KEY = "sentinel-plain-looking-key-4a2b"


@pytest.fixture
async def fake() -> AsyncIterator[FakeConvex]:
    async with fake_convex() as fake:
        yield fake


def shown(error: BaseException) -> str:
    """As rich, an error tracker or IPython's verbose mode show it."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(told.format())


async def fail(_: Any) -> None:
    raise Raise("no")


async def fail_with_data(_: Any) -> None:
    raise Raise("no", {"code": "BadArguments"})


async def sleep(_: Any) -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (fail, FunctionError),
        (fail_with_data, ConvexFunctionError),
        (sleep, DeploymentError),
    ],
)
async def test_a_call_that_fails(
    fake: FakeConvex, handler: Any, kind: type[DeploymentError]
) -> None:
    fake.handlers["m:f"] = handler
    async with Deployment(fake.url, timeout=0.1) as deployment:
        for call in (deployment.query, deployment.mutation, deployment.action):
            with pytest.raises(kind) as caught:
                await call("m:f", {"apiKeys": {"anthropic": KEY}}, timeout=0.1)
            assert KEY not in shown(caught.value)
            assert "raised_here" in shown(caught.value)


async def test_a_call_that_reaches_nobody() -> None:
    async with refusing() as url:
        deployment = Deployment(url)
        with pytest.raises(DeploymentUnreachable) as caught:
            await deployment.action("m:f", {"apiKeys": {"anthropic": KEY}})
        assert KEY not in shown(caught.value)
        await deployment.close()


async def test_a_call_that_cannot_be_sent(fake: FakeConvex) -> None:
    async with Deployment(fake.url) as deployment:
        with pytest.raises((TypeError, ValueError)) as caught:
            await deployment.action("m:f", {"keys": [KEY], "what": object()})
        assert KEY not in shown(caught.value)


async def test_a_call_that_is_given_up(fake: FakeConvex) -> None:
    asked = asyncio.Event()

    async def note(_: Any) -> None:
        asked.set()
        await asyncio.sleep(30)

    fake.handlers["m:f"] = note
    async with Deployment(fake.url) as deployment:
        call = asyncio.create_task(deployment.action("m:f", {"key": KEY}))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await call
        assert KEY not in shown(caught.value)


def test_a_call_without_await() -> None:
    deployment = BlockingDeployment("http://127.0.0.1:1")
    with pytest.raises(DeploymentUnreachable) as caught:
        deployment.action("m:f", {"key": KEY})
    deployment.close()
    assert KEY not in shown(caught.value)


async def test_a_secret_is_sent_and_shows_nowhere(fake: FakeConvex) -> None:
    fake.handlers["m:f"] = fail
    args = {"apiKeys": {"anthropic": Secret(KEY)}, "more": [Secret(KEY), ("x", 1.0)]}
    async with Deployment(fake.url) as deployment:
        with pytest.raises(FunctionError) as caught:
            await deployment.action("m:f", args)
    [sent] = [request["args"] for request in fake.requests]
    assert sent == {"apiKeys": {"anthropic": KEY}, "more": [KEY, ["x", 1.0]]}
    # This function's own variables are in it, and hold the secret.
    del sent, fake
    assert "apiKeys" in shown(caught.value)
    assert KEY not in shown(caught.value)
