"""The timeline: well-formed, with every viewer and every fault that struck."""

from xml.etree import ElementTree

from kit.drill.history import FaultSeen, Frame, RunSeen, ViewerSeen
from kit.drill.picture import COLOURS, timeline
from kit.drill.schedule import Fault, plan

SVG = "{http://www.w3.org/2000/svg}"


def run_seen() -> RunSeen:
    run = RunSeen(plan(1), seconds=3.0)
    frames = [
        Frame(0.5, "m0", "streaming", "Rain", ["text-0"]),
        Frame(1.0, "m0", "streaming", "Rain fell", ["text-0"]),
        Frame(2.0, "m0", "failed", "Rain fell", []),
    ]
    run.viewers = [
        ViewerSeen("log <0>", "log", 0.0, frames),
        ViewerSeen("hook 1", "hook", 2.5),
    ]
    run.faults = [
        FaultSeen(Fault("kill-executor"), 1.2, True),
        FaultSeen(Fault("stop"), 2.9, True),
        FaultSeen(Fault("resend"), 2.9, False),
    ]
    return run


def texts(root: ElementTree.Element) -> str:
    return "\n".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))


def test_it_names_viewers_and_the_faults_that_struck() -> None:
    shown = texts(ElementTree.fromstring(timeline(run_seen())))
    for expected in ("log <0>", "hook 1", "kill-executor 1.20 s", "stop 2.90 s"):
        assert expected in shown
    assert "resend" not in shown


def test_a_bar_is_as_long_as_its_frame_and_as_high_as_its_text() -> None:
    root = ElementTree.fromstring(timeline(run_seen()))
    blue = [
        bar
        for bar in root.iter(f"{SVG}rect")
        if bar.get("fill") == COLOURS["streaming"] and bar.get("height") != "11"
    ]
    short, long = ((float(b.attrib["width"]), float(b.attrib["height"])) for b in blue)
    assert abs(long[0] - 2 * short[0]) < 1
    assert abs(short[1] / long[1] - 4 / 9) < 0.05


def test_a_run_in_which_nothing_was_seen_has_a_picture_too() -> None:
    ElementTree.fromstring(timeline(RunSeen(plan(1))))
