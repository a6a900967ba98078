"""Every notebook as an engineer meets it: opened in JupyterLab, all cells run."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import nbformat
import pytest
import pytest_asyncio
from browser import Lab, Window, open_window, require_browser, start_lab
from playwright.async_api import expect

from kit.tour import find_notebooks

pytestmark = [
    pytest.mark.browser,
    pytest.mark.notebook,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]

NOTEBOOKS = find_notebooks()
# What takes long is run in full through papermill: here it is how it looks.
PACE = "40.0"  # tokens per second, as they come: who joins late needs the time
DRILL_RUNS = "3"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def window(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Window]:
    require_browser()
    folder = tmp_path_factory.mktemp("notebooks")
    with start_lab(folder, tmp_path_factory.mktemp("lab")) as lab:
        async with open_window(lab) as window:
            yield window


def quick_copy(path: Path, lab: Lab) -> str:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            pace = f"pace: float = {PACE}"
            cell.source = re.sub(r"pace: float = [\d.]+", pace, cell.source)
            assert PACE in cell.source
            runs = f"drill_runs: int = {DRILL_RUNS}"
            cell.source = re.sub(r"drill_runs: int = \d+", runs, cell.source)
            assert ("drill_runs" in cell.source) == (runs in cell.source)
    nbformat.write(notebook, lab.folder / path.name)
    return path.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
async def test_it_runs_and_every_check_holds(window: Window, path: Path) -> None:
    async with window.open_notebook(
        quick_copy(path, window.lab), height=1200
    ) as notebook:
        page = notebook.page
        await notebook.run_all()
        # The table of checks is the last thing that a notebook shows.
        checks = page.locator(".jp-OutputArea-output table", has_text="Evidence").last
        errors = page.locator('[data-mime-type="application/vnd.jupyter.error"]')
        await expect(checks.or_(errors).first).to_be_attached(timeout=200_000)
        assert await errors.all_inner_texts() == []
        await notebook.until_idle(timeout=60)
        await expect(checks).to_contain_text("\N{CHECK MARK}")
        await expect(checks).not_to_contain_text("\N{BALLOT X}")
        for dark in (False, True):
            await notebook.set_theme(dark=dark)
            theme = "dark" if dark else "light"
            await notebook.scroll_to(checks)
            await notebook.keep_screenshot(f"{path.stem}-checks-{theme}")
            if "ChatView(" not in path.read_text():
                continue  # it is about code
            await notebook.scroll_to_cell("ChatView(")
            await notebook.scroll_to(page.locator(".kit-chat").first)
            await expect(page.locator(".kit-jump:visible")).to_have_count(0)
            await notebook.keep_screenshot(f"{path.stem}-chat-{theme}")
        await notebook.set_theme(dark=False)
