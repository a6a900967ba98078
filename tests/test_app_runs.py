"""One run per task, for as long as it lasts."""

from __future__ import annotations

import asyncio

from kit.app.runs import Run, Runs


async def test_a_task_is_busy_until_its_run_has_ended() -> None:
    runs, going = Runs(), asyncio.Event()
    seen: list[Run] = []

    async def work(run: Run) -> None:
        seen.append(run)
        await going.wait()

    run = runs.begin("t1", work)
    await asyncio.sleep(0)
    assert (runs.get("t1"), seen, "t1" in runs) == (run, [run], True)
    assert "t2" not in runs
    going.set()
    assert run.answering is not None
    await run.answering
    await asyncio.sleep(0)
    assert runs.get("t1") is None


async def test_one_that_is_cancelled_before_it_runs_leaves_nothing() -> None:
    runs = Runs()

    async def work(_: Run) -> None:
        raise AssertionError("it never begins")

    run = runs.begin("t1", work)
    await run.cancel()
    await run.accepted.wait()  # nobody waits for ever
    assert "t1" not in runs


async def test_one_that_is_only_telling_its_end_is_not_cut_off() -> None:
    runs, told = Runs(), asyncio.Event()

    async def work(run: Run) -> None:
        run.ended = True
        await asyncio.sleep(0)
        told.set()

    runs.begin("t1", work)
    await asyncio.sleep(0)
    await runs.cancel_all()
    assert told.is_set()
