"""The widget in an executed notebook: what a reader sees without a kernel."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser import write_notebook
from nbclient import NotebookClient

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
STATE_MIME = "application/vnd.jupyter.widget-state+json"
TESTS = Path(__file__).parent

SETUP = f"""
import asyncio, sys
sys.path.insert(0, {str(TESTS)!r})
from fake_chat import FakeChat, text_chunks
from kit.widget import ChatView
chat = FakeChat()
reply = text_chunks("# The *final* text\\n\\n- one\\n- two")
"""


async def execute(folder: Path, cells: list[str]) -> Any:
    path = folder / "notebook.ipynb"
    write_notebook(path, [SETUP, *cells])
    notebook = nbformat.read(path, as_version=4)
    await NotebookClient(notebook, timeout=30, kernel_name="python3").async_execute()
    nbformat.validate(notebook)
    return notebook


def bundles(notebook: Any) -> list[dict[str, Any]]:
    """The data of the outputs that have a static face."""
    return [
        output.data
        for cell in notebook.cells
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]


def stored_snapshot(notebook: Any) -> dict[str, Any]:
    states = notebook.metadata.widgets[STATE_MIME]["state"].values()
    (snapshot,) = (
        each["state"]["snapshot"] for each in states if "snapshot" in each["state"]
    )
    found: dict[str, Any] = json.loads(json.dumps(snapshot["panes"][0]))
    return found


async def test_the_output_holds_the_final_text(tmp_path: Path) -> None:
    notebook = await execute(
        tmp_path, ["ChatView(chat, title='T').show()", "await chat.stream(reply)"]
    )
    (data,) = bundles(notebook)
    assert WIDGET_MIME in data
    assert "The <em>final</em> text</p>" in data["text/html"]
    assert "Done" in data["text/html"]
    assert "# The *final* text" in data["text/plain"]


async def test_the_stored_state_holds_the_final_text(tmp_path: Path) -> None:
    """JupyterLab shows a trusted notebook from it, without a kernel."""
    notebook = await execute(tmp_path, ["ChatView(chat)", "await chat.stream(reply)"])
    snapshot = stored_snapshot(notebook)
    assert snapshot["status"]["state"] == "done"
    assert "The <em>final</em> text" in json.dumps(snapshot["messages"])


async def test_a_reply_that_a_background_task_writes_is_not_lost(
    tmp_path: Path,
) -> None:
    """Its task was made by a cell that has ended by then."""
    notebook = await execute(
        tmp_path,
        [
            "display(ChatView(chat)); task = asyncio.create_task(chat.stream(reply))",
            "await chat.until(lambda chat: chat.messages and not chat.is_streaming)",
        ],
    )
    (data,) = bundles(notebook)
    assert "The <em>final</em> text</p>" in data["text/html"]
    assert stored_snapshot(notebook)["status"]["state"] == "done"


async def test_an_end_between_two_cells_is_not_lost(tmp_path: Path) -> None:
    """nbclient listens only while a cell runs."""
    between = "asyncio.get_running_loop().call_later(0.0, chat.end)"
    notebook = await execute(
        tmp_path,
        [
            "ChatView(chat).show()\nchat.begin(); chat.feed(*reply)",
            f"get_ipython().events.register('post_run_cell', lambda _: {between})",
            "await chat.until(lambda chat: not chat.is_streaming)",
        ],
    )
    (data,) = bundles(notebook)
    assert "[Done" in data["text/plain"]
    assert stored_snapshot(notebook)["status"]["state"] == "done"


async def test_each_output_of_a_view_is_kept_up_to_date(tmp_path: Path) -> None:
    notebook = await execute(
        tmp_path,
        ["view = ChatView(chat)\nview.show()", "view", "await chat.stream(reply)"],
    )
    first, second = bundles(notebook)
    assert first["text/html"] == second["text/html"]
    assert "The <em>final</em> text" in first["text/html"]


async def test_a_closed_view_leaves_its_static_face_only(tmp_path: Path) -> None:
    notebook = await execute(
        tmp_path,
        [
            "view = ChatView(chat)\nawait view.show()",
            "await chat.stream(reply)",
            "await view.close()",
        ],
    )
    (data,) = bundles(notebook)
    assert sorted(data) == ["text/html", "text/plain"]
    assert "The <em>final</em> text" in data["text/html"]


async def test_a_static_view_leaves_no_widget(tmp_path: Path) -> None:
    notebook = await execute(
        tmp_path, ["ChatView(chat, live=False).show()", "await chat.stream(reply)"]
    )
    (data,) = bundles(notebook)
    assert sorted(data) == ["text/html", "text/plain"]
    assert "The <em>final</em> text" in data["text/html"]
    assert "widgets" not in notebook.metadata


@pytest.mark.parametrize("call", ["view.show()", "view.close()"])
async def test_a_cell_that_ends_in_a_call_shows_no_repr(
    tmp_path: Path, call: str
) -> None:
    notebook = await execute(tmp_path, ["view = ChatView(chat)", call])
    outputs = notebook.cells[-1].outputs
    assert all(output.output_type == "display_data" for output in outputs)
    assert len(outputs) == (1 if call == "view.show()" else 0)
