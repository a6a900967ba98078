"""`kit drill`: what is printed and written, and the exit status."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kit.cli import main
from kit.drill import command
from kit.drill.history import RunSeen
from kit.drill.invariants import Violation
from kit.drill.result import DrillResult
from kit.drill.runner import OnRun
from kit.drill.schedule import plan


@pytest.mark.timeout(90)
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
    assert (out / "drill.log").exists()


async def fail(*, runs: int, seed: int, on_run: OnRun) -> DrillResult:
    found = [Violation(seed, "everything comes in time", "it hung [bold]")]
    seen = RunSeen(plan(seed), problems=["it hung [bold]"])
    on_run(seen, found)
    return DrillResult([seen] * runs, found, 1.0)


def test_a_failing_run_tells_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "run_drill", fail)
    assert main(["drill", "--runs", "1", "--seed", "77"]) == 1
    printed = capsys.readouterr().out
    # As it happens, and in the end.
    assert printed.count("seed 77: everything comes in time: it hung [bold]") == 2
    assert "kit drill --runs 1 --seed 77" in printed


@pytest.mark.timeout(90)
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


def test_a_number_of_runs_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["drill", "--runs", "0"]) == 2
    assert "runs is 0" in capsys.readouterr().err


def test_a_folder_that_cannot_be_is_said_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["drill", "--out", str(tmp_path / "file" / "out")]) == 2
    assert "Choose another folder" in capsys.readouterr().err
