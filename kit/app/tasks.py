"""Tasks: created, found, given a status, in SQL and, with the flag on, in Convex too.

Holds what the application knows of a task as a whole, and the one event about it,
`task-status-updated`, which stays on Socket.IO in every form of the migration. Does
not answer messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

from kit.app.convex_chat import ConvexChat
from kit.app.history import History, Task, TaskStatus
from kit.errors import DatabaseError, DeploymentError

__all__ = ["Emit", "Tasks"]

_STATUS_EVENT = "task-status-updated"

logger = logging.getLogger(__name__)

# Sends an event to the clients that joined a task: (task id, event, payload or None).
Emit = Callable[[str, str, Any], Awaitable[None]]


class Tasks:
    """The application's tasks. `convex` is None while the flag is off."""

    def __init__(
        self, history: History, emit: Emit, convex: ConvexChat | None = None
    ) -> None:
        self._history = history
        self._emit = emit
        self._convex = convex
        # Held while a task's status is written or read, until it is emitted: an older
        # one never comes after a newer one.
        self._telling: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def create(self, title: str) -> str:
        """Create a task; its id, which is Convex's if the flag is on.

        Raises DeploymentError or DatabaseError; nothing is left in SQL then.
        """
        task_id = None
        if self._convex is not None:
            task_id = await self._convex.create_task(title)
        return await self._history.create_task(title, task_id=task_id)

    async def find(self, task_id: str) -> Task | None:
        """The task, or None. One that only Convex has yet is taken over into SQL.

        A Convex that does not answer has no tasks. Raises DatabaseError.
        """
        task = await self._history.task(task_id)
        if task is not None or self._convex is None:
            return task
        try:
            title = await self._convex.task_title(task_id)
        except DeploymentError as error:
            logger.warning("[CHAT] Cannot ask Convex for task %s: %s", task_id, error)
            return None
        if title is None:
            return None
        with suppress(DatabaseError):  # somebody else may have just taken it over
            await self._history.create_task(title, task_id=task_id)
        return await self._history.task(task_id)

    async def set_status(
        self, task_id: str, status: TaskStatus, error: str | None = None
    ) -> None:
        """Store the status and emit it. Clients learn of it even if SQL fails."""
        async with self._lock(task_id):
            try:
                await self._history.set_task_status(task_id, status, error)
            except DatabaseError as failure:
                logger.warning("[CHAT] Task %s: %s", task_id, failure)
            payload = _status_payload(task_id, status, error)
            await self._emit(task_id, _STATUS_EVENT, payload)

    async def tell(self, task_id: str, emit: Emit | None = None) -> None:
        """Emit the stored status, to all or with `emit`. Raises DatabaseError."""
        async with self._lock(task_id):
            task = await self._history.task(task_id)
            if task is not None:
                payload = _status_payload(
                    task_id, task["status"], task.get("errorMessage")
                )
                await (emit or self._emit)(task_id, _STATUS_EVENT, payload)

    def _lock(self, task_id: str) -> asyncio.Lock:
        return self._telling.setdefault(task_id, asyncio.Lock())


def _status_payload(
    task_id: str, status: TaskStatus, error: str | None = None
) -> dict[str, Any]:
    payload = {
        "taskId": task_id,
        "status": status,
        "timestamp": datetime.now(UTC).isoformat(),
    }
    if error is not None:
        payload["errorMessage"] = error
    return payload
