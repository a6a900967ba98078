"""The report: one page that says what held, needing neither network nor kernel."""

import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kit.checks import Check
from kit.report import WIDGET_MIME, NotebookRun, write_report


def executed(folder: Path) -> Path:
    view = new_output(
        "display_data",
        data={
            WIDGET_MIME: {"model_id": "abc"},
            "text/html": "<p>the final reply</p>",
            "text/plain": "the final reply",
        },
    )
    cells = [new_markdown_cell("# Step"), new_code_cell("1 + 1", outputs=[view])]
    path = folder / "02_step.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def report(folder: Path, *checks: Check, error: str | None = None) -> str:
    run = NotebookRun("02_step", "Step", executed(folder), list(checks), 1.5, error, 2)
    write_report(folder / "report.html", [run], {"Provider": "scripted"})
    return (folder / "report.html").read_text()


def test_checks_and_settings_are_in_the_report(tmp_path: Path) -> None:
    page = report(tmp_path, Check("Parts appear", True, "12 updates <live>"))
    assert "Every check held" in page
    assert "12 updates &lt;live&gt;" in page
    assert "scripted" in page
    assert 'role="alert"' not in page


def test_a_failure_is_at_the_top(tmp_path: Path) -> None:
    page = report(tmp_path, Check("No 403", False, "2 lines"), error="CheckFailed: x")
    assert page.index('role="alert"') < page.index("What was checked")
    assert "CheckFailed: x" in page


def test_a_widget_shows_its_static_fallback(tmp_path: Path) -> None:
    page = report(tmp_path, Check("x", True, "y"))
    assert "<p>the final reply</p>" in page
    assert "model_id" not in page


def test_the_page_asks_for_nothing_from_outside(tmp_path: Path) -> None:
    page = report(tmp_path, Check("x", True, "y"))
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert "@import" not in page
