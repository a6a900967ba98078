"""Stops a query or mutation that runs too long.

Queries and mutations run one after the other in the deployment's only thread: one that
never ends would stop everything. Two timers guard each: processor time (what the
function uses) and elapsed time, much longer (what it may spend asleep). They are
signals, so this works in the main thread of a system that has `setitimer` (not
Windows); elsewhere functions run unguarded.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

__all__ = ["FunctionTimedOut", "run_with_deadline", "timers_kept"]

Result = TypeVar("Result")

# Elapsed time may be this many times the processor time: Convex's 15 s against 1 s.
ELAPSED_FACTOR = 15

# A function is stopped up to one tick late. A tick is a tenth of its limit.
TICKS = 10


class FunctionTimedOut(BaseException):
    """Raised inside the function; not an Exception, so that few functions catch it."""

    def __init__(self, limit: float) -> None:
        super().__init__(f"Function execution timed out (maximum duration: {limit:g}s)")


def run_with_deadline(limit: float, function: Callable[[], Result]) -> Result:
    """`function()`, stopped after `limit` seconds of processor time.

    Raises FunctionTimedOut, also when the function caught it and went on to return.
    """
    if sys.platform == "win32" or not _in_main_thread():
        return function()
    if _standing is not None:
        return _standing.run(limit, function)
    guard = _Guard(limit / TICKS)
    with guard.ticking():
        return guard.run(limit, function)


@contextmanager
def timers_kept(limit: float = 1.0) -> Iterator[None]:
    """Within the block, the timers tick on from function to function.

    For the main thread of a process in which nobody else uses them, and functions whose
    limit is about `limit`. Starting and stopping the timers takes longer than many a
    function does.
    """
    global _standing
    if sys.platform == "win32":
        yield
        return
    guard = _Guard(limit / TICKS)
    with guard.ticking():
        _standing = guard
        try:
            yield
        finally:
            _standing = None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class _Guard:
    """Both timers, ticking; what they count is the time of one function."""

    def __init__(self, tick: float) -> None:
        self._tick = tick  # s, of processor time
        self._limit = 0.0
        self._ticks_left: dict[int, int] = {}
        self._armed = False
        self._expired = False

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Within the block, the signals and the elapsed-time timer are the guard's."""
        assert sys.platform != "win32"
        started = time.monotonic()
        old_virtual_handler = signal.signal(signal.SIGVTALRM, self._count)
        old_real_handler = signal.signal(signal.SIGALRM, self._count)
        elapsed_tick = self._tick * ELAPSED_FACTOR
        old_real = signal.setitimer(signal.ITIMER_REAL, elapsed_tick, elapsed_tick)
        signal.setitimer(signal.ITIMER_VIRTUAL, self._tick, self._tick)
        try:
            yield
        finally:
            # A signal that is still on its way is dealt with after these calls, while
            # the handlers are ours.
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old_real_handler)
            signal.signal(signal.SIGVTALRM, old_virtual_handler)
            _resume(old_real, time.monotonic() - started)

    def run(self, limit: float, function: Callable[[], Result]) -> Result:
        """See `run_with_deadline`; within `ticking`."""
        # The first tick may come at once.
        ticks = math.ceil(limit / self._tick) + 1
        self._limit, self._expired = limit, False
        self._ticks_left = {signal.SIGVTALRM: ticks, signal.SIGALRM: ticks}
        self._armed = True
        try:
            result = function()
        finally:
            # First of all, and with nothing called before it, so that no signal comes
            # between: from here on the handler does nothing.
            self._armed = False
        if self._expired:
            raise FunctionTimedOut(limit)
        return result

    def _count(self, signum: int, frame: FrameType | None) -> None:
        if not self._armed:
            return
        self._ticks_left[signum] -= 1
        # A function may catch this; then it is raised again, a tick later.
        if self._ticks_left[signum] <= 0:
            self._expired = True
            raise FunctionTimedOut(self._limit)


_standing: _Guard | None = None


def _resume(timer: tuple[float, float], elapsed: float) -> None:
    """Give the elapsed-time timer back to whoever had set it, if anybody had."""
    assert sys.platform != "win32"
    delay, interval = timer
    if delay:
        # Not below zero, which would switch it off: overdue, it fires at once.
        signal.setitimer(signal.ITIMER_REAL, max(delay - elapsed, 1e-6), interval)
