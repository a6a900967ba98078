"""Viewers of a task that write down what they show.

A `HookViewer` is what an application has: `use_message_streaming`, and a model of the
live parts that only grows by what the hook tells it. A `LogViewer` reads the rows and
the log itself and keeps every chunk, also after the end.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from kit.app.hooks import use_message_streaming
from kit.app.hooks.source import Hook, HookChange, PartsChanged, PartsReset
from kit.app.hooks.stream_follower import StreamFollower
from kit.client import Deployment
from kit.client.background import cancel, spawn
from kit.drill.history import Frame, Row, ViewerSeen, said_of
from kit.parts import Chunk, PartsFold

__all__ = ["LIVE", "HookViewer", "LogViewer", "PartsModel", "Viewer"]

logger = logging.getLogger(__name__)

LIVE = ("streaming", "stopping")
JOIN_TIMEOUT = 15.0  # s


class Viewer(ABC):
    """What all viewers have: a record, and a way to wait on it."""

    def __init__(self, seen: ViewerSeen, clock: Callable[[], float]) -> None:
        self.seen = seen
        self.on_news: Callable[[], None] = lambda: None
        self._clock = clock
        self._changed = asyncio.Event()

    @abstractmethod
    async def start(self, task_id: str, deployment: Deployment) -> None:
        """Join; returns when there is something to see."""

    @abstractmethod
    async def close(self) -> None:
        """Leave."""

    async def until(self, condition: Callable[[], object], timeout: float) -> bool:
        """Wait until it is true, looking at each change; False after `timeout` s."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _newest(self) -> Row | None:
        """The reply that frames are about."""
        rows = reversed(self.seen.rows)
        return next((row for row in rows if row["role"] == "ASSISTANT"), None)

    def _note(self, said: Callable[[Row], tuple[str, list[str]]]) -> None:
        """Write down what is shown now, if it has changed."""
        self._changed.set()
        self.on_news()
        row = self._newest()
        if row is None:
            return
        text, live_ids = said(row)
        if row["status"] not in LIVE:
            text = said_of(row.get("parts", []))
        frame = Frame(self._clock(), row["_id"], row["status"], text, live_ids)
        frames = self.seen.frames
        if not frames or _shown(frames[-1]) != _shown(frame):
            frames.append(frame)


def _shown(frame: Frame) -> tuple[str, str, str, list[str]]:
    return frame.message_id, frame.status, frame.said, frame.live_ids


class PartsModel:
    """The live parts as somebody has them who only grows what a hook tells."""

    def __init__(self, hook: Hook) -> None:
        self.message_id = hook.streaming_message_id
        self._hook = hook
        self._parts: dict[str, dict[str, Any]] = {
            part_id: dict(part) for part_id, part in hook.streaming_parts_map.items()
        }

    def take(self, change: HookChange) -> None:
        match change:
            case PartsReset():
                self._parts.clear()
            case PartsChanged():
                self._grow(change)
            case _:
                pass

    def said(self) -> str:
        return said_of(self._parts.values())

    def _grow(self, change: PartsChanged) -> None:
        self.message_id = change.message_id
        for part in change.changes:
            if part.kind == "appended":
                shown = self._parts[part.part_id]
                name = "argsText" if shown["type"] == "tool-call" else "text"
                shown[name] += part.text
            else:
                fresh = self._hook.streaming_parts_map[part.part_id]
                self._parts[part.part_id] = dict(fresh)


class HookViewer(Viewer):
    """Sees what an application sees that has no server."""

    def __init__(self, seen: ViewerSeen, clock: Callable[[], float]) -> None:
        super().__init__(seen, clock)
        self._hook: Hook | None = None
        self._model: PartsModel | None = None
        self._stop_observing: Callable[[], None] = lambda: None

    @property
    def hook(self) -> Hook:
        assert self._hook is not None, "it has not joined yet"
        return self._hook

    async def start(self, task_id: str, deployment: Deployment) -> None:
        self._hook = await self._join(task_id, deployment)
        self._model = PartsModel(self._hook)
        self._stop_observing = self._hook.observe(self._take)
        self._read()

    async def _join(self, task_id: str, deployment: Deployment) -> Hook:
        return await use_message_streaming(
            task_id, deployment=deployment, timeout=JOIN_TIMEOUT
        )

    async def close(self) -> None:
        self._stop_observing()
        if self._hook is not None:
            await self._hook.aclose()

    def _take(self, change: HookChange) -> None:
        assert self._model is not None
        self._model.take(change)
        self._read()

    def _read(self) -> None:
        hook, seen = self.hook, self.seen
        seen.rows = list(hook.messages)
        seen.is_streaming = hook.is_streaming
        seen.connection = hook.connection
        self._note(self._live)

    def _live(self, row: Row) -> tuple[str, list[str]]:
        # The hook's own fields, not the model: that is told of one change at a time.
        assert self._model is not None
        others = (r for r in self.seen.rows if r is not row and r["status"] in LIVE)
        live_ids = [] if any(others) else self.hook.streaming_parts_order
        if row["_id"] != self._model.message_id:
            return "", live_ids
        return self._model.said(), live_ids


class LogViewer(Viewer):
    """Reads the rows and every stream's log; `seen.chunks` has all that came."""

    def __init__(self, seen: ViewerSeen, clock: Callable[[], float]) -> None:
        super().__init__(seen, clock)
        self._chunks: dict[str, list[Chunk]] = {}
        seen.chunks = self._chunks
        self._folds: dict[str, PartsFold] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._listed = asyncio.Event()

    async def start(self, task_id: str, deployment: Deployment) -> None:
        rows = self._watch(task_id, deployment)
        self._tasks.append(spawn(rows, f"drill: rows of {task_id}"))
        async with asyncio.timeout(JOIN_TIMEOUT):
            await self._listed.wait()

    async def close(self) -> None:
        await cancel(*self._tasks)

    def said(self, stream_id: str) -> str:
        """What the model has said in that stream, as far as it has come."""
        fold = self._folds.get(stream_id)
        return "" if fold is None else said_of(fold.snapshot())

    async def _watch(self, task_id: str, deployment: Deployment) -> None:
        rows = deployment.subscribe("messages:byTask", {"taskId": task_id})
        async with rows:
            while True:
                try:
                    self.seen.rows = list(await anext(rows))
                except StopAsyncIteration:
                    return
                except Exception as error:  # the next value may be well again
                    logger.warning("Messages of task %s: %s", task_id, error)
                    continue
                self._listed.set()
                for row in self.seen.rows:
                    if "streamId" in row and row["streamId"] not in self._chunks:
                        self._follow(row["streamId"], deployment)
                self._note(self._live)

    def _follow(self, stream_id: str, deployment: Deployment) -> None:
        chunks = self._chunks[stream_id] = []
        fold = self._folds[stream_id] = PartsFold()

        def take(new: list[Chunk]) -> None:
            chunks.extend(new)
            for chunk in new:
                fold.apply(chunk)
            self._note(self._live)

        following = StreamFollower(deployment, stream_id, take).run()
        self._tasks.append(spawn(following, f"drill: stream {stream_id}"))

    def _live(self, row: Row) -> tuple[str, list[str]]:
        # Its parts are no view: they stay for the comparison with the log.
        return self.said(row["streamId"]), []
