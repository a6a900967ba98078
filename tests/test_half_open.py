"""Connections that are dead and do not say so: noticed, shown, healed.

Bytes disappear in both directions and nothing is ever closed, while a reply streams.
Calls end by their time limit with a clear error; whoever waits for a message whose
answer was lost finds out what became of it, and nothing is answered twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from reconnect import Rehearsal, networked, rehearsal

from kit.drill.proxy import Networks
from kit.errors import DeploymentError, KitError
from kit.stack import Stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1, 2])
async def option_stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[int, Stack, Networks]]:
    option: int = request.param
    folder = tmp_path_factory.mktemp(f"option-{option}")
    async with networked(folder, option) as (stack, networks):
        yield option, stack, networks


@pytest_asyncio.fixture(loop_scope="module")
async def scene(
    option_stack: tuple[int, Stack, Networks],
) -> AsyncIterator[Rehearsal]:
    option, stack, networks = option_stack
    async with rehearsal(stack, option, networks) as made:
        yield made


@pytest.fixture
def networks(option_stack: tuple[int, Stack, Networks]) -> Networks:
    return option_stack[2]


async def healed(scene: Rehearsal) -> None:
    await scene.ended("complete")
    text = await scene.verify()
    assert await scene.said_by_model() == [text]
    await scene.settled("COMPLETED")
    await scene.goes_on()


async def test_between_viewers_and_deployment(
    scene: Rehearsal, networks: Networks
) -> None:
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


async def test_only_the_subscriptions_of_viewers(
    scene: Rehearsal, networks: Networks
) -> None:
    """The deployment answers all that is asked, on other connections."""
    await scene.begin()
    networks.viewers.fall_silent(also_new=False)
    for viewer in scene.convex_viewers:
        await viewer.until(lambda v: "reconnecting" in v.connections)
    await healed(scene)


async def test_between_application_and_deployment(
    scene: Rehearsal, networks: Networks
) -> None:
    """The answer to the call that streams never comes."""
    await scene.begin()
    networks.backend.fall_silent(also_new=False)
    await healed(scene)


async def test_the_deployment_stays_away_from_the_application(
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


async def test_a_message_whose_answer_is_lost(
    scene: Rehearsal, networks: Networks
) -> None:
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


async def test_a_message_that_is_lost(scene: Rehearsal, networks: Networks) -> None:
    networks.sockets.fall_silent()
    with pytest.raises(KitError, match="user-message may not have arrived"):
        await scene.hybrid.send_message("Is anybody there?")
    assert scene.hybrid.messages == []
    networks.sockets.heal()
    await scene.hybrid.until(lambda hook: hook.is_connected, timeout=30)
    await scene.goes_on()


async def test_between_viewers_and_application(
    scene: Rehearsal, networks: Networks
) -> None:
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
