"""Replies that nobody waits for any more are found when Convex is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from convex_functions import Functions

from kit.app.convex_replies import ConvexReplies
from kit.app.flags import Mode
from kit.app.history import History
from kit.app.out_of_sight import OutOfSight
from kit.app.runs import Run, Runs
from kit.app.tasks import Tasks
from kit.errors import DeploymentUnreachable


class Convex:
    """The functions, on a deployment that can be away."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.away = True
        self.asked = asyncio.Event()

    async def query(
        self, path: str, args: Mapping[str, Any], *, timeout: float | None = None
    ) -> Any:
        self.asked.set()
        if self.away:
            raise DeploymentUnreachable("http://127.0.0.1:1", "refused")
        return self.functions.call(path, args)

    async def mutation(self, path: str, args: Any, *, timeout: Any = None) -> Any:
        raise AssertionError("it only looks")

    action = mutation

    def begin(self, task_id: str, number: int) -> Any:
        self.functions.turn(1000)
        args = {"taskId": task_id, "prompt": f"q{number}", "model": "m"}
        ids = {"clientMessageId": f"c{number}", "leaseMs": 9e9}
        return self.functions.call("streaming:begin", args | ids)

    def end(self, begun: Any, outcome: str = "complete", **more: Any) -> None:
        stream = {"streamId": begun["streamId"], "epoch": 1}
        chunk = {"type": "text-delta", "id": "text-0", "delta": "hi"}
        self.functions.call("streaming:append", stream, seq=0, chunks=[chunk])
        self.functions.call("streaming:finalize", stream, outcome=outcome, **more)


class Scene:
    """A task in both stores whose turn has failed in SQL."""

    def __init__(self, convex: Convex, history: History) -> None:
        self.convex = convex
        self.history = history
        self.runs = Runs()
        self.told = asyncio.Event()
        self.statuses: list[str] = []
        self.task_id: str = convex.functions.call("tasks:create", title="t")
        self.looking: OutOfSight | None = None

    async def emit(self, task_id: str, event: str, payload: Any) -> None:
        self.statuses.append(payload["status"])
        self.told.set()

    async def ask(self, number: int) -> None:
        await self.history.add_message(
            *(self.task_id, "user", f"q{number}"),
            llm_model="m",
            client_message_id=f"c{number}",
        )

    def look(self, mode: Mode) -> OutOfSight:
        replies = ConvexReplies(
            self.convex,
            reach_timeout=1.0,
            reply_timeout=5.0,
            lost_timeout=0.01,
            poll_interval=0.001,
        )
        self.looking = OutOfSight(
            mode,
            history=self.history,
            tasks=Tasks(self.history, self.emit),
            convex=replies,
            runs=self.runs,
            look_interval=0.001,
        )
        self.looking.look_for(self.task_id, "c1")
        return self.looking

    async def found(self) -> None:
        """Wait until nobody looks any more."""
        assert self.looking is not None
        while tasks := list(self.looking._looking.values()):
            await asyncio.gather(*tasks)

    async def stored(self) -> list[str]:
        messages = await self.history.messages(self.task_id)
        return [message["content"] for message in messages]


@pytest.fixture
def convex(tmp_path: Path) -> Iterator[Convex]:
    functions = Functions(tmp_path / "convex")
    yield Convex(functions)
    functions.close()


@pytest.fixture
async def scene(convex: Convex, tmp_path: Path) -> AsyncIterator[Scene]:
    history = await History.open(f"sqlite:///{tmp_path / 'history.db'}")
    scene = Scene(convex, history)
    await history.create_task("t", task_id=scene.task_id)
    await scene.ask(1)
    await history.set_task_status(scene.task_id, "FAILED", "Convex went away")
    yield scene
    if scene.looking is not None:
        await scene.looking.close()
    await history.close()


async def test_a_reply_that_went_on_is_copied_and_its_status_told(scene: Scene) -> None:
    begun = scene.convex.begin(scene.task_id, 1)
    scene.look("option-1")
    for _ in range(3):  # it looks again and again
        scene.convex.asked.clear()
        await scene.convex.asked.wait()
    scene.convex.away = False
    scene.convex.asked.clear()
    await scene.convex.asked.wait()
    scene.convex.end(begun)
    await scene.found()
    assert await scene.stored() == ["q1", "hi"]
    assert scene.statuses == ["COMPLETED"]


async def test_a_reply_that_failed_says_why(scene: Scene) -> None:
    begun = scene.convex.begin(scene.task_id, 1)
    scene.convex.end(begun, "failed", error="no credit", errorKind="billing")
    scene.convex.away = False
    scene.look("option-1")
    await scene.found()
    task = await scene.history.task(scene.task_id)
    assert task is not None
    assert (task["status"], task.get("errorMessage")) == ("FAILED", "no credit")
    assert await scene.stored() == ["q1", "hi"]


async def test_option_2_has_only_the_status_to_put_right(scene: Scene) -> None:
    scene.convex.end(scene.convex.begin(scene.task_id, 1))
    scene.convex.away = False
    scene.look("option-2")
    await scene.found()
    assert scene.statuses == ["COMPLETED"]
    assert await scene.stored() == ["q1"]


async def test_one_that_was_not_begun_stays_failed(scene: Scene) -> None:
    scene.convex.away = False
    scene.look("option-1")
    await scene.found()
    assert (await scene.stored(), scene.statuses) == (["q1"], [])


async def test_later_turns_keep_their_place_and_their_status(scene: Scene) -> None:
    scene.convex.end(scene.convex.begin(scene.task_id, 1))
    await scene.ask(2)
    await scene.history.add_message(
        scene.task_id, "assistant", "by the fallback", llm_model="m"
    )
    scene.convex.away = False
    scene.look("option-1")
    await scene.found()
    assert await scene.stored() == ["q1", "hi", "q2", "by the fallback"]
    assert scene.statuses == []


async def test_a_later_turn_of_option_2_keeps_its_status(scene: Scene) -> None:
    scene.convex.end(scene.convex.begin(scene.task_id, 1))
    scene.convex.end(scene.convex.begin(scene.task_id, 2), "stopped")
    scene.convex.away = False
    scene.look("option-2")
    await scene.found()
    assert scene.statuses == []


async def test_the_status_of_a_task_that_is_busy_is_its_own(scene: Scene) -> None:
    async def work(_: Run) -> None:
        await asyncio.Event().wait()

    scene.convex.end(scene.convex.begin(scene.task_id, 1))
    run = scene.runs.begin(scene.task_id, work)
    scene.convex.away = False
    scene.look("option-1")
    await scene.found()
    assert (await scene.stored(), scene.statuses) == (["q1", "hi"], [])
    await run.cancel()


async def test_it_looks_once_for_each_and_no_more_when_closed(scene: Scene) -> None:
    looking = scene.look("option-1")
    looking.look_for(scene.task_id, "c1")
    assert len(looking._looking) == 1
    await looking.close()
    await asyncio.sleep(0)
    assert looking._looking == {}
