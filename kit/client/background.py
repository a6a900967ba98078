"""Background tasks that are safe to start from a notebook cell.

Holds how they are started and the one that keeps Interrupt working. Knows nothing of
deployments.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["cancel", "keep_awake", "spawn"]

T = TypeVar("T")

AWAKE_INTERVAL = 0.2


def spawn(coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start a background task of the running loop; keep a reference to it.

    It gets an empty context. A copy of the caller's would hold the parent header of
    the cell that started it, and papermill drops what a task sends under the header
    of a cell that has ended.
    """
    loop = asyncio.get_running_loop()
    return loop.create_task(coroutine, name=name, context=contextvars.Context())


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended, however they end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def keep_awake() -> None:
    """Wake the loop five times a second, until cancelled.

    A kernel's Interrupt is noticed only when its loop wakes up: without this, a cell
    that awaits a quiet subscription cannot be interrupted (ipykernel issue 881).
    """
    while True:  # noqa: ASYNC110 - waking up is the purpose
        await asyncio.sleep(AWAKE_INTERVAL)
