"""What a widget needs of the kernel that it lives in.

Holds the heartbeat, the empty context, and how to tell whether a cell is running.
Starts nothing when imported.
"""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from kit.client.background import keep_awake, spawn

__all__ = ["CellWatch", "apart", "start_heartbeat"]

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


class CellWatch:
    """Knows whether a cell is running, and calls `on_start` when the next one starts.

    To be made in a cell. `shell` is IPython's; without one a cell is always running.
    nbclient listens to cells only: what a kernel sends between two of them does not
    reach the executed notebook, and has to be sent again in the next one.
    """

    def __init__(self, shell: Any, on_start: Callable[[], None]) -> None:
        self.is_running = True
        self._shell = shell
        self._on_start = on_start
        if shell is not None:
            shell.events.register("pre_run_cell", self._started)
            shell.events.register("post_run_cell", self._ended)

    def close(self) -> None:
        """Watch no more; may be called again."""
        if self._shell is not None:
            self._shell.events.unregister("pre_run_cell", self._started)
            self._shell.events.unregister("post_run_cell", self._ended)
            self._shell = None

    def _started(self, info: object) -> None:
        self.is_running = True
        self._on_start()

    def _ended(self, result: object) -> None:
        self.is_running = False
