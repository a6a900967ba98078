"""Notebooks with a chat view in JupyterLab in a real browser, for tests."""

from pathlib import Path

from browser import Lab, Notebook
from browser import write_notebook as write
from playwright.async_api import Locator, expect

__all__ = [
    "expect_output",
    "expect_status",
    "until_settled",
    "view_of",
    "write_notebook",
]

SETUP = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from fake_chat import FakeChat, text_chunks, tool_chunks
from kit.errors import KitError
from kit.widget import ChatView, SplitView
"""
ONE = """
chat = FakeChat()
view = ChatView(chat, title="A chat")
view.show()
"""


def write_notebook(lab: Lab, name: str, *cells: str, show: str = ONE) -> str:
    """A notebook that runs `show`, which makes the sources and their view, and `cells`;
    its name."""
    write(lab.folder / name, [SETUP + show, *cells])
    return name


def view_of(notebook: Notebook) -> Locator:
    return notebook.page.locator(".kit-chat")


async def until_settled(notebook: Notebook) -> None:
    """Wait until all cells have been run, and the view has gone into its place."""
    await notebook.until_idle()
    await notebook.page.wait_for_selector("kit-chat-place .kit-chat")


async def expect_status(view: Locator, status: str) -> None:
    await expect(view).to_have_attribute("data-status", status, timeout=30_000)


async def expect_output(notebook: Notebook, text: str) -> None:
    """Wait until a cell has printed `text`; its source must not hold it."""
    outputs = notebook.page.locator(".jp-OutputArea-output", has_text=text)
    await expect(outputs.last).to_be_attached(timeout=30_000)
