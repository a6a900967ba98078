"""What a task is busy with, for as long as it is."""

from __future__ import annotations

import asyncio

import pytest

from kit.app.runs import Outcome, Run, Runs


async def test_a_task_is_busy_until_its_run_has_ended() -> None:
    runs, going = Runs(), asyncio.Event()
    seen: list[Run] = []

    async def work(run: Run) -> None:
        seen.append(run)
        await going.wait()

    run = runs.begin("t1", work)
    await asyncio.sleep(0)
    assert (runs.of("t1"), seen, "t1" in runs) == ([run], [run], True)
    assert "t2" not in runs
    going.set()
    assert run.answering is not None
    await run.answering
    await asyncio.sleep(0)
    assert runs.of("t1") == []


async def test_a_task_may_have_several_runs_each_found_by_its_message() -> None:
    runs = Runs()
    going = {"c1": asyncio.Event(), "c2": asyncio.Event()}

    def begin(client_message_id: str) -> Run:
        async def work(_: Run) -> None:
            await going[client_message_id].wait()

        run = runs.begin("t1", work)
        run.client_message_id = client_message_id
        return run

    first, second = begin("c1"), begin("c2")
    assert runs.of("t1") == [first, second]
    assert (runs.to("t1", "c1"), runs.to("t1", "c2")) == (first, second)
    assert runs.to("t1", "c3") is None
    assert runs.to("t2", "c1") is None
    assert runs.before("t1", first) == []
    assert runs.before("t1", second) == [first]
    going["c1"].set()
    assert first.answering is not None
    await first.answering
    await asyncio.sleep(0)
    assert runs.of("t1") == [second]
    assert runs.before("t1", second) == []
    await runs.cancel_all()
    assert "t1" not in runs


Ends = list[tuple[int, Outcome | None]]


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ([(0, ("STOPPED", None)), (1, ("COMPLETED", None))], ("COMPLETED", None)),
        ([(1, ("COMPLETED", None)), (0, ("STOPPED", None))], ("COMPLETED", None)),
        ([(1, ("FAILED", "no")), (0, ("COMPLETED", None))], ("FAILED", "no")),
        ([(0, ("COMPLETED", None)), (1, None)], ("COMPLETED", None)),
        ([(1, None), (0, None)], None),
    ],
)
async def test_a_task_ends_as_its_newest_message_when_the_last_has_ended(
    ends: Ends, told: Outcome | None
) -> None:
    runs = Runs()

    async def work(_: Run) -> None:
        await asyncio.Event().wait()

    both = [runs.begin("t1", work), runs.begin("t1", work)]
    (first, outcome), (second, last_outcome) = ends
    assert runs.end("t1", both[first], outcome) is None
    # Its work is over, before or after the other's end.
    assert runs.end("t1", both[second], last_outcome) == told
    for run in both:
        assert run.answering is not None
        run.answering.cancel()


async def test_a_run_by_itself_ends_its_task() -> None:
    assert Runs().end("t1", Run(), ("COMPLETED", None)) == ("COMPLETED", None)


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
