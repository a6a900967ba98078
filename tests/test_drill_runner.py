"""`run_drill`: real runs, in the loop of whoever awaits it."""

import asyncio
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kit.drill import run_drill
from kit.drill.checking import check
from kit.drill.history import RunSeen
from kit.drill.invariants import Violation
from kit.drill.lane import SENTINEL
from kit.drill.runner import carry_out_all, keys_in_files
from kit.drill.schedule import Fault, FaultKind, Plan, ReplyPlan, ViewerPlan, plan
from kit.errors import ConfigError, StackError

KILLS: list[FaultKind] = ["kill-deployment", "kill-executor", "kill-provider"]


def ignore(_: RunSeen) -> None:
    pass


@pytest.mark.timeout(90)
async def test_runs_hold_and_are_told_one_by_one() -> None:
    told: list[tuple[int, list[Violation]]] = []
    seeds = range(33, 37)
    # The reaches that need the fewest processes: the others are in the tests below.
    assert {plan(seed).reach for seed in seeds} == {"producer", "stream"}
    result = await run_drill(
        runs=4, seed=33, on_run=lambda seen, found: told.append((seen.plan.seed, found))
    )
    assert result.violations == []
    assert sorted(told) == [(seed, []) for seed in seeds]
    assert [run.plan.seed for run in result.runs] == [*seeds]
    assert sum(row.struck for row in result.table) > 0


@pytest.mark.timeout(60)
async def test_each_process_may_be_killed_while_a_reply_streams(tmp_path: Path) -> None:
    """Also twice at once: then one is killed after the other."""
    viewers = (ViewerPlan("log", 0), ViewerPlan("hook", 1))
    model = "openai/scripted-text:tokens=60,pace=60"
    plans = [
        Plan(
            seed,
            "process",
            (ReplyPlan(model, 60, by="action"),),
            viewers,
            (Fault(kind, at=0.3), Fault(kind, at=0.3), Fault("late-join", at=0.6)),
        )
        for seed, kind in enumerate(KILLS)
    ]
    runs = await carry_out_all(plans, tmp_path, ignore)
    assert [found for run in runs for found in check(run, SENTINEL)] == []
    assert keys_in_files(tmp_path) == []
    for run, kind in zip(runs, KILLS, strict=True):
        assert kind in {seen.fault.kind for seen in run.faults if seen.struck}
        assert run.rows[1]["status"] == "failed"
        assert run.rows[1]["content"]


APPLICATION: list[tuple[int, Fault]] = [
    (1, Fault("kill-app", at=0.3)),
    (2, Fault("kill-app", at=0.3)),
    (1, Fault("half-open", phase="before", network="sockets", seconds=0.3)),
    (2, Fault("half-open", at=0.3, network="backend", seconds=0.3)),
    (1, Fault("cut-network", at=0.3, network="viewers")),
    (2, Fault("slow-network", at=0.3, network="sockets", seconds=0.4)),
]


@pytest.mark.timeout(120)
async def test_the_application_answers_once_whatever_fails_around_it(
    tmp_path: Path,
) -> None:
    viewers = (ViewerPlan("log", 0), ViewerPlan("hybrid", 0), ViewerPlan("hook", 1))
    reply = ReplyPlan("openai/scripted-text:tokens=60,pace=60", 60)
    plans = [
        Plan(seed, "application", (reply,), viewers, (fault,), option)
        for seed, (option, fault) in enumerate(APPLICATION)
    ]
    runs = await carry_out_all(plans, tmp_path, ignore)
    assert [found for run in runs for found in check(run, SENTINEL)] == []
    for run, (option, fault) in zip(runs, APPLICATION, strict=True):
        assert [seen.struck for seen in run.faults] == [True], fault
        (question, answer), (prompt, _) = run.rows[:2], run.rows[2:]
        assert question["clientMessageId"] != prompt["clientMessageId"]
        assert answer["status"] == "complete"
        assert len(run.stored) == (4 if option == 1 else 0)
        assert run.stored_task is not None


def processes() -> dict[int, tuple[int, str]]:
    """All that run on this machine: the parent of each, and its command."""
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = (line.split(maxsplit=2) for line in listing.splitlines())
    return {int(pid): (int(parent), command) for pid, parent, command in rows}


def offspring() -> set[int]:
    """The processes of the kit that this one has started, and those that they have."""
    running = processes()
    below = generation = {os.getpid()}
    while generation:
        generation = {pid for pid in running if running[pid][0] in generation}
        below = below | generation
    return {pid for pid in below - {os.getpid()} if "kit" in running[pid][1]}


async def gone(pids: set[int]) -> None:
    """Wait until they have ended, those that end by themselves after their parents."""
    while pids & processes().keys():  # noqa: ASYNC110 - there is nobody to tell us
        await asyncio.sleep(0.05)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("reach", ["producer", "process", "application"])
async def test_cancelled_amid_its_runs_it_leaves_no_process_behind(reach: str) -> None:
    amid = asyncio.Event()

    def note(seen: RunSeen, _: object) -> None:
        if seen.plan.reach == reach:
            amid.set()

    # A lane of each kind, with more to do when its first run has ended.
    waiting = [one.reach for one in map(plan, range(44, 53)) if one.reach == reach]
    assert len(waiting) > 1
    drill = asyncio.create_task(run_drill(runs=9, seed=44, on_run=note))
    await amid.wait()
    started = set(offspring())
    assert started
    drill.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drill
    await gone(started)


@pytest.mark.timeout(60)
async def test_what_the_caller_raises_ends_the_drill() -> None:
    started: set[int] = set()

    def refuse(seen: RunSeen, _: object) -> None:
        if seen.plan.reach == "stream":
            started.update(offspring())
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        await run_drill(runs=12, seed=1, on_run=refuse)
    assert started
    await gone(started)


@pytest.mark.parametrize(
    ("runs", "seed", "words"),
    [(0, 1, "runs is 0"), (2.5, 1, "runs is 2.5"), (1, "x", "seed is 'x'")],
)
async def test_numbers_that_are_none_are_refused(
    runs: int, seed: int, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        await run_drill(runs=runs, seed=seed)


def test_a_key_in_a_file_is_found_with_its_run(tmp_path: Path) -> None:
    (tmp_path / "lane").mkdir()
    (tmp_path / "lane" / "deployment.log").write_bytes(b"\0key " + KEY + b"12\0")
    (tmp_path / "lane" / "provider.log").write_text("nothing")
    found = keys_in_files(tmp_path)
    assert [(one.seed, one.what) for one in found] == [
        (12, "a key is in lane/deployment.log")
    ]


KEY = SENTINEL.encode()


async def test_processes_that_do_not_start_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no run is left waiting for them."""
    monkeypatch.setattr("kit.drill.lane.ServerProcess.start", refuse)
    stream = next(p for p in map(plan, range(99)) if p.reach == "stream")
    with pytest.raises(StackError, match="no port"):
        await carry_out_all([stream, replace(stream, seed=1000)], tmp_path, ignore)


async def refuse(*_: object) -> None:
    raise StackError("no port")
