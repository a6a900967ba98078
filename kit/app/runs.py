"""The replies that a server is busy with: a run for each message, while it lasts.

A task has one run at a time, unless Convex streams its reply: Convex then has others
wait for their turn, or end it, and each is a run here until its own reply has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from kit.app.tables import TaskStatus
from kit.errors import KitError

__all__ = ["Outcome", "Run", "Runs", "WhenActive"]

WhenActive: TypeAlias = Literal["reject", "interrupt", "queue"]
"""What becomes of a message that is sent while its task is busy."""

Outcome: TypeAlias = tuple[TaskStatus, str | None]
"""The status that a task ends with, and its error."""


@dataclass(slots=True, eq=False)
class Run:
    """A message being answered."""

    answering: asyncio.Task[None] | None = None
    client_message_id: str | None = None  # None while it is not known
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the message is stored where this form stores it, or the run ended."""
    in_convex: bool = False  # while Convex streams the reply
    alone: bool = False  # Convex does not: no other message is taken beside it
    stop_requested: bool = False
    reply_ended: bool = False  # in Convex; it is only to be written down and told
    ended: bool = False  # only its last status is still to be told, if it is not gone
    outcome: Outcome | None = None
    gone: bool = False

    async def cancel(self) -> None:
        """Cancel it, unless it has ended by itself; returns when it has ended."""
        if self.answering is None:
            return
        if not (self.reply_ended or self.ended):
            self.answering.cancel()
        await asyncio.wait({self.answering})


_BUSY = (
    "The last message of this task is still being answered. "
    "Stop it (stop-stream) or wait for its end, then send this one again."
)
_NOT_BESIDE = "Only a reply that Convex streams can be queued behind or interrupted."
_POLL_INTERVAL = 0.1  # seconds


class Runs:
    """Runs by task id. A task that is in here is busy."""

    def __init__(self) -> None:
        # Those that have ended, too, until all of a task's have.
        self._runs: dict[str, list[Run]] = {}

    def admit(self, task_id: str, when_active: WhenActive) -> None:
        """Raises KitError unless the task takes another message now."""
        busy = self.of(task_id)
        if busy and when_active == "reject":
            raise KitError(_BUSY)
        if any(run.alone or run.stop_requested for run in busy):
            raise KitError(f"{_BUSY} {_NOT_BESIDE}")

    async def until_turn(
        self,
        task_id: str,
        run: Run,
        has_begun: Callable[[str, str], Awaitable[bool]],
    ) -> None:
        """Wait until Convex has the messages before this one, whose order it keeps.

        `has_begun(task_id, client_message_id)` asks it. Raises what that raises, and
        KitError if one of them is answered without Convex after all.
        """
        for earlier in self.before(task_id, run):
            while earlier in self.of(task_id) and earlier.client_message_id is not None:
                if earlier.alone:
                    raise KitError(f"{_BUSY} {_NOT_BESIDE}")
                if await has_begun(task_id, earlier.client_message_id):
                    break
                await asyncio.sleep(_POLL_INTERVAL)

    def begin(
        self, task_id: str, work: Callable[[Run], Coroutine[Any, Any, None]]
    ) -> Run:
        """Begin a run in the background; it is gone from here when `work` has ended."""
        run = Run()
        self._runs.setdefault(task_id, []).append(run)
        run.answering = asyncio.create_task(work(run))

        def end(_: object) -> None:
            run.accepted.set()
            run.ended = run.gone = True
            if not self.of(task_id):
                del self._runs[task_id]

        # Not by the work itself: cancelled at once, it never runs.
        run.answering.add_done_callback(end)
        return run

    def of(self, task_id: str) -> list[Run]:
        """Those of a task, oldest first."""
        return [run for run in self._runs.get(task_id, ()) if not run.gone]

    def to(self, task_id: str, client_message_id: str) -> Run | None:
        """The run that answers this message."""
        runs = self.of(task_id)
        same = (run for run in runs if run.client_message_id == client_message_id)
        return next(same, None)

    def before(self, task_id: str, run: Run) -> list[Run]:
        """Those of the task that began before this one, oldest first."""
        runs = self.of(task_id)
        return runs[: runs.index(run)] if run in runs else runs

    def end(self, task_id: str, run: Run, outcome: Outcome | None) -> Outcome | None:
        """Note how a run ends, None if it has answered nothing: how its task ends.

        As its newest message does. None while another one is being answered: the last
        of them to end tells.
        """
        run.ended, run.outcome = True, outcome
        runs = self._runs.get(task_id, [run])
        if not all(run.ended for run in runs):
            return None
        outcomes = (run.outcome for run in reversed(runs))
        return next((found for found in outcomes if found is not None), None)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._runs

    async def cancel_all(self) -> None:
        """Cancel all; returns when they have ended."""
        runs = [run for task_id in self._runs for run in self.of(task_id)]
        await asyncio.gather(*(run.cancel() for run in runs))
