"""Viewers that come late, or lose their network for a while: what each way does.

A viewer is *whole* again when it shows, from its beginning, all that the provider had
sent by the time the viewer came or came back, and follows what is sent from then on. A
way that never gets there while the reply streams may still do so with the stored
message; one that stores nothing does not.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from kit.bench.lab import Lab
from kit.bench.load import Load
from kit.bench.relay import Relay
from kit.bench.viewers import Viewer
from kit.bench.ways.base import Way
from kit.client.background import cancel, spawn

__all__ = ["Presence", "away", "join_late"]

END_TIMEOUT = 20.0  # s after the reply's own time
FOLLOWS_AFTER = 0.5  # s


@dataclass(frozen=True)
class Presence:
    """What became of one viewer; times in seconds."""

    way: str
    seconds_until_whole: float | None
    """From joining, or from the network's return; None if it never was."""
    whole_while_streaming: bool
    lost_live: int
    """Characters of the reply that never came live: a hole in what was shown.

    Not the last words, if they came with the stored message to who had all before.
    """
    lost: int
    """Characters that the viewer does not have even after the end."""
    characters: int
    """Of the whole reply."""


async def join_late(lab: Lab, name: str, load: Load) -> Presence:
    """Let a reply stream, and a viewer join in the middle of it."""
    way = lab.ways[name]
    async with _Reply(lab, way, load) as reply:
        await asyncio.sleep(load.tokens / load.pace / 2)
        came = time.time()
        async with AsyncExitStack() as resources:
            viewer = await way.watch(reply.task)
            resources.push_async_callback(viewer.aclose)
            return await _presence(reply, viewer, came)


async def away(lab: Lab, name: str, load: Load, seconds: float) -> Presence:
    """Let a reply stream to a viewer, and cut its network for so long."""
    way = lab.ways[name]
    async with AsyncExitStack() as resources:
        relay = await resources.enter_async_context(Relay(way.url))
        task = await way.create_task()
        viewer = await way.watch(task, url=relay.url)
        resources.push_async_callback(viewer.aclose)
        reply = await resources.enter_async_context(_Reply(lab, way, load, task))
        await viewer.until(lambda: viewer.log.length > 0, END_TIMEOUT)
        await asyncio.sleep(load.tokens / load.pace / 5)
        await relay.cut()
        await asyncio.sleep(seconds)
        came = time.time()
        relay.mend()
        return await _presence(reply, viewer, came)


async def _presence(reply: _Reply, viewer: Viewer, came: float) -> Presence:
    missed = await reply.text(by=came)
    give_up_at = time.time() + reply.seconds_left + END_TIMEOUT

    def left() -> float:
        return max(0.0, give_up_at - time.time())

    await viewer.until(lambda: viewer.ended or _shows(viewer, missed), left())
    whole_at = viewer.log.when(len(missed))
    # A viewer that has read what was stored may still miss what comes now.
    await asyncio.sleep(FOLLOWS_AFTER)
    later = await reply.text()
    await viewer.until(lambda: viewer.ended or _shows(viewer, later), left())
    while_streaming = _shows(viewer, later) and not viewer.ended
    await viewer.until_ended(left())
    if whole_at is None or not while_streaming:
        whole_at = time.time()
    text = await reply.text()
    missing = max(0, len(text) - viewer.log.length)
    lost = 0 if text in (viewer.shown(), viewer.log.final) else missing
    return Presence(
        reply.way.name,
        None if lost else max(0.0, whole_at - came),
        while_streaming,
        lost_live=0 if while_streaming and _is_continued(text, viewer) else missing,
        lost=lost,
        characters=len(text),
    )


def _shows(viewer: Viewer, text: str) -> bool:
    return viewer.shown().startswith(text)


def _is_continued(text: str, viewer: Viewer) -> bool:
    """Whether the stored message goes on where the live text ends, to its end."""
    return viewer.log.final == text and text.startswith(viewer.log.text)


class _Reply:
    """A reply that is being written while the block runs."""

    def __init__(self, lab: Lab, way: Way, load: Load, task: str = "") -> None:
        self.way = way
        self.task = task
        self._lab = lab
        self._load = load
        self._prompt = lab.new_prompt()
        self._ends_at = 0.0

    async def __aenter__(self) -> _Reply:
        self.task = self.task or await self.way.create_task()
        asking = self.way.ask(self.task, self._prompt, self._load.model)
        self._asking = spawn(asking, "bench: ask")
        self._ends_at = time.time() + self._load.tokens / self._load.pace
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel(self._asking)

    @property
    def seconds_left(self) -> float:
        """How long it will go on, about; 0 once it has ended."""
        return max(0.0, self._ends_at - time.time())

    async def text(self, *, by: float = math.inf) -> str:
        """What the provider has sent of it by a time, or until now."""
        (sent,) = await self._lab.replies([self._prompt])
        return sent.text[: sent.sent_by(by)]
