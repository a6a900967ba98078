"""One worker process as seen from the outside: started, spoken to, stopped.

Holds the process and its pipes. `kit.client.worker` is what runs in it;
`kit.client.link` decides when to start one and what an outcome means.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from kit.client.background import cancel, spawn
from kit.client.credentials import Credentials
from kit.values import JsonValue

__all__ = ["WorkerMessage", "WorkerProcess"]

logger = logging.getLogger("kit.client.worker")

PROGRAM = Path(__file__).with_name("worker.py")
# A result may have 16 MiB, and JSON escapes can make six of one.
LINE_LIMIT = 128 * 1024 * 1024
TAIL_LINES = 8


class WorkerMessage(msgspec.Struct, frozen=True):
    """What the worker reports of one subscription; one of the three is there."""

    id: int
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET
    refused: str | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decoder = msgspec.json.Decoder(WorkerMessage)


class WorkerProcess:
    """A running worker. `has_spoken` tells whether any outcome has come from it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        on_message: Callable[[WorkerMessage], None],
        on_end: Callable[[WorkerProcess], None],
    ) -> None:
        self._process = process
        self._on_message = on_message
        self._on_end = on_end
        self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        self.has_spoken = False
        self._tasks = (
            spawn(self._read_messages(), "convex worker messages"),
            spawn(self._read_log(), "convex worker log"),
        )

    @classmethod
    async def start(
        cls,
        url: str,
        *,
        on_message: Callable[[WorkerMessage], None],
        on_end: Callable[[WorkerProcess], None],
    ) -> WorkerProcess:
        """Start one; `on_end` is called when it ends without having been stopped."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # this folder must not come before the standard library
            str(PROGRAM),
            url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            # Interrupting a cell signals the kernel's whole process group.
            start_new_session=True,
        )
        return cls(process, on_message, on_end)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def tail(self) -> str:
        """The last lines that it logged."""
        return "\n".join(self._tail) or "(it logged nothing)"

    def show(self, credentials: Credentials) -> None:
        """Act as somebody else; not on the command line, which others can read."""
        self._send({"show": credentials.kind, "secret": credentials.secret})

    def subscribe(self, subscription_id: int, path: str, args: JsonValue) -> None:
        self._send({"id": subscription_id, "path": path, "args": args})

    def unsubscribe(self, subscription_id: int) -> None:
        self._send({"id": subscription_id})

    def _send(self, command: dict[str, JsonValue]) -> None:
        assert self._process.stdin is not None
        # After the process has died this goes nowhere; its successor is told anew.
        if not self._process.stdin.is_closing():
            self._process.stdin.write(msgspec.json.encode(command) + b"\n")

    async def _read_messages(self) -> None:
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                self.has_spoken = True
                self._on_message(_decoder.decode(line))
        except ValueError as error:  # not what was agreed, or a line beyond all limits
            self._tail.append(f"It sent something unusable: {error}")
        await self._end()
        self._on_end(self)

    async def _read_log(self) -> None:
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            text = line.decode(errors="replace").rstrip()
            self._tail.append(text)
            logger.debug("%s", text)

    async def stop(self) -> None:
        """End it at once: the official client has no close, its socket just drops."""
        await cancel(*self._tasks)
        await self._end()

    async def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
