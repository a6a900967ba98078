"""Errors that come from a frame whose variables show nothing.

A traceback may be shown with the variables of its frames (rich, IPython's verbose mode,
error trackers), and those of a call hold what it sends: a key, for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from kit.errors import KitError

__all__ = ["raised_here"]

T = TypeVar("T")


async def raised_here(call: Awaitable[T]) -> T:
    """What `call` comes to. What it raises on purpose is raised from here."""
    try:
        return await call
    except (KitError, TypeError, ValueError, asyncio.CancelledError) as error:
        failure = error.with_traceback(None)
    raise failure
