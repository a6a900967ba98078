"""Plays that go on at the same time, while each test waits for the end of one.

For what waits most of its time: a silence until it is noticed, a reply until it has
ended. The plays of one module are begun together, those of an option on its stage.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pytest

from kit.client.background import cancel

__all__ = ["OPTIONS", "Play", "Played", "Stage", "under_way"]

OPTIONS = [1, 2]

Play: TypeAlias = Callable[..., Awaitable[None]]
Played: TypeAlias = dict[tuple[Play, int], asyncio.Task[None]]


class Stage(Protocol):
    """What the plays of one option share. It says itself which of them must wait."""

    async def build(self, folder: Path, opened: AsyncExitStack) -> None:
        """Start the processes; `opened` ends them."""

    async def play(self, play: Play) -> None: ...


@asynccontextmanager
async def under_way(
    request: pytest.FixtureRequest,
    folder: Path,
    plays: Sequence[Play],
    stage_of: Callable[[int], Stage],
) -> AsyncIterator[Played]:
    """The plays of this module's tests, begun in this order.

    A test has parameters `play` and `option`. Those that are not selected are not
    played: whoever looks for a fault wants one alone.
    """
    played: Played = {}
    selected = list(_selected(request))
    async with AsyncExitStack() as opened:
        for option in OPTIONS:
            wanted = [play for play in plays if (play, option) in selected]
            if not wanted:
                continue
            stage = stage_of(option)
            await stage.build(folder / f"option-{option}", opened)
            for play in wanted:
                task = asyncio.create_task(stage.play(play))
                opened.push_async_callback(cancel, task)
                played[play, option] = task
        yield played


def _selected(request: pytest.FixtureRequest) -> list[tuple[Any, int]]:
    items = [item for item in request.session.items if item.path == request.path]
    parameters = [item.callspec.params for item in items if hasattr(item, "callspec")]
    return [(found["play"], found["option"]) for found in parameters]
