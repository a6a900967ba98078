"""A deployment that is not there, goes away, comes back: told, waited for, healed."""

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from fake_convex import FakeConvex, fake_convex
from serving_app import serving
from wrong_places import (
    a_web_site,
    not_convex,
    not_http,
    refusing,
    silent,
    unresolvable,
)

from kit.client import Deployment
from kit.client.background import spawn
from kit.errors import DeploymentError, DeploymentUnreachable
from kit.serving import finish_accepting


@pytest.fixture
async def fake() -> AsyncIterator[FakeConvex]:
    async with fake_convex() as fake:
        fake.queries["m:one"] = lambda _: 1.0
        yield fake


async def until(condition: Callable[[], bool], timeout: float = 10) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.01)


class Outage:
    """A fake deployment on one port, which can go away and come back."""

    def __init__(self) -> None:
        self.fake = FakeConvex()
        self.value = 0.0
        self.fake.queries["m:value"] = lambda _: self.value
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def begin(self) -> None:
        assert self._runner is not None
        await finish_accepting()
        await self._runner.cleanup()
        for session in list(self.fake.sessions):
            await session.socket.close()
        self._runner = None

    async def end(self) -> None:
        app = web.Application()
        app.router.add_get("/version", self.fake.version)
        app.router.add_get("/api/sync", self.fake.sync)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]


@asynccontextmanager
async def outage() -> AsyncIterator[Outage]:
    outage = Outage()
    await outage.end()
    try:
        yield outage
    finally:
        if outage._runner is not None:
            await outage.begin()


# --- nobody there -----------------------------------------------------------------


WRONG = [
    (refusing, "connection was refused"),
    (silent, "said nothing for"),
    (unresolvable, "does not resolve|said nothing for"),
    (not_convex, "something else than Convex .*status 404"),
    (a_web_site, "something else than Convex .*text/html"),
    (not_http, "does not speak HTTP"),
]


@pytest.mark.parametrize(
    ("place", "told"), WRONG, ids=lambda it: getattr(it, "__name__", "")
)
async def test_a_wrong_url_is_told_within_five_seconds(place: Any, told: str) -> None:
    async with place() as url:
        deployment = Deployment(url)
        started = time.monotonic()
        with pytest.raises(
            DeploymentUnreachable, match=f"{url}.*{told}.*Check the URL"
        ):
            await deployment.connect()
        assert time.monotonic() - started < 5
        assert deployment.state == "connecting"
        await deployment.close()


@pytest.mark.parametrize("first_use", ["query", "subscribe", "until_connected"])
async def test_the_first_use_of_a_wrong_url_raises_too(first_use: str) -> None:
    async with refusing() as url:
        deployment = Deployment(url)
        with pytest.raises(DeploymentUnreachable):
            match first_use:
                case "query":
                    await deployment.query("m:one")
                case "subscribe":
                    await anext(deployment.subscribe("m:one"))
                case _:
                    await deployment.until_connected()
        await deployment.close()


async def test_connecting_may_be_tried_again() -> None:
    async with outage() as server:
        await server.begin()
        async with closing(Deployment(server.url)) as deployment:
            with pytest.raises(DeploymentUnreachable):
                await deployment.connect()
            await server.end()
            await asyncio.gather(deployment.connect(), deployment.connect())
            assert deployment.state == "connected"


@asynccontextmanager
async def closing(deployment: Deployment) -> AsyncIterator[Deployment]:
    try:
        yield deployment
    finally:
        await deployment.close()


@pytest.mark.timeout(40)
async def test_a_deployment_without_websockets_is_told() -> None:
    fake = FakeConvex()
    app = web.Application()
    app.router.add_get("/version", fake.version)
    async with serving(app) as url, Deployment(url) as deployment:
        with pytest.raises(DeploymentUnreachable, match="WebSocket at /api/sync"):
            await anext(deployment.subscribe("m:one"))


# --- gone and back ----------------------------------------------------------------


async def test_a_lost_deployment_heals_and_yields_the_newest_value() -> None:
    async with outage() as server, Deployment(server.url) as deployment:
        states: list[str] = []
        deployment.observe(states.append)
        subscription = deployment.subscribe("m:value")
        assert await anext(subscription) == 0.0

        await server.begin()
        await until(lambda: deployment.state == "reconnecting", timeout=3)
        late = deployment.subscribe("m:value")
        server.value = 5.0
        await server.end()
        async with asyncio.timeout(3):
            await deployment.until_connected()
            assert await anext(subscription) == 5.0
            # It may begin with 0.0, which the client knows from the other one.
            await until(lambda: late.latest == 5.0)
            assert await anext(late) == 5.0
        assert states == ["reconnecting", "connected"]


async def test_a_value_seen_before_the_outage_is_not_repeated_after_it() -> None:
    async with outage() as server, Deployment(server.url) as deployment:
        subscription = deployment.subscribe("m:value")
        assert await anext(subscription) == 0.0
        await server.begin()
        await until(lambda: deployment.state == "reconnecting")
        await server.end()
        assert await anext(deployment.subscribe("m:value")) == 0.0
        server.value = 1.0
        await server.fake.publish("m:value")
        assert await anext(subscription) == 1.0


async def test_a_call_that_finds_nobody_starts_the_search_for_it() -> None:
    async with outage() as server, Deployment(server.url) as deployment:
        await server.begin()
        with pytest.raises(DeploymentUnreachable, match="refused"):
            await deployment.query("m:value")
        await until(lambda: deployment.state == "reconnecting", timeout=1)
        with pytest.raises(TimeoutError, match="did not come back"):
            await deployment.until_connected(timeout=0.1)
        await server.end()
        await deployment.until_connected(timeout=3)


async def test_the_loop_stays_free_while_the_deployment_is_away() -> None:
    async with outage() as server, Deployment(server.url) as deployment:
        subscription = deployment.subscribe("m:value")
        await anext(subscription)
        loop = asyncio.get_running_loop()
        gaps = []

        async def measure() -> None:
            last = loop.time()
            while True:
                await asyncio.sleep(0.01)
                gaps.append(loop.time() - last)
                last = loop.time()

        measuring = asyncio.create_task(measure())
        await server.begin()
        await until(lambda: deployment.state == "reconnecting")
        pending = asyncio.ensure_future(
            anext(deployment.subscribe("m:value", {"x": 1}))
        )
        with pytest.raises(DeploymentUnreachable):
            await deployment.mutation("m:value")
        await server.end()
        assert await pending == 0.0
        measuring.cancel()
        assert max(gaps) < 0.3


async def test_a_killed_worker_is_replaced(fake: FakeConvex) -> None:
    async with Deployment(fake.url) as deployment:
        subscription = deployment.subscribe("m:one")
        assert await anext(subscription) == 1.0
        pid = deployment.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        fake.queries["m:one"] = lambda _: 2.0
        assert await anext(subscription) == 2.0
        assert deployment.worker_pid != pid
        await deployment.until_connected(timeout=5)


async def test_a_worker_ends_with_the_process_that_started_it(fake: FakeConvex) -> None:
    program = (
        "import asyncio, sys\n"
        "from kit.client import Deployment\n"
        "async def main():\n"
        "    deployment = Deployment(sys.argv[1])\n"
        "    await anext(deployment.subscribe('m:one'))\n"
        "    print(deployment.worker_pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    kernel = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, fake.url, stdout=subprocess.PIPE
    )
    assert kernel.stdout is not None
    worker = int(await kernel.stdout.readline())
    os.kill(worker, 0)
    kernel.kill()
    await kernel.wait()
    await until(lambda: fake.sessions == [])


# --- the object itself ------------------------------------------------------------


async def test_the_state_is_told_to_observers_until_they_stop(fake: FakeConvex) -> None:
    seen: list[str] = []

    def broken(_: str) -> None:
        raise RuntimeError("an observer's own fault")

    deployment = Deployment(fake.url)
    assert deployment.state == "connecting"
    deployment.observe(broken)
    stop = deployment.observe(seen.append)
    await deployment.connect()
    stop()
    stop()
    await deployment.close()
    assert seen == ["connected"]
    assert repr(deployment) == f"<Deployment {fake.url} closed>"


async def test_a_closed_deployment_refuses_everything(fake: FakeConvex) -> None:
    deployment = Deployment(fake.url)
    await deployment.connect()
    await deployment.close()
    await deployment.close()
    calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
        deployment.connect,
        lambda: deployment.query("m:one"),
        deployment.until_connected,
    ]
    for call in calls:
        with pytest.raises(DeploymentError, match="has been closed"):
            await call()
    with pytest.raises(DeploymentError, match="has been closed"):
        deployment.subscribe("m:one")


async def test_a_subscription_in_another_event_loop_is_refused(
    fake: FakeConvex,
) -> None:
    async def in_another_loop() -> None:
        with pytest.raises(DeploymentError, match="another event loop"):
            await anext(deployment.subscribe("m:one"))

    async with Deployment(fake.url) as deployment:
        await asyncio.to_thread(asyncio.run, in_another_loop())


async def test_background_tasks_do_not_carry_the_context_of_their_cell() -> None:
    cell: contextvars.ContextVar[str] = contextvars.ContextVar("cell", default="none")
    cell.set("first cell")

    async def look() -> str:
        return cell.get()

    assert await spawn(look(), "look") == "none"
