"""What a drill came to: in a notebook, in text, in files."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kit.drill.history import FaultSeen, Frame, RunSeen, ViewerSeen
from kit.drill.invariants import Violation
from kit.drill.result import DrillResult
from kit.drill.schedule import Fault, Plan, ReplyPlan
from kit.errors import ConfigError


def run_seen(seed: int = 1) -> RunSeen:
    faults = (Fault("drop"), Fault("kill-deployment"))
    run = RunSeen(Plan(seed, "process", (ReplyPlan("m", 1),), (), faults), seconds=2.0)
    frames = [Frame(0.5, "m0", "streaming", "Rain", ["text-0"])]
    run.viewers = [ViewerSeen("<b>viewer</b>", "log", 0.0, frames)]
    run.faults = [FaultSeen(faults[0], 0.5, True), FaultSeen(faults[1], 1.5, False)]
    return run


BROKEN = Violation(1, "one reply per message", "<script>x</script> has 2 & more")


def html_of(result: DrillResult) -> str:
    return result._repr_mimebundle_()["text/html"]


def test_a_notebook_shows_the_table_and_the_picture() -> None:
    page = ElementTree.fromstring(
        f"<div>{html_of(DrillResult([run_seen()], [], 3))}</div>"
    )
    rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]
    assert rows == [
        ["Fault", "planned", "in time", "lost", "violations"],
        ["the provider's connection is cut", "1", "1", "nothing", "0"],
        ["SIGKILL of the deployment, started again", "1", "0", "nothing", "0"],
    ]
    assert page.find(".//{http://www.w3.org/2000/svg}svg") is not None
    assert "0 violations" in "".join(page.itertext())


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    shown = html_of(DrillResult([run_seen()], [BROKEN], 3))
    assert "<script" not in shown
    assert "&lt;script&gt;x&lt;/script&gt; has 2 &amp; more" in shown
    assert "&lt;b&gt;viewer" in shown
    for word in ("src=", "href=", "url(", "@import"):
        assert word not in shown


def test_the_text_says_what_was_violated_and_how_to_see_it_again() -> None:
    shown = DrillResult([run_seen(), run_seen(2)], [BROKEN], 3)._repr_mimebundle_()
    lines = shown["text/plain"].splitlines()
    assert lines[0].split() == ["Fault", "planned", "in", "time", "lost", "violations"]
    assert lines[1].split()[-4:] == ["2", "2", "nothing", "1"]
    assert "✗ seed 1: one reply per message: <script>x</script> has 2 & more" in lines
    assert "  again: kit drill --runs 1 --seed 1" in lines
    assert lines[-1].startswith("2 runs, 0 replies, 2 viewers")
    assert len({line.index("nothing") for line in lines if "nothing" in line}) == 1


def test_it_is_written_down(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    DrillResult([run_seen(7)], [], 3, log="lost it\n").save(folder)
    found = json.loads((folder / "results.json").read_text())
    assert found["perRun"][0]["plan"]["seed"] == 7
    assert "Drill run 7" in (folder / "timeline.svg").read_text()
    assert (folder / "drill.log").read_text() == "lost it\n"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Choose another folder"):
        DrillResult([run_seen()], [], 3).save(tmp_path / "file")
    folder = tmp_path / "folder"
    (folder / "results.json").mkdir(parents=True)
    with pytest.raises(ConfigError, match="Choose another folder"):
        DrillResult([run_seen()], [], 3).save(folder)


def test_the_run_to_draw_is_one_that_failed() -> None:
    result = DrillResult([run_seen(), run_seen(5)], [Violation(5, "a", "b")], 3)
    assert "Drill run 5" in result.picture
    assert repr(result) == "<DrillResult: 2 runs, 1 violations>"
