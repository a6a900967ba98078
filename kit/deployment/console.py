"""`console.log` for functions: log lines that go to the client with the result.

A line is `[LEVEL] text`, each argument shown as JavaScript's console shows it:
`console.log("hi", 1)` gives `[LOG] 'hi' 1`. Outside a function, lines go to stderr.
`print` is left alone here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from kit.values.render import inspect

__all__ = ["Console", "collect_log_lines", "console"]

# Of one function with those that it calls; the last tells of others.
MAX_LINES = 256
MAX_LINE_LENGTH = 32768  # bytes, without the level
_TRUNCATED = " (truncated due to length)"

_lines: ContextVar[list[str] | None] = ContextVar("log lines", default=None)


@contextmanager
def collect_log_lines() -> Iterator[list[str]]:
    """Within the block (and this task), `console` appends to the yielded list."""
    lines: list[str] = []
    token = _lines.set(lines)
    try:
        yield lines
    finally:
        _lines.reset(token)


class Console:
    """The twin of JavaScript's `console` in a function."""

    def debug(self, *values: object) -> None:
        _add("DEBUG", values)

    def log(self, *values: object) -> None:
        _add("LOG", values)

    def info(self, *values: object) -> None:
        _add("INFO", values)

    def warn(self, *values: object) -> None:
        _add("WARN", values)

    def error(self, *values: object) -> None:
        _add("ERROR", values)


console = Console()


def _add(level: str, values: tuple[object, ...]) -> None:
    line = f"[{level}] {_sendable(' '.join(map(inspect, values)))}"
    lines = _lines.get()
    if lines is None:
        sys.stderr.write(line + "\n")
    elif len(lines) < MAX_LINES - 1:
        lines.append(line)
    elif len(lines) == MAX_LINES - 1:
        lines.append(
            f"[ERROR] Log overflow (maximum {MAX_LINES}). Remaining log lines omitted."
        )


def _sendable(text: str) -> str:
    """`text` as UTF-8 can have it, and not too long."""
    if text.isascii() and len(text) <= MAX_LINE_LENGTH:
        return text
    data = text.encode("utf-8", "backslashreplace")  # a lone surrogate has no UTF-8
    if len(data) > MAX_LINE_LENGTH:
        data = data[: MAX_LINE_LENGTH - len(_TRUNCATED)] + _TRUNCATED.encode()
    return data.decode("utf-8", "ignore")
