"""The application's sidecar: one folder per task, with real files and a real command.

Each turn leaves its prompt in the folder's notes and runs one short command over
them. What the command prints goes out as `terminal-output`, what changed in the
folder as `fs-change`: the two kinds of events that stay on Socket.IO after the
migration. Knows nothing of models, messages or Convex.

Mirrors the guide's sidecar in the payloads of both events. It differs in that it
compares the folder before and after each thing it does, where the guide's watches it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

__all__ = ["Workspace"]

EntryType = Literal["command", "stdout", "stderr", "system"]

# Path below the folder -> (is it a directory, what changes with its content).
_Snapshot = dict[str, tuple[bool, object]]

_NOTES = "notes.md"

# Counts the notes into a report. The prompt is only ever data: it reaches the command
# in a file, never as an argument, never through a shell.
_COUNT = """\
import pathlib, sys
notes = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
summary = f"turns {notes.count('## Turn')}, words {len(notes.split())}"
report = pathlib.Path("reports", "notes.txt")
report.parent.mkdir(exist_ok=True)
report.write_text(summary + "\\n", encoding="utf-8")
print(f"{sys.argv[1]}: {summary}")
print(f"wrote {report.as_posix()}")
"""

# What a command may see of the server's environment: no keys.
_PASSED_ON = ("PATH", "LANG", "SYSTEMROOT")


class Workspace:
    """The folders of all tasks, below one root.

    `emit(event, payload)` is awaited for each event.
    """

    def __init__(
        self,
        root: Path,
        emit: Callable[[str, dict[str, Any]], Awaitable[None]],
        *,
        command: tuple[str, ...] = (sys.executable, "-I", "-c", _COUNT, _NOTES),
        timeout: float = 10.0,
    ) -> None:
        self._root = root
        self._emit = emit
        self._command = command
        self._timeout = timeout
        self._last_entry: dict[str, int] = {}

    def folder(self, task_id: str) -> Path:
        """Where the task's files are: below the root, whatever the id looks like."""
        if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", task_id):
            return self._root / task_id
        name = hashlib.sha256(task_id.encode("utf-8", "surrogatepass")).hexdigest()
        return self._root / name

    async def run_turn(self, task_id: str, prompt: str) -> None:
        """Note the prompt and run the command over the notes.

        Ends within about `timeout` seconds: a command that takes longer is killed;
        cancelling kills it too. What goes wrong, such as a full disk, goes out as a
        terminal entry of type `system` and is not raised: no reply fails for the
        sidecar's sake.
        """
        folder = self.folder(task_id)
        try:
            async with self._reporting_changes(task_id):
                await asyncio.to_thread(_append_note, folder, prompt)
            async with self._reporting_changes(task_id), asyncio.timeout(self._timeout):
                await self._run_command(task_id, folder)
        except TimeoutError:
            await self._say(
                task_id, "system", f"The command was killed after {self._timeout:g} s."
            )
        except OSError as error:
            await self._say(task_id, "system", f"Workspace: {error.strerror or error}.")

    async def _run_command(self, task_id: str, folder: Path) -> None:
        await self._say(task_id, "command", _shown(self._command))
        process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=folder,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            await asyncio.gather(
                self._relay(task_id, "stdout", process.stdout, process.pid),
                self._relay(task_id, "stderr", process.stderr, process.pid),
            )
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code != 0:
            await self._say(task_id, "system", f"Exit status {code}", process.pid)

    async def _relay(
        self, task_id: str, kind: EntryType, lines: asyncio.StreamReader, pid: int
    ) -> None:
        async for line in lines:
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            await self._say(task_id, kind, text, pid)

    async def _say(
        self, task_id: str, kind: EntryType, data: str, pid: int | None = None
    ) -> None:
        """Send one terminal entry; ids count up within the task."""
        number = self._last_entry[task_id] = self._last_entry.get(task_id, 0) + 1
        entry: dict[str, Any] = {
            "id": number,
            "timestamp": datetime.now(UTC).isoformat(),
            "data": data,
            "type": kind,
        }
        if pid is not None:
            entry["processId"] = pid
        await self._emit("terminal-output", {"taskId": task_id, "entry": entry})

    @asynccontextmanager
    async def _reporting_changes(self, task_id: str) -> AsyncIterator[None]:
        """Send what changed in the task's folder meanwhile, also if it went wrong."""
        folder = self.folder(task_id)
        before = await asyncio.to_thread(_snapshot, folder)
        try:
            yield
        finally:
            after = await asyncio.to_thread(_snapshot, folder)
            for kind, path, is_directory in _changes(before, after):
                event = {
                    "id": uuid.uuid4().hex,
                    "taskId": task_id,
                    "type": kind,
                    "path": path,
                    "timestamp": int(time.time() * 1000),
                    "source": "local",
                    "isDirectory": is_directory,
                }
                await self._emit("fs-change", event)


def _append_note(folder: Path, prompt: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _NOTES).open("a", encoding="utf-8", errors="replace") as notes:
        notes.write(f"## Turn at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n\n")
        notes.write(prompt + "\n\n")


def _snapshot(folder: Path) -> _Snapshot:
    """Everything below `folder`; links are not followed."""
    found: _Snapshot = {}
    for parent, directories, files in os.walk(folder):
        for name in [*directories, *files]:
            path = Path(parent, name)
            stat = path.lstat()
            is_directory = name in directories
            content = None if is_directory else (stat.st_mtime_ns, stat.st_size)
            found[path.relative_to(folder).as_posix()] = (is_directory, content)
    return found


def _changes(before: _Snapshot, after: _Snapshot) -> Iterator[tuple[str, str, bool]]:
    """What happened between two snapshots: (type, path, is it a directory)."""
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        if old is not None and (new is None or old[0] != new[0]):
            yield f"{_kind(old[0])}-deleted", path, old[0]
        if new is not None:
            is_directory = new[0]
            modified = old is not None and old[0] == is_directory
            verb = "modified" if modified else "created"
            yield f"{_kind(is_directory)}-{verb}", path, is_directory


def _kind(is_directory: bool) -> str:
    return "directory" if is_directory else "file"


def _shown(command: tuple[str, ...]) -> str:
    """The command as a terminal would show it, on one line."""
    words = [Path(command[0]).name, *command[1:]]
    return "$ " + " ".join("'…'" if "\n" in word else word for word in words)
