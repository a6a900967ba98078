"""Tasks in SQL and, with the flag on, in Convex."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kit.app.convex_chat import ConvexChat
from kit.app.history import History, Task
from kit.app.tasks import Tasks
from kit.errors import DeploymentUnreachable

GONE = DeploymentUnreachable("http://127.0.0.1:1", "refused")


class FakeConvex(ConvexChat):
    def __init__(self) -> None:
        self.titles: dict[str, str] = {}
        self.gone = False

    async def create_task(self, title: str) -> str:
        if self.gone:
            raise GONE
        task_id = f"convex-{len(self.titles)}"
        self.titles[task_id] = title
        return task_id

    async def task_title(self, task_id: str) -> str | None:
        if self.gone:
            raise GONE
        return self.titles.get(task_id)


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[History]:
    opened = await History.open(f"sqlite:///{tmp_path / 'history.db'}")
    yield opened
    await opened.close()


@pytest.fixture
def convex() -> FakeConvex:
    return FakeConvex()


class Emitted(list[tuple[str, str, Any]]):
    async def emit(self, task_id: str, event: str, payload: Any) -> None:
        self.append((task_id, event, payload))


async def test_with_the_flag_off_a_task_is_sqls_alone(history: History) -> None:
    tasks = Tasks(history, Emitted().emit)
    task_id = await tasks.create("Mine")
    found = await tasks.find(task_id)
    assert found is not None
    assert found["title"] == "Mine"
    assert await tasks.find("other") is None


async def test_with_the_flag_on_a_task_has_the_id_that_convex_gave(
    history: History, convex: FakeConvex
) -> None:
    tasks = Tasks(history, Emitted().emit, convex)
    assert await tasks.create("Mine") == "convex-0"
    stored = await history.task("convex-0")
    assert stored is not None
    assert stored["title"] == "Mine"


async def test_a_task_that_convex_does_not_take_is_not_created(
    history: History, convex: FakeConvex
) -> None:
    convex.gone = True
    with pytest.raises(DeploymentUnreachable):
        await Tasks(history, Emitted().emit, convex).create("Mine")


async def test_a_task_that_only_convex_has_is_taken_over_once(
    history: History, convex: FakeConvex
) -> None:
    task_id = await convex.create_task("Theirs")
    tasks = Tasks(history, Emitted().emit, convex)
    found = await asyncio.gather(*(tasks.find(task_id) for _ in range(4)))
    assert [task["title"] for task in found if task] == ["Theirs"] * 4
    assert await history.task(task_id) is not None


async def test_a_convex_that_does_not_answer_has_no_tasks(
    history: History, convex: FakeConvex
) -> None:
    known = await history.create_task("Known")
    convex.gone = True
    tasks = Tasks(history, Emitted().emit, convex)
    assert await tasks.find("unknown") is None
    assert await tasks.find(known) is not None


async def test_a_status_is_stored_and_emitted(history: History) -> None:
    emitted = Emitted()
    tasks = Tasks(history, emitted.emit)
    task_id = await tasks.create("t")
    await tasks.set_status(task_id, "RUNNING")
    await tasks.set_status(task_id, "FAILED", "broken")
    (_, event, running), (_, _, failed) = emitted
    assert event == "task-status-updated"
    assert set(running) == {"taskId", "status", "timestamp"}
    assert (failed["status"], failed["errorMessage"]) == ("FAILED", "broken")
    stored = await tasks.find(task_id)
    assert stored is not None
    assert stored["status"] == "FAILED"


async def test_clients_learn_of_a_status_that_sql_does_not_take(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    emitted = Emitted()
    await Tasks(history, emitted.emit).set_status("unknown", "RUNNING")
    assert [event for _, event, _ in emitted] == ["task-status-updated"]
    assert "has no task unknown" in caplog.text


async def test_an_older_status_is_never_told_after_a_newer_one(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who joins hears of one that was read before another client's message came."""
    emitted = Emitted()
    tasks = Tasks(history, emitted.emit)
    task_id = await tasks.create("t")
    await tasks.set_status(task_id, "COMPLETED")
    read, goes_on = asyncio.Event(), asyncio.Event()
    task = history.task

    async def slowly(task_id: str) -> Task | None:
        found = await task(task_id)
        read.set()
        await goes_on.wait()
        return found

    monkeypatch.setattr(history, "task", slowly)
    joining = asyncio.create_task(tasks.tell(task_id))
    await read.wait()
    beginning = asyncio.create_task(tasks.set_status(task_id, "RUNNING"))
    # Another task's is not kept waiting.
    await tasks.set_status(await tasks.create("other"), "STOPPED")
    goes_on.set()
    await asyncio.gather(joining, beginning)
    told = [payload["status"] for told, _, payload in emitted if told == task_id]
    assert told == ["COMPLETED", "COMPLETED", "RUNNING"]
