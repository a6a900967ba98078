"""What a widget needs of the kernel that it lives in.

Holds the heartbeat and the empty context; starts nothing when imported.
"""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from kit.client.background import keep_awake, spawn

__all__ = ["apart", "start_heartbeat"]

P = ParamSpec("P")
T = TypeVar("T")

_heartbeats: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, asyncio.Task[None]
] = weakref.WeakKeyDictionary()


def start_heartbeat() -> asyncio.Task[None]:
    """Wake the running loop every 0.2 s, so that Interrupt reaches an idle await.

    Without it a cell that awaits something quiet cannot be interrupted (ipykernel
    issue 881). One per loop: called again, it gives the task that is running. It ends
    when it is cancelled or the loop ends. Raises RuntimeError without a running loop.
    """
    loop = asyncio.get_running_loop()
    task = _heartbeats.get(loop)
    if task is None or task.done():
        task = _heartbeats[loop] = spawn(keep_awake(), "heartbeat")
    return task


def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in an empty context.

    ipykernel keeps in the context which cell a message belongs to, and tasks inherit
    it. Under the header of a cell that has ended nbclient drops whatever is sent;
    without any, the kernel takes the cell that runs now.
    """
    return contextvars.Context().run(function, *args, **kwargs)
