"""The logs of a stack's processes in one live view, filtered."""

from __future__ import annotations

import asyncio
import heapq
import re
from collections import deque
from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets

from kit.client.background import spawn
from kit.stack import ServerProcess, Stack

__all__ = ["LogView", "show_logs"]

INTERVAL = 0.3  # s
COLOURS = {"WARNING": "#9a6700", "ERROR": "#cf222e", "CRITICAL": "#cf222e"}
# As `kit.serving` writes them: lines without a time belong to the one before.
_LINE = re.compile(r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (?P<level>[A-Z]+) ")


def show_logs(stack: Stack, containing: str = "", *, lines: int = 30) -> LogView:
    """The newest `lines` that hold `containing` (such as a task's id), as they come.

    Of all processes of the stack, by time. The view ends with `close()` or the kernel.
    """
    servers = [s for s in (stack.app, stack.deployment, stack.provider) if s]
    return LogView(servers, containing, lines=lines)


class LogView(ipywidgets.HTML):  # type: ignore[misc]  # ipywidgets has no types
    """Follows the logs of `servers`, from their beginning on."""

    def __init__(
        self, servers: Sequence[ServerProcess], containing: str = "", *, lines: int = 30
    ) -> None:
        super().__init__()
        self.containing = containing
        self._lines = lines
        self._tails = [_Tail(server, containing, lines) for server in servers]
        self._read()
        self._following = spawn(self._follow(), "log view")

    def close(self) -> None:
        """Stop following."""
        self._following.cancel()
        super().close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            self._read()

    def _read(self) -> None:
        for tail in self._tails:
            tail.read()
        merged = heapq.merge(*(tail.entries for tail in self._tails))
        shown = "".join(
            f'<div style="color:{COLOURS.get(level, "inherit")}">'
            f"<b>{escape(name)}</b> {escape(text)}</div>"
            for _, name, level, text in deque(merged, self._lines)
        )
        self.value = (
            '<div style="font-family:monospace;font-size:12px;line-height:1.4;'
            'white-space:pre-wrap;overflow-wrap:anywhere">'
            f"{shown or 'Nothing is logged yet.'}</div>"
        )

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        data: dict[str, Any] = bundle[0] if isinstance(bundle, tuple) else bundle
        # What is left of it where there is no kernel.
        data["text/html"] = self.value
        return bundle


class _Tail:
    """The newest lines of one log that are wanted: (time, process, level, text)."""

    def __init__(self, server: ServerProcess, containing: str, lines: int) -> None:
        self.entries: deque[tuple[str, str, str, str]] = deque(maxlen=lines)
        self._server = server
        self._containing = containing
        self._read_to = 0  # bytes
        self._time = self._level = ""

    def read(self) -> None:
        """Take in what has been written since; a line that is not whole yet waits."""
        try:
            with self._server.log_path.open("rb") as log:
                log.seek(self._read_to)
                data = log.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            if found := _LINE.match(line):
                self._time, self._level = found["time"], found["level"]
            if self._containing in line:
                entry = (self._time, self._server.name, self._level, line)
                self.entries.append(entry)
