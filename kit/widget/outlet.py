"""When what is new leaves for the views, and how often everything is sent again.

Holds the numbering, the pace and the limits. Knows neither Jupyter nor what the
operations mean.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from kit.widget.transcript import Op

__all__ = ["ANSWER_INTERVAL", "FLUSH_INTERVAL", "SNAPSHOT_INTERVAL", "Outlet", "Timer"]

FLUSH_INTERVAL = 1 / 30
"""Seconds between two messages. jupyter_server drops whatever a kernel sends beyond
1000 messages a second, and nobody reads faster than this."""

SNAPSHOT_INTERVAL = 1.0
"""Seconds at least between two snapshots during a turn."""

ANSWER_INTERVAL = 0.25
"""Seconds at least between two snapshots that views asked for: one serves them all."""


class Timer:
    """Calls `function` once in a while, however often it is asked to.

    At least `interval` seconds lie between two calls. It runs in an empty context: see
    `kernel.apart`. Without a loop it never runs by itself.
    """

    def __init__(
        self,
        function: Callable[[], None],
        interval: float,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self._function = function
        self._interval = interval
        self._loop = loop
        self._last = float("-inf")
        self._handle: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Have it run as soon as the interval allows."""
        if self._handle is None and self._loop is not None:
            at = max(self._loop.time(), self._last + self._interval)
            context = contextvars.Context()
            self._handle = self._loop.call_at(at, self._run, context=context)

    def ran(self) -> None:
        """It has been done just now by other means."""
        self.cancel()
        if self._loop is not None:
            self._last = self._loop.time()

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self.ran()
        self._function()


class Outlet:
    """Numbers what leaves for the views.

    `send` sends one message, `send_snapshot` everything that is shown. Messages are
    `{"type": "ops", "seq": 1, 2, ..., "ops": [...]}`.
    """

    def __init__(
        self,
        send: Callable[[dict[str, Any]], None],
        send_snapshot: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.seq = 0
        """The number of the last message."""
        self._send = send
        self._send_snapshot = send_snapshot
        self._clock = clock
        self._snapshot_at = clock()
        self._snapshot_seq = 0
        self._snapshot_size = 0
        self._sent = 0  # characters since the last snapshot

    def send(self, ops: list[Op]) -> None:
        """Send operations as the next message, if there are any.

        A snapshot follows at most once in `SNAPSHOT_INTERVAL`, and only when as much
        was sent as the last one held: so the sum of all snapshots is in proportion to
        what is shown in the end.
        """
        if not ops:
            return
        self.seq += 1
        self._send({"type": "ops", "seq": self.seq, "ops": ops})
        self._sent += sum(len(item) for op in ops for item in op if type(item) is str)
        is_time = self._clock() - self._snapshot_at >= SNAPSHOT_INTERVAL
        if is_time and self._sent >= self._snapshot_size:
            self.send_snapshot()

    def send_snapshot(self) -> None:
        """Send everything, unless nothing is new since that was done last."""
        if self._snapshot_seq != self.seq:
            self._send_snapshot()

    def took_snapshot(self, size: int) -> None:
        """Everything has been put together, `size` characters, for whatever reason."""
        self._snapshot_seq = self.seq
        self._snapshot_at = self._clock()
        self._snapshot_size = size
        self._sent = 0
