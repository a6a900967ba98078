"""`kit lab`: a notebook as people meet it, in JupyterLab in a real browser."""

import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from browser import open_notebook, require_browser, start_lab
from playwright.async_api import expect

from kit.tour import notebooks_folder

NAME = "02_option_1_minimal.ipynb"


def slow_copy(folder: Path) -> None:
    """The notebook, with a reply slow enough for a browser to be watched."""
    notebook = nbformat.read(notebooks_folder() / NAME, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = re.sub(
                r"pace: float = [\d.]+", "pace: float = 15.0", cell.source
            )
            assert "15.0" in cell.source
    folder.mkdir()
    (folder / NAME).write_text(nbformat.writes(notebook))


@pytest.mark.browser
@pytest.mark.timeout(240)
async def test_a_reply_grows_in_the_widget_and_the_stop_button_ends_it(
    tmp_path: Path,
) -> None:
    require_browser()
    folder = tmp_path / "notebooks"
    slow_copy(folder)
    command = [sys.executable, "-m", "kit.cli", "lab", "--data", str(tmp_path / "data")]
    with start_lab(folder, tmp_path / "state", command=command) as lab:
        async with open_notebook(lab, NAME, height=1400) as notebook:
            await notebook.run_all()
            chat = notebook.page.locator(".kit-chat").first
            reply = chat.locator("[data-role=assistant] [data-part=text-0]").first
            stop = chat.get_by_role("button", name="Stop")

            # Grows while it streams: three different texts before the end.
            seen: list[str] = []
            while len(seen) < 3:
                text = await reply.inner_text(timeout=60_000)
                assert await chat.get_attribute("data-status") != "done"
                if not seen or len(text) > len(seen[-1]):
                    seen.append(text)
            await notebook.keep_screenshot("lab-streaming")

            await stop.click()
            # The notebook runs on at once: what stays is what the message says.
            ending = chat.locator("[data-role=assistant] .kit-ending").first
            await expect(ending).to_contain_text("stopped", timeout=10_000)
            kept = await reply.inner_text()
            assert seen[-1].split()[-1] in kept

            # The rest of the notebook runs on: fallback, and the deployment back.
            table = notebook.page.locator(".jp-OutputArea-output table").last
            await expect(table).to_contain_text(
                "What was stored on Convex survived the cut", timeout=90_000
            )
            await notebook.until_idle(timeout=60)
            await expect(table).not_to_contain_text("✗")
            await expect(
                notebook.page.locator(
                    '[data-mime-type="application/vnd.jupyter.error"]'
                )
            ).to_have_count(0)
            # And the view is still there, with the fallback's reply in it.
            await chat.scroll_into_view_if_needed()
            await expect(chat).to_contain_text("And if Convex does not answer?")
            await expect(stop).to_be_disabled()
            await notebook.keep_screenshot("lab-end")
    shutil.rmtree(tmp_path / "state", ignore_errors=True)
