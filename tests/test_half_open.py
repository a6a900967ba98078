"""Connections that are dead and do not say so: noticed, shown, healed.

Bytes disappear in both directions and nothing is ever closed, while a reply streams.
Calls end by their time limit with a clear error; whoever waits for a message whose
answer was lost finds out what became of it, and nothing is answered twice.

Silence takes long to be noticed, up to 20 s. All plays run at the same time, each with
a task, viewers and networks of its own; each test waits for the end of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from plays import OPTIONS, Play, Played, under_way
from reconnect import Rehearsal, between, networked, rehearsal, running

from kit.drill.proxy import Networks
from kit.errors import DeploymentError, KitError
from kit.stack import Stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


async def healed(scene: Rehearsal) -> None:
    await scene.ended("complete")
    text = await scene.verify()
    assert await scene.said_by_model() == [text]
    await scene.settled("COMPLETED")
    await scene.goes_on()


async def between_viewers_and_deployment(scene: Rehearsal, networks: Networks) -> None:
    await scene.begin()
    networks.viewers.fall_silent()
    for viewer in scene.convex_viewers:
        await viewer.until(lambda v: v.hook.connection == "reconnecting")
        assert viewer.label == "Reconnecting…"
    with pytest.raises(DeploymentError, match=r"no answer from .* within 0.5 s"):
        await scene.first.query("tasks:list", {}, timeout=0.5)
    await scene.beats.more(20)
    networks.viewers.heal()
    await healed(scene)
    for viewer in scene.convex_viewers:
        assert viewer.connections == ["connected", "reconnecting", "connected"]


async def only_the_subscriptions_of_viewers(
    scene: Rehearsal, networks: Networks
) -> None:
    """The deployment answers all that is asked, on other connections."""
    await scene.begin()
    networks.viewers.fall_silent(also_new=False)
    for viewer in scene.convex_viewers:
        await viewer.until(lambda v: "reconnecting" in v.connections)
    await healed(scene)


async def between_application_and_deployment(
    scene: Rehearsal, networks: Networks
) -> None:
    """The answer to the call that streams never comes."""
    await scene.begin()
    networks.backend.fall_silent(also_new=False)
    await healed(scene)


async def the_deployment_stays_away_from_the_application(
    scene: Rehearsal, networks: Networks
) -> None:
    """It streams on: answering by other means would answer twice."""
    await scene.begin()
    networks.backend.fall_silent()
    await scene.hybrid.until(lambda hook: hook.task_status == "FAILED", timeout=60)
    assert "went away" in str(scene.hybrid.error)
    await scene.ended("complete")
    text = await scene.verify()
    assert await scene.said_by_model() == [text]
    assert scene.hybrid.event_counts()["stream-chunk"] == 0, "nothing fell back"
    networks.backend.heal()
    await scene.settled("COMPLETED")  # found again
    await scene.goes_on()


async def a_message_whose_answer_is_lost(scene: Rehearsal, networks: Networks) -> None:
    """It arrives, and the sender cannot know. Sent again, it is answered once."""
    await scene.begin(tokens=10, pace=0)
    await healed(scene)
    networks.sockets.fall_silent(towards="client")
    text = "And the moon?"
    send = partial(
        scene.hybrid.send_message,
        text,
        model="claude-scripted-text:tokens=30,pace=20",
        client_message_id="mine",
    )
    with pytest.raises(KitError, match="user-message may not have arrived"):
        await send()
    assert scene.hybrid.connection == "reconnecting"
    assert scene.on_hybrid.label == "Reconnecting…"
    networks.sockets.heal()
    await scene.hybrid.until(lambda hook: hook.is_connected, timeout=30)
    scene.prompt = text
    await send()
    await scene.ended("complete")
    assert len(await scene.said_by_model()) == 1
    assert [row["content"] for row in scene.hybrid.messages].count(text) == 1
    await scene.settled("COMPLETED")
    assert scene.hybrid.error is None
    await scene.goes_on()


async def a_message_that_is_lost(scene: Rehearsal, networks: Networks) -> None:
    networks.sockets.fall_silent()
    with pytest.raises(KitError, match="user-message may not have arrived"):
        await scene.hybrid.send_message("Is anybody there?")
    assert scene.hybrid.messages == []
    networks.sockets.heal()
    await scene.hybrid.until(lambda hook: hook.is_connected, timeout=30)
    await scene.goes_on()


async def between_viewers_and_application(scene: Rehearsal, networks: Networks) -> None:
    """Nothing is sent, and the silence alone is noticed."""
    await scene.begin(tokens=10, pace=0)
    networks.sockets.fall_silent()
    for viewer in (scene.on_hybrid, scene.on_socket):
        await viewer.until(lambda v: v.hook.connection == "reconnecting")
        assert viewer.label == "Reconnecting…"
    await scene.beats.more(20)
    networks.sockets.heal()
    await scene.hybrid.until(lambda hook: hook.connection == "connected", timeout=30)
    await healed(scene)


# --- all of them, at the same time ------------------------------------------------

# What comes between an application and its deployment does so for all of its tasks:
# these have an application of their own, and play one after the other.
BEHIND: list[Play] = [
    between_application_and_deployment,
    the_deployment_stays_away_from_the_application,
]
PLAYS: list[Play] = [
    *BEHIND,
    between_viewers_and_deployment,
    only_the_subscriptions_of_viewers,
    a_message_whose_answer_is_lost,
    a_message_that_is_lost,
    between_viewers_and_application,
]


class TwoApplications:
    """One that the plays share, and one behind a network."""

    _joining = asyncio.Lock()
    """Viewers come to one play after the other: to be let in takes them 4 s at most."""

    def __init__(self, option: int) -> None:
        self._option = option
        self._behind = asyncio.Lock()

    async def build(self, folder: Path, opened: AsyncExitStack) -> None:
        self._alone, self._networks = await opened.enter_async_context(
            networked(folder / "alone", self._option)
        )
        self._shared = await opened.enter_async_context(
            running(folder / "shared", self._option)
        )

    async def play(self, play: Play) -> None:
        if play in BEHIND:
            async with self._behind:
                await self._perform(play, self._alone, self._networks)
        else:
            async with between(self._shared) as networks:
                await self._perform(play, self._shared, networks)

    async def _perform(self, play: Play, stack: Stack, networks: Networks) -> None:
        async with AsyncExitStack() as opened:
            async with self._joining:
                entering = rehearsal(stack, self._option, networks)
                scene = await opened.enter_async_context(entering)
            await play(scene, networks)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Played]:
    folder = tmp_path_factory.mktemp("half-open")
    async with under_way(request, folder, PLAYS, TwoApplications) as played:
        yield played


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("play", PLAYS)
async def test_it_is_noticed_shown_and_healed(
    played: Played, play: Play, option: int
) -> None:
    await played[play, option]
