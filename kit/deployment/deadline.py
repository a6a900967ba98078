"""Stops a query or mutation that runs too long.

Queries and mutations run one after the other in the deployment's only thread: one that
never ends would stop everything. Two timers guard each: processor time (what the
function uses) and elapsed time, much longer (what it may spend asleep). They are
signals, so this works in the main thread of a system that has `setitimer` (not
Windows); elsewhere functions run unguarded.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

__all__ = ["FunctionTimedOut", "run_with_deadline"]

Result = TypeVar("Result")

# Elapsed time may be this many times the processor time: Convex's 15 s against 1 s.
ELAPSED_FACTOR = 15

# A function may catch the first signal's exception; then it is sent again.
REPEAT = 0.01  # s


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
    return _Guard(limit).run(function)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class _Guard:
    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._armed = False
        self._expired = False

    def run(self, function: Callable[[], Result]) -> Result:
        assert sys.platform != "win32"
        started = time.monotonic()
        old_virtual_handler = signal.signal(signal.SIGVTALRM, self._expire)
        old_real_handler = signal.signal(signal.SIGALRM, self._expire)
        elapsed_limit = self._limit * ELAPSED_FACTOR
        old_real = signal.setitimer(signal.ITIMER_REAL, elapsed_limit, REPEAT)
        signal.setitimer(signal.ITIMER_VIRTUAL, self._limit, REPEAT)
        self._armed = True
        try:
            result = function()
        finally:
            # First of all, and with nothing called before it: from here on the handler
            # does nothing, so that the rest of this block is always run.
            self._armed = False
            # A signal that is still on its way is dealt with after these calls, while
            # the handlers are ours.
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old_real_handler)
            signal.signal(signal.SIGVTALRM, old_virtual_handler)
            _resume(old_real, time.monotonic() - started)
        if self._expired:
            raise FunctionTimedOut(self._limit)
        return result

    def _expire(self, signum: int, frame: FrameType | None) -> None:
        if self._armed:
            self._expired = True
            raise FunctionTimedOut(self._limit)


def _resume(timer: tuple[float, float], elapsed: float) -> None:
    """Give the elapsed-time timer back to whoever had set it, if anybody had."""
    assert sys.platform != "win32"
    delay, interval = timer
    if delay:
        # Not below zero, which would switch it off: overdue, it fires at once.
        signal.setitimer(signal.ITIMER_REAL, max(delay - elapsed, 1e-6), interval)
