"""The blocking face: in a script, and where an event loop is already running."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from fake_convex import FakeConvex, Raise, fake_convex

from kit.client import BlockingDeployment
from kit.errors import DeploymentError, DeploymentUnreachable, FunctionError


class Server:
    """A fake deployment in a loop of its own, so that a blocked test is served too."""

    def __init__(self) -> None:
        self.fake: FakeConvex
        self.value = 0.0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=[self._serve()]
        )

    async def _serve(self) -> None:
        async with fake_convex() as self.fake:
            self.fake.queries["m:value"] = lambda _: self.value
            self._ready.set()
            await self._stop.wait()

    def publish(self, value: float) -> None:
        self.value = value
        publishing = self.fake.publish("m:value")
        asyncio.run_coroutine_threadsafe(publishing, self._loop).result(5)

    def __enter__(self) -> "Server":
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        self._loop.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def test_a_script_calls_without_await(server: Server) -> None:
    async def double(args: dict[str, float]) -> float:
        return args["x"] * 2

    async def boom(_: object) -> None:
        raise Raise("Error: boom")

    server.fake.handlers |= {"m:double": double, "m:boom": boom}
    with BlockingDeployment(server.fake.url, timeout=5) as deployment:
        assert deployment.query("m:double", {"x": 2}) == 4.0
        assert deployment.mutation("m:double", {"x": 3}) == 6.0
        assert deployment.action("m:double", {"x": 4}) == 8.0
        with pytest.raises(FunctionError, match="boom"):
            deployment.mutation("m:boom")
    deployment.close()
    assert repr(deployment) == f"<BlockingDeployment {server.fake.url} closed>"
    with pytest.raises(DeploymentError, match="has been closed"):
        deployment.query("m:double")


def test_a_subscription_is_an_iterator_with_a_timeout(server: Server) -> None:
    with BlockingDeployment(server.fake.url) as deployment:
        values = deployment.subscribe("m:value", timeout=5)
        assert next(values) == 0.0
        server.publish(1.0)
        for value in values:
            assert value == 1.0
            break
        impatient = deployment.subscribe("m:value", timeout=0.1)
        assert next(impatient) == 1.0
        with pytest.raises(TimeoutError, match=r"m:value.*no new value within 0.1 s"):
            next(impatient)
        server.publish(2.0)
        assert next(values) == 2.0
        impatient.close()
        assert list(impatient) == []
    assert list(values) == []


def test_a_wrong_url_is_told_at_once() -> None:
    with Server() as server:
        url = server.fake.url
    with pytest.raises(DeploymentUnreachable), BlockingDeployment(url):
        pass


def test_making_one_in_a_script_leaves_asyncio_alone(server: Server) -> None:
    with BlockingDeployment(server.fake.url):
        pass
    assert "nest_asyncio" not in sys.modules


PLAIN_CELL = """
import asyncio, sys
import kit.client
assert "nest_asyncio" not in sys.modules

def plain_cell(url):
    with kit.client.BlockingDeployment(url, timeout=5) as deployment:
        values = deployment.subscribe("m:value", timeout=5)
        print(next(values), deployment.query("m:value"))

async def kernel():
    ticks = 0
    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1
    ticking = asyncio.create_task(tick())
    plain_cell(sys.argv[1])
    print("ticks went on" if ticks else "loop was blocked")
    ticking.cancel()

asyncio.run(kernel())
"""


def test_in_a_running_loop_it_nests(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PLAIN_CELL, server.fake.url],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    assert done.stdout.split("\n") == ["0.0 0.0", "ticks went on", ""]
