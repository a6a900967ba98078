"""The replies that a server is busy with: one run per task, kept while it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Run", "Runs"]


@dataclass(slots=True)
class Run:
    """A message being answered."""

    answering: asyncio.Task[None] | None = None
    client_message_id: str | None = None  # None while it is not known
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the message is stored where this form stores it, or the run ended."""
    in_convex: bool = False  # while Convex streams the reply
    stop_requested: bool = False
    ended: bool = False  # only its last status is still to be told

    async def cancel(self) -> None:
        """Cancel it, unless it has ended by itself; returns when it has ended."""
        if self.answering is None:
            return
        if not self.ended:
            self.answering.cancel()
        await asyncio.wait({self.answering})


class Runs:
    """Runs by task id. A task that is in here takes no other message."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def begin(
        self, task_id: str, work: Callable[[Run], Coroutine[Any, Any, None]]
    ) -> Run:
        """Begin a run in the background; it is gone from here when `work` has ended."""
        run = self._runs[task_id] = Run()
        run.answering = asyncio.create_task(work(run))

        def end(_: object) -> None:
            run.accepted.set()
            del self._runs[task_id]

        # Not by the work itself: cancelled at once, it never runs.
        run.answering.add_done_callback(end)
        return run

    def get(self, task_id: str) -> Run | None:
        return self._runs.get(task_id)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._runs

    async def cancel_all(self) -> None:
        """Cancel all; returns when they have ended."""
        await asyncio.gather(*(run.cancel() for run in list(self._runs.values())))
