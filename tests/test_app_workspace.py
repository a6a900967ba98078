"""The sidecar: real files, a real command, the events of both."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from kit.app.workspace import Workspace


class Events:
    """Keeps what was emitted, and lets a test wait for it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._arrived = asyncio.Event()

    async def emit(self, event: str, payload: dict[str, Any]) -> None:
        self.seen.append((event, payload))
        self._arrived.set()

    async def until_terminal_says(self, text: str) -> None:
        while text not in [entry["data"] for entry in self.entries]:
            self._arrived.clear()
            await self._arrived.wait()

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [
            payload["entry"]
            for event, payload in self.seen
            if event == "terminal-output"
        ]

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [
            (payload["type"], payload["path"])
            for event, payload in self.seen
            if event == "fs-change"
        ]


@pytest.fixture
def events() -> Events:
    return Events()


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", code)


async def test_a_turn_notes_the_prompt_and_counts_it(
    tmp_path: Path, events: Events
) -> None:
    workspace = Workspace(tmp_path, events.emit)
    await workspace.run_turn("t1", "one two; $(touch pwned)")
    folder = workspace.folder("t1")
    assert "one two; $(touch pwned)" in (folder / "notes.md").read_text()
    assert events.changes == [
        ("file-created", "notes.md"),
        ("directory-created", "reports"),
        ("file-created", "reports/notes.txt"),
    ]
    command, counted, wrote = events.entries
    assert (command["type"], command["data"][:2]) == ("command", "$ ")
    assert counted["data"].startswith("notes.md: turns 1, words ")
    assert (wrote["type"], wrote["data"]) == ("stdout", "wrote reports/notes.txt")

    events.seen.clear()
    await workspace.run_turn("t1", "again")
    assert events.changes == [
        ("file-modified", "notes.md"),
        ("file-modified", "reports/notes.txt"),
    ]
    assert [entry["id"] for entry in events.entries] == [4, 5, 6]


async def test_events_have_the_shape_of_the_guides_sidecar(
    tmp_path: Path, events: Events
) -> None:
    await Workspace(tmp_path, events.emit).run_turn("t1", "x")
    shapes = dict(events.seen)
    assert set(shapes["fs-change"]) == {
        *("id", "taskId", "type", "path", "timestamp", "source", "isDirectory")
    }
    output = shapes["terminal-output"]
    assert set(output) == {"taskId", "entry"}
    assert set(output["entry"]) == {"id", "timestamp", "data", "type", "processId"}


async def test_a_folder_stays_below_the_root_whatever_the_id(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, Events().emit)
    folders = {
        workspace.folder(id) for id in ("../x", "/etc", "a/b", "\ud800", "x" * 300)
    }
    assert len(folders) == 5
    assert {folder.parent for folder in folders} == {tmp_path}


async def test_deleted_and_replaced_paths_are_reported(
    tmp_path: Path, events: Events
) -> None:
    code = "import os; os.mkdir('d'); open('f', 'w').close()"
    await Workspace(tmp_path, events.emit, command=python(code)).run_turn("t", "x")
    events.seen.clear()
    code = "import os; os.rmdir('d'); os.remove('f'); os.mkdir('f')"
    await Workspace(tmp_path, events.emit, command=python(code)).run_turn("t", "x")
    assert events.changes == [
        ("file-modified", "notes.md"),
        ("directory-deleted", "d"),
        ("file-deleted", "f"),
        ("directory-created", "f"),
    ]


async def test_a_failing_command_shows_its_errors_and_status(
    tmp_path: Path, events: Events
) -> None:
    command = python("import sys; print('bad', file=sys.stderr); sys.exit(3)")
    await Workspace(tmp_path, events.emit, command=command).run_turn("t", "x")
    assert [(entry["type"], entry["data"]) for entry in events.entries[1:]] == [
        ("stderr", "bad"),
        ("system", "Exit status 3"),
    ]


async def test_a_command_sees_no_key(
    tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sentinel")
    command = python("import os; print('sentinel' in os.environ.values())")
    await Workspace(tmp_path, events.emit, command=command).run_turn("t", "x")
    assert events.entries[1]["data"] == "False"


SLEEPER = "import os, time; print(os.getpid(), flush=True); print('up', flush=True);"
SLEEPER += "time.sleep(60)"


@pytest.mark.timeout(20)
async def test_a_command_that_takes_too_long_is_killed(
    tmp_path: Path, events: Events
) -> None:
    command = python("import time; time.sleep(60)")
    workspace = Workspace(tmp_path, events.emit, command=command, timeout=0.2)
    await workspace.run_turn("t", "x")
    assert events.entries[-1]["type"] == "system"
    assert events.entries[-1]["data"] == "The command was killed after 0.2 s."


@pytest.mark.timeout(20)
async def test_cancelling_a_turn_kills_the_command(
    tmp_path: Path, events: Events
) -> None:
    workspace = Workspace(tmp_path, events.emit, command=python(SLEEPER))
    turn = asyncio.create_task(workspace.run_turn("t", "x"))
    await events.until_terminal_says("up")
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    pid = events.entries[1]["data"]
    assert not Path("/proc", pid).exists()


@pytest.mark.timeout(20)
async def test_a_root_that_cannot_be_written_is_said_and_not_raised(
    tmp_path: Path, events: Events
) -> None:
    (tmp_path / "file").write_text("in the way")
    await Workspace(tmp_path / "file", events.emit).run_turn("t", "x")
    (entry,) = events.entries
    assert (entry["type"], entry["data"]) == ("system", "Workspace: Not a directory.")
