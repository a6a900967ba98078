from __future__ import annotations

from typing import Any

from kit.app.comparison import Comparison
from kit.app.copy_report import CopyReport, TaskCopy, Unfinished

SAME = Comparison("a" * 64, "a" * 64, (), (), 1)
OTHER = Comparison("a" * 64, "b" * 64, ("m1",), ("user's message m2 differs in x",), 0)


def task(task_id: str = "t1", comparison: Comparison = SAME, **more: Any) -> TaskCopy:
    figures: dict[str, Any] = {
        "title": "Chat <b>",
        "on_convex": 12,
        "already_there": 2,
        "copied": 10,
        "unfinished": (),
        **more,
    }
    return TaskCopy(task_id, comparison=comparison, **figures)


TABLE = """\
10 of 12 messages copied from Convex to SQL; 1 of 1 tasks whole there.
task           on Convex  in SQL before  copied  not ended  only in SQL  same in both
Chat <b> (t1)         12              2      10          0            1  yes, aaaaaaaaaaaa\
"""  # noqa: E501


def test_a_report_says_in_a_table_what_was_done() -> None:
    assert str(CopyReport([task()])) == TABLE


def test_a_report_of_nothing_is_a_sentence() -> None:
    report = CopyReport([])
    assert str(report) == (
        "0 of 0 messages copied from Convex to SQL; 0 of 0 tasks whole there."
    )
    assert report.complete


def test_what_is_left_to_do_is_listed() -> None:
    left = (Unfinished("m9", "streaming"),)
    report = CopyReport(
        [
            task("t1", OTHER),
            task("t2", unfinished=left),
            task("t3", problem="Taken.", copied=0),
            task("t4"),
        ]
    )
    assert not report.complete
    assert [task.complete for task in report.tasks] == [False, False, False, True]
    assert str(report).splitlines()[-4:] == [
        "✗ t1: message m1 is not in SQL",
        "✗ t1: user's message m2 differs in x",
        "✗ t2: message m9 is streaming: copy again when it has ended",
        "✗ t3: Taken.",
    ]
    assert "no, aaaaaaaaaaaa and bbbbbbbbbbbb" in str(report)


def test_very_many_differences_are_counted() -> None:
    many = tuple(map(str, range(15)))
    remarks = list(task(comparison=Comparison("a", "b", many, many, 0)).remarks())
    assert remarks[9:11] == [
        "message 9 is not in SQL",
        "5 more messages are not in SQL",
    ]
    assert remarks[-2:] == ["9", "5 more differences"]


def test_of_very_many_tasks_those_with_something_to_tell_are_shown() -> None:
    quiet = [task(f"q{number}", copied=0) for number in range(30)]
    shown = str(CopyReport([*quiet, task("loud"), task("bad", OTHER, copied=0)]))
    assert "10 of 384 messages copied" in shown
    assert "31 of 32 tasks whole" in shown
    assert "(loud)" in shown
    assert "(bad)" in shown
    assert "(q1)" not in shown
    assert len(str(CopyReport(quiet)).splitlines()) == 1


def test_a_dry_run_says_so() -> None:
    report = CopyReport([task(comparison=OTHER)], dry_run=True)
    assert "10 of 12 messages would be copied" in str(report)
    assert "to copy" in str(report)
    assert "m1 is not in SQL" not in str(report)
    assert "✗ t1: user's message m2 differs in x" in str(report)
    assert repr(report) == "<CopyReport 1 tasks, 10 messages to copy, incomplete>"


def test_a_notebook_shows_a_table_with_nothing_of_a_title_taken_for_html() -> None:
    shown = CopyReport([task("t1", OTHER)])._repr_mimebundle_()
    assert shown["text/plain"] == str(CopyReport([task("t1", OTHER)]))
    assert "<table>" in shown["text/html"]
    assert "Chat &lt;b&gt; (t1)" in shown["text/html"]
    assert "<li>t1: user&#x27;s message m2 differs in x</li>" in shown["text/html"]


def test_a_long_title_is_cut_and_a_broken_one_is_one_line() -> None:
    title = "a\nb" + "x" * 100
    line = str(CopyReport([task(title=title)])).splitlines()[2]
    assert line.startswith("a b" + "x" * 36 + "… (t1)")
