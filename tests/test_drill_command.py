"""`kit drill`: real runs, what is printed and written, and the exit status."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kit.cli import main
from kit.drill import command
from kit.drill.command import carry_out_all, keys_in_files
from kit.drill.history import RunSeen
from kit.drill.invariants import Violation, check
from kit.drill.lane import SENTINEL
from kit.drill.schedule import Fault, FaultKind, Plan, ReplyPlan, ViewerPlan, plan
from kit.errors import StackError


@pytest.mark.timeout(60)
def test_a_dozen_runs_hold_and_are_written_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    status = main(["drill", "--runs", "12", "--seed", "1", "--out", str(out)])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "0 violations" in printed
    results = json.loads((out / "results.json").read_text())
    assert [run["plan"]["seed"] for run in results["perRun"]] == list(range(1, 13))
    assert sum(row["struck"] for row in results["faults"]) > 0
    assert all(row["lost"] == 0 for row in results["faults"])
    ElementTree.parse(out / "timeline.svg")


KILLS: list[FaultKind] = ["kill-deployment", "kill-executor", "kill-provider"]


@pytest.mark.timeout(60)
async def test_each_process_may_be_killed_while_a_reply_streams(tmp_path: Path) -> None:
    viewers = (ViewerPlan("log", 0), ViewerPlan("hook", 1))
    model = "openai/scripted-text:tokens=60,pace=60"
    plans = [
        Plan(
            seed,
            "process",
            (ReplyPlan(model, 60, by="action"),),
            viewers,
            (Fault(kind, at=0.3), Fault("late-join", at=0.6)),
        )
        for seed, kind in enumerate(KILLS)
    ]
    runs = await carry_out_all(plans, tmp_path)
    assert [found for run in runs for found in check(run, SENTINEL)] == []
    assert keys_in_files(tmp_path) == []
    for run, kind in zip(runs, KILLS, strict=True):
        assert kind in {seen.fault.kind for seen in run.faults if seen.struck}
        assert run.rows[1]["status"] == "failed"
        assert run.rows[1]["content"]


def test_a_failing_run_tells_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def pretend(plans: list[Plan], *_: object) -> list[RunSeen]:
        return [RunSeen(one, problems=["it hung"]) for one in plans]

    monkeypatch.setattr(command, "carry_out_all", pretend)
    monkeypatch.setattr(command, "check", only_problems)
    assert main(["drill", "--runs", "1", "--seed", "77"]) == 1
    printed = capsys.readouterr().out
    assert "seed 77: everything comes in time: it hung" in printed
    assert "kit drill --runs 1 --seed 77" in printed


def only_problems(run: RunSeen, _: str) -> list[Violation]:
    seed = run.plan.seed
    return [Violation(seed, "everything comes in time", p) for p in run.problems]


@pytest.mark.timeout(60)
def test_a_run_of_many_is_played_again_by_its_seed(tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    producers = [seed for seed in range(99) if plan(seed).reach == "producer"]
    seed = producers[0]
    assert main(["drill", "--runs", "1", "--seed", str(seed), "--out", str(first)]) == 0
    assert main(["drill", "--runs", "1", "--seed", str(seed), "--out", str(again)]) == 0
    one, other = (
        json.loads((out / "results.json").read_text())["perRun"][0]
        for out in (first, again)
    )
    assert one["plan"] == other["plan"]
    assert one["replies"] == other["replies"]


def test_a_key_in_a_file_is_found_with_its_run(tmp_path: Path) -> None:
    (tmp_path / "lane").mkdir()
    (tmp_path / "lane" / "deployment.log").write_bytes(b"\0key " + KEY + b"12\0")
    (tmp_path / "lane" / "provider.log").write_text("nothing")
    found = keys_in_files(tmp_path)
    assert [(one.seed, one.what) for one in found] == [
        (12, "a key is in lane/deployment.log")
    ]


KEY = SENTINEL.encode()


def test_a_number_of_runs_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["drill", "--runs", "0"]) == 2
    assert "--runs is 0" in capsys.readouterr().err


async def test_processes_that_do_not_start_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no run is left waiting for them."""
    monkeypatch.setattr("kit.drill.lane.ServerProcess.start", refuse)
    stream = next(p for p in map(plan, range(99)) if p.reach == "stream")
    with pytest.raises(StackError, match="no port"):
        await carry_out_all([stream, replace(stream, seed=1000)], tmp_path)


async def refuse(*_: object) -> None:
    raise StackError("no port")
