"""Reading the lines of an open code fence as they come, without a Markdown parser.

Holds which line closes a fence (CommonMark 4.5) and which text of it can be shown
already: a line that may turn out to be the closing one is held back, so that no
backticks flash up at the end of a code block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["OPENING_FENCE", "OpenFence", "is_closed_fence"]

OPENING_FENCE = re.compile(r"( {0,3})(`{3,}(?=[^`\n]*\n)|~{3,})[^\n]*\n")
"""A complete line that opens a fence: its indent and its mark."""


@dataclass(slots=True)
class OpenFence:
    """A top-level code fence whose closing line has not come yet."""

    mark: str
    indent: int
    _held: str = ""  # the start of the last line, while it may close the fence
    _in_line: bool = False  # a part of the last line is shown already

    def read(self, text: str) -> tuple[str, bool]:
        """Take in `text`: (code that can be shown, whether the fence was closed)."""
        shown: list[str] = []
        *lines, start = text.split("\n")
        for line in lines:
            if self._in_line:
                self._in_line = False
            else:
                line, self._held = self._held + line, ""
                if _closes(line, self.mark):
                    return "".join(shown), True
                line = self._without_indent(line)
            shown += [line, "\n"]
        if not self._in_line:
            start, self._held = self._held + start, ""
            if self.indent or self._may_close(start):
                start, self._held = "", start
            self._in_line = bool(start)
        shown.append(start)
        return "".join(shown), False

    def _may_close(self, start: str) -> bool:
        """Whether a line that starts so may become the one that closes the fence."""
        marks = start.lstrip(" ")
        indent = len(start) - len(marks)
        return indent <= 3 and not marks.rstrip(" \t").strip(self.mark[0])

    def _without_indent(self, line: str) -> str:
        indent = len(line) - len(line.lstrip(" "))
        return line[min(indent, self.indent) :]


def is_closed_fence(source: str) -> bool:
    """Whether `source`, the lines of one fence, ends in its closing line."""
    opening = OPENING_FENCE.match(source)
    if opening is None:
        return False
    lines = source[opening.end() :].rstrip("\n").rpartition("\n")
    return _closes(lines[2], opening[2])


def _closes(line: str, mark: str) -> bool:
    marks = line.lstrip(" ")
    return (
        len(line) - len(marks) <= 3
        and marks.startswith(mark)
        and not marks.lstrip(mark[0]).strip(" \t")
    )
