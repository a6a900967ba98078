"""The report: one page that says what held, needing neither network nor kernel."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kit.checks import Checks
from kit.guide import STEPS
from kit.report import NotebookRun, freeze, read, write_report
from kit.report.executed import WIDGET_MIME, as_html
from kit.show import Picture, show_diff

FALLBACK = "<p>the final reply</p>"


def shown(thing: Any) -> Any:
    """An output that displays `thing`."""
    return new_output("display_data", data=thing._repr_mimebundle_())


def executed(folder: Path, *outputs: Any) -> Path:
    """A notebook as papermill leaves it: a title, a view, then `outputs`."""
    view = new_output(
        "display_data",
        data={
            WIDGET_MIME: {"model_id": "abc"},
            "text/html": FALLBACK,
            "text/plain": "the final reply",
        },
    )
    cells = [
        new_markdown_cell("# Step"),
        new_code_cell("view", outputs=[view], execution_count=1, id="view"),
        new_code_cell("1 + 1", outputs=list(outputs), execution_count=2, id="shows"),
    ]
    path = folder / "02_step.ipynb"
    notebook = new_notebook(cells=cells)
    notebook.metadata["widgets"] = {"state": {}}
    nbformat.write(notebook, path)
    freeze(path)
    return path


def report(folder: Path, *outputs: Any, error: str | None = None) -> str:
    path = executed(folder, *outputs)
    run = NotebookRun("02_step", path, read(path), 1.5, error, 3 if error else None)
    write_report(folder / "report.html", [run], {"Provider": "scripted"}, ["Why?"])
    return (folder / "report.html").read_text()


def some_checks(*, held: bool = True) -> Checks:
    checks = Checks("Some", step="Testing")
    checks.expect("Parts appear", held, "12 updates <live>")
    checks.leave_open("Who <watches> it?")
    return checks


def section(page: str, anchor: str) -> str:
    start = page.index(f'id="{anchor}"')
    end = page.find('id="step-', start + 1)
    return page[start : end if end > 0 else None]


def test_checks_and_settings_are_in_the_report(tmp_path: Path) -> None:
    page = report(tmp_path, shown(some_checks()))
    assert "Every check held" in page
    assert "12 updates &lt;live&gt;" in page
    assert "scripted" in page
    assert 'role="alert"' not in page


def test_a_step_has_its_change_and_its_checks(tmp_path: Path) -> None:
    change = show_diff("-socket\n+convex\n", step="Option 2, step 1")
    page = report(tmp_path, shown(change), shown(some_checks()))
    numbers = {step.name: number for number, step in enumerate(STEPS, start=1)}
    loop = section(page, f"step-{numbers['Option 2, step 1']}")
    assert '<span style="color:#116329">+convex' in loop
    assert "Parts appear" in section(page, f"step-{numbers['Testing']}")
    assert "Parts appear" not in loop


def test_the_sign_off_has_a_row_for_every_step(tmp_path: Path) -> None:
    page = report(tmp_path, shown(some_checks()))
    table = page[page.index('class="signoff"') :]
    rows = table[: table.index("</table>")].split("<tr>")[2:]
    assert len(rows) == len(STEPS)
    for step, row in zip(STEPS, rows, strict=True):
        expected = "1 of 1 checks held" if step.name == "Testing" else "not rehearsed"
        assert step.name in row
        assert expected in row


def test_a_failure_is_at_the_top_and_links_its_cell(tmp_path: Path) -> None:
    checks = some_checks(held=False)
    output = shown(checks)
    output.data["application/vnd.kit.checks+json"]["checks"][0]["cell"] = 2
    page = report(tmp_path, output, error="CheckFailed: x")
    alert = page[page.index('role="alert"') : page.index("What was run")]
    assert '<a href="#cell-id=shows">Parts appear</a>' in alert
    assert 'id="cell-id=shows"' in page
    assert "Some checks failed" in page


def test_an_error_of_a_cell_is_told_where_no_check_failed(tmp_path: Path) -> None:
    page = report(tmp_path, error="ValueError: <bad>")
    alert = page[page.index('role="alert"') : page.index("What was run")]
    assert "cell 3" in alert
    assert "ValueError: &lt;bad&gt;" in alert


def test_open_questions_of_the_run_and_of_notebooks(tmp_path: Path) -> None:
    page = report(tmp_path, shown(some_checks()))
    questions = page[page.index('id="open"') :]
    assert "<li>Why?</li>" in questions
    assert "Who &lt;watches&gt; it?" in questions


def test_pictures_come_together_and_the_chat_with_them(tmp_path: Path) -> None:
    page = report(tmp_path, shown(Picture("<svg>drawn</svg>", "How it <went>")))
    pictures = page[page.index('id="pictures"') : page.index('id="open"')]
    assert "How it &lt;went&gt;" in pictures
    assert 'src="data:image/svg+xml;base64,' in pictures
    assert FALLBACK in pictures


def test_an_executed_notebook_reads_well_without_widgets(tmp_path: Path) -> None:
    path = executed(tmp_path)
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata
    assert WIDGET_MIME not in path.read_text()
    assert FALLBACK in as_html(path)


def test_checks_shown_twice_count_once(tmp_path: Path) -> None:
    first, second = some_checks(held=False), some_checks()
    path = executed(tmp_path, shown(first), shown(second))
    assert [check.held for check in read(path).checks] == [True]


@pytest.mark.parametrize("step", [None, "Testing"])
def test_every_check_is_listed_once(tmp_path: Path, step: str | None) -> None:
    checks = Checks("Some", step=step)
    checks.expect("Listed", True, "y")
    page = report(tmp_path, shown(checks))
    lists = page[page.index('id="steps"') : page.index('id="pictures"')]
    assert lists.count("Listed") == 1


def test_the_page_asks_for_nothing_from_outside(tmp_path: Path) -> None:
    page = report(tmp_path, shown(some_checks()))
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert "@import" not in page
