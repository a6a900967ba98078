"""Show what a step changes: source and diffs, highlighted, in a notebook."""

from __future__ import annotations

import difflib
import inspect
import textwrap
from typing import Any

from IPython.display import Code

__all__ = ["show_diff", "show_source", "show_source_diff"]


def show_source(thing: Any) -> Code:
    """The source of a function, method, class or module."""
    return Code(_source(thing), language="python")


def show_source_diff(before: Any, after: Any) -> Code:
    """What changes from one function, method or class to another, as a unified diff."""
    diff = difflib.unified_diff(
        _source(before).splitlines(keepends=True),
        _source(after).splitlines(keepends=True),
        fromfile=_where(before),
        tofile=_where(after),
        n=3,
    )
    return show_diff("".join(diff))


def show_diff(diff: str) -> Code:
    """A unified diff, highlighted; an empty one is said in words."""
    return Code(diff or "(nothing changes)\n", language="diff")


def _source(thing: Any) -> str:
    return textwrap.dedent(inspect.getsource(thing))


def _where(thing: Any) -> str:
    return f"{thing.__module__}:{thing.__qualname__}"
