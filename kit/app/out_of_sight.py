"""Replies whose deployment went away for so long that nobody waits for them any more.

Their turn has failed in SQL, and the task takes other messages; in Convex they may go
on. Holds the looks for them until Convex is back, and how SQL is put right then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias

from kit.app.convex_replies import ConvexReplies, ConvexReply, status_of
from kit.app.copy_back import copy_back
from kit.app.flags import Mode
from kit.app.history import History, TaskStatus
from kit.app.runs import Runs
from kit.app.tasks import Tasks
from kit.client.background import cancel
from kit.errors import KitError

__all__ = ["OnOutOfSight", "OutOfSight"]

logger = logging.getLogger(__name__)

OnOutOfSight: TypeAlias = Callable[[str, str], None]
"""Told the id of the task and the `clientMessageId` that the reply is to."""


class OutOfSight:
    """Looks for replies every `look_interval` seconds, each until it is found."""

    def __init__(
        self,
        mode: Mode,
        *,
        history: History,
        tasks: Tasks,
        convex: ConvexReplies,
        runs: Runs,
        look_interval: float = 2.0,
    ) -> None:
        self._mode = mode
        self._history = history
        self._tasks = tasks
        self._convex = convex
        self._runs = runs
        self._look_interval = look_interval
        self._looking: dict[str, asyncio.Task[None]] = {}

    def look_for(self, task_id: str, client_message_id: str) -> None:
        """Find out in the background what became of a reply. An `OnOutOfSight`."""
        if client_message_id in self._looking:
            return
        looking = asyncio.create_task(
            self._look_for(task_id, client_message_id),
            name=f"look for the reply to {client_message_id}",
        )
        self._looking[client_message_id] = looking
        looking.add_done_callback(lambda _: self._looking.pop(client_message_id))

    async def close(self) -> None:
        """Look no more."""
        await cancel(*self._looking.values())

    async def _look_for(self, task_id: str, client_message_id: str) -> None:
        found = await self._found(task_id, client_message_id)
        if found is None:
            return  # it was not begun: what was told is true
        logger.info("[CHAT] Found the reply of task %s again", task_id)
        try:
            if self._mode == "option-1":
                # In its place: there may be later turns.
                await copy_back(self._convex.calls, self._history, task_ids=[task_id])
            if await self._is_last(task_id, found):
                await self._tasks.set_status(task_id, *_ending(found))
        except KitError as error:
            logger.warning("[CHAT] Task %s is not put right: %s", task_id, error)

    async def _found(self, task_id: str, client_message_id: str) -> ConvexReply | None:
        while True:
            await asyncio.sleep(self._look_interval)
            try:
                return await self._convex.find(task_id, client_message_id)
            except KitError:
                logger.debug("Task %s: Convex is still away", task_id)

    async def _is_last(self, task_id: str, found: ConvexReply) -> bool:
        """Whether no later turn has a status of its own, or will have."""
        if task_id in self._runs:
            return False
        if self._mode == "option-1":
            messages = await self._history.messages(task_id)
            return bool(messages and messages[-1]["id"] == found.message_id)
        asked = await self._convex.last_client_message_id(task_id)
        last = None if asked is None else await self._convex.find(task_id, asked)
        return last is not None and last.message_id == found.message_id


def _ending(stored: ConvexReply) -> tuple[TaskStatus, str | None]:
    try:
        return status_of(stored), None
    except KitError as error:
        return "FAILED", str(error)
