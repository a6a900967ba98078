"""Viewers that write down when they had which text, one class per kind of source.

All keep a `ViewerLog` of the newest reply and know when it has ended. What a viewer
looks at comes to it as to an application: as Socket.IO events, as the changes that a
hook tells, or as the rows of a subscription.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import socketio

from kit.app.hooks import HookChange, PartsChanged
from kit.app.hooks.source import Hook
from kit.bench.seen import ViewerLog
from kit.client.background import cancel, spawn
from kit.client.subscription import Subscription
from kit.errors import KitError

__all__ = ["EventViewer", "HookViewer", "RowsViewer", "Viewer"]

JOIN_TIMEOUT = 20.0  # s
LIVE = ("streaming", "stopping")


class Viewer(ABC):
    """Someone who looks at one task. `log` is of its newest reply."""

    def __init__(self) -> None:
        self.log = ViewerLog()
        self.ended = False
        """Whether the viewer knows that the reply has ended."""
        self.worker_pid: int | None = None
        """The process that the viewer's client needs, if it needs one."""
        self.resources = AsyncExitStack()
        """What goes with the viewer."""
        self._changed = asyncio.Event()

    @abstractmethod
    def shown(self) -> str:
        """All of the newest reply that the viewer shows now."""

    async def aclose(self) -> None:
        """Leave. May be called again."""
        await self.resources.aclose()

    async def until(self, condition: Callable[[], object], timeout: float) -> bool:
        """Wait until it is true, looking whenever text comes; False after `timeout`."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def until_ended(self, timeout: float) -> bool:
        """Wait until the reply has ended; False after `timeout` seconds."""
        return await self.until(lambda: self.ended, timeout)

    def _grew(self, piece: str) -> None:
        self.log.grew(piece, time.time())
        self._changed.set()

    def _end(self, stored: str) -> None:
        self.log.ended(stored, time.time())
        self.ended = True
        self._changed.set()


class EventViewer(Viewer):
    """Socket.IO's own client and the text of each `stream-chunk`: nothing in between.

    Comes back by itself after a lost connection, and joins the task again.
    """

    async def join(self, url: str, task_id: str) -> None:
        """Raises KitError if nobody answers."""
        session = await self.resources.enter_async_context(aiohttp.ClientSession())
        client = socketio.AsyncClient(
            http_session=session, handle_sigint=False, reconnection_delay=0.3
        )
        joined = asyncio.Event()

        async def connected() -> None:
            await client.emit(
                "join-task", {"taskId": task_id}, callback=lambda *_: joined.set()
            )

        client.on("connect", connected)
        client.on("stream-chunk", self._take)
        try:
            self.resources.push_async_callback(_shut_down, client)
            await client.connect(
                url, transports=["websocket"], wait_timeout=JOIN_TIMEOUT
            )
            async with asyncio.timeout(JOIN_TIMEOUT):
                await joined.wait()
        except (socketio.exceptions.ConnectionError, TimeoutError) as error:
            await self.aclose()
            raise KitError(f"No viewer could join at {url}: {error}") from None
        except BaseException:
            await self.aclose()
            raise

    def shown(self) -> str:
        return self.log.text

    async def _take(self, chunk: dict[str, Any]) -> None:
        match chunk["type"]:
            case "content":
                self._grew(chunk["content"])
            case "complete" | "error":
                self._end("")  # nothing is stored


async def _shut_down(client: socketio.AsyncClient) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2.0):
            await client.shutdown()


class HookViewer(Viewer):
    """One of the application's hooks, used as a view does: told of changes, read."""

    def __init__(self, hook: Hook) -> None:
        super().__init__()
        self._hook = hook
        self._known = _final_ids(hook.messages)
        self._lengths: dict[str, int] = {}
        self.resources.push_async_callback(hook.aclose)
        self.resources.callback(hook.observe(self._take))

    def shown(self) -> str:
        return self._hook.streaming_text() or _content(self._reply())

    def _reply(self) -> Mapping[str, Any] | None:
        """The newest reply's row, if it was not there, and final, from the start."""
        last = _last_reply(self._hook.messages)
        return None if last is None or last["_id"] in self._known else last

    def _take(self, change: HookChange) -> None:
        if isinstance(change, PartsChanged):
            for part in change.changes:
                if part.kind == "appended":
                    self._add(part.part_id, part.text)
                else:
                    self._read_anew(part.part_id)
            return
        row = self._reply()
        if row is not None and row["status"] not in LIVE and not self.ended:
            self._end(_content(row))

    def _read_anew(self, part_id: str) -> None:
        part = self._hook.streaming_parts_map[part_id]
        if part["type"] == "text":
            self._add(part_id, part["text"][self._lengths.get(part_id, 0) :])

    def _add(self, part_id: str, piece: str) -> None:
        self._lengths[part_id] = self._lengths.get(part_id, 0) + len(piece)
        self._grew(piece)


class RowsViewer(Viewer):
    """A subscription to a task's messages, the whole text of each in every value."""

    def __init__(self, rows: Subscription) -> None:
        super().__init__()
        self._rows = rows
        self._content = ""
        self._known: set[str] | None = None
        self._joined = asyncio.Event()
        reading = self._reading = spawn(self._read(), "bench: rows")
        self.resources.push_async_callback(rows.aclose)
        self.resources.push_async_callback(cancel, reading)

    async def join(self) -> None:
        """Wait for the first value. Raises KitError if none comes, or an error."""
        joined = spawn(self._joined.wait(), "bench: first rows")
        try:
            await asyncio.wait(
                [joined, self._reading],
                timeout=JOIN_TIMEOUT,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            await cancel(joined)
        if self._reading.done():
            self._reading.result()
        if not self._joined.is_set():
            raise KitError("The subscription has given no value.")

    def shown(self) -> str:
        return self._content

    async def _read(self) -> None:
        async for rows in self._rows:
            if self._known is None:
                self._known = _final_ids(rows)
                self._joined.set()
            row = _last_reply(rows)
            if row is None or row["_id"] in self._known or self.ended:
                continue
            self._content = row["content"]
            self._grew(self._content[self.log.length :])
            if row["status"] not in LIVE:
                self._end(self._content)


def _final_ids(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    return {row["_id"] for row in rows if row["status"] not in LIVE}


def _last_reply(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return rows[-1] if rows and rows[-1]["role"] == "ASSISTANT" else None


def _content(row: Mapping[str, Any] | None) -> str:
    return "" if row is None else str(row["content"])
