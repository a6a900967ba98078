"""Each process is killed while a reply streams, and started again.

Hooks and views stay responsive, show the state, and end with exactly the text that was
accepted, once, in order; the task is free and takes the next message. In both options,
at the same time: each has processes of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from plays import OPTIONS, Play, Played, under_way
from reconnect import Rehearsal, rehearsal, running

from kit.drill.lane import executor_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


async def the_deployment(scene: Rehearsal) -> None:
    await scene.begin()
    deployment = scene.stack.deployment
    assert deployment is not None
    await scene.outage(deployment, *scene.convex_viewers)
    assert scene.socket.connection == "connected"
    shown = scene.on_hybrid.text
    await deployment.start()
    await scene.ended("failed")  # with the deployment its producers died
    text = await scene.verify()
    assert text.startswith(shown)
    (said,) = await scene.said_by_model()
    assert said.startswith(text)
    for viewer in scene.convex_viewers:
        assert viewer.connections == ["connected", "reconnecting", "connected"]
        assert viewer.label == "Failed"
    await scene.settled("FAILED")
    await scene.goes_on()


async def the_process_of_the_producers(scene: Rehearsal) -> None:
    await scene.begin()
    assert scene.stack.deployment is not None
    executor = await executor_of(scene.stack.deployment.pid)
    assert executor is not None
    os.kill(executor, signal.SIGKILL)
    await scene.ended("failed")
    text = await scene.verify()
    (said,) = await scene.said_by_model()
    assert said.startswith(text)
    for viewer in scene.convex_viewers:
        assert viewer.connections == ["connected"], "the deployment was there"
        assert viewer.label == "Failed"
    await scene.settled("FAILED")
    await scene.goes_on()


async def the_application_server(
    scene: Rehearsal, *, ends_meanwhile: bool = False
) -> None:
    await scene.begin(pace=150 if ends_meanwhile else 50)
    await scene.outage(scene.stack.app, scene.on_hybrid, scene.on_socket)
    assert not scene.hybrid.is_connected
    assert scene.streaming.connection == "connected"
    shown = len(scene.on_hybrid.text)
    await scene.on_hybrid.until(lambda v: len(v.text) > shown or not v.is_live)
    if ends_meanwhile:
        await scene.ended("complete")
    await scene.stack.app.start()
    await scene.ended("complete")
    text = await scene.verify()
    assert await scene.said_by_model() == [text]
    assert scene.on_streaming.connections == ["connected"]
    await scene.hybrid.until(lambda hook: hook.is_connected, timeout=30)
    assert scene.on_hybrid.connections == ["connected", "reconnecting", "connected"]
    assert scene.on_hybrid.label == "Done"
    await scene.settled("COMPLETED")
    assert scene.hybrid.event_counts()["stream-chunk"] == 0, "nothing fell back"
    await scene.goes_on()


async def the_application_server_until_the_reply_has_ended(scene: Rehearsal) -> None:
    await the_application_server(scene, ends_meanwhile=True)


async def the_application_server_and_a_stop(scene: Rehearsal) -> None:
    """A reply that another server began is stopped by the next one."""
    await scene.begin(tokens=3000)
    await scene.outage(scene.stack.app, scene.on_hybrid)
    await scene.stack.app.start()
    await scene.socket.until(lambda hook: hook.is_connected, timeout=30)
    await scene.socket.stop_stream()
    await scene.ended("stopped")
    await scene.verify()
    await scene.settled("STOPPED")
    await scene.goes_on()


async def the_provider(scene: Rehearsal) -> None:
    await scene.begin()
    assert scene.stack.provider is not None
    shown = scene.on_hybrid.text
    await scene.outage(scene.stack.provider)
    await scene.ended("failed")
    assert (await scene.verify()).startswith(shown)
    for viewer in scene.convex_viewers:
        assert viewer.connections == ["connected"]
        assert viewer.label == "Failed"
        assert viewer.reply["error"]
    await scene.settled("FAILED")
    await scene.stack.provider.start()
    await scene.goes_on()


async def a_clients_worker(scene: Rehearsal) -> None:
    await scene.begin()
    worker = scene.first.worker_pid
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    await scene.on_hybrid.until(lambda v: "reconnecting" in v.connections)
    assert "Reconnecting…" in scene.on_hybrid.labels
    await scene.ended("complete")
    text = await scene.verify()
    assert await scene.said_by_model() == [text]
    assert scene.on_hybrid.connections == ["connected", "reconnecting", "connected"]
    assert scene.on_streaming.connections == ["connected"], "its worker is another"
    assert scene.first.worker_pid != worker
    await scene.settled("COMPLETED")
    await scene.goes_on()


async def all_of_them_at_once(scene: Rehearsal) -> None:
    await scene.begin()
    stack = scene.stack
    assert stack.deployment is not None
    assert stack.provider is not None
    for client in (scene.first, scene.second):
        assert client.worker_pid is not None
        os.kill(client.worker_pid, signal.SIGKILL)
    await asyncio.gather(stack.app.kill(), stack.provider.kill())
    await scene.outage(stack.deployment, *scene.convex_viewers, scene.on_socket)
    await stack.provider.start()
    # The application comes first, and finds no deployment.
    await stack.app.start()
    await stack.deployment.start()
    await scene.ended("failed")
    await scene.verify()
    await scene.hybrid.until(lambda hook: hook.connection == "connected", timeout=30)
    await scene.settled("FAILED")
    await scene.goes_on()


# --- one after the other, in both options -----------------------------------------

PLAYS: list[Play] = [
    the_deployment,
    the_process_of_the_producers,
    the_application_server,
    the_application_server_until_the_reply_has_ended,
    the_application_server_and_a_stop,
    the_provider,
    a_clients_worker,
    all_of_them_at_once,
]


class OneApplication:
    """What one play kills, the next one needs: each waits for its turn."""

    def __init__(self, option: int) -> None:
        self._option = option
        self._turn = asyncio.Lock()

    async def build(self, folder: Path, opened: AsyncExitStack) -> None:
        self._stack = await opened.enter_async_context(running(folder, self._option))

    async def play(self, play: Play) -> None:
        async with self._turn, rehearsal(self._stack, self._option) as scene:
            await play(scene)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Played]:
    folder = tmp_path_factory.mktemp("reconnect")
    async with under_way(request, folder, PLAYS, OneApplication) as played:
        yield played


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("play", PLAYS)
async def test_what_is_killed_comes_back(
    played: Played, play: Play, option: int
) -> None:
    await played[play, option]
