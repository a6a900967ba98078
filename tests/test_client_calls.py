"""Calls over HTTP: one request each, every failure told apart, nothing sent twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from fake_convex import FakeConvex, Raise, fake_convex, json_response
from serving_app import serving

from kit.client import Deployment
from kit.client.calls import origin
from kit.errors import (
    ConfigError,
    ConvexFunctionError,
    DeploymentError,
    DeploymentUnreachable,
    FunctionError,
    RequestRejected,
)
from kit.values import ConvexInt64


@pytest.fixture
async def fake() -> AsyncIterator[FakeConvex]:
    async with fake_convex() as fake:
        yield fake


@pytest.fixture
async def deployment(fake: FakeConvex) -> AsyncIterator[Deployment]:
    async with Deployment(fake.url) as deployment:
        yield deployment


async def echo(args: dict[str, Any]) -> Any:
    return args


async def test_values_go_out_and_come_back_encoded(
    fake: FakeConvex, deployment: Deployment
) -> None:
    fake.handlers["m:echo"] = echo
    args = {
        "int": 3,
        "big": ConvexInt64(2**60),
        "nan": float("inf"),
        "raw": b"ab",
        "list": [None, True, "ü"],
    }
    assert await deployment.query("m:echo", args) == {**args, "int": 3.0}
    (request,) = fake.requests
    assert request["kind"] == "query"
    assert request["format"] == "convex_encoded_json"
    assert request["args"]["big"] == {"$integer": "AAAAAAAAABA="}


async def test_each_kind_of_function_has_its_own_address(
    fake: FakeConvex, deployment: Deployment
) -> None:
    fake.handlers["m:echo"] = echo
    for call in (deployment.query, deployment.mutation, deployment.action):
        assert await call("m:echo") == {}
    kinds = [request["kind"] for request in fake.requests]
    assert kinds == ["query", "mutation", "action"]


async def test_a_function_that_raises_is_a_function_error(
    fake: FakeConvex, deployment: Deployment
) -> None:
    async def boom(_: Any) -> None:
        raise Raise("Error: boom")

    fake.handlers["m:boom"] = boom
    with pytest.raises(FunctionError, match=r"(?s)m:boom: .*Uncaught Error: boom"):
        await deployment.mutation("m:boom")


@pytest.mark.parametrize("data", ["taken", {"code": "StreamActive"}, None])
async def test_a_convex_error_carries_its_data(
    fake: FakeConvex, deployment: Deployment, data: Any
) -> None:
    async def taken(_: Any) -> None:
        raise Raise("ConvexError: taken", data)

    fake.handlers["m:taken"] = taken
    with pytest.raises(ConvexFunctionError) as caught:
        await deployment.action("m:taken")
    assert caught.value.data == data
    assert caught.value.path == "m:taken"


async def test_a_function_named_wrongly_is_told_before_anything_is_sent(
    fake: FakeConvex, deployment: Deployment
) -> None:
    with pytest.raises(TypeError, match="args must be a dict"):
        await deployment.query("m:echo", ["positional"])  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        await deployment.query("m:echo", {"x": {"$bad": 1}})
    assert fake.requests == []


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (400, {"code": "BadJsonBody", "message": "no"}, r"400 BadJsonBody\): no"),
        (503, {"code": "Overloaded", "message": "later"}, "503 Overloaded"),
        (403, "forbidden by a proxy", r"403 UnexpectedAnswer\).*forbidden by"),
        (404, {"detail": "x"}, "404 UnexpectedAnswer"),
    ],
)
async def test_a_refused_request_says_what_the_deployment_said(
    status: int, content: Any, told: str
) -> None:
    fake = FakeConvex()

    async def refuse(_: web.Request) -> web.Response:
        return json_response(content, status)

    app = web.Application()
    app.router.add_get("/version", fake.version)
    app.router.add_post("/api/query", refuse)
    async with serving(app) as url, Deployment(url) as deployment:
        with pytest.raises(RequestRejected, match=told) as caught:
            await deployment.query("m:q")
    assert caught.value.status == status


@pytest.mark.parametrize(
    "content",
    [
        {"status": "maybe"},
        {"status": "success", "value": {"$integer": 5}},
        {"status": "error", "errorMessage": "x", "errorData": {"$bad": 5}},
        "<html>",
        5,
        None,
    ],
)
async def test_an_answer_in_another_shape_is_shown(content: Any) -> None:
    fake = FakeConvex()

    async def odd(_: web.Request) -> web.Response:
        return json_response(content)

    app = web.Application()
    app.router.add_get("/version", fake.version)
    app.router.add_post("/api/query", odd)
    async with serving(app) as url, Deployment(url) as deployment:
        with pytest.raises(DeploymentError, match="does not answer as a Convex"):
            await deployment.query("m:q")


async def test_a_timeout_says_that_the_function_may_still_run(
    fake: FakeConvex, deployment: Deployment
) -> None:
    finish = asyncio.Event()

    async def slow(_: Any) -> None:
        await finish.wait()

    fake.handlers["m:slow"] = slow
    with pytest.raises(DeploymentError, match="mutation may still be running"):
        await deployment.mutation("m:slow", timeout=0.1)
    finish.set()
    assert len(fake.requests) == 1
    assert deployment.state == "connected"


async def test_a_call_can_be_cancelled(
    fake: FakeConvex, deployment: Deployment
) -> None:
    started = asyncio.Event()

    async def slow(_: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    fake.handlers["m:slow"] = slow
    fake.handlers["m:echo"] = echo
    call = asyncio.create_task(deployment.action("m:slow"))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await deployment.query("m:echo") == {}


@pytest.mark.parametrize(("kind", "sent"), [("query", 2), ("mutation", 1)])
async def test_only_a_query_is_sent_again_after_a_lost_connection(
    kind: str, sent: int
) -> None:
    fake = FakeConvex()
    requests = []

    async def drop(request: web.Request) -> web.Response:
        requests.append(request.path)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    app = web.Application()
    app.router.add_get("/version", fake.version)
    app.router.add_post("/api/{kind}", drop)
    async with serving(app) as url, Deployment(url) as deployment:
        with pytest.raises(DeploymentUnreachable, match="connection was lost"):
            await getattr(deployment, kind)("m:f")
    assert len(requests) == sent


async def test_a_long_action_does_not_hold_up_the_loop(
    fake: FakeConvex, deployment: Deployment
) -> None:
    async def slow(_: Any) -> str:
        await asyncio.sleep(1)  # the action's own duration
        return "done"

    fake.handlers["m:slow"] = slow
    gaps = await longest_gap_during(deployment.action("m:slow"))
    assert gaps < 0.3


async def longest_gap_during(work: Any) -> float:
    """The longest time, in seconds, that the loop was not free while `work` ran."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    longest, last = 0.0, loop.time()
    while not task.done():
        await asyncio.sleep(0.01)
        longest, last = max(longest, loop.time() - last), loop.time()
    await task
    return longest


def test_a_deployment_url_is_reduced_to_its_origin() -> None:
    assert origin(" https://a-b-1.convex.cloud/ ") == "https://a-b-1.convex.cloud"
    assert origin("http://127.0.0.1:3210") == "http://127.0.0.1:3210"
    assert origin("http://[::1]:3210") == "http://[::1]:3210"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "not a deployment URL"),
        ("127.0.0.1:3210", "not a deployment URL"),
        ("ws://127.0.0.1:3210", "not a deployment URL"),
        ("http://host:port", "not a deployment URL"),
        ("http://", "not a deployment URL"),
        ("http://127.0.0.1:3210/api", "has a path"),
        ("https://x.convex.site", "ends in .convex.cloud"),
    ],
)
def test_a_url_that_cannot_be_a_deployment_is_refused(url: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Deployment(url)


@pytest.mark.parametrize(
    "url",
    [
        "prod:happy-animal-123|sentinel-0123",
        "happy-animal-123|sentinel-0123",
        "http://user:sentinel-0123@127.0.0.1:3210/path",
        "http://127.0.0.1:3210?adminKey=sentinel-0123",
        "http://127.0.0.1:3210/#sentinel-0123",
        "x" * 200 + "sentinel-0123",
    ],
)
def test_what_may_be_secret_in_a_url_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Deployment(url)
    assert "sentinel" not in str(caught.value)
