"""Every notebook through papermill, as CI and `kit tour` run it."""

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat
import pytest
from browser import open_file, require_browser
from playwright.async_api import expect

from kit.report import NotebookRun, write_report
from kit.tour import check_parameters, find_notebooks, run_notebook

NOTEBOOKS = find_notebooks()
COMMON_PARAMETERS = ("deployment_url", "provider", "model", "prompt", "pace")
OWN_PARAMETERS = {
    "04_when_things_break": ("drill_runs",),
    "07_your_project": ("repo",),
}


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], NotebookRun]:
    """Runs a notebook, once for all tests."""
    out = tmp_path_factory.mktemp("executed")
    return cache(lambda path: run_notebook(path, out))


@pytest.mark.notebook
@pytest.mark.timeout(400)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_expected_behaviour_holds(
    path: Path, executed: Callable[[Path], NotebookRun]
) -> None:
    run = executed(path)
    assert (run.error, run.broken) == (None, [])
    assert run.checks
    # What a reader sees without a kernel: the final reply, not a widget's repr.
    chats = [shown.html for shown in run.shown.exhibits if "assistant" in shown.html]
    assert bool(chats) == ("ChatView" in path.read_text())


@pytest.mark.notebook
@pytest.mark.browser
@pytest.mark.timeout(600)
async def test_the_report_of_all_opens_from_disk_and_prints(
    executed: Callable[[Path], NotebookRun], tmp_path: Path
) -> None:
    require_browser()
    report = tmp_path / "report.html"
    runs = [executed(path) for path in NOTEBOOKS]
    write_report(report, runs, {"Provider": "scripted"})
    assert report.stat().st_size < 5_000_000
    async with open_file(report) as (page, asked):
        assert asked == [report.as_uri()]
        await expect(page.locator("h1").first).to_be_visible()
        # Every check leads to the cell that looked.
        links = page.locator("#steps ~ table a")
        count = await links.count()
        assert count >= sum(len(run.checks) for run in runs)
        targets = {await links.nth(i).get_attribute("href") for i in range(count)}
        for target in targets:
            assert target is not None
            assert await page.locator(f"[id='{target[1:]}']").count() == 1, target
        # Nothing sticks out of the page.
        assert await page.evaluate("document.documentElement.scrollWidth") <= 1200
        await page.get_by_label("Decision on Option 1, step 1").fill("yes")
        assert (await page.pdf()).startswith(b"%PDF")
        assert asked == [report.as_uri()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    check_parameters(path, {"deployment_url": "URL", "provider": "real"})
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    assert "papermill" not in notebook.metadata
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_annotated_and_explained(path: Path) -> None:
    """papermill's `--help-notebook` shows both."""
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [
        cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
    ]
    names = []
    for node in ast.parse(cell.source).body:
        assert isinstance(node, ast.AnnAssign)
        assert isinstance(node.target, ast.Name)
        names.append(node.target.id)
    assert names == [*COMMON_PARAMETERS, *OWN_PARAMETERS.get(path.stem, ())]
