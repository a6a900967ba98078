"""The smallest changes of what is on the screen, and strings of HTML that grow.

Text that grows is shown as numbered blocks of HTML. Two operations change them: `Put`
some HTML, or `Append` plain text. `front/` applies them to elements; `insert_text`
does to a string what `Append` does there. Pure.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "Append",
    "Growing",
    "Patch",
    "Put",
    "change",
    "insert_text",
    "text_depth",
]


@dataclass(frozen=True, slots=True)
class Put:
    """In block `block`, go down `depth` last elements; keep the first `child` elements
    in there and put `html` in the place of everything after them."""

    block: int
    html: str
    depth: int = 0
    child: int = 0


@dataclass(frozen=True, slots=True)
class Append:
    """In block `block`, go down `depth` last elements; add `text` at its end."""

    block: int
    depth: int
    text: str


Patch = Put | Append


class Growing(Protocol):
    """Text that grows and is shown as numbered blocks of HTML."""

    def feed(self, text: str) -> list[Patch]:
        """Add `text`; what is to be changed on the screen."""

    def finish(self) -> list[Patch]:
        """No more text will come; what is to be changed on the screen."""

    def blocks(self) -> list[str]:
        """The HTML of all blocks as they are shown now. O(text)."""


_TAG = re.compile(r"<(?P<closing>/?)(?P<name>[a-z0-9]+)[^>]*>")
_LAST_TAGS = re.compile(r"(?:</[a-z0-9]+>\n?)+\Z")
_VOID_TAGS = frozenset({"br", "hr"})
# Running text continues inside these, not inside a link or bold text.
_BLOCK_TAGS = frozenset(
    [
        *("blockquote", "div", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "p"),
        *("pre", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    ]
)


def change(block: int, depth: int, child: int, old: str, new: str) -> Patch:
    """What turns `old`, put at this place of the screen, into `new`.

    Both are balanced HTML as `markdown.py` renders it. Elements that both begin with
    are kept: a reader may have selected text in them.
    """
    common = _common_length(old, new)
    path = _open_elements(new, common)
    level = min(_lasting(old, common, len(path)), _lasting(new, common, len(path))) - 1
    element = path[level]
    old_rest = old[element.rest : _end(old, level)]
    new_rest = new[element.rest : _end(new, level)]
    added = new_rest[len(old_rest) :]
    if new_rest.startswith(old_rest) and "<" not in added:
        return Append(block, depth + level, html.unescape(added))
    kept = element.children + (0 if level else child)
    return Put(block, new_rest, depth + level, kept)


@dataclass(slots=True)
class _Element:
    """An element that is open at some place of a string of HTML."""

    rest: int  # where the text after its last complete child starts
    children: int = 0  # complete ones


def _common_length(old: str, new: str) -> int:
    """How much of the beginning is the same, up to the start of a tag in doubt."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    tag = new.rfind("<", 0, low)
    return low if new.rfind(">", 0, low) > tag else max(tag, 0) if tag >= 0 else low


def _open_elements(rendered: str, end: int) -> list[_Element]:
    """The elements that are open at `end`, outermost first; the first is the place."""
    path = [_Element(0)]
    for tag in _TAG.finditer(rendered, 0, end):
        if not tag["closing"] and tag["name"] not in _VOID_TAGS:
            path.append(_Element(tag.end()))
            continue
        if tag["closing"]:
            path.pop()
        path[-1].children += 1
        path[-1].rest = tag.end()
    return path


def _lasting(rendered: str, start: int, level: int) -> int:
    """Of the `level` elements open at `start`, how many are so until the last tags."""
    last = _LAST_TAGS.search(rendered)
    lasting = level
    for tag in _TAG.finditer(rendered, start, last.start() if last else len(rendered)):
        if tag["closing"]:
            level -= 1
        elif tag["name"] not in _VOID_TAGS:
            level += 1
        lasting = min(lasting, level)
    return lasting


def _last_tags(rendered: str) -> list[re.Match[str]]:
    """The closing tags that `rendered` ends in: its last elements, outermost first."""
    last = _LAST_TAGS.search(rendered)
    return list(_TAG.finditer(rendered, last.start()))[::-1] if last else []


def _end(rendered: str, level: int) -> int:
    """Where the content of the last element ends that is `level` elements deep."""
    return _last_tags(rendered)[level - 1].start() if level else len(rendered)


def text_depth(rendered: str) -> int:
    """How many last elements to go down to where running text continues."""
    depth = 0
    outer = ""
    for tag in _last_tags(rendered):
        if tag["name"] not in _BLOCK_TAGS and (outer, tag["name"]) != ("pre", "code"):
            break
        depth += 1
        outer = tag["name"]
    return depth


def insert_text(rendered: str, depth: int, text: str) -> str:
    """What `Append` does on the screen, done to a string of HTML."""
    at = _end(rendered, depth)
    return rendered[:at] + html.escape(text) + rendered[at:]
